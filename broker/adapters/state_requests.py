"""Access requests as rows of the state. Knows nothing of who may do what, and believes nothing that it reads."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Select, and_, case, delete, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.access.requests import LIVING, MOST_REVIEWS
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import REQUEST_REVIEWS, REQUEST_USES, REQUESTS
from broker.errors import IntegrityError, StateUnavailableError
from broker.ledger.notes import LARGEST_NOTE
from broker.ledger.reviews import decode_terms, encode_terms
from broker.model.access_request import EVERY_REQUEST, AccessRequest, RequestChoice, RequestState, Standing, Terms

log = logging.getLogger(__name__)
MOST_LISTED = 500
MOST_LIVING = 5000
MOST_LOOKED_AT = 5000
"""Of how many a list is made: all that are not over, and the others as far as that goes."""
MOST_USES = 256
"""As many as writes can be planned."""
Recorded = Callable[[], Awaitable[tuple[str, str] | None]]
"""Records an act before it is committed; gives a reviewer and his signed note if it was a review."""


class RequestRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time.

    `unreadable` is told of rows that are none of ours, with what is wrong; they are left out. So are those to which
    somebody added more, or longer texts, than brokers write: not more than that is ever read of one request.
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
        reviewed: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for note in (await connection.execute(_few(REQUEST_REVIEWS.c.reviewer, ids, MOST_REVIEWS, _NOTE))).all():
            reviewed[note.request].append((note.reviewer, note.note))
        used: defaultdict[str, list[str]] = defaultdict(list)
        for use in (await connection.execute(_few(REQUEST_USES.c.use, ids, MOST_USES))).all():
            used[use.request].append(use.use)
        read = (self._request(row, tuple(reviewed[row.id]), tuple(used[row.id])) for row in rows)
        return tuple(request for request in read if request is not None)

    def _request(
        self, row: Row[Any], notes: tuple[tuple[str, str], ...], uses: tuple[str, ...]
    ) -> AccessRequest | None:
        try:
            _require_few(row, len(notes), len(uses))
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


LARGEST_TEXTS = {"terms": 131_072, "ended_why": 65_536, "report": 65_536}
"""Characters: of what a broker writes there is never so much."""
_COLUMNS = tuple(
    func.substr(column, 1, LARGEST_TEXTS[column.name] + 1).label(column.name)
    if column.name in LARGEST_TEXTS
    else column
    for column in REQUESTS.c
)
_NOTE = func.substr(REQUEST_REVIEWS.c.note, 1, LARGEST_NOTE + 1).label("note")


async def _rows(
    connection: AsyncConnection, wanted: ColumnElement[bool], most: int, after: int = 0
) -> Sequence[Row[Any]]:
    order = _OVER_LAST, REQUESTS.c.starts.desc(), REQUESTS.c.id
    return (await connection.execute(select(*_COLUMNS).where(wanted).order_by(*order).limit(most).offset(after))).all()


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


def _few(what: Column[Any], ids: Collection[str], most: int, *rest: ColumnElement[Any]) -> Select[Any]:
    """What belongs to each of these requests; of each one more than it can have, by which too many are seen."""
    of = what.table.c.request
    place = func.row_number().over(partition_by=of, order_by=what).label("place")
    found = select(of, what, *rest, place).where(of.in_(ids)).subquery()
    return select(found).where(found.c.place <= most + 1).order_by(found.c.request, found.c.place)


def _require_few(row: Row[Any], notes: int, uses: int) -> None:
    """That a row has no more to it than brokers write. Raises IntegrityError."""
    large = [name for name, most in LARGEST_TEXTS.items() if len(row._mapping[name]) > most]
    if large:
        raise IntegrityError("row_too_large", f"its {large[0]} is longer than any that a broker writes")
    if notes > MOST_REVIEWS:
        raise IntegrityError("verdicts_too_many", f"it has more than {MOST_REVIEWS} verdicts")
    if uses > MOST_USES:
        raise IntegrityError("uses_too_many", f"it has more than {MOST_USES} uses")


def _row(terms: Terms, standing: Standing) -> dict[str, Any]:
    named = {"id": terms.id, "subject": terms.subject, "starts": terms.starts, "ends": terms.ends}
    return named | {"terms": encode_terms(terms).decode()} | _standing(standing)


def _standing(standing: Standing) -> dict[str, Any]:
    return asdict(standing) | {"state": standing.state.value}
