"""The compact form of a signed token (RFC 7515, 3.1 and 7.1), read strictly and not yet believed."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from broker.identity.codes import token_error
from broker.identity.json_object import JsonObject, decode_json_object

LARGEST_TOKEN = 8 * 1024
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# Headers that carry or locate a key, or change how the token is to be read: keys come from settings only (RFC 8725,
# 3.10), and no critical extension is understood (RFC 7515, 4.1.11).
_REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"})


@dataclass(frozen=True, slots=True)
class ClaimedToken:
    """A well-formed token; every word of it is only claimed until the signature is verified."""

    raw: str
    header: JsonObject
    payload: JsonObject

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the signing input, base64url without padding: what was signed, never enough to replay it."""
        signing_input = self.raw.rpartition(".")[0].encode("ascii")
        return base64.urlsafe_b64encode(hashlib.sha256(signing_input).digest()).rstrip(b"=").decode("ascii")


def decode_compact(raw_token: str) -> ClaimedToken:
    """Split and read a token. Raises TokenError `token_malformed`."""
    if len(raw_token) > LARGEST_TOKEN:
        raise token_error("token_malformed", f"larger than {LARGEST_TOKEN} octets")
    parts = _COMPACT.fullmatch(raw_token)
    if parts is None:
        raise token_error("token_malformed", "not three parts of base64url")
    try:
        header, payload, _signature = (_decode_part(part) for part in parts.groups())
        token = ClaimedToken(raw_token, decode_json_object(header), decode_json_object(payload))
    except ValueError as error:
        raise token_error("token_malformed", str(error)) from None
    refused = _REFUSED_HEADERS & token.header.keys()
    if refused:
        raise token_error("token_malformed", f"header {', '.join(sorted(refused))}")
    return token


def _decode_part(part: str) -> bytes:
    """RFC 7515, 2: base64url without padding; also the unused bits of the last character are zero, so one form only."""
    try:
        octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
    if base64.urlsafe_b64encode(octets).rstrip(b"=") != part.encode("ascii"):
        raise ValueError("base64url that is not in its one form")
    return octets
