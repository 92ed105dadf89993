"""Second factors as rows of the state. Every try is counted before it is looked at; a step counts once."""

from typing import Any

from sqlalchemy import Row, select, update

from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import FACTORS
from broker.model.enrolment import Factor, FactorKind


class FactorRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def factor(self, subject: str) -> Factor | None:
        """The factor of a person in force."""
        async with self._database.connection() as connection:
            row = (await connection.execute(select(FACTORS).where(FACTORS.c.subject == subject))).first()
        return None if row is None else _factor(row)

    async def begin_try(self, factor: Factor, blocked_until: float) -> bool:
        """Count a try as failed, and block until then; False if another try came first since `factor` was read."""
        counting = update(FACTORS).where(FACTORS.c.id == factor.id, FACTORS.c.failures <= factor.failures)
        values = {"failures": factor.failures + 1, "blocked_until": blocked_until}
        async with self._database.connection() as connection:
            counted = await connection.execute(counting.values(values))
            await self._database.commit(connection)
        return bool(counted.rowcount)

    async def accept(self, factor: Factor, counter: int) -> bool:
        """The try succeeded with this step or count, which must be later than the last; False if it is not."""
        later = FACTORS.c.counter < counter
        accepting = update(FACTORS).where(FACTORS.c.id == factor.id, later)
        values = {"counter": counter, "failures": 0, "blocked_until": 0.0}
        async with self._database.connection() as connection:
            accepted = await connection.execute(accepting.values(values))
            await self._database.commit(connection)
        return bool(accepted.rowcount)


def _factor(row: Row[Any]) -> Factor:
    """Raises ValueError for a kind that this broker does not know."""
    fields = dict(row._mapping)
    return Factor(**fields | {"kind": FactorKind(fields["kind"])})
