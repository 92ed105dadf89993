"""Emergencies as rows of the state: what each broker shows the others of its own. No row gives anybody access."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, select, update

from broker.adapters.break_glass_file import decode_emergency
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import EMERGENCIES
from broker.model.emergency import Emergency

_SHOWN = 200


class EmergencyRows:
    """Every call raises StateUnavailableError if the state cannot be reached in time."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def emergencies(self) -> tuple[tuple[Emergency, str], ...]:
        """The newest of all brokers, and who wants each closed ("": nobody); rows that make no sense are left out."""
        query = select(EMERGENCIES).order_by(EMERGENCIES.c.opened_at.desc()).limit(_SHOWN)
        async with self._database.watch() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(found for row in rows if (found := _emergency(row)) is not None)

    async def show(self, emergency: Emergency) -> None:
        """Store an emergency of this broker as it is now."""
        told = {"document": json.dumps(asdict(emergency)), "broker": emergency.broker}
        row = told | {"id": emergency.id, "opened_at": emergency.opened_at, "close_asked_by": ""}
        async with self._database.connection() as connection:
            if not await self._database.insert(connection, EMERGENCIES, (row,)):
                await connection.execute(update(EMERGENCIES).where(EMERGENCIES.c.id == emergency.id).values(**told))
            await self._database.commit(connection)

    async def ask_to_close(self, identifier: str, by: str) -> None:
        """Leave word for the broker that opened an emergency."""
        asking = update(EMERGENCIES).where(EMERGENCIES.c.id == identifier).values(close_asked_by=by)
        async with self._database.connection() as connection:
            await connection.execute(asking)
            await self._database.commit(connection)


def _emergency(row: Row[Any]) -> tuple[Emergency, str] | None:
    try:
        found = decode_emergency(json.loads(row.document))
    except (ValueError, TypeError, KeyError):
        return None
    return None if (found.id, found.broker) != (row.id, row.broker) else (found, row.close_asked_by)
