"""Records a changed inventory as it comes into force, and who gained and who lost by it once that is worked out."""

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
        self._untold: deque[InventoryChange] = deque()
        self._telling: asyncio.Task[None] | None = None

    def note(self, change: InventoryChange) -> None:
        """It comes into force now: record it, and tell soon what it means; nobody has to wait."""
        if change.in_force.revision != change.previous.revision:
            self._append(RecordKind.INVENTORY_CHANGED, change, {"gains_waiting_for": change.waiting_revision})
            log.info("inventory_changed: revision %s in force", change.in_force.revision)
        self._untold.append(change)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def told(self) -> None:
        """Until everything noted so far is told."""
        if self._telling is not None:
            await self._telling

    async def close(self) -> None:
        """Leave untold what is not worked out yet: the archived inventories say it as well."""
        if self._telling is not None:
            self._telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._telling

    async def _tell(self) -> None:
        while self._untold:
            change = self._untold.popleft()
            try:
                words = await asyncio.to_thread(change.told)
            except Exception:
                log.exception("it cannot be told who gains and who loses")
                continue
            if change.in_force.revision != change.previous.revision:
                self._append(RecordKind.ACCESS_CHANGED, change, dataclasses.asdict(words))
                log.info(
                    "access_changed: revision %s: %d losses, %d gains",
                    change.in_force.revision,
                    words.lost,
                    words.gained,
                )
            _log_sentences(words)

    def _append(self, kind: RecordKind, change: InventoryChange, detail: dict[str, object]) -> None:
        revision, previous = change.in_force.revision, change.previous.revision
        record = records.changed(kind, self._clock.now(), revision=revision, previous=previous, detail=detail)
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
