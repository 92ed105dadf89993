"""The proposals that this broker knows to be over, in a file of its own: nobody reopens them through the database."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from broker.adapters.private_files import read_kept, write_private
from broker.model.proposal import KnownEnd, ProposalEnd


class ProposalJournal:
    """One JSON file, replaced as a whole and fsynced; called from worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[KnownEnd, ...]:
        """The ends of the last run. Raises ConfigError: whoever cannot know what is over must not begin."""
        return read_kept(self._path, _decode, (), "proposals_unreadable", "The proposals that are over cannot be read.")

    def write(self, ends: Iterable[KnownEnd]) -> None:
        """Keep these, and no others. Raises OSError."""
        write_private(self._path, json.dumps([asdict(end) for end in ends]).encode())


def _decode(document: Any) -> tuple[KnownEnd, ...]:
    return tuple(KnownEnd(**fields | {"ended_as": ProposalEnd(fields["ended_as"])}) for fields in document)
