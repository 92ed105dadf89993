"""Emergencies as rows of the state: what each broker shows the others of its own. No row gives anybody access."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, select, update

from broker.adapters.break_glass_file import decode_emergency
from broker.adapters.state_database import StateDatabase
from broker.adapters.state_tables import EMERGENCIES, is_time
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
    of_this_row = (found.id, found.broker) == (row.id, row.broker)
    return (found, row.close_asked_by) if of_this_row and _can_be_told(found) else None


def _can_be_told(found: Emergency) -> bool:
    """Whether everything in it is of its type: any text could be in a row."""
    times = [found.opened_at, found.until, *(signature.at for signature in found.signatures)]
    times += [] if found.ended_at is None else [found.ended_at]
    texts = [found.site, found.subject, found.organisation, found.why, found.seal, found.peer, found.ended_by]
    texts += [*found.passes, *(word for signature in found.signatures for word in (signature.by, signature.comment))]
    return (
        all(map(is_time, times))
        and all(isinstance(word, str) for word in texts)
        and all(isinstance(part, int) for part in found.parts)
    )
