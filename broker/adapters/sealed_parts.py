"""Makes the parts of a seal and recognises them: of each only a slow salted hash is kept.

What comes out says nothing of which part was wrong, nor does the time that it takes: every part that is presented is
hashed, whether or not there is one of its number, and whether or not it was spent.
"""

import hmac
import os
import secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from broker.model.emergency import Seal, SealedPart
from broker.model.parts import SECRET_BITS, Part, decode_part, encode_part

SALT_OCTETS = 16
DIGEST_OCTETS = 32
COST = 2**15
_ABSENT = SealedPart(0, "00" * SALT_OCTETS, "00" * DIGEST_OCTETS)


def seal_parts(identifier: str, parts: int, needed: int, now: float) -> tuple[Seal, tuple[str, ...]]:
    """A new seal, and the parts as they are printed, once."""
    texts = tuple(encode_part(number, secrets.randbits(SECRET_BITS)) for number in range(1, parts + 1))
    return Seal(identifier, needed, now, tuple(_sealed(decode_part(text)) for text in texts)), texts


def opens(seal: Seal, presented: Sequence[Part]) -> bool:
    """Whether these are as many parts of the seal as it needs, all different, none spent. Takes a moment for each."""
    known = {part.number: part for part in seal.parts}
    right = 0
    for part in presented:
        kept = known.get(part.number, _ABSENT)
        same = hmac.compare_digest(_digest(part.text, bytes.fromhex(kept.salt)), bytes.fromhex(kept.digest))
        right += same and kept is not _ABSENT and not kept.spent_in
    return right == len({part.number for part in presented}) == len(presented) == seal.needed


def _sealed(part: Part) -> SealedPart:
    salt = os.urandom(SALT_OCTETS)
    return SealedPart(part.number, salt.hex(), _digest(part.text, salt).hex())


def _digest(text: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=DIGEST_OCTETS, n=COST, r=8, p=1).derive(text.encode())
