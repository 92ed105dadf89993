"""Values and salts behind the ledger's commitments, in files apart from the records so that they can be erased.

Below the ledger's folder, in `disclosures/`, JSON lines in files named by a record's index: what is in a file belongs
to records below the index that names the next one, so a file goes when those records do. Erasing overwrites a line in
place. Whoever appends never touches what was written before, so it needs no agreement with the broker that writes.
"""

import asyncio
import base64
import contextlib
import errno
import logging
import os
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Protocol

import orjson

from broker.adapters.ledger_files_disk import NO_ROOM, sync_folder, write_all
from broker.adapters.ledger_files_writer import State
from broker.errors import LedgerUnavailableError
from broker.ledger.disclosure import SALT_OCTETS, commit

FOLDER = "disclosures"
FILE_OCTETS = 1 << 20
FILE_SECONDS = 86400.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What proves the value of a commitment."""

    commitment: str
    value: str
    salt: bytes


class Records(Protocol):
    """The ledger, as far as disclosures need it: what it takes, why, and the index that the next record gets."""

    @property
    def state(self) -> State: ...  # noqa: D102
    @property
    def detail(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102


class DisclosureWriter:
    """Implements `Disclosures`; called on the event loop, which writes. A thread fsyncs within moments.

    While the ledger takes no intents nothing is committed to, so that no value is kept that no record leads to; only
    one whose own record finds the ledger full stays until its file is given up. Without room nothing is committed to
    (`ledger_paused`) until there is some. After a failed fsync nothing is any more (`ledger_closed`): nobody knows what
    is on disk.
    """

    def __init__(self, ledger_folder: Path, ledger: Records, *, file_octets: int = FILE_OCTETS) -> None:
        self._folder = ledger_folder / FOLDER
        self._ledger = ledger
        self._file_octets = file_octets
        self._current: int | None = None
        self._written = 0
        self._begun_at = 0.0
        self._full: deque[int] = deque()
        self._thread = ThreadPoolExecutor(1, "ledger-disclosures")
        self._sync_due = False
        self._begun = self._named = 0
        self._failed = self._hindered = ""

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, empty if it can."""
        return self._failed or self._hindered

    def commit_to(self, value: str) -> str:
        """See the port."""
        if self._ledger.state is not State.OPEN:
            raise _unavailable(f"ledger_{self._ledger.state}", self._ledger.detail)
        salt = os.urandom(SALT_OCTETS)
        commitment = commit(value, salt)
        entry = {"commitment": commitment, "salt": base64.b64encode(salt).decode(), "value": value}
        self._write(b"\n" + orjson.dumps(entry) + b"\n")  # a line cut off by a crash ends here
        if not self._sync_due:
            self._sync_due = True
            self._thread.submit(self._sync)
        return commitment

    def commit_erased(self, value: str) -> str:
        """See the port."""
        return commit(value, os.urandom(SALT_OCTETS))

    async def prune(self, minimum: int) -> None:
        """Give up what belongs to records below `minimum`. Raises OSError."""
        if self._folder.is_dir():
            if self._current is None or monotonic() - self._begun_at > FILE_SECONDS:
                self._begin()
            await asyncio.to_thread(_drop_below, self._folder, minimum)

    async def close(self) -> None:
        """Fsync what was written and let go."""
        await asyncio.to_thread(self._close)

    def _write(self, line: bytes) -> None:
        if self._failed:
            raise _unavailable("ledger_closed", self._failed)
        try:
            if self._current is None or self._written >= self._file_octets:
                self._begin()
            assert self._current is not None
            write_all(self._current, line)
        except OSError as error:
            self._log(str(error))
            self._hindered = str(error)
            raise _unavailable("ledger_paused" if error.errno in NO_ROOM else "ledger_closed", str(error)) from error
        self._written += len(line)
        self._hindered = ""

    def _log(self, trouble: str) -> None:
        if not self.trouble:
            log.error("no disclosures can be written, confidential points are refused: %s", trouble)

    def _begin(self) -> None:
        """Go on in the next file. Its index is never below that of the last, even if records of it were lost."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        name = max([self._ledger.size, *(int(path.name) for path in _files(self._folder))])
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        following = os.open(self._folder / str(name), flags, 0o600)
        if self._current is not None:
            self._full.append(self._current)
        self._current = following
        self._begun += 1
        self._written = os.fstat(following).st_size
        self._begun_at = monotonic()

    def _sync(self) -> None:
        """On the thread. What is written from here on asks again."""
        self._sync_due = False
        try:
            while self._full:
                descriptor = self._full.popleft()
                os.fsync(descriptor)
                os.close(descriptor)
            current, begun = self._current, self._begun
            if current is not None:
                os.fsync(current)
            if begun != self._named:
                sync_folder(self._folder)
                sync_folder(self._folder.parent)
                self._named = begun
        except OSError as error:
            self._log(str(error))
            self._failed = str(error)

    def _close(self) -> None:
        if self._current is not None:
            self._thread.submit(self._sync).result()
            os.close(self._current)
            self._current = None
        self._thread.shutdown()


class DisclosureFiles:
    """The same files for people on the broker's host; the broker may be running. Methods raise OSError."""

    def __init__(self, ledger_folder: Path) -> None:
        self._folder = ledger_folder / FOLDER

    def disclose(self, commitment: str) -> Disclosure | None:
        """What proves a commitment's value; None if it is not there (any more)."""
        for path in _files(self._folder):
            with contextlib.suppress(FileNotFoundError):  # the broker has just given it up
                for _, line in _lines(path.read_bytes()):
                    disclosure = _read(line)
                    if disclosure is not None and disclosure.commitment == commitment:
                        return disclosure
        return None

    def erase(self, commitments: Collection[str]) -> frozenset[str]:
        """Overwrite values and salts, durably; which were there. The records do not change."""
        erased: set[str] = set()
        for path in _files(self._folder):
            with contextlib.suppress(FileNotFoundError):
                erased |= _blank(path, commitments)
        return frozenset(erased)


def _unavailable(code: str, detail: str) -> LedgerUnavailableError:
    return LedgerUnavailableError(code, "nothing confidential can be recorded", detail)


def _blank(path: Path, commitments: Collection[str]) -> set[str]:
    """Overwrite these lines and those that cannot be read: a write that was cut off may hold a value as well."""
    erased: set[str] = set()
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        octets = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        for offset, line in _lines(octets):
            disclosure = _read(line)
            if disclosure is not None and disclosure.commitment not in commitments:
                continue
            _overwrite(descriptor, offset, len(line))
            if disclosure is not None:
                erased.add(disclosure.commitment)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return erased


def _overwrite(descriptor: int, offset: int, length: int) -> None:
    if os.pwrite(descriptor, b" " * length, offset) != length:
        raise OSError(errno.EIO, "not overwritten wholly; erase again")


def _lines(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole lines that are not blank, with their offsets; what follows the last one may still be being written."""
    offset = 0
    for line in octets.split(b"\n")[:-1]:
        if line and not line.isspace():
            yield offset, line
        offset += len(line) + 1


def _read(line: bytes) -> Disclosure | None:
    try:
        entry = orjson.loads(line)
        return Disclosure(entry["commitment"], entry["value"], base64.b64decode(entry["salt"], validate=True))
    except (ValueError, KeyError, TypeError):
        return None


def _files(folder: Path) -> list[Path]:
    """In the order of their indices."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def _drop_below(folder: Path, minimum: int) -> None:
    for path, following in pairwise(_files(folder)):
        if int(following.name) <= minimum:
            path.unlink(missing_ok=True)
