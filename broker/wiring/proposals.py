"""Proposals: who wants what, who approves it, and the warrant once the policy says that enough people do.

What is read from the state counts only as far as it is signed: approvals by a broker that is known here, for just these
parameters, and warrants likewise.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_proposals import ProposalRow, ProposalRows
from broker.engine.ports import Clock, Ledger
from broker.errors import IntegrityError
from broker.ledger import proposal_records as records
from broker.ledger.approvals import sign, verify
from broker.ledger.canonical import canonical
from broker.ledger.notes import Verifier
from broker.model.proposal import Approval, Parameters, Proposal, ProposalAct, ProposalEnd, Standing, Warrant
from broker.wiring.recording import record_durably

log = logging.getLogger(__name__)
OPEN_SECONDS = 72 * 3600.0
WARRANT_SECONDS = 24 * 3600.0


class ProposalBook:
    """One per broker. What asks the state raises StateUnavailableError, what acts also LedgerUnavailableError."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        database: StateDatabase,
        chance: Callable[[str], str],
        origin: str,
        key: Ed25519PrivateKey,
        verifiers: Iterable[Verifier],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._rows = ProposalRows(database)
        self._chance = chance
        self._origin = origin
        self._key = key
        self._verifiers = tuple(verifiers)

    async def newest(self) -> tuple[Standing, ...]:
        """The newest proposals as they stand."""
        return tuple(self._standing(row) for row in await self._rows.newest())

    async def standing(self, identifier: str) -> Standing | None:
        """One proposal as it stands."""
        row = await self._rows.proposal(identifier)
        return None if row is None else self._standing(row)

    async def of_act(self, act: ProposalAct) -> tuple[Standing, ...]:
        """The newest proposals of an act."""
        return tuple(self._standing(row) for row in await self._rows.of_act(act))

    async def create(self, act: ProposalAct, parameters: Parameters, by: str, why: str) -> Standing:
        """Propose an act, which is to want it: the proposer is the first of those who approve."""
        now = self._clock.now()
        proposal = Proposal(self._chance("prp"), act, parameters, by, now, now + OPEN_SECONDS, why)
        await self._rows.add(proposal, partial(self._record_created, proposal))
        return await self.approve(Standing(proposal), by)

    async def open_for(self, act: ProposalAct, parameters: Parameters) -> Standing:
        """The open proposal of something that nobody proposed but files of a host do; made if there is none.

        Its id follows from what it is about and how often that has been proposed, so that two who come at one time
        mean the same one.
        """
        now = self._clock.now()
        same = [s for s in await self.of_act(act) if s.proposal.parameters == parameters]
        found = next((standing for standing in same if standing.open_at(now)), None)
        if found is not None:
            return found
        about = canonical([act.value, dict(parameters), len(same)])
        identifier = f"prp-{sha256(about).hexdigest()[:20]}"
        proposal = Proposal(identifier, act, parameters, "", now, now + OPEN_SECONDS)
        await self._rows.add(proposal, partial(self._record_created, proposal))
        return await self.standing(identifier) or Standing(proposal)

    async def approve(self, standing: Standing, by: str) -> Standing:
        """Approve as a person; once, however often. How it stands then."""
        proposal, now = standing.proposal, self._clock.now()

        async def recorded() -> str:
            parameters = dict(proposal.parameters)
            record = records.proposal_approved(
                now, proposal=proposal.id, act=proposal.act.value, parameters=parameters, by=by
            )
            index = await record_durably(self._ledger, record)
            said = Approval(proposal.id, proposal.act, proposal.parameters, by, now, self._origin, index)
            return sign(said, self._key)

        await self._rows.approve(proposal.id, by, recorded)
        return await self.standing(proposal.id) or standing

    async def warrant(self, standing: Standing, by: str) -> Standing | None:
        """Enough people want it: let it be done once. None if it has ended meanwhile."""
        proposal, now = standing.proposal, self._clock.now()
        warrant = Warrant(
            proposal.id,
            proposal.act,
            proposal.parameters,
            proposal.proposed_by,
            standing.approved_by,
            now,
            now + WARRANT_SECONDS,
            self._origin,
        )
        return await self._end(standing, ProposalEnd.APPROVED, by, sign(warrant, self._key), "")

    async def refuse(self, standing: Standing, by: str, why: str) -> Standing | None:
        """Refuse it for good. None if it has ended meanwhile."""
        return await self._end(standing, ProposalEnd.REFUSED, by, "", why)

    async def warrants(self, act: ProposalAct) -> tuple[Warrant, ...]:
        """What is warranted, the newest first, as far as it is proven."""
        found = []
        for row in await self._rows.of_act(act):
            try:
                if row.warrant:
                    found.append(verify(Warrant, row.warrant, self._verifiers))
            except IntegrityError as error:
                log.error("the warrant of proposal %s cannot be believed: %s", row.proposal.id, error)
        return tuple(sorted(found, key=lambda warrant: -warrant.at))

    async def decided(self, act: ProposalAct) -> bool:
        """Whether the state says that an act was ever warranted, be that proven or not."""
        return any(row.warrant or row.ended_as is ProposalEnd.APPROVED for row in await self._rows.of_act(act))

    async def _end(self, standing: Standing, ended_as: ProposalEnd, by: str, warrant: str, why: str) -> Standing | None:
        proposal, now = standing.proposal, self._clock.now()

        async def recorded() -> None:
            record = records.proposal_ended(
                now,
                proposal=proposal.id,
                act=proposal.act.value,
                ended_as=ended_as.value,
                by=by,
                approved_by=standing.approved_by,
                why=why,
            )
            await record_durably(self._ledger, record)

        if not await self._rows.end(proposal.id, ended_as, by, now, warrant, recorded):
            return None
        return Standing(proposal, standing.approved_by, ended_as, by, now, warrant)

    async def _record_created(self, proposal: Proposal) -> None:
        record = records.proposal_created(
            proposal.proposed_at,
            proposal=proposal.id,
            act=proposal.act.value,
            parameters=dict(proposal.parameters),
            by=proposal.proposed_by,
            until=proposal.until,
            why=proposal.why,
        )
        await record_durably(self._ledger, record)

    def _standing(self, row: ProposalRow) -> Standing:
        """What counts of a row: approvals that are proven, of just this, and of each person one."""
        approved = {by for by, note in row.approvals if self._proven(row.proposal, by, note)}
        return Standing(row.proposal, tuple(sorted(approved)), row.ended_as, row.ended_by, row.ended_at, row.warrant)

    def _proven(self, proposal: Proposal, by: str, note: str) -> bool:
        try:
            said = verify(Approval, note, self._verifiers)
        except IntegrityError as error:
            log.error("an approval of proposal %s cannot be believed: %s", proposal.id, error)
            return False
        of_this = (said.proposal, said.act, said.parameters) == (proposal.id, proposal.act, proposal.parameters)
        return of_this and said.by == by
