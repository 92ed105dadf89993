"""The requests that this broker knows to be over, in a file of its own: nobody revives them through the database."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.adapters.private_files import read_kept, write_private
from broker.model.access_request import Ending, RequestState


class RequestJournal:
    """One JSON file, replaced as a whole and fsynced; called from worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Ending, ...]:
        """The endings of the last run. Raises ConfigError: whoever cannot know what is over must not begin."""
        public = "The requests that are over cannot be read."
        return read_kept(self._path, _decode, (), "requests_unreadable", public)

    def write(self, endings: Iterable[Ending]) -> None:
        """Keep these, and no others. Raises OSError."""
        write_private(self._path, json.dumps([asdict(ending) for ending in endings]).encode())


def _decode(document: Any) -> tuple[Ending, ...]:
    return tuple(Ending(**fields | {"state": RequestState(fields["state"])}) for fields in document)
