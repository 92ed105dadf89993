"""A broker's locks while its ledger, its journal or its state fails."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.access.locks import LocksInForce
from broker.adapters.clock import random_id
from broker.adapters.state_database import StateDatabase, sqlite_place
from broker.adapters.state_journal import LockJournal
from broker.adapters.state_locks import LockRows
from broker.errors import ConfigError, LedgerUnavailableError
from broker.ledger.notes import verifier_of
from broker.listeners.session_register import STATE_STALE
from broker.model.lock import Lock, LockKind
from broker.model.vocabulary import EndReason
from broker.wiring import locks
from broker.wiring.lifts import LiftProofs
from broker.wiring.locks import LockKeeper

BO, CY = "bo@plant.example", "cy@plant.example"
ORIGIN, KEY = "b.example/ledger", Ed25519PrivateKey.generate()


@dataclass
class Surroundings:
    """What a keeper works on: clock, ledger, desk and register in one."""

    folder: Path
    wall: float = 1_800_000_000.0
    ticks: float = 1000.0
    closed: bool = False
    closes_after: str = ""
    heard: Callable[[dict[str, Any]], None] = lambda told: None
    recorded: list[str] = field(default_factory=list)
    enforced: LocksInForce = field(default_factory=LocksInForce)
    shut_for: set[str] = field(default_factory=set)
    ended: list[EndReason] = field(default_factory=list)
    open_sessions: list[Any] = field(default_factory=list)

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def append(self, record: bytes) -> int:
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "The ledger is closed.")
        told = orjson.loads(record)
        self.recorded.append(told["kind"])
        self.heard(told)
        self.closed = self.recorded[-1] == self.closes_after
        return len(self.recorded)

    def settle(self, durable: bool, settled: object) -> bool:
        return True

    def enforce(self, locks: LocksInForce) -> None:
        self.enforced = locks

    def enforce_locks(self) -> None:
        for session in self.open_sessions:
            session.ended = EndReason.LOCKED

    def sessions(self) -> tuple[Any, ...]:
        return tuple(session for session in self.open_sessions if session.ended is None)

    def end_all_but_emergencies(self, reason: EndReason) -> None:
        self.ended.append(reason)

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[LockKeeper]:
        me: Any = self
        database, journal = (
            StateDatabase(sqlite_place(self.folder / "broker.db")),
            LockJournal(self.folder / "locks.json"),
        )
        lifts = LiftProofs(me, me, ORIGIN, KEY, [verifier_of(ORIGIN, KEY)])
        keeper = LockKeeper(me, me, me, me, random_id, database, journal, lifts)
        await keeper.start()
        try:
            yield keeper
        finally:
            await keeper.stop()
            await database.close()


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_lock_that_cannot_be_recorded_holds_and_a_lift_that_cannot_be_recorded_is_none(around: Surroundings) -> None:
    async def story() -> None:
        async with around.keeper() as keeper:
            around.closed = True
            around.open_sessions = [SimpleNamespace(ended=None), SimpleNamespace(ended=None)]
            taken = await keeper.set(LockKind.SITE, "plant", message="why", by=BO)
            assert (taken.ended, taken.shared) == (2, True)
            with pytest.raises(LedgerUnavailableError):
                await keeper.lift(taken.lock, CY)
            assert keeper.locks() == (taken.lock,)
            around.closed = False
            assert await keeper.lift(taken.lock, CY)
            assert keeper.locks() == ()
            assert around.recorded == ["lift_signed", "lock_lifted"]

    asyncio.run(story())


def test_a_lift_whose_effect_cannot_be_recorded_takes_effect_once_it_can(around: Surroundings) -> None:
    async def story() -> None:
        async with around.keeper() as keeper:
            taken = await keeper.set(LockKind.SITE, "plant", message="why", by=BO)
            around.closes_after = "lift_signed"
            assert await keeper.lift(taken.lock, CY)
            assert keeper.locks() == (taken.lock,)
            around.closed = False
            await eventually(lambda: not keeper.locks())
            assert around.recorded == ["lock_set", "lift_signed", "lock_lifted"]

    asyncio.run(story())


def test_the_journal_has_a_lock_before_the_state_is_asked(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with around.keeper() as keeper:
            seen: list[bytes] = []

            async def add(self: LockRows, locks: object) -> None:
                seen.append((around.folder / "locks.json").read_bytes())

            monkeypatch.setattr(LockRows, "add", add)
            monkeypatch.setattr(locks, "KEPT_FIRST_SECONDS", 60.0)
            taken = await keeper.set(LockKind.SUBJECT, "ana@acme.example", message="why", by=BO)
            assert taken.lock.id.encode() in seen[0]

    asyncio.run(story())


def test_a_journal_that_cannot_be_written_is_shown_and_tried_again(around: Surroundings) -> None:
    (around.folder / "locks.json").mkdir()
    (around.folder / "locks.json" / "in-the-way").touch()

    async def story() -> None:
        with pytest.raises(ConfigError, match="locks held cannot be read"):
            async with around.keeper():
                pass
        (around.folder / "locks.json" / "in-the-way").unlink()
        (around.folder / "locks.json").rmdir()
        async with around.keeper() as keeper:
            (around.folder / "locks.json").mkdir()
            taken = await keeper.set(LockKind.SITE, "plant", message="why", by=BO)
            assert taken.shared
            good, words = keeper.readiness
            assert not good
            assert "cannot be kept" in words
            (around.folder / "locks.json").rmdir()
            await eventually(lambda: keeper.readiness[0])

    asyncio.run(story())


def test_a_disk_that_hangs_keeps_no_lock_from_the_others_nor_theirs_from_here(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(LockJournal, "write", lambda *_: hangs.wait())

    async def story() -> None:
        async with around.keeper() as keeper:
            keeper._follower._pace_seconds = 0.05
            setting = asyncio.create_task(keeper.set(LockKind.SITE, "plant", message="why", by=BO))
            await eventually(lambda: len(keeper.locks()) == 1)
            database = StateDatabase(sqlite_place(around.folder / "broker.db"))
            rows, (mine,) = LockRows(database), keeper.locks()
            async with asyncio.timeout(20):
                while not await rows.locks((), around.wall):
                    await asyncio.sleep(0.01)
            await rows.add((replace(mine, id="lck-theirs", target="north"),))
            await eventually(lambda: {lock.target for lock in keeper.locks()} == {"plant", "north"})
            assert not setting.done()
            hangs.set()
            assert (await setting).shared
            await database.close()

    try:
        asyncio.run(story())
    finally:
        hangs.set()


def test_a_journal_that_makes_no_sense_keeps_the_broker_from_starting(around: Surroundings) -> None:
    (around.folder / "locks.json").write_text('[{"id": "lck-1"}]')

    async def story() -> None:
        with pytest.raises(ConfigError):
            async with around.keeper():
                pass

    asyncio.run(story())


def test_a_lock_whose_time_is_over_is_forgotten_everywhere(around: Surroundings) -> None:
    async def story() -> None:
        async with around.keeper() as keeper:
            await keeper.set(LockKind.GRANT, "g", message="why", by=BO, seconds=60)
            assert around.enforced.grants == {"g"}
            around.wall += 60
            await eventually(lambda: not keeper.locks())
            assert around.enforced.grants == frozenset()
        async with around.keeper() as keeper:
            assert keeper.locks() == ()

    asyncio.run(story())


def test_a_damaged_file_ends_the_sessions_and_is_waited_for(around: Surroundings) -> None:
    path = around.folder / "broker.db"

    async def story() -> None:
        async with around.keeper() as keeper:
            assert STATE_STALE not in around.shut_for
            kept = path.read_bytes()
            path.write_bytes(b"not a database" * 1000)
            await eventually(lambda: not keeper.readiness[0])
            assert around.ended == []
            around.ticks += 5.1
            await eventually(lambda: STATE_STALE in around.shut_for)
            assert around.ended == [EndReason.STATE_STALE]
            path.write_bytes(kept)
            await eventually(lambda: keeper.readiness[0])
            assert STATE_STALE not in around.shut_for

    asyncio.run(story())


def test_no_session_is_there_before_the_state_was_read(around: Surroundings) -> None:
    (around.folder / "broker.db").write_bytes(b"not a database" * 1000)

    async def story() -> None:
        async with around.keeper() as keeper:
            assert STATE_STALE in around.shut_for
            taken = await keeper.set(LockKind.SITE, "plant", message="why", by=BO)
            assert not taken.shared
            (around.folder / "broker.db").unlink()
            await eventually(lambda: keeper.readiness[0])
        async with around.keeper() as keeper:
            assert keeper.locks() == (taken.lock,)

    asyncio.run(story())


def lock_of(subject: str, **changes: Any) -> Lock:
    made = Lock(f"lck-{subject}", LockKind.SUBJECT, subject, "stolen", BO, 1_800_000_000.0, "other.example/ledger")
    return replace(made, **changes)


ODD: dict[str, dict[str, Any]] = {
    "far away": {"until": 1e300},
    "endless": {"until": float("inf")},
    "before all times": {"set_at": -1.0},
}


@pytest.mark.parametrize("odd", ODD)
def test_a_row_that_can_be_no_lock_keeps_no_other_out_of_force_and_is_told(around: Surroundings, odd: str) -> None:
    async def story() -> None:
        async with around.keeper() as keeper:
            other = StateDatabase(sqlite_place(around.folder / "broker.db"))
            await LockRows(other).add((lock_of("nobody", **ODD[odd]), lock_of("ana@acme.example")))
            await other.close()
            await keeper._look()
            assert [lock.target for lock in keeper.locks()] == ["ana@acme.example"]
            assert around.enforced.on_request("ana@acme.example", "acme", ()) is not None
            assert around.recorded == ["lock_set"]
            good, said = keeper.readiness
            assert not good and "lck-nobody" in said
            around.ticks += locks.STALE_SECONDS + 1
            await eventually(lambda: around.ended == [EndReason.STATE_STALE])

    asyncio.run(story())


def test_while_a_row_can_be_no_lock_nothing_is_written_at_each_look(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is announced, and wakes every broker for another look."""
    forgot = []
    forget = LockRows.forget_lifted

    async def counted(rows: LockRows, before: float) -> None:
        forgot.append(before)
        await forget(rows, before)

    monkeypatch.setattr(LockRows, "forget_lifted", counted)

    async def story() -> None:
        async with around.keeper() as keeper:
            other = StateDatabase(sqlite_place(around.folder / "broker.db"))
            await LockRows(other).add((lock_of("nobody", until=1e300),))
            await other.close()
            for _ in range(3):
                await keeper._look()
            assert not keeper.readiness[0]
            assert len(forgot) == 1

    asyncio.run(story())


def test_a_lock_is_in_force_before_anybody_tries_to_record_it(around: Surroundings) -> None:
    async def story() -> None:
        async with around.keeper() as keeper:
            at_record = []
            around.heard = lambda told: at_record.append(around.enforced.on_site("plant"))
            await keeper.set(LockKind.SITE, "plant", message="a test", by=BO)
            assert [lock and lock.target for lock in at_record] == ["plant"]

    asyncio.run(story())


def test_a_lock_of_which_no_record_can_be_made_holds_and_keeps_no_other_out_of_the_record(around: Surroundings) -> None:
    def fail(told: dict[str, Any]) -> None:
        if told["lock"]["target"] == "cy":
            around.recorded.remove("lock_set")
            raise TypeError("no record can be made of this")

    async def story() -> None:
        async with around.keeper() as keeper:
            around.heard = fail
            other = StateDatabase(sqlite_place(around.folder / "broker.db"))
            await LockRows(other).add((lock_of("cy"), lock_of("eve")))
            await eventually(lambda: len(keeper.locks()) == 2)
            assert all(around.enforced.on_request(who, "", ()) for who in ("cy", "eve"))
            assert around.recorded == ["lock_set"]
            await other.close()

    asyncio.run(story())
