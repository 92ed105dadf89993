"""How the API reads the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

Record = dict[str, Any]
Numbered = tuple[int, Record]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records are searched for; empty fields match everything, times are epoch seconds [since, until).

    `subject`, `device` and `session` match every record that belongs to them, through its session if it names none
    itself. Newest first, unless `oldest_first`; `cursor` is the index to go on from (None: from whichever end is
    first).
    """

    kinds: tuple[str, ...] = ()
    subject: str = ""
    device: str = ""
    session: str = ""
    decision: str = ""
    since: float | None = None
    until: float | None = None
    oldest_first: bool = False
    cursor: int | None = None
    limit: int = 50

    def going_on(self, cursor: int | None) -> "Filters":
        """The same from there."""
        return replace(self, cursor=cursor)


@dataclass(frozen=True, slots=True)
class Page:
    """What a search found; `cursor` goes on from there, None if there is nothing more.

    A page may be short, even empty, with a cursor: a search looks at a bounded number of records at a time.
    """

    records: tuple[Numbered, ...]
    cursor: int | None


class LedgerView(Protocol):
    """Reads the ledger. Its methods are called from worker threads, a few at a time; `size` from the event loop too."""

    @property
    def size(self) -> int:
        """How many records there are, known without reading."""

    def checkpoint(self) -> str:
        """The newest signed checkpoint (C2SP signed note)."""

    def records(self, start: int, stop: int) -> Iterator[Numbered]:
        """Records start <= index < stop that are there."""

    def stored(self, index: int) -> bytes:
        """One record, octet for octet as it is hashed into the tree. Raises LookupError."""

    def inclusion_proof(self, index: int) -> tuple[list[str], str]:
        """Hashes (base64, leaf to root; RFC 9162, 2.1.3) that prove a record, and the newest checkpoint they lead to.

        Raises LookupError if that checkpoint does not cover the record.
        """

    def search(self, filters: Filters) -> Page:
        """A page of the records that match."""
