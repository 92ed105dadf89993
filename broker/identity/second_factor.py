"""Codes of authenticator apps (TOTP, RFC 6238), and how long who guesses wrong has to wait.

SHA-1, six digits and 30 seconds: the only parameters that every authenticator app understands. A code is good in its
own step and one before and after, for clocks differ; whoever accepts it remembers the step, so that none counts twice.
"""

import hmac
import re

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_OCTETS = 20  # RFC 4226, 4 R6
STEP_SECONDS = 30
_DIGITS = 6
_FREE_FAILURES = 3
_FIRST_WAIT_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 3600.0
_CODE = re.compile(r"[0-9]{6}", re.ASCII)


def otpauth_uri(secret: bytes, subject: str, issuer: str) -> str:
    """What an authenticator app reads, from a picture or typed: it contains the secret."""
    return _totp(secret).get_provisioning_uri(subject, issuer)


def accepted_step(secret: bytes, raw_code: str, now: float, last_step: int) -> int | None:
    """The step that a code proves, later than the last that was accepted (RFC 6238, 5.2); None if it proves none."""
    code = "".join(raw_code.split())
    if not _CODE.fullmatch(code):
        return None
    current, totp, found = int(now) // STEP_SECONDS, _totp(secret), None
    for step in (current - 1, current, current + 1):
        right = hmac.compare_digest(totp.generate(step * STEP_SECONDS), code.encode())
        if right and step > last_step:
            found = step
    return found


def wait_after(failures: int) -> float:
    """How long nothing is looked at after so many failures in a row: none after three, then ever longer."""
    beyond = failures - _FREE_FAILURES
    return 0.0 if beyond <= 0 else min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** min(beyond - 1, 16))


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, _DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - RFC 6238; HMAC-SHA-1 is not broken
