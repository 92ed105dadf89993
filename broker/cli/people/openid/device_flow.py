"""Logging in on another screen: a code to type there, while `otb` asks again and again (RFC 8628)."""

import asyncio
import sys
import time

from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.openid.id_token import LoggedIn, Wish, verified
from broker.cli.people.openid.provider import Provider, RefusedGrantError, Tokens, is_protected, odd_provider
from broker.cli.people.screen import Screen

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
USUAL_INTERVAL_SECONDS = 5.0
SLOWER_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 1800.0
_MEANINGS = {"access_denied": "you, or somebody else, said no", "expired_token": "the code is too old by now"}


async def by_device(provider: Provider, wish: Wish, asked: dict[str, str], screen: Screen) -> tuple[Tokens, LoggedIn]:
    """Show the code and wait until it was used; `asked` are scope and resource. Raises CommandError."""
    began = time.time()
    address = provider.endpoint("device_authorization_endpoint", "login by code")
    status, answer = await provider.post(address, {**asked, **wish.parameters()})
    if status != 200:
        raise RefusedGrantError(str(answer.get("error", f"status {status}")), str(answer.get("error_description", "")))
    _show(answer, screen)
    tokens = await _polled(provider, answer, asked)
    return tokens, await verified(provider, tokens, wish, began)


def _show(answer: Document, screen: Screen) -> None:
    code, place, whole = (answer.get(n) for n in ("user_code", "verification_uri", "verification_uri_complete"))
    if not isinstance(code, str) or not isinstance(place, str) or not is_protected(place):
        raise odd_provider("there is no code to log in with")
    screen.line({"type": "device_code", "user_code": code, "verification_uri": place, "complete": whole})
    screen.say(f"To log in, open {place} on any device and enter this code:")
    screen.say(f"    {code}", "bold")
    if isinstance(whole, str) and is_protected(whole) and not screen.as_json and sys.stdout.isatty():
        import segno

        segno.make(whole, error="l").terminal(compact=True)


async def _polled(provider: Provider, answer: Document, asked: dict[str, str]) -> Tokens:
    """3.4 and 3.5: not faster than is wished, slower when told, not longer than the code lives."""
    interval, lifetime = (_seconds(answer.get(name)) for name in ("interval", "expires_in"))
    pause = interval or USUAL_INTERVAL_SECONDS
    end = time.monotonic() + min(lifetime or LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
    form = {"grant_type": GRANT, "device_code": str(answer.get("device_code", "")), **_resource(asked)}
    while time.monotonic() + pause < end:
        await asyncio.sleep(pause)
        try:
            return await provider.tokens(form)
        except RefusedGrantError as error:
            if error.error == "slow_down":
                pause += SLOWER_SECONDS
            elif error.error != "authorization_pending":
                raise _over(error.error) if error.error in _MEANINGS else error from None
        except CommandError as error:
            if error.code != "provider_unreachable":
                raise
            pause *= 2
    raise _over("expired_token")


def _over(word: str) -> CommandError:
    public = f"Nobody was logged in: {_MEANINGS[word]}."
    return CommandError("login_refused", public, "Start again: `otb login`.", Exit.NOT_AUTHENTICATED)


def _resource(asked: dict[str, str]) -> dict[str, str]:
    return {"resource": asked["resource"]} if "resource" in asked else {}


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int) and 0 < value < LONGEST_WAIT_SECONDS else None
