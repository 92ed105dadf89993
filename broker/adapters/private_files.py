"""Files written whole or not at all: those that only their owner may read, and those for everybody."""

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from broker.adapters.ledger_files_disk import sync_folder
from broker.errors import ConfigError

T = TypeVar("T")


def read_kept(path: Path, decode: Callable[[Any], T], nothing: T, code: str, public: str) -> T:
    """What a run before kept as JSON, `nothing` if there was none. Raises ConfigError: who cannot know must not begin.

    `decode` may raise whatever comes of fields that are not there or not what they should be.
    """
    try:
        return decode(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return nothing
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(code, public, f"{path}: {error}") from None


def write_private(path: Path, octets: bytes) -> None:
    """Write a file (0600) in a folder (0700 if it has to be made); a reader sees the old content or the new."""
    _write(path, octets, 0o600)


def write_public(path: Path, octets: bytes) -> None:
    """The same for what everybody may read (0644): certificates and revocation lists."""
    _write(path, octets, 0o644)


def _write(path: Path, octets: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)
