"""Locks as rows of the state. Knows nothing of their effect."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, or_, select, update

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import LOCKS
from broker.model.lock import Lock, LockKind


class LockRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def locks(self, held: Collection[str], now: float) -> tuple[Lock, ...]:
        """The locks that hold, and whatever is known of those that the asker holds."""
        holding = LOCKS.c.lifted_at.is_(None) & or_(LOCKS.c.until.is_(None), LOCKS.c.until > now)
        query = select(LOCKS).where(or_(holding, LOCKS.c.id.in_(held)))
        async with self._database.watch() as connection:
            return tuple(_lock(row) for row in (await connection.execute(query)).all())

    async def add(self, locks: Iterable[Lock]) -> None:
        """Store locks; those that are there already stay as they are."""
        async with self._database.connection() as connection:
            await self._database.insert(connection, LOCKS, _rows(locks))
            await self._database.commit(connection)

    async def lift(self, lock: Lock, by: str, at: float) -> bool:
        """Lift a lock; False if somebody has before."""
        lifting = update(LOCKS).where(LOCKS.c.id == lock.id, LOCKS.c.lifted_at.is_(None))
        async with self._database.connection() as connection:
            await self._database.insert(connection, LOCKS, _rows((lock,)))
            lifted = await connection.execute(lifting.values(lifted_by=by, lifted_at=at))
            await self._database.commit(connection)
        return bool(lifted.rowcount)


def _rows(locks: Iterable[Lock]) -> list[dict[str, Any]]:
    return [asdict(lock) | {"kind": lock.kind.value} for lock in locks]


def _lock(row: Row[Any]) -> Lock:
    """Raises ValueError for a kind that this broker does not know."""
    fields = dict(row._mapping)
    return Lock(**fields | {"kind": LockKind(fields["kind"])})
