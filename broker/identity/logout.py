"""A logout token (OpenID Connect Back-Channel Logout 1.0) becomes a logout, and logouts end tokens."""

import hashlib
from collections.abc import Mapping

from broker.errors import TokenError
from broker.identity.claims import check_audience, claim_error, instant, optional_text, require_claims, text
from broker.identity.codes import token_error
from broker.identity.compact import decode_compact
from broker.identity.json_object import JsonObject
from broker.identity.signature import KeyLookup, pinned_issuer, verify_signature
from broker.model.logout import Logout
from broker.model.subject import Proof
from broker.model.trust import Issuer

EVENT = "http://schemas.openid.net/event/backchannel-logout"
FRESH_SECONDS = 120.0
REMEMBERED_SECONDS = 86_400.0 + 60.0
"""The longest lifetime and leeway that settings give to any token: after that its own end ends it."""
MOST_REMEMBERED = 100_000
_TYPES = frozenset({"logout+jwt", "jwt", ""})
Account = tuple[str, str]


def verify_logout_token(raw_token: str, issuers: Mapping[str, Issuer], keys: KeyLookup, now: float) -> Logout:
    """The logout that a token tells (2.4 and 2.6). Whether it was told before, only memory knows. Raises TokenError."""
    token = decode_compact(raw_token)
    claims = token.payload
    issuer = pinned_issuer(claims, issuers)
    verify_signature(token, issuer, _TYPES, keys)
    require_claims(claims, ("aud", "iat", "jti", "events"))
    check_audience(claims, issuer.clients)
    _check_freshness(claims, issuer, now)
    _check_event(claims)
    account, login = optional_text(claims, "sub"), optional_text(claims, "sid")
    if not account and not login:
        raise token_error("token_claim_missing", "sub or sid")
    digest = hashlib.sha256(f"{issuer.issuer} {text(claims, 'jti')}".encode()).hexdigest()
    return Logout(f"out-{digest[:40]}", issuer.issuer, account, login, instant(claims, "iat"))


def logged_out_error() -> TokenError:
    """The error for a token that a logout has ended."""
    return token_error("token_logged_out")


class LoggedOut:
    """Which tokens logouts have ended: those of the log-in that is over or, if a token or a logout names none, those
    of the account whose subject had logged in by then.
    """

    def __init__(self) -> None:
        self._logins: dict[Account, float] = {}
        self._accounts: dict[Account, float] = {}
        self._everywhere: dict[Account, float] = {}

    def add(self, logout: Logout) -> None:
        """Remember a logout; of several of one account the latest counts."""
        if logout.login:
            _remember(self._logins, (logout.issuer, logout.login), logout.at)
        if logout.account:
            _remember(self._accounts, (logout.issuer, logout.account), logout.at)
        if logout.account and not logout.login:
            _remember(self._everywhere, (logout.issuer, logout.account), logout.at)

    def forget(self, before: float) -> None:
        """Forget those from before that moment (epoch seconds)."""
        for kept in (self._logins, self._accounts, self._everywhere):
            for key in [key for key, at in kept.items() if at < before]:
                del kept[key]

    def ends(self, proof: Proof) -> bool:
        """Whether a token proof counts no more. A token that was renewed is as old as the log-in behind it."""
        if not self._logins and not self._accounts:
            return False
        if proof.login and (proof.issuer, proof.login) in self._logins:
            return True
        logouts = self._everywhere if proof.login else self._accounts
        at = logouts.get((proof.issuer, proof.account))
        since = proof.issued_at if proof.authenticated_at is None else proof.authenticated_at
        return at is not None and (since is None or since <= at)


def _remember(kept: dict[Account, float], key: Account, at: float) -> None:
    """The one heard of last stands last; so many that the oldest must go have long outlived their tokens."""
    kept[key] = max(at, kept.pop(key, 0.0))
    if len(kept) > MOST_REMEMBERED:
        del kept[next(iter(kept))]


def _check_freshness(claims: JsonObject, issuer: Issuer, now: float) -> None:
    issued, leeway = instant(claims, "iat"), issuer.leeway_seconds
    if issued > now + leeway:
        raise token_error("token_not_yet_valid")
    if now > issued + FRESH_SECONDS + leeway or ("exp" in claims and now >= instant(claims, "exp") + leeway):
        raise token_error("token_expired")


def _check_event(claims: JsonObject) -> None:
    """2.4: the event that makes it a logout token; with a nonce it might be an ID token."""
    events = claims["events"]
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise claim_error("events")
    if "nonce" in claims:
        raise claim_error("nonce")
