"""Access requests as rows of the state. Knows nothing of who may do what, and believes nothing that it reads."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, delete, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.access.requests import LIVING
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import REQUEST_REVIEWS, REQUEST_USES, REQUESTS
from broker.errors import IntegrityError, StateUnavailableError
from broker.ledger.reviews import decode_terms, encode_terms
from broker.model.access_request import EVERY_REQUEST, AccessRequest, RequestChoice, RequestState, Standing, Terms

log = logging.getLogger(__name__)
MOST_LISTED = 500
MOST_LIVING = 5000
MOST_LOOKED_AT = 5000
"""Of how many a list is made: all that are not over, and the others as far as that goes."""
Recorded = Callable[[], Awaitable[tuple[str, str] | None]]
"""Records an act before it is committed; gives a reviewer and his signed note if it was a review."""


class RequestRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time.

    `unreadable` is told of rows that are none of ours, with what is wrong; they are left out.
    """

    def __init__(self, database: StateDatabase, unreadable: Callable[[str, str], None]) -> None:
        self._database = database
        self._unreadable = unreadable

    async def living(self, states: Collection[RequestState], held: Collection[str]) -> tuple[AccessRequest, ...]:
        """The requests in these states, and whatever is known of those that the asker holds. Too many of them count as
        a state that cannot be read: whatever a table is filled with, looking at it must stay quick.
        """
        wanted = or_(REQUESTS.c.state.in_([state.value for state in states]), REQUESTS.c.id.in_(held))
        async with self._database.watch() as connection:
            rows = await _rows(connection, wanted, MOST_LIVING + 1)
            if len(rows) > MOST_LIVING:
                detail = f"more than {MOST_LIVING} requests are not over"
                raise StateUnavailableError("state_unavailable", "The state cannot be reached.", detail)
            return await self._signed(connection, rows)

    async def listed(self, choice: RequestChoice = EVERY_REQUEST) -> tuple[tuple[AccessRequest, ...], bool]:
        """Those chosen, first what is not over, each by when it begins, last first; and whether there are more.

        The database chooses states and subject: whatever others make and take back displaces nothing of them.
        """
        found: list[Row[Any]] = []
        more, wanted = True, _wanted(choice)
        async with self._database.connection() as connection:
            for looked_at in range(0, MOST_LOOKED_AT, MOST_LISTED):
                rows = await _rows(connection, wanted, MOST_LISTED + 1, looked_at)
                found += [row for row in rows[:MOST_LISTED] if _is_among(row, choice)]
                more = len(rows) > MOST_LISTED
                if not more or choice.among is None or len(found) > MOST_LISTED:
                    break
            listed = await self._signed(connection, found[:MOST_LISTED])
        return listed, more or len(found) > MOST_LISTED

    async def activated(self, subject: str) -> tuple[AccessRequest, ...]:
        """The newest requests of a subject that gave something once, however many others he made."""
        wanted = and_(REQUESTS.c.subject == subject, REQUESTS.c.activated_at.is_not(None))
        async with self._database.connection() as connection:
            return await self._read(connection, wanted, MOST_LISTED)

    async def count(self, subject: str, states: Collection[RequestState]) -> int:
        """How many requests of a subject are in these states."""
        wanted = REQUESTS.c.subject == subject, REQUESTS.c.state.in_([state.value for state in states])
        async with self._database.connection() as connection:
            found = await connection.execute(select(func.count()).select_from(REQUESTS).where(*wanted))
            return int(found.scalar_one())

    async def request(self, identifier: str) -> AccessRequest | None:
        """The request of that id."""
        async with self._database.connection() as connection:
            found = await self._read(connection, REQUESTS.c.id == identifier, 1)
        return found[0] if found else None

    async def add(self, request: AccessRequest, recorded: Recorded) -> None:
        """Store a new request once it is recorded; if either fails, neither is stored."""
        async with self._database.connection() as connection:
            await connection.execute(REQUESTS.insert().values(**_row(request.terms, request.standing)))
            await recorded()
            await self._database.commit(connection)

    async def change(self, identifier: str, version: int, standing: Standing, recorded: Recorded) -> bool:
        """Bring a request from a version to the next; False if it is no longer in that version, or already reviewed.

        The row is taken first, then the act is recorded, then all of it is committed: two acts at one time, on one
        broker or on two, cannot both happen.
        """
        taken = update(REQUESTS).where(REQUESTS.c.id == identifier, REQUESTS.c.version == version)
        async with self._database.connection() as connection:
            changed = await connection.execute(taken.values(**_standing(standing)))
            if changed.rowcount != 1:
                return False
            signed = await recorded()
            if signed is not None:
                row = {"request": identifier, "reviewer": signed[0], "note": signed[1]}
                if not await self._database.insert(connection, REQUEST_REVIEWS, (row,)):
                    return False
            await self._database.commit(connection)
        return True

    async def claim(self, chain: str, request: str, uses: Iterable[str], broker: str, at: float) -> bool:
        """Take up uses of a grant for single use, all or none; False if one of them has been taken up before."""
        rows = [{"chain": chain, "use": use, "request": request, "broker": broker, "at": at} for use in uses]
        async with self._database.connection() as connection:
            if await self._database.insert(connection, REQUEST_USES, rows) != len(rows):
                return False
            await self._database.commit(connection)
        return True

    async def give_back(self, chain: str, request: str, uses: Collection[str]) -> None:
        """Let uses be taken up again."""
        table = REQUEST_USES.c
        given = delete(REQUEST_USES).where(table.chain == chain, table.request == request, table.use.in_(uses))
        async with self._database.connection() as connection:
            await connection.execute(given)
            await self._database.commit(connection)

    async def _read(
        self, connection: AsyncConnection, wanted: ColumnElement[bool], most: int
    ) -> tuple[AccessRequest, ...]:
        return await self._signed(connection, await _rows(connection, wanted, most))

    async def _signed(self, connection: AsyncConnection, rows: Sequence[Row[Any]]) -> tuple[AccessRequest, ...]:
        ids = [row.id for row in rows]
        notes = select(REQUEST_REVIEWS).where(REQUEST_REVIEWS.c.request.in_(ids)).order_by(REQUEST_REVIEWS.c.reviewer)
        reviewed: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for note in (await connection.execute(notes)).all():
            reviewed[note.request].append((note.reviewer, note.note))
        uses = select(REQUEST_USES).where(REQUEST_USES.c.request.in_(ids)).order_by(REQUEST_USES.c.use)
        used: defaultdict[str, list[str]] = defaultdict(list)
        for use in (await connection.execute(uses)).all():
            used[use.request].append(use.use)
        read = (self._request(row, tuple(reviewed[row.id]), tuple(used[row.id])) for row in rows)
        return tuple(request for request in read if request is not None)

    def _request(
        self, row: Row[Any], notes: tuple[tuple[str, str], ...], uses: tuple[str, ...]
    ) -> AccessRequest | None:
        try:
            terms = decode_terms(row.terms.encode())
            if (terms.id, terms.subject, terms.starts, terms.ends) != (row.id, row.subject, row.starts, row.ends):
                raise IntegrityError("terms_of_another", "the row holds the terms of another request")
            fields = {name: row._mapping[name] for name in _STANDING}
            standing = Standing(**fields | {"state": RequestState(fields["state"])})
        except (IntegrityError, ValueError) as error:
            self._unreadable(row.id, str(error))
            return None
        return AccessRequest(terms, standing, notes, uses)


