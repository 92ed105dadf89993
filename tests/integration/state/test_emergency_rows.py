"""Emergencies of several brokers in one state: shown, asked to be closed, and never more than that."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import update

from broker.adapters.state_database import StateDatabase, StatePlace
from broker.adapters.state_emergencies import EmergencyRows
from broker.adapters.state_tables import EMERGENCIES
from broker.model.emergency import Emergency, Signature
from broker.model.vocabulary import Action
from broker.wiring.emergency_mirror import EmergencyMirror

NOW = 1_800_000_000.0
OURS = Emergency(
    id="emg-1",
    site="plant",
    subject="di@plant.example",
    organisation="plant-owner",
    why="fire",
    opened_at=NOW,
    until=NOW + 60,
    actions=(Action.VIEW, Action.ADJUST),
    broker="one/ledger",
    seal="seal-1",
    parts=(1, 3),
    peer="127.0.0.1:1",
    passes=("lck-1",),
)


class Book:
    """What a mirror sees of break-glass at one broker."""

    def __init__(self, *emergencies: Emergency) -> None:
        self.opened_here = emergencies
        self.elsewhere: tuple[Emergency, ...] = ()
        self.close_elsewhere: Any = None
        self.changed: list[Callable[[], None]] = []
        self.closed: list[tuple[str, str]] = []

    async def close(self, emergency: Emergency, by: str) -> None:
        self.closed.append((emergency.id, by))
        self.opened_here = tuple(replace(old, ended_at=NOW, ended_by=by) for old in self.opened_here)
        for changed in self.changed:
            changed()


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_what_is_stored_comes_back_and_follows_its_broker(place: StatePlace) -> None:
    async def story() -> None:
        database = StateDatabase(place)
        rows = EmergencyRows(database)
        await rows.show(OURS)
        assert await rows.emergencies() == ((OURS, ""),)
        await rows.ask_to_close(OURS.id, "bo")
        signed = replace(OURS, ended_at=NOW + 1, signatures=(Signature("bo", NOW + 2, "fine"),))
        await rows.show(signed)
        assert await rows.emergencies() == ((signed, "bo"),)
        await database.close()

    asyncio.run(story())


def test_a_row_that_makes_no_sense_or_names_another_broker_is_left_out(place: StatePlace) -> None:
    async def story() -> None:
        database = StateDatabase(place)
        rows = EmergencyRows(database)
        told = asdict(OURS)
        odd = ({"opened_at": "soon"}, {"until": 1e300}, {"ended_at": []}, {"why": 7}, {"parts": ["1"]}, {"passes": [1]})
        documents = ({"document": json.dumps(told | change)} for change in odd)
        for change in ({"document": "{}"}, {"document": "no"}, {"broker": "two/ledger"}, *documents):
            await rows.show(OURS)
            async with database.connection() as connection:
                await connection.execute(update(EMERGENCIES).values(**change))
                await database.commit(connection)
            assert await rows.emergencies() == ()
            async with database.connection() as connection:
                await connection.execute(EMERGENCIES.delete())
                await database.commit(connection)
        await database.close()

    asyncio.run(story())


def test_brokers_see_one_anothers_and_can_have_them_closed(postgresql_place: StatePlace) -> None:
    async def story() -> None:
        one, other = Book(OURS), Book()
        databases = [StateDatabase(postgresql_place) for _ in range(2)]
        mirrors = []
        for book, origin, database in ((one, "one/ledger", databases[0]), (other, "other/ledger", databases[1])):
            anything: Any = book
            mirrors.append(EmergencyMirror(anything, EmergencyRows(database), origin))
            mirrors[-1].start()
        await eventually(lambda: other.elsewhere == (OURS,))
        assert one.elsewhere == ()
        assert other.opened_here == (), "seeing one gives nothing"
        await other.close_elsewhere(OURS, "bo")
        by = "bo, says the shared state"
        await eventually(lambda: one.closed == [("emg-1", by)])
        await eventually(lambda: other.elsewhere and other.elsewhere[0].ended_by == by)
        for mirror, database in zip(mirrors, databases, strict=True):
            await mirror.stop()
            await database.close()

    asyncio.run(story())


def test_a_deleted_row_is_written_again(postgresql_place: StatePlace) -> None:
    async def story() -> None:
        book: Any = Book(OURS)
        database = StateDatabase(postgresql_place)
        rows = EmergencyRows(database)
        mirror = EmergencyMirror(book, rows, "one/ledger")
        mirror.start()

        async def there() -> None:
            async with asyncio.timeout(20):
                while await rows.emergencies() != ((OURS, ""),):
                    await asyncio.sleep(0.02)

        await there()
        async with database.connection() as connection:
            await connection.execute(EMERGENCIES.delete())
            await database.commit(connection)
        await there()
        await mirror.stop()
        await database.close()

    asyncio.run(story())
