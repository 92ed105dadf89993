"""Locks of brokers that share a state end by what a known broker signed, and by nothing that is written there else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Update, select, update

from broker.access.locks import LocksInForce
from broker.adapters.clock import random_id
from broker.adapters.state_database import StateDatabase, StatePlace
from broker.adapters.state_journal import LockJournal
from broker.adapters.state_tables import LOCKS
from broker.ledger.lifts import lock_digest, sign_lift
from broker.ledger.notes import verifier_of
from broker.model.lock import Lift, Lock, LockKind
from broker.wiring.lifts import LiftProofs
from broker.wiring.locks import LIFTED_KEPT_SECONDS, LockKeeper
from tests.integration.state.test_lock_keeper import Surroundings, eventually

BO, CY, EVE = "bo@plant.example", "cy@plant.example", "eve@plant.example"
ONE, TWO, UNKNOWN = "one.example/ledger", "two.example/ledger", "unknown.example/ledger"
KEYS = {origin: Ed25519PrivateKey.generate() for origin in (ONE, TWO, UNKNOWN)}


class Broker:
    """One broker's locks, and what it recorded about them."""

    def __init__(self, place: StatePlace, folder: Path, origin: str, knows: Iterable[str]) -> None:
        folder.mkdir(exist_ok=True)
        self.around = Surroundings(folder)
        self.records: list[dict[str, Any]] = []
        self.around.heard = self.records.append
        self.database = StateDatabase(place)
        me: Any = self.around
        lifts = LiftProofs(me, me, origin, KEYS[origin], [verifier_of(name, KEYS[name]) for name in knows])
        journal = LockJournal(folder / "locks.json")
        self.keeper = LockKeeper(me, me, me, me, random_id, self.database, journal, lifts)

    @property
    def held(self) -> list[str]:
        return [lock.id for lock in self.keeper.locks()]

    def told(self, kind: str) -> list[Any]:
        """Of the distrusted lifts their codes, of others by whom they are."""
        return [r.get("code", r.get("by")) for r in self.records if r["kind"] == kind]


@asynccontextmanager
async def broker(
    place: StatePlace, folder: Path, origin: str = ONE, knows: Iterable[str] = (ONE, TWO)
) -> AsyncIterator[Broker]:
    made = Broker(place, folder / origin[:3], origin, knows)
    async with made.database.connection():  # within one process migrations are no race
        pass
    await made.keeper.start()
    try:
        yield made
    finally:
        await made.keeper.stop()
        await made.database.close()


async def isolated(one: Broker, *others: Broker) -> Lock:
    """A site that bo isolated at one broker, on all of them."""
    taken = await one.keeper.set(LockKind.SITE, "plant", message="why", by=BO, isolation=True)
    assert taken.shared
    await eventually(lambda: all(taken.lock.id in other.held for other in others))
    return taken.lock


async def tamper(place: StatePlace, statement: Update) -> None:
    """What the database's administrator does; brokers hear of it."""
    database = StateDatabase(place)
    async with database.connection() as connection:
        assert (await connection.execute(statement)).rowcount == 1
        await database.commit(connection)
    await database.close()


async def note_of(place: StatePlace, lock: str) -> str:
    database = StateDatabase(place)
    async with database.connection() as connection:
        note: str = (await connection.execute(select(LOCKS.c.lift).where(LOCKS.c.id == lock))).scalar_one()
    await database.close()
    return note


def lifted(lock: Lock, note: str, by: str = CY) -> Update:
    return update(LOCKS).where(LOCKS.c.id == lock.id).values(lifted_by=by, lifted_at=1_800_000_100.0, lift=note)


def signed(lock: Lock, origin: str, by: str = CY) -> str:
    return sign_lift(Lift(lock.id, lock_digest(lock), by, 1_800_000_100.0, origin, 0), KEYS[origin])


async def _nothing(place: StatePlace, one: Broker, lock: Lock) -> str:
    return ""


async def _garbage(place: StatePlace, one: Broker, lock: Lock) -> str:
    return "\u2014 x AAAA\n"


async def _of_another_lock(place: StatePlace, one: Broker, lock: Lock) -> str:
    other = await one.keeper.set(LockKind.SITE, "plant", message="why", by=BO, isolation=True)
    assert await one.keeper.lift(other.lock, CY)
    return await note_of(place, other.lock.id)


async def _of_unknown_broker(place: StatePlace, one: Broker, lock: Lock) -> str:
    return signed(lock, UNKNOWN)


async def _in_the_setters_name(place: StatePlace, one: Broker, lock: Lock) -> str:
    return signed(lock, TWO, BO)


