"""Calls of the broker's API: mutual TLS and a bearer token, answers with numbers as they were written."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp

from broker.cli.people.access import Access, read_token
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.problem_words import entries
from broker.cli.people.safe_text import decode_document, encode_document
from broker.cli.people.trouble import explained, own_proofs_fault, was_not_sent

CONNECT_SECONDS = 10.0
CALL_SECONDS = 60.0
SILENCE_SECONDS = 75.0
MAX_ANSWER_OCTETS = 32 * 1024 * 1024
MAX_TUNNEL_MESSAGE_OCTETS = 131_072
Query = Sequence[tuple[str, str]]


class Client:
    """One connection pool to one broker. No proxy, no redirect, no cookie, no compression: the broker has none."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._http: aiohttp.ClientSession | None = None
        self._tls = FreshTls(access)

    async def __aenter__(self) -> Self:
        self._tls.context()
        connector = aiohttp.TCPConnector(limit=4)
        self._http = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": "otb", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS, connect=CONNECT_SECONDS),
            raise_for_status=self._explain_refused_tunnel,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def get(self, path: str, query: Query = ()) -> Document:
        """The answer to a GET. Raises ProblemError or CommandError."""
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            return await self._call("GET", target, None, {})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise explained(error, self.access) from None

    async def file(self, path: str, media_type: str, query: Query = ()) -> bytes:
        """The file that a GET answers with. Raises ProblemError or CommandError."""
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            async with self._opened().get(
                self.access.api + target, headers=self.bearer(), allow_redirects=False, ssl=self._tls.context()
            ) as response:
                octets = await _bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise explained(error, self.access) from None
        if response.status != 200 or response.content_type != media_type:
            self._answer(response.status, octets)
            raise odd_answer(f"it is not {media_type}")
        return octets

    async def post(self, path: str, body: Document) -> Document:
        """The answer to a POST that may be sent again. Raises ProblemError or CommandError."""
        try:
            return await self._call("POST", path, body, {})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise explained(error, self.access) from None

    async def write(self, path: str, body: Document, key: str, wait_seconds: int = 0) -> Document:
        """The answer to a write, sent once. Raises ProblemError or CommandError: `outcome_unknown` if it was lost.

        `wait_seconds` is how long the broker may keep it waiting for a person.
        """
        try:
            return await self._call("POST", path, body, {"Idempotency-Key": key}, CALL_SECONDS + wait_seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = explained(error, self.access)
            if was_not_sent(error) or reason.code == "broker_untrusted":
                raise reason from None
            raise lost_write(reason, key) from None
        except CommandError as error:
            raise (lost_write(error, key) if error.code == "broker_odd" else error) from None

    async def events(self, path: str) -> AsyncIterator[tuple[str, Document]]:
        """The server-sent events of a path, until the broker ends them. Raises ProblemError or CommandError."""
        patience = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            async with self._opened().get(
                self.access.api + path,
                headers=self.bearer(),
                allow_redirects=False,
                timeout=patience,
                ssl=self._tls.context(),
            ) as response:
                if response.status != 200 or response.content_type != "text/event-stream":
                    self._answer(response.status, await _bounded(response))
                    raise odd_answer("it is not a stream of events")
                async for event in read_events(response.content):
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise explained(error, self.access) from None

    async def open_tunnel(self, path: str, subprotocol: str) -> aiohttp.ClientWebSocketResponse:
        """An open WebSocket of that subprotocol. Raises ProblemError or CommandError."""
        http = self._opened()
        try:
            opened = await http.ws_connect(
                self.access.api + path,
                protocols=(subprotocol,),
                headers=self.bearer(),
                max_msg_size=MAX_TUNNEL_MESSAGE_OCTETS,
                timeout=aiohttp.ClientWSTimeout(ws_receive=SILENCE_SECONDS, ws_close=3.0),
                ssl=self._tls.context(),
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise explained(error, self.access) from None
        if opened.protocol != subprotocol:
            await opened.close()
            raise odd_answer("it does not speak the tunnel's protocol")
        return opened

    def proofs_on_disk(self) -> object:
        """What changes whenever certificate, key or token are replaced."""
        return self._tls.marks(), self.bearer()

    def bearer(self) -> dict[str, str]:
        """The header with the token, read anew: another program may keep the file fresh."""
        return {} if self.access.token is None else {"Authorization": f"Bearer {read_token(self.access.token)}"}

    async def _explain_refused_tunnel(self, response: aiohttp.ClientResponse) -> None:
        """Read why a handshake was refused, which the WebSocket client would throw away. Raises ProblemError."""
        if response.status != 101 and "Upgrade" in response.request_info.headers:
            self._answer(response.status, await _bounded(response))
            raise odd_answer("it answered a handshake with a document")

    async def _call(
        self,
        method: str,
        target: str,
        body: Document | None,
        headers: Mapping[str, str],
        seconds: float = CALL_SECONDS,
    ) -> Document:
        content = {} if body is None else {"Content-Type": "application/json"}
        data = None if body is None else encode_document(body, indented=False).encode()
        async with self._opened().request(
            method,
            self.access.api + target,
            data=data,
            headers={**self.bearer(), **content, **headers},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS),
            ssl=self._tls.context(),
        ) as response:
            octets = await _bounded(response)
        return self._answer(response.status, octets)

    def _answer(self, status: int, octets: bytes) -> Document:
        try:
            document = decode_document(octets)
        except ValueError:
            raise odd_answer(f"status {status} without a document") from None
        if not isinstance(document, dict):
            raise odd_answer(f"status {status} with something else than a document")
        if status == 200:
            return document
        if status == 401:
            revoked = any(reason.get("code") == "certificate_revoked" for reason in entries(document.get("reasons")))
            fault = "" if revoked else own_proofs_fault(self.access)
            document |= {"what_to_do": fault} if fault else {}
        raise ProblemError(document)

    def _opened(self) -> aiohttp.ClientSession:
        assert self._http is not None
        return self._http


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    octets = bytearray()
    async for chunk in response.content.iter_any():
        octets += chunk
        if len(octets) > MAX_ANSWER_OCTETS:
            raise odd_answer("its answer is too large")
    return bytes(octets)


async def read_events(stream: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Document]]:
    """The events of a stream; comments are passed over. Raises CommandError for what the broker does not send."""
    kind = ""
    try:
        async for octets in stream:
            name, _, text = octets.decode("ascii").rstrip("\n").partition(": ")
            if name == "event":
                kind = text
            elif name == "data":
                document = decode_document(text)
                if not isinstance(document, dict):
                    raise odd_answer("an event is no document")
                yield kind, document
    except ValueError:
        raise odd_answer("an event cannot be read") from None


