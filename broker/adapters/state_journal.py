"""The locks that this broker holds, in a file of its own: they hold before the database is asked, and without it."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.adapters.private_files import read_kept, write_private
from broker.model.lock import Lock, LockKind


class LockJournal:
    """One JSON file, replaced as a whole and fsynced; called from worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Lock, ...]:
        """The locks of the last run. Raises ConfigError: whoever cannot know what is locked must not begin."""
        return read_kept(self._path, _decode, (), "locks_unreadable", "The locks held cannot be read.")

    def write(self, locks: Iterable[Lock]) -> None:
        """Keep these, and no others. Raises OSError."""
        write_private(self._path, json.dumps([asdict(lock) for lock in locks]).encode())


def _decode(document: Any) -> tuple[Lock, ...]:
    return tuple(Lock(**fields | {"kind": LockKind(fields["kind"])}) for fields in document)
