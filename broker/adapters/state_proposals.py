"""Proposals and their approvals as rows of the state. Believes nothing that it reads: others verify the notes."""

import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, select, update

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import PROPOSAL_APPROVALS, PROPOSALS
from broker.model.proposal import Proposal, ProposalAct, ProposalEnd

log = logging.getLogger(__name__)
MOST_LISTED = 200
LAST_MOMENT = 253_402_300_799.0
"""9999-12-31T23:59:59Z: what comes after cannot be shown."""


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """A proposal as the database has it; `approvals` are signed notes by person, `warrant` is one too."""

    proposal: Proposal
    approvals: tuple[tuple[str, str], ...]
    ended_as: ProposalEnd | None
    ended_by: str
    ended_at: float | None
    warrant: str


class ProposalRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time.

    What is passed as `recorded` records an act once its row is taken and before it is committed.
    """

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def newest(self, most: int = MOST_LISTED) -> tuple[ProposalRow, ...]:
        """The newest proposals."""
        return await self._read(PROPOSALS.c.id != "", most)

    async def proposal(self, identifier: str) -> ProposalRow | None:
        """The proposal of that id."""
        return next(iter(await self._read(PROPOSALS.c.id == identifier, 1)), None)

    async def of_act(self, act: ProposalAct, most: int = MOST_LISTED) -> tuple[ProposalRow, ...]:
        """The newest proposals of an act."""
        return await self._read(PROPOSALS.c.act == act.value, most)

    async def ended_since(self, moment: float, most: int = MOST_LISTED) -> tuple[ProposalRow, ...]:
        """The newest of those that have ended since."""
        return await self._read((PROPOSALS.c.ended_as != "") & (PROPOSALS.c.ended_at > moment), most)

    async def add(self, proposal: Proposal, recorded: Callable[[], Awaitable[object]]) -> bool:
        """Store a proposal; False if it is there already."""
        row = asdict(proposal) | {"act": proposal.act.value, "parameters": json.dumps(dict(proposal.parameters))}
        row |= {"ended_as": "", "ended_by": "", "ended_at": None, "warrant": ""}
        async with self._database.connection() as connection:
            if not await self._database.insert(connection, PROPOSALS, (row,)):
                return False
            await recorded()
            await self._database.commit(connection)
        return True

    async def approve(
        self, proposal: str, by: str, counts: Callable[[str], bool], recorded: Callable[[], Awaitable[str]]
    ) -> bool:
        """Store one person's approval, the note that `recorded` gives; False if there is one already that counts.

        One that does not (of an earlier version, or made up) is written over.
        """
        row = {"proposal": proposal, "approver": by, "note": ""}
        mine = (PROPOSAL_APPROVALS.c.proposal == proposal) & (PROPOSAL_APPROVALS.c.approver == by)
        async with self._database.connection() as connection:
            await self._database.insert(connection, PROPOSAL_APPROVALS, (row,))
            # Whoever approves at the same time waits here (in SQLite at the insertion).
            kept = select(PROPOSAL_APPROVALS.c.note).where(mine).with_for_update()
            if counts((await connection.execute(kept)).scalars().first() or ""):
                return False
            await connection.execute(update(PROPOSAL_APPROVALS).where(mine).values(note=await recorded()))
            await self._database.commit(connection)
        return True

    async def end(
        self,
        proposal: str,
        ended_as: ProposalEnd,
        by: str,
        at: float,
        warrant: str,
        recorded: Callable[[], Awaitable[object]],
    ) -> bool:
        """End a proposal; False if it has ended already, so that of two at one time one does it."""
        open_still = (PROPOSALS.c.id == proposal) & (PROPOSALS.c.ended_as == "")
        ending = update(PROPOSALS).where(open_still)
        ending = ending.values(ended_as=ended_as.value, ended_by=by, ended_at=at, warrant=warrant)
        async with self._database.connection() as connection:
            if (await connection.execute(ending)).rowcount != 1:
                return False
            await recorded()
            await self._database.commit(connection)
        return True

    async def _read(self, wanted: ColumnElement[bool], most: int) -> tuple[ProposalRow, ...]:
        query = select(PROPOSALS).where(wanted).order_by(PROPOSALS.c.proposed_at.desc(), PROPOSALS.c.id).limit(most)
        async with self._database.connection() as connection:
            rows = (await connection.execute(query)).all()
            if not rows:
                return ()
            of_these = PROPOSAL_APPROVALS.c.proposal.in_([row.id for row in rows])
            notes = (await connection.execute(select(PROPOSAL_APPROVALS).where(of_these))).all()
        return tuple(_rows(rows, notes))


def _rows(rows: Iterable[Row[Any]], notes: Iterable[Row[Any]]) -> Iterable[ProposalRow]:
    by_proposal: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for note in notes:
        by_proposal[note.proposal].append((note.approver, note.note))
    for row in rows:
        try:
            yield _row(row, tuple(by_proposal[row.id]))
        except (ValueError, TypeError, AttributeError) as error:
            log.error("proposal %s is left out, no broker writes such a row: %s", row.id, error)


def _row(row: Row[Any], approvals: tuple[tuple[str, str], ...]) -> ProposalRow:
    """Raises ValueError, TypeError or AttributeError for what no broker writes."""
    fields = {name: row._mapping[name] for name in Proposal.__dataclass_fields__}
    parameters = tuple(sorted((name, str(value)) for name, value in json.loads(row.parameters).items()))
    if not all(0 <= moment < LAST_MOMENT for moment in (row.proposed_at, row.until, row.ended_at or 0.0)):
        raise ValueError("a time that no clock shows")
    proposal = Proposal(**fields | {"act": ProposalAct(row.act), "parameters": parameters})
    end = ProposalEnd(row.ended_as) if row.ended_as else None
    return ProposalRow(proposal, approvals, end, row.ended_by, row.ended_at, row.warrant)
