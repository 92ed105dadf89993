"""Which proposals are over, as far as this broker has learnt it: however the state tells it later, they stay over."""

import asyncio
import logging

from broker.adapters.state_proposal_journal import ProposalJournal
from broker.engine.ports import Clock
from broker.model.proposal import KnownEnd

log = logging.getLogger(__name__)


class ProposalEnds:
    """One per broker. An end is kept until no approval that was given before it counts any more."""

    def __init__(self, clock: Clock, journal: ProposalJournal, kept_seconds: float) -> None:
        self._clock = clock
        self._journal = journal
        self._kept_seconds = kept_seconds
        self._ends: dict[str, KnownEnd] = {}
        self._kept: tuple[KnownEnd, ...] = ()
        self._distrusted: set[str] = set()
        self._writing = asyncio.Lock()

    async def start(self) -> None:
        """Take what was over in the last run. Raises ConfigError."""
        self._kept = await asyncio.to_thread(self._journal.read)
        self._ends = {end.proposal: end for end in self._kept}

    def of(self, proposal: str) -> KnownEnd | None:
        """How a proposal is known to have ended."""
        return self._ends.get(proposal)

    async def learn(self, *ends: KnownEnd) -> None:
        """These are over, here at once and for good. What cannot be kept is read from the state at the next start."""
        for end in ends:
            self._ends.setdefault(end.proposal, end)
        async with self._writing:
            since = self._clock.now() - self._kept_seconds
            self._ends = {key: end for key, end in self._ends.items() if end.learnt_at > since}
            over = tuple(self._ends.values())
            if over == self._kept:
                return
            try:
                await asyncio.to_thread(self._journal.write, over)
                self._kept = over
            except OSError as error:
                log.error("the proposals that are over cannot be kept: %s", error)

    def distrust(self, end: KnownEnd) -> None:
        """The state says that it is open again; said once."""
        if end.proposal not in self._distrusted:
            self._distrusted.add(end.proposal)
            log.critical("the state says that proposal %s is open, which was %s", end.proposal, end.ended_as.value)
