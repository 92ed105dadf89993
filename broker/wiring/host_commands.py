"""Takes what commands on this host did into the ledger, also what they did while no broker ran."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from broker.adapters.host_journal import HostCommand, HostJournal
from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.wiring.recording import durable

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5


class HostCommands:
    """One per broker; `places` are the folders that commands act on."""

    def __init__(self, clock: Clock, ledger: Ledger, places: Sequence[Path]) -> None:
        self._clock = clock
        self._ledger = ledger
        self._journals = tuple(HostJournal(place) for place in dict.fromkeys(places))
        self._untaken: dict[HostJournal, str] = {}

    @property
    def readiness(self) -> tuple[bool, str]:
        """Whether everything told could be taken, and what could not."""
        return not self._untaken, "; ".join(self._untaken.values()) or "taken"

    async def start(self) -> None:
        """Let commands see that somebody reads, and take what they told before."""
        for journal in self._journals:
            try:
                await asyncio.to_thread(journal.make)
            except OSError as error:
                self._fail(journal, error)
        await self.look()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Take what there is."""
        for journal in self._journals:
            try:
                await self._take(journal)
            except OSError as error:
                self._fail(journal, error)
            except LedgerUnavailableError:
                return  # it is kept, and taken when the ledger is open again
            else:
                self._untaken.pop(journal, None)

    async def _take(self, journal: HostJournal) -> None:
        """From the journal into the ledger, and on disk there before it is gone here."""
        taken = await asyncio.to_thread(journal.take)
        if taken is None:
            return
        now = self._clock.now()
        for command in taken.commands:
            log.warning("%s %s by %s", command.command, command.outcome, _claimed(command))
            self._ledger.append(_record(command, now))
        if taken.unreadable:
            self._ledger.append(records.host_lines_unreadable(now, count=taken.unreadable))
        await durable(self._ledger)
        await asyncio.to_thread(journal.drop)

    def _fail(self, journal: HostJournal, error: OSError) -> None:
        if journal not in self._untaken:
            log.error("what commands on this host did cannot be taken into the ledger: %s", error)
        self._untaken[journal] = str(error)


def _claimed(command: HostCommand) -> str:
    """Who ran it, as the host knew him."""
    return ", ".join(f"{name} {value}" for name, value in command.claimed_by.items()) or "somebody"


def _record(command: HostCommand, now: float) -> bytes:
    return records.host_command(
        now,
        id=command.id,
        at=command.at,
        command=command.command,
        about=command.about,
        outcome=command.outcome,
        claimed_by=command.claimed_by,
    )
