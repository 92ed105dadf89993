"""How emergencies ended, as the ledger has it: the file that keeps them may not have been written any more."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Protocol

import orjson

from broker.errors import LedgerUnavailableError
from broker.model.emergency import Emergency
from broker.model.vocabulary import RecordKind

CHUNK = 1024
CLOCK_SECONDS = 86_400.0
"""By how much the clock may have been set back since an emergency was opened."""
OPENED, ENDED = RecordKind.BREAK_GLASS_OPENED.value, RecordKind.BREAK_GLASS_ENDED.value
Ends = dict[str, tuple[float, str]]


class Records(Protocol):
    """A ledger to read."""

    @property
    def size(self) -> int:
        """How many records there are."""

    @property
    def minimum(self) -> int:
        """The first that is still there."""

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """Records [start, stop)."""


def recorded_ends(ledger: Records, emergencies: Collection[Emergency]) -> Ends:
    """When (epoch seconds) those that ended did, and by whom ("": in time); of each, its newest record counts.

    Reads from the end back to the newest record of each, or to when the first was opened. Raises
    LedgerUnavailableError.
    """
    wanted, ends, stop = {emergency.id for emergency in emergencies}, Ends(), ledger.size
    since = min((emergency.opened_at for emergency in emergencies), default=0.0) - CLOCK_SECONDS
    try:
        first = ledger.minimum
        while wanted and stop > first:
            start = max(stop - CHUNK, first)
            chunk = list(ledger.records(start, stop))
            for record in _of_emergencies(chunk, wanted):
                wanted.discard(_emergency(record))
                if record["kind"] == ENDED:
                    ends[_emergency(record)] = _time(record), record.get("by", "")
            stop = start if not chunk or _time(orjson.loads(chunk[0])) >= since else first
    except OSError as error:
        raise LedgerUnavailableError("ledger_closed", "The ledger cannot be read.", str(error)) from error
    return ends


def _of_emergencies(chunk: list[bytes], wanted: set[str]) -> Iterator[dict[str, Any]]:
    """That these were opened or ended, the newest first; `wanted` may become fewer meanwhile."""
    for raw in reversed(chunk):
        if b'"break_glass_' in raw:
            record = orjson.loads(raw)
            if record["kind"] in (OPENED, ENDED) and _emergency(record) in wanted:
                yield record


def _emergency(record: dict[str, Any]) -> str:
    told = record["emergency"]
    return str(told["id"] if record["kind"] == OPENED else told)


def _time(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["time"]).timestamp()
