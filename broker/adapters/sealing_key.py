"""The key with which the broker seals what others may keep for it: secrets of factors, digests of codes and rows.

Whoever has the database alone can neither read a factor, nor make up an invitation or a certificate.
"""

import base64
import binascii
import hmac
import os
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.adapters.private_files import write_private
from broker.errors import ConfigError, IntegrityError

_OCTETS = 32
_NONCE_OCTETS = 12


class SealingKey:
    """One key for one state; brokers that share a state share its file."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(_derived(master, b"otbroker seal"))
        self._mark_key = _derived(master, b"otbroker mark")

    def seal(self, purpose: str, secret: bytes) -> bytes:
        """Encrypt; it opens for the same purpose only."""
        nonce = os.urandom(_NONCE_OCTETS)
        return nonce + self._cipher.encrypt(nonce, secret, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Decrypt. Raises IntegrityError `seal_broken`."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], purpose.encode())
        except (InvalidTag, ValueError):
            raise IntegrityError("seal_broken", "What was sealed does not open.", purpose) from None

    def mark(self, *parts: str | bytes) -> bytes:
        """A keyed digest of all parts."""
        digest = hmac.new(self._mark_key, digestmod=sha256)
        for part in parts:
            octets = part.encode() if isinstance(part, str) else part
            digest.update(len(octets).to_bytes(8, "big") + octets)
        return digest.digest()

    def bears(self, mark: bytes, *parts: str | bytes) -> bool:
        """Whether that is the mark of these parts, in constant time."""
        return hmac.compare_digest(mark, self.mark(*parts))


def load_sealing_key(path: Path) -> SealingKey:
    """The key in a file, made if there is none. Raises ConfigError."""
    try:
        if not path.exists():
            write_private(path, base64.b64encode(os.urandom(_OCTETS)) + b"\n")
        master = base64.b64decode(path.read_bytes().strip(), validate=True)
    except OSError as error:
        raise ConfigError("sealing_key", "The sealing key cannot be used.", f"{path}: {error.strerror}") from None
    except binascii.Error:
        master = b""
    if len(master) != _OCTETS:
        raise ConfigError("sealing_key", "The sealing key cannot be used.", f"{path}: not 32 octets in base64")
    if path.stat().st_mode & 0o007:
        raise ConfigError("sealing_key", "The sealing key can be read by others.", f"chmod 600 {path}")
    return SealingKey(master)


def _derived(master: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _OCTETS, None, purpose).derive(master)
