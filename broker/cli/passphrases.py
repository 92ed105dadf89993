"""Passphrases and PINs: from a file that others cannot read, or asked for; never from an argument."""

import getpass
import os
import stat
import sys

from broker.errors import ConfigError

_LONGEST = 1024


class GivenSecrets:
    """What opens the keys of one authority; each is read or asked for when it is first needed, a new one twice."""

    def __init__(
        self, what: str, passphrase_file: str | None, pin_file: str | None = None, *, new: bool = False
    ) -> None:
        self._what = what
        self._new = new
        self._files = {"passphrase": passphrase_file, "PIN": pin_file}
        self._known: dict[str, str] = {}

    def passphrase(self) -> bytes:
        """Of keys in files. Raises ConfigError."""
        return self._secret("passphrase").encode()

    def pin(self) -> str:
        """Of a token. Raises ConfigError."""
        return self._secret("PIN")

    def ask_ahead(self, kind: str) -> None:
        """Ask for a passphrase or a PIN now, if somebody has to be asked: not while others wait for a folder."""
        if not self._files[kind] and sys.stdin.isatty():
            self._secret(kind)

    def _secret(self, kind: str) -> str:
        if kind not in self._known:
            path = self._files[kind]
            self._known[kind] = _read(path) if path else self._ask(kind)
        return self._known[kind]

    def _ask(self, kind: str) -> str:
        if not sys.stdin.isatty():
            public = f"The {kind} of the {self._what} is needed, and nobody can be asked for it."
            raise ConfigError("passphrase_missing", public, f"give a file: --{self._option(kind)}")
        secret = getpass.getpass(f"{kind} of the {self._what}: ")
        if self._new and kind == "passphrase" and getpass.getpass(f"{kind} of the {self._what}, again: ") != secret:
            raise ConfigError("passphrase_differs", "The passphrase was not the same twice.")
        return secret

    def _option(self, kind: str) -> str:
        return "pin-file" if kind == "PIN" else f"{'root-' if self._what == 'root' else ''}passphrase-file"


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o027:
                raise ConfigError("passphrase_readable", f"{path} can be read by others.", f"chmod 600 {path}")
            text = file.read(_LONGEST).decode()
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read.", error.strerror or "") from None
    except UnicodeDecodeError:
        raise ConfigError("passphrase_malformed", f"{path} is not text.") from None
    return text.removesuffix("\n").removesuffix("\r")
