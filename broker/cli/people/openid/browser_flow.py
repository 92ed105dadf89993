"""Logging in with this machine's browser: code and PKCE, and the answer on a port of this machine (RFC 8252, 7.3).

The browser is only told where to go. What comes back counts once, if it carries our state and the issuer's name.
"""

import asyncio
import base64
import hashlib
import secrets
import sys
import threading
import time
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.openid.id_token import LoggedIn, Wish, verified
from broker.cli.people.openid.provider import Provider, RefusedGrantError, Tokens
from broker.cli.people.screen import Screen

PATH = "/callback"
_NAMES_ITSELF = "authorization_response_iss_parameter_supported"
WAIT_SECONDS = 300.0
HEAD_SECONDS = 10.0
LONGEST_HEAD = 16_384
_CLOSE = "You can close this window."
_LOGGED_IN = f"You are logged in, if `otb` says so too. {_CLOSE}"
_NOT_LOGGED_IN = f"You are not logged in. `otb` says why. {_CLOSE}"
_UNKNOWN = "Nobody asked for this."


def has_browser(environment: Mapping[str, str]) -> bool:
    """Whether a browser can show itself to a person here."""
    if sys.platform not in {"win32", "darwin"} and not any(
        environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    ):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


async def by_browser(provider: Provider, wish: Wish, asked: dict[str, str], screen: Screen) -> tuple[Tokens, LoggedIn]:
    """Open the browser and wait for its answer; `asked` are scope and resource. Raises CommandError."""
    began, nonce, verifier = time.time(), secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    awaited = Awaited(provider.settings.issuer, bool(provider.metadata.get(_NAMES_ITSELF)))
    server = await asyncio.start_server(awaited.arrived, "127.0.0.1", 0, limit=LONGEST_HEAD)
    try:
        awaited.port = server.sockets[0].getsockname()[1]
        page = _page(provider, awaited, nonce, verifier, {**asked, **wish.parameters()})
        screen.line({"type": "browser", "page": page})
        screen.say(f"Log in with the browser that opens. If none does, open this here: {page}")
        # A browser of a terminal lives as long as somebody reads in it; nobody waits for it.
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
        async with asyncio.timeout(WAIT_SECONDS):
            code = await awaited.code
    except TimeoutError:
        public = "Nobody logged in within five minutes."
        raise CommandError("login_refused", public, "Start again.", Exit.NOT_AUTHENTICATED) from None
    finally:
        server.close()
    tokens = await provider.tokens(
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": awaited.address,
            "code_verifier": verifier,
            **({"resource": asked["resource"]} if "resource" in asked else {}),
        }
    )
    return tokens, await verified(provider, tokens, wish, began, nonce)


def _page(provider: Provider, awaited: "Awaited", nonce: str, verifier: str, asked: dict[str, str]) -> str:
    """The authentication request (OpenID Connect Core 1.0, 3.1.2.1; RFC 7636, 4.3)."""
    address = provider.endpoint("authorization_endpoint", "login by browser")
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    parameters = {
        "response_type": "code",
        "client_id": provider.settings.client_id,
        "redirect_uri": awaited.address,
        "state": awaited.state,
        "nonce": nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii"),
        "code_challenge_method": "S256",
        **asked,
    }
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(parameters)}"


@dataclass(slots=True)
class Awaited:
    """The one answer that is waited for; `names_itself`: the provider says that it always names itself (RFC 9207)."""

    issuer: str
    names_itself: bool
    port: int = 0
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    code: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def address(self) -> str:
        """Where the answer is waited for: an address, not a name (RFC 8252, 8.3)."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    async def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it with a page."""
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status, words = self.take(head.decode("ascii"))
            writer.write(_answer(status, words))
            await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    def take(self, head: str) -> tuple[int, str]:
        """Take a request's head; status and words of the answer. Only the first with our state counts."""
        lines = head.split("\r\n")
        method, _, rest = lines[0].partition(" ")
        target, _, version = rest.partition(" ")
        hosts = [line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("host:")]
        path, _, query = target.partition("?")
        if not version.startswith("HTTP/1.") or hosts != [f"127.0.0.1:{self.port}"] or path != PATH:
            return 404, _UNKNOWN
        if method != "GET":
            return 405, _UNKNOWN
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32)
        given = dict(pairs)
        ours = len(given) == len(pairs) and secrets.compare_digest(given.get("state", "").encode(), self.state.encode())
        if not ours or self.code.done():
            return 400, _UNKNOWN
        return self._settle(given)

    def _settle(self, given: Mapping[str, str]) -> tuple[int, str]:
        named = given.get("iss")
        if named != self.issuer and (named is not None or self.names_itself):
            # RFC 9207, 2.4: the answer of another provider, put into this login.
            public = f"The answer comes from another provider: {named}."
            self.code.set_exception(CommandError("login_refused", public, "Start again.", Exit.NOT_AUTHENTICATED))
        elif "error" in given:
            self.code.set_exception(RefusedGrantError(given["error"][:64], given.get("error_description", "")[:300]))
        elif given.get("code"):
            self.code.set_result(given["code"])
            return 200, _LOGGED_IN
        else:
            self.code.set_exception(RefusedGrantError("invalid_response", "there is no code in its answer"))
        return 200, _NOT_LOGGED_IN


def _answer(status: int, words: str) -> bytes:
    body = f"<!doctype html><meta charset=utf-8><title>otb</title><p>{words}</p>\n".encode()
    head = (
        f"HTTP/1.1 {status} .\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
