"""Locks as rows of the state. Knows nothing of their effect."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row, delete, or_, select, update

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import LOCKS, is_time
from broker.model.lock import Lock, LockKind


class LockRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def locks(self, held: Collection[str], now: float) -> tuple[tuple[Lock, ...], tuple[str, ...]]:
        """The locks whose time is not over, and whatever is known of those that the asker holds; and the ids of rows
        that can be no locks.

        Those that a row says were lifted are among them: whether that is true only the asker can tell.
        """
        query = select(LOCKS).where(or_(LOCKS.c.until.is_(None), LOCKS.c.until > now, LOCKS.c.id.in_(held)))
        async with self._database.watch() as connection:
            rows = (await connection.execute(query)).all()
        found = [(row.id, _lock(row)) for row in rows]
        return tuple(lock for _, lock in found if lock), tuple(key for key, lock in found if lock is None)

    async def add(self, locks: Iterable[Lock]) -> None:
        """Store locks; those that are there already stay as they are."""
        async with self._database.connection() as connection:
            await self._database.insert(connection, LOCKS, _rows(locks))
            await self._database.commit(connection)

    async def lift(
        self, lock: Lock, by: str, at: float, is_lifted: Callable[[Lock], bool], signed: Callable[[], Awaitable[str]]
    ) -> bool:
        """Lift a lock with the note that `signed` gives once the row is taken; False if somebody has before, of which
        `is_lifted` is the judge: what else a row says of a lift is written over.
        """
        this = LOCKS.c.id == lock.id
        async with self._database.connection() as connection:
            await self._database.insert(connection, LOCKS, _rows((lock,)))
            # Whoever lifts it at the same time waits here (in SQLite at the insertion).
            said = (await connection.execute(select(LOCKS).where(this).with_for_update())).one()
            if is_lifted(replace(lock, lifted_by=said.lifted_by, lifted_at=said.lifted_at, lift=said.lift)):
                return False
            lifting = update(LOCKS).where(this).values(lifted_by=by, lifted_at=at, lift=await signed())
            await connection.execute(lifting)
            await self._database.commit(connection)
        return True

    async def forget_lifted(self, before: float) -> None:
        """Forget the locks that are said to have been lifted before then; who holds one still writes it again."""
        async with self._database.connection() as connection:
            await connection.execute(delete(LOCKS).where(LOCKS.c.lifted_at < before))
            await self._database.commit(connection)


def _rows(locks: Iterable[Lock]) -> list[dict[str, Any]]:
    return [asdict(lock) | {"kind": lock.kind.value} for lock in locks]


def _lock(row: Row[Any]) -> Lock | None:
    """None for a kind that this broker does not know, and for times that cannot be told."""
    fields = dict(row._mapping)
    try:
        lock = Lock(**fields | {"kind": LockKind(fields["kind"])})
    except ValueError:
        return None
    times = (time for time in (lock.set_at, lock.until, lock.lifted_at) if time is not None)
    return lock if all(map(is_time, times)) else None
