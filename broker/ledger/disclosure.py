"""Salted commitments for values that are secret or personal: the record proves the value only while its salt is kept.

Erasing the salt makes the commitment say nothing about the value; the record itself never changes.
"""

import base64
import hmac
from hashlib import sha256

from broker.errors import IntegrityError

SALT_OCTETS = 32
_DOMAIN = b"otbroker/commitment/v1\n"


def commit(value: str, salt: bytes) -> str:
    """The commitment, `sha256-` and base64url without padding; the salt is fresh chance, one for each value."""
    if len(salt) != SALT_OCTETS:
        raise ValueError(f"a salt is {SALT_OCTETS} octets")
    digest = hmac.new(salt, _DOMAIN + value.encode(), sha256).digest()
    return "sha256-" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def verify_disclosure(commitment: str, claimed_value: str, salt: bytes) -> str:
    """The value that was committed to. Raises IntegrityError."""
    if len(salt) != SALT_OCTETS or not hmac.compare_digest(commit(claimed_value, salt), commitment):
        raise IntegrityError("disclosure_wrong", "the value is not the one that was recorded")
    return claimed_value
