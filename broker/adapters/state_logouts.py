"""Logouts as rows of the state. Knows nothing of their effect."""

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import delete, select

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import LOGOUTS
from broker.model.logout import Logout


class LogoutRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def logouts(self, stored_since: float, most: int) -> tuple[tuple[Logout, ...], float]:
        """Those that were stored since that moment (epoch seconds), the newest first; and when the newest was stored,
        by the clock of whichever broker was furthest ahead (0: there are none).
        """
        query = select(LOGOUTS).where(LOGOUTS.c.stored_at >= stored_since).order_by(LOGOUTS.c.stored_at.desc())
        async with self._database.watch() as connection:
            rows = (await connection.execute(query.limit(most))).all()
        found = tuple(Logout(row.id, row.issuer, row.account, row.login, row.at) for row in rows)
        return found, rows[0].stored_at if rows else 0.0

    async def add(self, logouts: Iterable[Logout], now: float, forget_before: float) -> None:
        """Store logouts; those that are there already stay, and those that were stored before a moment go."""
        async with self._database.connection() as connection:
            await connection.execute(delete(LOGOUTS).where(LOGOUTS.c.stored_at < forget_before))
            stored_at = await self._database.stamp(connection, LOGOUTS.c.stored_at, now)
            rows = [asdict(logout) | {"stored_at": stored_at} for logout in logouts]
            await self._database.insert(connection, LOGOUTS, rows)
            await self._database.commit(connection)
