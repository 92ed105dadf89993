"""An authenticator app, written from RFC 6238 alone."""

import base64
import hmac
from hashlib import sha1
from urllib.parse import parse_qs, urlsplit


def code_at(secret: bytes, now: float) -> str:
    digest = hmac.new(secret, (int(now) // 30).to_bytes(8, "big"), sha1).digest()
    place = digest[-1] & 15
    return f"{(int.from_bytes(digest[place : place + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def secret_of(uri: str) -> bytes:
    """What an app reads from the picture."""
    (text,) = parse_qs(urlsplit(uri).query)["secret"]
    return base64.b32decode(text + "=" * (-len(text) % 8))
