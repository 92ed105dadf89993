"""Which proposals are over, as far as this broker has learnt it: however the state tells it later, they stay over."""

import asyncio
import logging
from contextlib import suppress

from broker.adapters.state_proposal_journal import ProposalJournal
from broker.engine.ports import Clock
from broker.model.proposal import KnownEnd
from broker.wiring.kept_file import KeptFile

log = logging.getLogger(__name__)
SETTLED_SECONDS = 0.5


class ProposalEnds:
    """One per broker. An end is kept until no approval that was given before it counts any more."""

    def __init__(self, clock: Clock, journal: ProposalJournal, kept_seconds: float) -> None:
        self._clock = clock
        self._journal = journal
        self._kept_seconds = kept_seconds
        self._ends: dict[str, KnownEnd] = {}
        self._distrusted: set[str] = set()
        self._file = KeptFile[tuple[KnownEnd, ...]]((), self._over, journal.write, "the proposals that are over")

    async def start(self) -> None:
        """Take what was over in the last run. Raises ConfigError."""
        self._file.kept = await asyncio.to_thread(self._journal.read)
        self._ends = {end.proposal: end for end in self._file.kept}

    async def stop(self) -> None:
        """Keep what is known now, if the disk lets."""
        await self._file.stop()

    def of(self, proposal: str) -> KnownEnd | None:
        """How a proposal is known to have ended."""
        return self._ends.get(proposal)

    def learn(self, *ends: KnownEnd) -> None:
        """These are over, here at once and for good. What cannot be kept is read from the state at the next start."""
        for end in ends:
            self._ends.setdefault(end.proposal, end)
        since = self._clock.now() - self._kept_seconds
        self._ends = {key: end for key, end in self._ends.items() if end.learnt_at > since}
        self._file.wake()

    async def settled(self) -> None:
        """Until what is known is kept, or a moment on a disk that hangs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_SECONDS):
                await self._file.settled()

    def _over(self) -> tuple[KnownEnd, ...]:
        return tuple(self._ends.values())

    def distrust(self, end: KnownEnd) -> None:
        """The state says that it is open again; said once."""
        if end.proposal not in self._distrusted:
            self._distrusted.add(end.proposal)
            log.critical("the state says that proposal %s is open, which was %s", end.proposal, end.ended_as.value)
