"""The files of a login: the access token where every command looks for it, and beside it what fresh ones come from."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.cli.people.access import Access, LoginSettings, read_text, read_token
from broker.cli.people.exits import CommandError, Document, Exit
from broker.cli.people.openid.provider import Provider, RefusedGrantError, Tokens, provider_of
from broker.cli.people.own_files import lock, unlock, write_whole
from broker.cli.people.trouble import token_end

LONGEST_LEAD_SECONDS = 60.0
USUAL_LIFETIME_SECONDS = 300.0
LOCK_SECONDS = 30.0
_ENDED = frozenset({"invalid_grant", "unauthorized_client", "invalid_client"})


@dataclass(frozen=True, slots=True)
class KeptLogin:
    """Where a login is kept."""

    settings: LoginSettings
    token: Path

    def keep(self, tokens: Tokens, previous: Document) -> None:
        """Keep fresh tokens; a refresh token that did not come anew stays. The access token goes last."""
        kept = {
            "issuer": self.settings.issuer,
            "client_id": self.settings.client_id,
            "lifetime_seconds": tokens.lifetime_seconds or USUAL_LIFETIME_SECONDS,
            "refresh_token": tokens.refresh or previous.get("refresh_token", ""),
        }
        write_whole(self.settings.kept, json.dumps(kept, indent=2) + "\n")
        write_whole(self.token, tokens.access + "\n")

    def read(self) -> Document:
        """What is kept for this client of this issuer; nothing if it is another's or cannot be read."""
        try:
            found = json.loads(read_text(self.settings.kept, "login"))
        except (CommandError, ValueError):
            return {}
        ours = isinstance(found, dict) and (found.get("issuer"), found.get("client_id")) == (
            self.settings.issuer,
            self.settings.client_id,
        )
        return found if ours else {}

    def forget(self) -> None:
        """Delete both files."""
        for path in (self.settings.kept, self.token):
            path.unlink(missing_ok=True)

    def due_at(self) -> float:
        """When a fresh token should be had (epoch seconds): a while before the end, now if there is none."""
        try:
            end = token_end(read_token(self.token))
        except CommandError:
            return 0.0
        lifetime = self.read().get("lifetime_seconds")
        seconds = float(lifetime) if isinstance(lifetime, int | float) else USUAL_LIFETIME_SECONDS
        return float("inf") if end is None else end - min(LONGEST_LEAD_SECONDS, seconds / 3)


def kept_login(access: Access) -> KeptLogin | None:
    """The login that an access rests on, if it does."""
    if access.login is None or access.token is None:
        return None
    return KeptLogin(access.login, access.token)


async def refresh(kept: KeptLogin) -> bool:
    """Get a fresh token if one is due; whether there was. Raises CommandError, `login_ended` if only a login helps.

    One `otb` at a time: providers that hand out each refresh token once take a second use of it for theft.
    """
    if kept.due_at() > time.time() or not (kept.settings.service or kept.read().get("refresh_token")):
        return False
    async with _alone(kept.settings.kept.with_suffix(".lock")):
        if kept.due_at() > time.time():
            return True
        previous = kept.read()
        try:
            async with provider_of(kept.settings) as provider:
                kept.keep(await provider.tokens(_grant(kept.settings, previous)), previous)
        except RefusedGrantError as error:
            if error.error in _ENDED:
                raise _login_ended(error) from None
            raise
    return True


async def revoke(provider: Provider, kept: KeptLogin) -> None:
    """Tell the provider that the kept tokens are of no use any more (RFC 7009). Raises CommandError."""
    token, hint = kept.read().get("refresh_token"), "refresh_token"
    if not token:
        token, hint = read_token(kept.token), "access_token"
    address = provider.endpoint("revocation_endpoint", "way to give tokens back")
    status, answer = await provider.post(address, {"token": str(token), "token_type_hint": hint})
    if status != 200:
        raise RefusedGrantError(str(answer.get("error", f"status {status}")), "the token was not given back")


def asked_of(settings: LoginSettings) -> dict[str, str]:
    """What tokens are asked for."""
    return {"scope": settings.scope} | ({"resource": settings.resource} if settings.resource else {})


def _grant(settings: LoginSettings, previous: Document) -> dict[str, str]:
    """A service asks in its own name; for a person the refresh token speaks (RFC 6749, 4.4 and 6)."""
    resource = {"resource": settings.resource} if settings.resource else {}
    if settings.service:
        return {"grant_type": "client_credentials"} | resource
    return {"grant_type": "refresh_token", "refresh_token": str(previous.get("refresh_token", "")), **resource}


def service_grant(settings: LoginSettings) -> dict[str, str]:
    """The grant of a service, which has no login to go back to."""
    return _grant(settings, {})


def _login_ended(error: RefusedGrantError) -> CommandError:
    public = f"Your login has ended: {error.public}"
    return CommandError("login_ended", public, "Log in again: `otb login`.", Exit.NOT_AUTHENTICATED)


@asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    end = time.monotonic() + 2 * LOCK_SECONDS
    while not lock(path, LOCK_SECONDS):
        if time.monotonic() > end:
            public = f"Another `otb` has been renewing this login for long: {path}."
            raise CommandError("login_busy", public, "Try again in a moment.")
        await asyncio.sleep(0.05)
    try:
        yield
    finally:
        unlock(path)
