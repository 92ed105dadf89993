"""The one-time code of an invitation: where to find it, a secret of 128 bits, and a check against slips of the pen.

    code    10 groups of 4 characters of lower-case base32: 5 octets of the place, 16 of the secret, 4 of the check

The place is the invitation's id and no secret. The check is a digest of both, so that a wrong letter is noticed where
the code is typed.
"""

import base64
import binascii
import hmac
from hashlib import sha256

from broker.identity.enrolment_codes import enrolment_error

PLACE_OCTETS = 5
SECRET_OCTETS = 16
_CHECK_OCTETS = 4
_LONGEST_WRITTEN = 100
_PREFIX = "inv-"


def invitation_id(place: bytes) -> str:
    """The id of the invitation at that place: `inv-` and eight characters."""
    return _PREFIX + base64.b32encode(place).decode().lower()


def encode_code(place: bytes, secret: bytes) -> str:
    """The code as people get it."""
    text = base64.b32encode(place + secret + _check(place + secret)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def decode_code(raw_code: str) -> tuple[str, bytes]:
    """The invitation's id and the claimed secret. Raises EnrolmentError `code_malformed`, which never shows it."""
    try:
        if len(raw_code) > _LONGEST_WRITTEN:
            raise ValueError("too long")
        octets = base64.b32decode("".join(raw_code.split()).replace("-", "").upper())
        if len(octets) != PLACE_OCTETS + SECRET_OCTETS + _CHECK_OCTETS:
            raise ValueError("of another length")
    except (ValueError, binascii.Error):
        raise enrolment_error("code_malformed") from None
    content, check = octets[:-_CHECK_OCTETS], octets[-_CHECK_OCTETS:]
    if not hmac.compare_digest(check, _check(content)):
        raise enrolment_error("code_malformed")
    return invitation_id(content[:PLACE_OCTETS]), content[PLACE_OCTETS:]


def _check(content: bytes) -> bytes:
    return sha256(b"otbroker code\0" + content).digest()[:_CHECK_OCTETS]
