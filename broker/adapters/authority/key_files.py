"""Where a signing key lies: the port, and keys in files (0600) encrypted with a passphrase (PKCS #8, PBES2)."""

from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from broker.adapters.authority.certificates import PrivateKey, make_key
from broker.adapters.private_files import write_private
from broker.errors import ConfigError

SHORTEST_PASSPHRASE = 16


class KeyPlace(Protocol):
    """Where one signing key lies; what comes out signs for `certificates` and need not be readable."""

    def create(self) -> PrivateKey:
        """Make a new key there. Raises ConfigError."""

    def load(self) -> PrivateKey:
        """The key that lies there. Raises ConfigError."""


class Secrets(Protocol):
    """What opens keys; asked for only when a key is used."""

    def passphrase(self) -> bytes:
        """Of keys in files. Raises ConfigError."""

    def pin(self) -> str:
        """Of a token. Raises ConfigError."""


class FileKey:
    """A key in a file."""

    def __init__(self, path: Path, secrets: Secrets) -> None:
        self._path = path
        self._secrets = secrets

    def create(self) -> PrivateKey:
        """Make a P-256 key; one that is there is never written over. Raises ConfigError."""
        if self._path.exists():
            raise ConfigError("key_exists", f"{self._path} is there already.", "a key is never written over")
        passphrase = self._secrets.passphrase()
        if len(passphrase) < SHORTEST_PASSPHRASE:
            # The library derives with few rounds: the passphrase itself must be beyond guessing.
            public = f"The passphrase of a key has at least {SHORTEST_PASSPHRASE} characters."
            raise ConfigError("passphrase_short", public, "better a random one: openssl rand -base64 24")
        key = make_key()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
        write_private(self._path, pem)
        return key

    def load(self) -> PrivateKey:
        """Read and decrypt it. Raises ConfigError `key_unusable`."""
        try:
            key = load_pem_private_key(self._path.read_bytes(), self._secrets.passphrase())
        except OSError as error:
            raise _unusable(self._path, error.strerror or "it cannot be read") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _unusable(self._path, "wrong passphrase, or no encrypted key") from None
        if not isinstance(key, PrivateKey):
            raise _unusable(self._path, "a key of another kind")
        return key


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError("key_unusable", f"The key {path} cannot be used.", why)
