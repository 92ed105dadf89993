"""Rules for single claims of a token: presence, form, times and the binding to a certificate."""

import re
from collections.abc import Collection

from broker.errors import TokenError
from broker.identity.codes import binding_error, token_error
from broker.identity.json_object import JsonObject, is_text, strings
from broker.model.trust import Binding, Issuer

_LONGEST_TEXT = 256
_LONGEST_WORD = 64
_MOST_WORDS = 64
_LAST_INSTANT = 253_402_300_799  # 9999-12-31T23:59:59Z
_THUMBPRINT = "x5t#S256"
_SHA256 = re.compile(r"[A-Za-z0-9_-]{43}")


def require_claims(claims: JsonObject, names: tuple[str, ...]) -> None:
    """Raises TokenError `token_claim_missing` unless each is there and not null."""
    missing = [name for name in names if claims.get(name) is None]
    if missing:
        raise token_error("token_claim_missing", ", ".join(missing))


def instant(claims: JsonObject, name: str) -> float:
    """A NumericDate (RFC 7519, 2): a finite number of seconds, never text or truth. Raises TokenError."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_INSTANT:
        raise claim_error(name)
    return float(value)


def text(claims: JsonObject, name: str) -> str:
    """A string of 1 to 256 printable characters. Raises TokenError."""
    value = claims[name]
    if not isinstance(value, str) or not is_text(value, _LONGEST_TEXT):
        raise claim_error(name)
    return value


def optional_text(claims: JsonObject, name: str) -> str:
    """The same, "" if it is absent. Raises TokenError."""
    return text(claims, name) if claims.get(name) is not None else ""


def claim_at(claims: JsonObject, path: str) -> object:
    """The claim of that name or, if there is none, what dots in the name lead to; None if there is nothing."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def text_list(claims: JsonObject, name: str) -> tuple[str, ...]:
    """A list of at most 64 words of 1 to 64 printable characters, empty if absent. Raises TokenError."""
    words = strings(claims.get(name, []), _MOST_WORDS, _LONGEST_WORD)
    if words is None:
        raise claim_error(name)
    return words


def check_audience(claims: JsonObject, ours: Collection[str]) -> None:
    """Every audience must be ours: who else a token is meant for could present it here. Raises TokenError."""
    claimed = claims["aud"]
    audiences = [claimed] if isinstance(claimed, str) else claimed
    if not isinstance(audiences, list) or not 0 < len(audiences) <= len(ours):
        raise token_error("token_audience_refused")
    if not all(isinstance(audience, str) and audience in ours for audience in audiences):
        raise token_error("token_audience_refused")


def check_times(claims: JsonObject, issuer: Issuer, now: float) -> None:
    """Issued, begun, not over and not for too long.

    Leeway forgives an issuer whose clock is ahead. It does not lengthen `exp`: access ends when it ends.
    """
    expires, issued = instant(claims, "exp"), instant(claims, "iat")
    begins = instant(claims, "nbf") if "nbf" in claims else issued
    if now >= expires:
        raise token_error("token_expired")
    if max(begins, issued) > now + issuer.leeway_seconds:
        raise token_error("token_not_yet_valid")
    if expires - issued > issuer.maximum_lifetime_seconds:
        raise token_error("token_lifetime_too_long", f"{expires - issued:.0f} seconds")


def check_binding(claims: JsonObject, issuer: Issuer, certificate_fingerprint: str | None) -> None:
    """RFC 8705, 3.1: a bound token counts only beside its certificate.

    A confirmation of another kind (RFC 7800, 3.1; RFC 9449, 6.1) cannot be checked here and is never passed over.
    """
    confirmation = claims.get("cnf")
    if confirmation is None:
        if issuer.binding is Binding.REQUIRED:
            raise token_error("token_binding_missing")
        return
    if not isinstance(confirmation, dict):
        raise claim_error("cnf")
    if confirmation.keys() != {_THUMBPRINT}:
        raise token_error("token_binding_missing", "bound to something other than a certificate")
    thumbprint = confirmation[_THUMBPRINT]
    if not isinstance(thumbprint, str) or not _SHA256.fullmatch(thumbprint):
        raise claim_error("cnf")
    if thumbprint != certificate_fingerprint:
        raise binding_error("token_bound_to_other_certificate")


def claim_error(name: str) -> TokenError:
    """The error for a claim that is not of the form that is required."""
    return token_error("token_claim_malformed", name)
