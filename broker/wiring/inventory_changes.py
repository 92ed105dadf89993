"""Records and logs who gained and who lost by a changed inventory; losses are in force before that is worked out."""

import asyncio
import contextlib
import dataclasses
import logging
from collections import deque
from dataclasses import dataclass

from broker.access.change_words import Told, told
from broker.access.changes import access_changes
from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.model.place import Inventory
from broker.model.vocabulary import RecordKind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InventoryChange:
    """From `previous` to `in_force`; what `wanted` gives beyond that waits to be approved."""

    previous: Inventory
    in_force: Inventory
    wanted: Inventory

    @property
    def waiting_revision(self) -> str:
        """The revision whose gains wait; "" if none do."""
        return self.wanted.revision if self.wanted.revision != self.in_force.revision else ""

    @property
    def is_news(self) -> bool:
        """Whether something changed, or waits."""
        return not self.previous.revision == self.in_force.revision == self.wanted.revision

    def told(self) -> Told:
        """Who gains and who loses; takes seconds for a large plant."""
        return told(access_changes(self.previous, self.in_force), access_changes(self.in_force, self.wanted))


class InventoryChanges:
    """Tells one change after another, in the order in which they came into force."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._untold: deque[tuple[InventoryChange, float]] = deque()
        self._telling: asyncio.Task[None] | None = None

    def note(self, change: InventoryChange) -> None:
        """It has come into force now: tell it soon; nobody has to wait."""
        self._untold.append((change, self._clock.now()))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def told(self) -> None:
        """Until everything noted so far is recorded."""
        if self._telling is not None:
            await self._telling

    async def close(self) -> None:
        """Record at once what is still to be told, if need be without the words."""
        if self._telling is not None:
            self._telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._telling
        while self._untold:
            self._record(*self._untold.popleft(), None)

    async def _tell(self) -> None:
        while self._untold:
            words = None
            try:
                words = await asyncio.to_thread(self._untold[0][0].told)
            except Exception:
                log.exception("it cannot be told who gains and who loses")
            self._record(*self._untold.popleft(), words)

    def _record(self, change: InventoryChange, at: float, words: Told | None) -> None:
        if change.in_force.revision != change.previous.revision:
            self._append(change, at, words)
            counts = f": {words.lost} losses, {words.gained} gains" if words else ""
            log.info("inventory_changed: revision %s in force%s", change.in_force.revision, counts)
        if words is not None:
            _log_sentences(words)

    def _append(self, change: InventoryChange, at: float, words: Told | None) -> None:
        detail: dict[str, object] = dataclasses.asdict(words) if words else {}
        detail |= {"in_force_from": at, "gains_waiting_for": change.waiting_revision}
        record = records.changed(
            RecordKind.INVENTORY_CHANGED,
            self._clock.now(),
            revision=change.in_force.revision,
            previous=change.previous.revision,
            detail=detail,
        )
        try:
            self._ledger.append(record)
        except LedgerUnavailableError:
            log.error("a change was not recorded: the ledger is closed")


def _log_sentences(words: Told) -> None:
    for sentence in words.changes:
        log.info("in force: %s", sentence)
    for sentence in words.waiting:
        log.info("waits for `otbroker config apply`: %s", sentence)
    more = words.lost + words.gained + words.gains_waiting - len(words.changes) - len(words.waiting)
    if more:
        log.info("and %d more, which `otbroker config diff OLD NEW` lists", more)