Forge = Callable[[StatePlace, Broker, Lock], Awaitable[str]]
FORGERIES: list[tuple[Forge, str]] = [
    (_nothing, "lift_unsigned"),
    (_garbage, "note_malformed"),
    (_of_another_lock, "lift_of_other_lock"),
    (_of_unknown_broker, "signed_by_others"),
    (_in_the_setters_name, "lift_by_setter"),
]


@pytest.mark.parametrize(("forge", "code"), FORGERIES)
def test_a_lock_that_was_lifted_behind_the_brokers_back_holds_everywhere_until_it_is_lifted_properly(
    place: StatePlace, tmp_path: Path, forge: Forge, code: str
) -> None:
    async def story() -> None:
        async with broker(place, tmp_path) as one, broker(place, tmp_path, TWO) as two:
            lock = await isolated(one, two)
            await tamper(place, lifted(lock, await forge(place, one, lock)))
            await eventually(lambda: bool(one.told("lift_distrusted") and two.told("lift_distrusted")))
            for _ in range(2):
                await one.keeper._look()
            assert lock.id in one.held
            assert lock.id in two.held
            assert one.around.enforced.isolations("plant")
            assert one.told("lift_distrusted") == two.told("lift_distrusted") == [code]
            async with broker(place, tmp_path / "fresh") as fresh:
                assert fresh.held == [lock.id], "who never held it, holds it"
                assert fresh.told("lift_distrusted") == [code]
            assert await two.keeper.lift(lock, CY)
            await eventually(lambda: lock.id not in one.held and lock.id not in two.held)
            assert CY in one.told("lock_lifted")
            assert two.told("lift_signed") == [CY]

    (tmp_path / "fresh").mkdir()
    asyncio.run(story())


def test_a_forged_lift_counts_for_nothing_after_a_restart_either(place: StatePlace, tmp_path: Path) -> None:
    async def story() -> None:
        async with broker(place, tmp_path) as one:
            lock = await isolated(one)
        await tamper(place, lifted(lock, ""))
        async with broker(place, tmp_path) as again:
            assert again.held == [lock.id]
            assert isinstance(again.around.enforced, LocksInForce)
            assert again.told("lift_distrusted") == ["lift_unsigned"]
            assert again.told("lock_set") == [], "it has held all the time"

    asyncio.run(story())


def test_of_two_who_lift_at_one_time_on_two_brokers_one_does_and_one_is_recorded(
    place: StatePlace, tmp_path: Path
) -> None:
    async def story() -> None:
        async with broker(place, tmp_path) as one, broker(place, tmp_path, TWO) as two:
            lock = await isolated(one, two)
            await tamper(place, lifted(lock, "\u2014 x AAAA\n"))
            told = await asyncio.gather(one.keeper.lift(lock, CY), two.keeper.lift(lock, EVE))
            assert sorted(told) == [False, True]
            winner, by = (one, CY) if told[0] else (two, EVE)
            await eventually(lambda: not one.held and not two.held)
            assert [*one.told("lift_signed"), *two.told("lift_signed")] == [by]
            assert winner.told("lift_signed") == one.told("lock_lifted") == two.told("lock_lifted") == [by]

    asyncio.run(story())


def test_what_a_broker_of_unknown_key_lifted_holds_here_and_is_lifted_here_too(
    place: StatePlace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with broker(place, tmp_path, knows=(ONE,)) as one, broker(place, tmp_path, TWO) as two:
            lock = await isolated(one, two)
            assert await two.keeper.lift(lock, CY)
            await eventually(lambda: bool(one.told("lift_distrusted")))
            assert (one.held, two.held) == ([lock.id], [])
            assert "state.brokers" in caplog.text
            assert await one.keeper.lift(lock, CY)
            assert (one.held, two.held) == ([], [])

    asyncio.run(story())


def test_a_lift_of_long_ago_needs_no_key_any_more_and_one_of_late_does(place: StatePlace, tmp_path: Path) -> None:
    async def story() -> None:
        async with broker(place, tmp_path, TWO) as two:
            lock = await isolated(two)
            assert await two.keeper.lift(lock, CY)
        async with broker(place, tmp_path, knows=(ONE,)) as one:
            assert one.held == [lock.id]
        later = Broker(place, tmp_path / "other", ONE, (ONE,))
        later.around.wall += LIFTED_KEPT_SECONDS + 1
        await later.keeper.start()
        assert later.held == []
        await later.keeper.stop()
        await later.database.close()

    asyncio.run(story())
