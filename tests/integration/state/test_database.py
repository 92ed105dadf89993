"""What the state keeps, in both databases; and how its tables come and go."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from broker.adapters import state_database
from broker.adapters.state_database import StateDatabase, StatePlace, sqlite_place
from broker.adapters.state_locks import LockRows
from broker.adapters.state_migrations import downgrade, head, upgrade
from broker.adapters.state_tables import METADATA
from broker.errors import StateUnavailableError
from broker.model.lock import Lock, LockKind
from broker.wiring.people.factors import UNCOUNTED

NOW = 1_800_000_000.0
LOCK = Lock("lck-1", LockKind.SUBJECT, "ana@acme.example", "why", "bo@plant.example", NOW, "b/ledger", NOW + 60)


async def stored(rows: LockRows, held: Collection[str], now: float) -> tuple[Lock, ...]:
    """The locks that the state has; none of its rows is odd."""
    found, odd = await rows.locks(held, now)
    assert odd == ()
    return found


async def signed() -> str:
    return "a note"


def lift(rows: LockRows, by: str, at: float = NOW) -> Awaitable[bool]:
    return rows.lift(LOCK, by, at, lambda lock: lock.lift == "a note", signed)


def with_database(place: StatePlace, use: Callable[[LockRows], Awaitable[None]]) -> None:
    async def run() -> None:
        database = StateDatabase(place)
        try:
            await use(LockRows(database))
        finally:
            await database.close()

    asyncio.run(run())


def shape(connection: Connection) -> dict[str, list[tuple[str, bool]]]:
    found = inspect(connection)
    names = [name for name in found.get_table_names() if name != "alembic_version"]
    return {name: [(column["name"], column["nullable"]) for column in found.get_columns(name)] for name in names}


def test_migrations_go_up_and_down_and_make_the_tables_that_the_code_knows(place: StatePlace) -> None:
    async def run() -> None:
        engine = create_async_engine(place.url)
        declared = {t.name: [(c.name, c.nullable) for c in t.columns] for t in METADATA.sorted_tables}
        async with engine.begin() as connection:
            for _ in range(2):
                await connection.run_sync(upgrade)
                assert await connection.run_sync(shape) == declared
                await connection.run_sync(downgrade)
                assert await connection.run_sync(shape) == {}
        await engine.dispose()

    asyncio.run(run())


INVITED = (
    "INSERT INTO invitations (id, organisation, subject, created_by, created_at, expires_at, salt, digest, tries,"
    " used_at, revoked_at, revoked_by)"
    " VALUES (:id, 'acme', 'ana@acme.example', 'bo', 1.5, 9.5, '', '', 0, :used_at, NULL, '')"
)
KEY = (
    "INSERT INTO factors (id, subject, kind, secret, added_at, counter, failures, blocked_until)"
    " VALUES (:id, :id, :kind, '', 1.5, :counter, 0, 0.0)"
)


LOCKED = (
    "INSERT INTO locks (id, kind, target, message, set_by, set_at, broker, until, isolation, lifted_by, lifted_at)"
    " VALUES (:id, 'site', 'plant', '', 'bo', 1.5, 'b/ledger', NULL, :isolation, '', :lifted_at)"
)


def test_locks_that_earlier_versions_lifted_are_forgotten_with_their_unsigned_lifts(place: StatePlace) -> None:
    async def run() -> None:
        engine = create_async_engine(place.url)
        async with engine.begin() as connection:
            await connection.run_sync(lambda sync: upgrade(sync, "0011"))
            for identifier, lifted_at in (("lck-a", None), ("lck-b", 2.5)):
                told = {"id": identifier, "lifted_at": lifted_at, "isolation": False}
                await connection.execute(text(LOCKED), told)
            await connection.run_sync(upgrade)
            assert [*map(tuple, await connection.execute(text("SELECT id, lift FROM locks")))] == [("lck-a", "")]
            await connection.execute(text("UPDATE locks SET lifted_at = 3.5, lift = 'a note'"))
            await connection.run_sync(lambda sync: downgrade(sync, "0011"))
            assert [*map(tuple, await connection.execute(text("SELECT id, lifted_at FROM locks")))] == [("lck-a", 3.5)]
            await connection.run_sync(downgrade)
        await engine.dispose()

    asyncio.run(run())


def test_what_earlier_versions_kept_is_told_as_far_as_it_can_be_vouched_for(place: StatePlace) -> None:
    """Nobody sealed who had made an invitation, and a key that was never used has not counted."""

    async def run() -> None:
        engine = create_async_engine(place.url)
        async with engine.begin() as connection:
            await connection.run_sync(lambda sync: upgrade(sync, "0009"))
            for used in ({"id": "inv-a", "used_at": 2.5}, {"id": "inv-b", "used_at": None}):
                await connection.execute(text(INVITED), used)
            for kind, counter in (("webauthn", 0), ("webauthn", 7), ("totp", 5)):
                await connection.execute(text(KEY), {"id": f"{kind}-{counter}", "kind": kind, "counter": counter})
            await connection.run_sync(upgrade)
            rows = await connection.execute(text("SELECT id, revoked_at IS NOT NULL FROM invitations ORDER BY id"))
            assert [(identifier, bool(revoked)) for identifier, revoked in rows] == [("inv-a", False), ("inv-b", True)]
            counters = text("SELECT id, counter FROM factors ORDER BY id")
            assert [*map(tuple, await connection.execute(counters))] == [
                ("totp-5", 5),
                ("webauthn-0", UNCOUNTED),
                ("webauthn-7", 7),
            ]
            await connection.run_sync(lambda sync: downgrade(sync, "0009"))
            assert dict(map(tuple, await connection.execute(counters)))["webauthn-0"] == 0
            (tries,) = set(await connection.scalars(text("SELECT tries FROM invitations")))
            assert tries == 0
            await connection.run_sync(downgrade)
        await engine.dispose()

    asyncio.run(run())


def test_a_lock_comes_back_as_it_was_set(place: StatePlace) -> None:
    forever = replace(LOCK, id="lck-2", until=None, isolation=True, kind=LockKind.SITE, target="plant")

    async def use(rows: LockRows) -> None:
        await rows.add((LOCK, forever))
        assert set(await stored(rows, (), NOW)) == {LOCK, forever}
        assert await stored(rows, (), NOW + 60) == (forever,)
        assert set(await stored(rows, (LOCK.id,), NOW + 60)) == {LOCK, forever}

    with_database(place, use)


def test_what_is_stored_stays_as_it_is(place: StatePlace) -> None:
    async def use(rows: LockRows) -> None:
        await rows.add((LOCK,))
        await rows.add((replace(LOCK, target="somebody-else", message="other"),))
        assert await stored(rows, (), NOW) == (LOCK,)

    with_database(place, use)


def test_of_many_who_lift_a_lock_one_does(place: StatePlace) -> None:
    async def use(rows: LockRows) -> None:
        await rows.add((LOCK,))
        lifted = await asyncio.gather(*(lift(rows, f"person-{n}", NOW + n) for n in range(8)))
        assert sorted(lifted) == [False] * 7 + [True]
        (found,) = await stored(rows, (LOCK.id,), NOW)
        assert found.lifted_by == f"person-{lifted.index(True)}"

    with_database(place, use)


def test_a_lock_that_the_state_never_got_is_stored_as_it_is_lifted(place: StatePlace) -> None:
    async def use(rows: LockRows) -> None:
        assert await lift(rows, "bo@plant.example")
        ended = replace(LOCK, lifted_by="bo@plant.example", lifted_at=NOW, lift="a note")
        assert await stored(rows, (), NOW) == (ended,)

    with_database(place, use)


def test_what_was_lifted_is_forgotten_after_a_while(place: StatePlace) -> None:
    async def use(rows: LockRows) -> None:
        await rows.add((replace(LOCK, id="lck-2"),))
        await lift(rows, "bo@plant.example")
        await rows.forget_lifted(NOW)
        assert len(await stored(rows, (), NOW)) == 2
        await rows.forget_lifted(NOW + 1)
        assert [lock.id for lock in await stored(rows, (), NOW)] == ["lck-2"]

    with_database(place, use)


def test_brokers_that_start_together_make_the_tables_once(place: StatePlace) -> None:
    async def run() -> None:
        databases = [StateDatabase(place) for _ in range(4 if place.shared else 1)]
        await asyncio.gather(*(stored(LockRows(database), (), NOW) for database in databases))
        for database in databases:
            await database.close()

    asyncio.run(run())


def test_whoever_asks_while_the_tables_are_made_waits_for_them(place: StatePlace) -> None:
    async def use(rows: LockRows) -> None:
        assert await asyncio.gather(*(stored(rows, (), NOW) for _ in range(16))) == [()] * 16

    with_database(place, use)


def test_making_the_tables_may_take_longer_than_an_answer(place: StatePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(connection: Connection) -> None:
        upgrade(connection)
        time.sleep(1.2)

    monkeypatch.setattr(state_database, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(state_database, "upgrade", slowly)

    async def use(rows: LockRows) -> None:
        assert await stored(rows, (), NOW) == ()

    with_database(place, use)


def test_tables_half_made_are_made_anew(place: StatePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: Connection) -> None:
        upgrade(connection, "0003")
        raise OSError("in the middle")

    async def use(rows: LockRows) -> None:
        with monkeypatch.context() as trouble:
            trouble.setattr(state_database, "upgrade", broken)
            with pytest.raises(StateUnavailableError, match="in the middle"):
                await stored(rows, (), NOW)
        assert await stored(rows, (), NOW) == ()

    with_database(place, use)


def test_tables_of_a_later_broker_are_not_touched(place: StatePlace) -> None:
    async def run() -> None:
        engine = create_async_engine(place.url)
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
            assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar() == head()
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await engine.dispose()

    asyncio.run(run())

    async def use(rows: LockRows) -> None:
        with pytest.raises(StateUnavailableError, match="9999"):
            await stored(rows, (), NOW)

    with_database(place, use)


def test_another_broker_hears_of_a_change_without_asking(postgresql_place: StatePlace) -> None:
    async def run() -> None:
        heard = asyncio.Event()
        listening, setting = StateDatabase(postgresql_place), StateDatabase(postgresql_place)
        listening.changed.append(heard.set)
        await stored(LockRows(listening), (), NOW)
        await LockRows(setting).add((LOCK,))
        await asyncio.wait_for(heard.wait(), 10)
        assert await stored(LockRows(listening), (), NOW) == (LOCK,)
        await listening.close()
        await setting.close()

    asyncio.run(run())


def test_a_file_that_is_no_database_is_unavailable_until_it_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"

    async def use(rows: LockRows) -> None:
        await rows.add((LOCK,))
        kept = path.read_bytes()
        path.write_bytes(b"not a database" * 1000)
        with pytest.raises(StateUnavailableError, match="not a database"):
            await stored(rows, (), NOW)
        path.write_bytes(kept)
        assert await stored(rows, (), NOW) == (LOCK,)

    with_database(sqlite_place(path), use)