def odd_answer(what: str) -> CommandError:
    """What answers is not a broker, or not one that we understand."""
    return CommandError("broker_odd", f"The broker's answer makes no sense: {what}.", "Check that --api is a broker's.")


def lost_write(reason: CommandError, key: str) -> CommandError:
    """The connection was lost while a write was under way."""
    return CommandError(
        "outcome_unknown",
        f"{reason.public} The write may have taken effect.",
        f"Read the point first. The same command with `--idempotency-key {key}` gets the answer without writing again, "
        "unless the broker has restarted since.",
        Exit.UNKNOWN,
    )


class FreshTls:
    """The TLS context, made anew when the certificate was renewed meanwhile; a password is asked for once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._made: tuple[ssl.SSLContext, object] | None = None
        self._password = ""

    def context(self) -> ssl.SSLContext:
        """For the next connection; kept ones go on as they are. Raises CommandError."""
        marks = self.marks()
        while self._made is None or self._made[1] != marks:
            try:
                self._made = tls_context(self._access, self._ask), marks
            except CommandError:
                # The one may have been read before a renewal, and the other after it.
                if marks == self.marks():
                    raise
            marks = self.marks()
        return self._made[0]

    def marks(self) -> object:
        """What changes with the files of certificate and key."""
        return [_mark(path) for path in (self._access.certificate, self._access.key)]

    def _ask(self) -> str:
        self._password = self._password or _password()
        return self._password


def _mark(path: Path | None) -> tuple[int, int] | None:
    try:
        stat = None if path is None else path.stat()
    except OSError:
        return None
    return None if stat is None else (stat.st_mtime_ns, stat.st_ino)


def tls_context(access: Access, password: Callable[[], str] | None = None) -> ssl.SSLContext:
    """Believes the authority in --ca and no other, unless told; presents our certificate. Raises CommandError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.system_trust:
        context.load_default_certs()
    if access.ca is not None:
        _load("authority", access.ca, lambda: context.load_verify_locations(cafile=access.ca))
    elif not access.system_trust:
        hint = "Give --ca FILE, or --system-trust if a public authority issued the broker's certificate."
        raise CommandError("ca_missing", "It is not known which authority vouches for the broker.", hint)
    certificate, key, ask = access.certificate, access.key, password or _password
    if certificate is not None:
        _load("certificate or key", certificate, lambda: context.load_cert_chain(certificate, key, ask))
    return context


def _load(what: str, path: Any, load: Any) -> None:
    try:
        load()
    except ssl.SSLError as error:
        reason = "key and certificate do not belong together" if "MISMATCH" in str(error) else "it is not proper PEM"
        raise CommandError("file_invalid", f"The {what} {path} cannot be used: {reason}.") from None
    except OSError as error:
        public = f"The {what} {error.filename or path} cannot be read: {error.strerror or error}."
        raise CommandError("file_unreadable", public, "Check the path and its permissions.") from None


def _password() -> str:
    """Asks for the password of an encrypted key, at a terminal only. Raises CommandError."""
    import sys
    from getpass import getpass

    if not sys.stdin.isatty():
        raise CommandError("key_encrypted", "The key is encrypted, and there is no terminal to ask for its password.")
    return getpass("Password of the key: ")
