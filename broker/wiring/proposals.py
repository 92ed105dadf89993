"""Proposals: who wants what, who approves it, and the warrant once the policy says that enough people do.

What is read from the state counts only as far as it is signed: approvals by a broker that is known here, for just these
parameters and for as long as a proposal may be open, and warrants likewise. What this broker once knew to be over stays
over, whatever the state says later.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.clock import random_id
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_people import PersonRows
from broker.adapters.state_proposal_journal import ProposalJournal
from broker.adapters.state_proposals import ProposalRow, ProposalRows
from broker.engine.ports import Clock, Ledger
from broker.errors import IntegrityError, StateUnavailableError
from broker.ledger import proposal_records as records
from broker.ledger.approvals import sign, verify
from broker.ledger.canonical import canonical
from broker.ledger.notes import Verifier
from broker.listeners.authentication import Authenticator
from broker.listeners.decision_desk import DecisionDesk
from broker.model.backer import Backer
from broker.model.proposal import (
    Approval,
    KnownEnd,
    Parameters,
    Proposal,
    ProposalAct,
    ProposalEnd,
    Standing,
    Warrant,
)
from broker.model.subject import Subject
from broker.settings.broker_file import Settings
from broker.wiring.proposal_approvers import ProposalApprovers, of_these
from broker.wiring.proposal_ends import ProposalEnds
from broker.wiring.recording import record_durably
from broker.wiring.request_parts import signing
from broker.wiring.state_follower import StateFollower

log = logging.getLogger(__name__)
OPEN_SECONDS = 72 * 3600.0
WARRANT_SECONDS = 24 * 3600.0
CLOCKS_DIFFER_SECONDS = 300.0
"""How far the clocks of brokers that share a state may differ."""
REMEMBERED_SECONDS = OPEN_SECONDS + 2 * CLOCKS_DIFFER_SECONDS
PACE_SECONDS = 2.0
LATER_SECONDS = 0.001
SAME_SECONDS = 1e-5
"""How far the same moment differs once it was written as whole microseconds."""


class ProposalBook:
    """One per broker. What asks the state raises StateUnavailableError, what acts also LedgerUnavailableError."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        database: StateDatabase,
        journal: ProposalJournal,
        approvers: ProposalApprovers,
        chance: Callable[[str], str],
        origin: str,
        key: Ed25519PrivateKey,
        verifiers: Iterable[Verifier],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._rows = ProposalRows(database)
        self._approvers = approvers
        self._chance = chance
        self._origin = origin
        self._key = key
        self._verifiers = tuple(verifiers)
        self._ends = ProposalEnds(clock, journal, REMEMBERED_SECONDS)
        complaint = "the proposals that are over could not be looked at"
        self._follower = StateFollower(database, PACE_SECONDS, self.look, complaint)

    async def start(self) -> None:
        """Take what is over from the last run, then from the state, without it as soon as it is there. Raises
        ConfigError.
        """
        await self._ends.start()
        await self.look()
        self._follower.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._follower.stop()
        await self._ends.stop()

    async def look(self) -> None:
        """Learn which proposals have ended at other brokers."""
        now = self._clock.now()
        try:
            rows = await self._rows.ended_since(now - REMEMBERED_SECONDS)
        except StateUnavailableError as error:
            log.debug("the proposals that are over cannot be read: %s", error)
            return
        # Of what nobody has approved nothing can be reopened, so that made up rows fill no memory.
        fresh = [row for row in rows if self._ends.of(row.proposal.id) is None and self._approved(row)]
        self._ends.learn(*(_learnt(row, now) for row in fresh))

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

    async def create(self, act: ProposalAct, parameters: Parameters, by: Subject, why: str) -> Standing:
        """Propose an act, which is to want it: the proposer is the first of those who approve."""
        now = self._clock.now()
        proposal = Proposal(self._chance("prp"), act, parameters, by.id, now, now + OPEN_SECONDS, why)
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
        proposal = Proposal(self._next_id(act, parameters, len(same)), act, parameters, "", now, now + OPEN_SECONDS)
        await self._rows.add(proposal, partial(self._record_created, proposal))
        return await self.standing(proposal.id) or Standing(proposal)

    def _next_id(self, act: ProposalAct, parameters: Parameters, times: int) -> str:
        """The id of what has been proposed that often, or more often if the state has lost some that are over."""
        while True:
            about = canonical([act.value, dict(parameters), times])
            identifier = f"prp-{sha256(about).hexdigest()[:20]}"
            if self._ends.of(identifier) is None:
                return identifier
            times += 1

    async def approve(self, standing: Standing, by: Subject) -> Standing:
        """Approve as a person; once, however often. How it stands then."""
        proposal, now, approver = standing.proposal, self._clock.now(), self._approvers.approver(by)
        if not standing.open_at(now):
            return standing

        async def recorded() -> str:
            parameters = dict(proposal.parameters)
            record = records.proposal_approved(
                now, proposal=proposal.id, act=proposal.act.value, parameters=parameters, by=by.id
            )
            index = await record_durably(self._ledger, record)
            what = (proposal.id, proposal.act, proposal.parameters, proposal.until)
            return sign(Approval(*what, approver, now, self._origin, index), self._key)

        def counts(note: str) -> bool:
            return bool(note) and self._proven(proposal, by.id, note, now) is not None

        await self._rows.approve(proposal.id, by.id, counts, recorded)
        return await self.standing(proposal.id) or standing

    async def counting(self, standing: Standing) -> Standing:
        """A proposal with the approvals of those only who still may approve it. Raises PolicyUnavailableError."""
        return await self._approvers.counting(standing)

    async def warrant(self, standing: Standing, by: str) -> Standing | None:
        """Enough people want it: let it be done once. None if it has ended meanwhile."""
        proposal, now = standing.proposal, self._clock.now()
        warrant = Warrant(
            proposal.id,
            proposal.act,
            proposal.parameters,
            proposal.proposed_by,
            standing.approved_by,
            await self._moment_of(proposal.act, now),
            now + WARRANT_SECONDS,
            self._origin,
        )
        return await self._end(standing, ProposalEnd.APPROVED, by, sign(warrant, self._key), "")

    async def _moment_of(self, act: ProposalAct, now: float) -> float:
        """When a warrant is from: of policies the newest counts, so it is later than those of a clock that is ahead."""
        if act is not ProposalAct.POLICY_ACTIVATE:
            return now
        return max([now, *(warrant.at + LATER_SECONDS for warrant in (await self.warrants(act))[:1])])

    async def refuse(self, standing: Standing, by: str, why: str) -> Standing | None:
        """Refuse it for good. None if it has ended meanwhile."""
        return await self._end(standing, ProposalEnd.REFUSED, by, "", why)

    async def warrants(self, act: ProposalAct) -> tuple[Warrant, ...]:
        """What is warranted, the newest first, as far as it is proven."""
        found = []
        for row in await self._rows.of_act(act):
            try:
                if row.warrant and (warrant := verify(Warrant, row.warrant, self._verifiers)).act is act:
                    found.append(warrant)
            except IntegrityError as error:
                log.error("the warrant of proposal %s cannot be believed: %s", row.proposal.id, error)
        return tuple(sorted(found, key=lambda warrant: -warrant.at))

    async def decided(self, act: ProposalAct) -> bool:
        """Whether the state says that an act was ever warranted, be that proven or not."""
        return any(row.warrant or row.ended_as is ProposalEnd.APPROVED for row in await self._rows.of_act(act))

    async def _end(self, standing: Standing, ended_as: ProposalEnd, by: str, warrant: str, why: str) -> Standing | None:
        proposal, now = standing.proposal, self._clock.now()
        if not standing.open_at(now) or self._ends.of(proposal.id) is not None:
            return None

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
        ended = Standing(proposal, standing.approved_by, ended_as, by, now, warrant)
        self._ends.learn(KnownEnd(proposal.id, ended_as, by, now, now))
        await self._ends.settled()
        return ended

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
        standing = Standing(row.proposal, (), row.ended_as, row.ended_by, row.ended_at, row.warrant)
        known = self._ends.of(row.proposal.id)
        if known is not None and row.ended_as is None:
            self._ends.distrust(known)
            standing = replace(standing, ended_as=known.ended_as, ended_by=known.by, ended_at=known.at)
        now = self._clock.now()
        return of_these(standing, self._approved(row, now if standing.open_at(now) else None))

    def _approved(self, row: ProposalRow, now: float | None = None) -> tuple[Backer, ...]:
        """Who has approved it, proven; where it is open, only those whose approvals are good still."""
        found = (self._proven(row.proposal, by, note, now) for by, note in row.approvals)
        return tuple({approver.id: approver for approver in found if approver is not None}.values())

    def _proven(self, proposal: Proposal, by: str, note: str, now: float | None) -> Backer | None:
        try:
            said = verify(Approval, note, self._verifiers)
        except IntegrityError as error:
            level = logging.DEBUG if now is None else logging.ERROR  # nothing rests on those of what is over
            log.log(level, "an approval of proposal %s cannot be believed: %s", proposal.id, error)
            return None
        of_this = (said.proposal, said.act, said.parameters) == (proposal.id, proposal.act, proposal.parameters)
        # Whoever writes the database can move the end of a proposal, but not what was signed.
        good = now is None or (
            abs(said.until - proposal.until) < SAME_SECONDS
            and said.at - CLOCKS_DIFFER_SECONDS <= now < said.at + OPEN_SECONDS
        )
        return said.by if of_this and good and said.by.id == by else None


def _learnt(row: ProposalRow, now: float) -> KnownEnd:
    ended_as, at = row.ended_as or ProposalEnd.REFUSED, min(now, row.ended_at or now)
    return KnownEnd(row.proposal.id, ended_as, row.ended_by, at, now)


def proposal_book(
    settings: Settings,
    clock: Clock,
    ledger: Ledger,
    desk: DecisionDesk,
    authenticator: Authenticator,
    state: StateDatabase,
) -> ProposalBook:
    """The proposals of a broker."""
    journal = ProposalJournal(Path(settings.state_dir) / "proposals.json")
    approvers = ProposalApprovers(clock, desk, PersonRows(state), authenticator, settings.ledger.origin)
    return ProposalBook(clock, ledger, state, journal, approvers, random_id, *signing(settings))
