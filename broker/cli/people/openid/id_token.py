"""The ID token: who logged in, when and how, as the provider signed it (OpenID Connect Core 1.0, 3.1.3.7)."""

import base64
import hashlib
import time
from dataclasses import dataclass

from broker.cli.people.access import LoginSettings
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.openid.provider import Provider, Tokens
from broker.errors import TokenError
from broker.identity.claims import check_audience, instant, optional_text, require_claims, text
from broker.identity.compact import ClaimedToken, decode_compact
from broker.identity.json_object import JsonObject
from broker.identity.keys import KeySet
from broker.identity.signature import pinned_issuer, verify_signature
from broker.model.trust import Issuer

CLOCK_SECONDS = 60.0
"""How far this machine's clock may be from the provider's."""
SPARE_SECONDS = 5.0
_TYPES = frozenset({"jwt", ""})
_DIGESTS = {"256": "sha256", "384": "sha384", "512": "sha512", "dSA": "sha512"}


@dataclass(frozen=True, slots=True)
class Wish:
    """How somebody wants to be logged in: afresh, not longer ago than so many seconds, in one of these ways (`acr`)."""

    fresh: bool = False
    max_age_seconds: int | None = None
    acr: tuple[str, ...] = ()

    def parameters(self) -> dict[str, str]:
        """The same in the words of an authentication request (3.1.2.1)."""
        age = 0 if self.fresh else self.max_age_seconds
        asked = {"prompt": "login"} if self.fresh else {}
        asked |= {} if age is None else {"max_age": str(age)}
        return asked | ({"acr_values": " ".join(self.acr)} if self.acr else {})


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The provider's word for who it is."""

    account: str
    authenticated_at: float | None
    acr: str


async def verified(provider: Provider, tokens: Tokens, wish: Wish, began: float, nonce: str = "") -> LoggedIn:
    """Who logged in, in a login that began at that moment (epoch seconds). Raises CommandError."""
    if not tokens.identity:
        raise _refused("it gave no ID token")
    try:
        return _verify(tokens, provider.settings, await provider.keys(), time.time(), began, wish, nonce)
    except TokenError as error:
        raise _refused(f"the ID token is not acceptable: {error.public} {error.detail}".rstrip(". ")) from None


def _verify(
    tokens: Tokens, settings: LoginSettings, keys: KeySet, now: float, began: float, wish: Wish, nonce: str
) -> LoggedIn:
    token = decode_compact(tokens.identity)
    claims = token.payload
    believed = Issuer(settings.issuer, "", (settings.client_id,), ())
    issuer = pinned_issuer(claims, {settings.issuer: believed})
    verify_signature(token, issuer, _TYPES, lambda _issuer, key_id: keys.named(key_id))
    require_claims(claims, ("aud", "exp", "iat", "sub"))
    check_audience(claims, issuer.audiences)
    if optional_text(claims, "azp") not in ("", settings.client_id):
        raise _refused("the ID token is another application's")
    if instant(claims, "exp") <= now - CLOCK_SECONDS or instant(claims, "iat") > now + CLOCK_SECONDS:
        raise _refused("the ID token is not of now; is this machine's clock right?")
    if nonce and claims.get("nonce") != nonce:
        raise _refused("the ID token belongs to another login")
    _check_access_token(token, tokens.access)
    _check_wish(claims, wish, now - began)
    at = instant(claims, "auth_time") if "auth_time" in claims else None
    return LoggedIn(text(claims, "sub"), at, optional_text(claims, "acr"))


def _check_access_token(token: ClaimedToken, access_token: str) -> None:
    """3.1.3.8: `at_hash`, if it is there, is of the access token that came with it."""
    claimed = token.payload.get("at_hash")
    if claimed is None:
        return
    digest = hashlib.new(_DIGESTS[str(token.header["alg"])[-3:]], access_token.encode("ascii")).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")
    if claimed != half:
        raise _refused("ID token and access token do not belong together")


def _check_wish(claims: JsonObject, wish: Wish, elapsed: float) -> None:
    """By the provider's own clock: it logged in while this was going on, or not longer before than was wished."""
    age = 0 if wish.fresh else wish.max_age_seconds
    if age is not None:
        require_claims(claims, ("auth_time",))
        if instant(claims, "iat") - instant(claims, "auth_time") > age + elapsed + SPARE_SECONDS:
            raise _refused("it did not ask again who you are, though it was told to")
    if wish.acr and claims.get("acr") not in wish.acr:
        raise _refused(f"it logged you in by {claims.get('acr')!r}, not by {' or '.join(wish.acr)}")


def _refused(what: str) -> CommandError:
    hint = "Try again; if that does not help, ask whoever runs the provider."
    return CommandError(
        "login_refused", f"The provider's login counts for nothing: {what}.", hint, Exit.NOT_AUTHENTICATED
    )
