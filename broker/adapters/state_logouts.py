"""Logouts as rows of the state. Knows nothing of their effect."""

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import delete, select

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import LOGOUTS
from broker.model.logout import Logout

_COLUMNS = (LOGOUTS.c.id, LOGOUTS.c.issuer, LOGOUTS.c.account, LOGOUTS.c.login, LOGOUTS.c.at)


class LogoutRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def logouts(self, stored_since: float, most: int) -> tuple[Logout, ...]:
        """Those that were stored since that moment (epoch seconds), the newest first."""
        query = select(*_COLUMNS).where(LOGOUTS.c.stored_at >= stored_since).order_by(LOGOUTS.c.stored_at.desc())
        async with self._database.watch() as connection:
            return tuple(Logout(**row._mapping) for row in (await connection.execute(query.limit(most))).all())

    async def add(self, logouts: Iterable[Logout], now: float, forget_before: float) -> None:
        """Store logouts; those that are there already stay, and those that were stored before a moment go."""
        rows = [asdict(logout) | {"stored_at": now} for logout in logouts]
        async with self._database.connection() as connection:
            await connection.execute(delete(LOGOUTS).where(LOGOUTS.c.stored_at < forget_before))
            await self._database.insert(connection, LOGOUTS, rows)
            await self._database.commit(connection)
