"""The register of an authority: what it issued, revoked and listed, append-only.

JSON lines, each with the SHA-256 of the line before it, on disk before anything they speak of is handed out. A line
that was changed, taken out or put in is found at the next reading; a tail that was cut off is found by whoever kept the
register's head, which `otbroker ca status` prints.
"""

import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from broker.adapters.ledger_files_disk import sync_folder, write_all
from broker.errors import ConfigError, IntegrityError

TRY_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate; serials are hexadecimal, `authority` is that of the authority that signed, `renewed_from` that of
    the certificate by which it was asked for.
    """

    at: float
    authority: str
    serial: str
    profile: str
    names: tuple[str, ...]
    not_after: float
    fingerprint: str
    modbus_role: str | None = None
    renewed_from: str | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate that counts no longer; `reason` as RFC 5280, 5.3.1 names it."""

    at: float
    authority: str
    serial: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A revocation list."""

    at: float
    authority: str
    number: int
    next_update: float


@dataclass(frozen=True, slots=True)
class Warranted:
    """A warrant that was used, once: what for, and who had approved it."""

    at: float
    proposal: str
    act: str
    approved_by: str


@dataclass(frozen=True, slots=True)
class Spent:
    """An invitation whose code is good for nothing any more, whatever the state says of it: used, or revoked."""

    at: float
    invitation: str


Entry = Issued | Revoked | Listed | Warranted | Spent
_KINDS: dict[str, type[Entry]] = {
    "issued": Issued,
    "revoked": Revoked,
    "listed": Listed,
    "warranted": Warranted,
    "spent": Spent,
}
_WORDS = {kind: word for word, kind in _KINDS.items()}


def followers(entries: Iterable[Entry], serial: str) -> tuple[Issued, ...]:
    """What was renewed from a certificate, from what was renewed from it, and so on, the oldest first."""
    found: list[Issued] = []
    family = {serial}
    for entry in entries:
        if isinstance(entry, Issued) and entry.renewed_from in family:
            family.add(entry.serial)
            found.append(entry)
    return tuple(found)


class CertificateRegister(Protocol):
    """What an authority remembers; one that several hosts share can stand in for the file."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything, oldest first."""

    @property
    def head(self) -> str:
        """A digest of everything."""

    def append(self, entry: Entry) -> None:
        """Remember, durably. Raises OSError."""


class RegisterFile:
    """A register in a file; whoever appends holds the folder's lock. Raises IntegrityError if it was tampered with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[Entry] = []
        self._first = ""
        self._head = ""
        self._sound_octets = 0
        for line in _whole_lines(path):
            self._entries.append(_decode(line, self._head, len(self._entries)))
            self._take(line)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything, oldest first."""
        return tuple(self._entries)

    @property
    def head(self) -> str:
        """SHA-256 of the last line, empty for an empty register."""
        return self._head

    @property
    def identity(self) -> str:
        """SHA-256 of the first line, by which it stays known however it grows; empty for an empty register."""
        return self._first

    def append(self, entry: Entry) -> None:
        """Write a line and wait until it is on disk; what a power cut left of one is cut off. Raises OSError."""
        members = {"event": _WORDS[type(entry)], **asdict(entry), "previous": self._head}
        line = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, self._sound_octets)
            os.lseek(descriptor, 0, os.SEEK_END)
            write_all(descriptor, line + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self._path.parent)
        self._entries.append(entry)
        self._take(line)

    def _take(self, line: bytes) -> None:
        self._head = hashlib.sha256(line).hexdigest()
        self._first = self._first or self._head
        self._sound_octets += len(line) + 1


@contextmanager
def locked(folder: Path, patience_seconds: float = math.inf) -> Iterator[None]:
    """Nobody else changes the authority in that folder meanwhile; waits for who does, but not longer than that.

    Raises ConfigError `authority_busy`.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take_lock(descriptor, folder, time.monotonic() + patience_seconds)
        yield
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, folder: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if until == math.inf else fcntl.LOCK_NB))
        except BlockingIOError:
            if time.monotonic() >= until:
                public = f"Another program works on the authority in {folder}."
                raise ConfigError("authority_busy", public, "see who has its file `lock` open") from None
            time.sleep(TRY_SECONDS)
        else:
            return


def _whole_lines(path: Path) -> list[bytes]:
    """The lines that were written to their end: of another nothing was handed out."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    return raw.split(b"\n")[:-1]


def _decode(line: bytes, head: str, place: int) -> Entry:
    try:
        members: dict[str, Any] = json.loads(line)
        if members.pop("previous") != head:
            raise ValueError("it does not follow the line before it")
        kind = _KINDS[members.pop("event")]
        if "names" in members:
            members["names"] = tuple(members["names"])
        return kind(**members)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        public = f"The register of certificates was changed at line {place + 1}."
        raise IntegrityError("register_broken", public, str(error)) from None