_STANDING = tuple(Standing.__dataclass_fields__)
_OVER_LAST = case((REQUESTS.c.state.in_([state.value for state in LIVING]), 0), else_=1)


async def _rows(
    connection: AsyncConnection, wanted: ColumnElement[bool], most: int, after: int = 0
) -> Sequence[Row[Any]]:
    order = _OVER_LAST, REQUESTS.c.starts.desc(), REQUESTS.c.id
    return (await connection.execute(select(REQUESTS).where(wanted).order_by(*order).limit(most).offset(after))).all()


def _wanted(choice: RequestChoice) -> ColumnElement[bool]:
    wanted = [REQUESTS.c.subject == choice.subject] if choice.subject else []
    wanted += [REQUESTS.c.state.in_([state.value for state in choice.states])] if choice.states else []
    return and_(true(), *wanted)


def _is_among(row: Row[Any], choice: RequestChoice) -> bool:
    """Whether it is one of those chosen; what cannot be read is kept, and told of when it is read whole."""
    try:
        return choice.among is None or choice.among(decode_terms(row.terms.encode()))
    except (IntegrityError, ValueError):
        return True


def _row(terms: Terms, standing: Standing) -> dict[str, Any]:
    named = {"id": terms.id, "subject": terms.subject, "starts": terms.starts, "ends": terms.ends}
    return named | {"terms": encode_terms(terms).decode()} | _standing(standing)


def _standing(standing: Standing) -> dict[str, Any]:
    return asdict(standing) | {"state": standing.state.value}
