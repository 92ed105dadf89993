"""A broker's break-glass while its ledger, its file or the process fails; the parts are real ones."""

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from broker.access.emergencies import EmergenciesInForce
from broker.access.locks import LocksInForce
from broker.adapters import sealed_parts
from broker.adapters.break_glass_file import NAME, BreakGlassFile, Kept
from broker.adapters.clock import random_id
from broker.adapters.sealed_parts import seal_parts
from broker.errors import ConfigError, LedgerUnavailableError
from broker.ledger.record_forms import stamp
from broker.model.emergency import Emergency, EmergencyTerms, NotOpened, OpeningRefusal, SigningRefusal
from broker.model.lock import Lock, LockKind
from broker.model.place import Organisation
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action
from broker.wiring.break_glass import BreakGlass
from broker.wiring.emergency_ends import CHUNK, recorded_ends
from broker.wiring.emergency_journal import EmergencyJournal

DI = Subject("di@plant.example", SubjectKind.PERSON, "plant-owner")
TERMS = EmergencyTerms(("plant",), (Action.VIEW, Action.ADJUST), 60)
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_parts, "COST", 2**4)


@dataclass
class Surroundings:
    """What the keeper works on: clock, ledger, desk and register in one."""

    folder: Path
    wall: float = NOW
    ticks: float = 1000.0
    closed: bool = False
    torn: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    in_force_now: EmergenciesInForce = field(default_factory=EmergenciesInForce)
    locks: LocksInForce = field(default_factory=LocksInForce)
    examined: int = 0
    shut_for_emergencies: set[str] = field(default_factory=set)
    terms: EmergencyTerms | None = TERMS
    origin: str = "b/ledger"

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def append(self, record: bytes) -> int:
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "The ledger is closed.")
        self.records.append(orjson.loads(record))
        return len(self.records)

    def settle(self, durable: bool, settled: Callable[[LedgerUnavailableError | None], None]) -> bool:
        if self.torn:
            error = LedgerUnavailableError("ledger_closed", "The disk failed.")
            asyncio.get_running_loop().call_soon(settled, error)
        return not self.torn

    @property
    def in_force(self) -> Any:
        return SimpleNamespace(organisation=lambda subject: Organisation("plant-owner", (), (), owner=True))

    @property
    def emergencies(self) -> Any:
        return SimpleNamespace(in_force=self.in_force_now)

    def enforce_emergencies(self, emergencies: EmergenciesInForce | None = None) -> None:
        if emergencies is None:
            self.examined += 1
        else:
            self.in_force_now = emergencies

    def kinds(self) -> list[str]:
        return [record["kind"] for record in self.records]

    @asynccontextmanager
    async def keeper(self) -> AsyncIterator[BreakGlass]:
        me: Any = self

        async def load() -> None:
            pass

        journal = EmergencyJournal(BreakGlassFile(self.folder))
        ends = partial(recorded_ends, Recorded(self))
        keeper = BreakGlass(
            me, me, me, me, random_id, self.terms, journal, self.origin, lambda: not self.closed, load, ends
        )
        await keeper.start()
        try:
            yield keeper
        finally:
            await keeper.stop()


@dataclass
class Recorded:
    """What was recorded, to read."""

    around: Surroundings
    minimum: int = 0
    read: int = 0

    @property
    def size(self) -> int:
        return len(self.around.records)

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        self.read += stop - start
        return map(orjson.dumps, self.around.records[start:stop])


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def seal(folder: Path, parts: int = 4, needed: int = 2) -> tuple[str, ...]:
    made, texts = seal_parts(random_id("seal"), parts, needed, NOW)
    BreakGlassFile(folder).change(lambda kept: Kept(made, kept.recorded, kept.emergencies))
    return texts


async def opened(keeper: BreakGlass, *parts: str, minutes: int | None = None) -> Emergency:
    result = await keeper.open(DI, "plant", "fire", minutes, parts, "127.0.0.1:1")
    assert isinstance(result, Emergency), result
    return result


async def refused(keeper: BreakGlass, *parts: str, site: str = "plant") -> OpeningRefusal:
    result = await keeper.open(DI, site, "fire", None, parts, "127.0.0.1:1")
    assert isinstance(result, NotOpened), result
    return result.because


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_as_many_parts_as_needed_open_one_emergency_and_never_another(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            emergency = await opened(keeper, parts[2].lower(), parts[0])
            assert (emergency.parts, emergency.until, emergency.passes) == ((1, 3), NOW + 3600, ())
            assert around.in_force_now.anywhere(DI, NOW)
            assert await refused(keeper, parts[2], parts[0]) is OpeningRefusal.PARTS_REFUSED
            assert await refused(keeper, parts[0], parts[1]) is OpeningRefusal.PARTS_REFUSED
            assert keeper.parts_left == 2
            assert not keeper.readiness[0]
            around.ticks += 300
            again = await opened(keeper, parts[1], parts[3], minutes=5)
            assert again.until == NOW + 300
            around.ticks += 300
            assert await refused(keeper, parts[1], parts[3]) is OpeningRefusal.NOT_SEALED
        told = next(r for r in around.records if r["kind"] == "break_glass_opened")
        assert told["emergency"]["parts"] == [1, 3]
        written = orjson.dumps(around.records) + (around.folder / NAME).read_bytes()
        assert not any(part.encode() in written or part.replace("-", "").encode() in written for part in parts)
        assert stat.S_IMODE((around.folder / NAME).stat().st_mode) == 0o600

    asyncio.run(story())


def test_wrong_too_few_too_many_double_and_mistyped_parts_open_nothing(around: Surroundings) -> None:
    strange = seal_parts("seal-x", 2, 2, NOW)[1]

    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            for given in ((parts[0],), (parts[0], parts[0]), parts[:3], (parts[0], strange[1]), strange):
                around.ticks += 300
                assert await refused(keeper, *given) is OpeningRefusal.PARTS_REFUSED
            around.ticks += 300
            assert await refused(keeper, parts[0], parts[1][:-1] + "?") is OpeningRefusal.PARTS_MALFORMED
            assert keeper.parts_left == 4
            around.ticks += 300
            await opened(keeper, *parts[:2])
        counted = {r["code"]: r["count"] for r in around.records if r["kind"] == "break_glass_refused"}
        assert counted == {"parts_refused": 4, "parts_malformed": 1}, "the first at once, the rest as a sum"

    asyncio.run(story())


def test_who_fails_again_and_again_waits_and_nothing_is_looked_at_meanwhile(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            for _ in range(3):
                assert await refused(keeper, parts[0], parts[0]) is OpeningRefusal.PARTS_REFUSED
            assert await refused(keeper, *parts[:2]) is OpeningRefusal.TOO_SOON
            around.ticks += 10
            await opened(keeper, *parts[:2])

    asyncio.run(story())


def test_a_closed_ledger_opens_nothing_and_spends_no_part(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            await eventually(lambda: "break_glass_sealed" in around.kinds())
            around.closed = True
            with pytest.raises(LedgerUnavailableError):
                await opened(keeper, *parts[:2])
            assert keeper.parts_left == 4
            around.closed = False
            await opened(keeper, *parts[:2])

    asyncio.run(story())


def test_a_broker_that_would_open_no_session_of_it_spends_no_part(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            around.shut_for_emergencies.add("the clock is behind the record")
            assert await refused(keeper, *parts[:2]) is OpeningRefusal.NO_SESSIONS
            assert keeper.parts_left == 4
            around.shut_for_emergencies.clear()
            await opened(keeper, *parts[:2])

    asyncio.run(story())


def test_an_emergency_that_was_kept_and_not_recorded_holds_only_after_a_start_that_records_it(
    around: Surroundings,
) -> None:
    """As after a kill, or a disk that failed, between the two steps."""

    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            await eventually(lambda: "break_glass_sealed" in around.kinds())
            around.torn = True
            with pytest.raises(LedgerUnavailableError):
                await opened(keeper, *parts[:2])
            around.torn = False
            assert not around.in_force_now.anywhere(DI, NOW)
            assert keeper.holding == ()
            assert keeper.parts_left == 2
            assert await refused(keeper, *parts[:2]) is OpeningRefusal.PARTS_REFUSED
        around.records.clear()
        async with around.keeper() as keeper:
            (record,) = around.records
            assert (record["kind"], record["resumed"]) == ("break_glass_opened", True)
            (held,) = keeper.holding
            assert record["emergency"]["id"] == held.id
            assert around.in_force_now.anywhere(DI, NOW)

    asyncio.run(story())


def test_an_emergency_that_was_kept_and_not_recorded_can_be_closed(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            around.torn = True
            with pytest.raises(LedgerUnavailableError):
                await opened(keeper, *parts[:2])
            around.torn = False
            (kept,) = keeper.emergencies
            await keeper.close(kept, "bo")
            assert keeper.emergencies[0].ended_by == "bo"
            assert around.kinds()[-1] == "break_glass_ended"
        async with around.keeper() as keeper:
            assert keeper.holding == ()
            assert not around.in_force_now.anywhere(DI, NOW)

    asyncio.run(story())


def test_an_emergency_of_another_ledger_holds_not_here_and_can_be_closed(around: Surroundings) -> None:
    """As with the files of another broker, or after the origin was changed."""

    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            theirs = await opened(keeper, *parts[:2])
        around.origin, around.in_force_now = "other/ledger", EmergenciesInForce()
        async with around.keeper() as keeper:
            assert keeper.holding == ()
            assert not around.in_force_now.anywhere(DI, NOW)
            await keeper.close(theirs, "bo")
            assert keeper.emergencies[0].ended_by == "bo"

    asyncio.run(story())


def test_what_was_closed_stays_closed_after_a_restart_though_its_file_could_not_be_written(
    around: Surroundings,
) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            closed = await opened(keeper, *parts[:2], minutes=30)
            around.ticks += 300
            left = await opened(keeper, *parts[2:], minutes=50)
            file = BreakGlassFile(around.folder)
            await eventually(lambda: file.read().recorded)  # nothing is left to be written
            lock = around.folder / Path(NAME).with_suffix(".lock")
            lock.unlink()
            lock.mkdir()
            around.wall += 60
            await keeper.close(closed, "bo")
            assert "cannot be changed" in keeper.readiness[1]
        before = len(around.records)
        async with around.keeper() as keeper:
            assert [found.id for found in keeper.holding] == [left.id]
            told = around.records[before:]
            assert [(record["emergency"]["id"], record["resumed"]) for record in told] == [(left.id, True)]
            (kept, _) = keeper.emergencies
            assert (kept.ended_at, kept.ended_by) == (NOW + 60, "bo")
            lock.rmdir()
            await eventually(lambda: file.read().emergencies[0] == kept)

    asyncio.run(story())


def test_the_ledger_is_read_back_to_the_opening_and_no_further(around: Surroundings) -> None:
    async def story() -> Emergency:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            return await opened(keeper, *parts[:2])

    early, late = ({"kind": "decision", "time": stamp(NOW + days * 86_400)} for days in (-2, 0))
    around.records += [early] * (3 * CHUNK)
    emergency = asyncio.run(story())
    around.records += [late] * (3 * CHUNK)
    ledger = Recorded(around)
    assert recorded_ends(ledger, (emergency,)) == {}
    assert ledger.read == 4 * CHUNK, "to its opening"
    around.records[:] = [record for record in around.records if "break_glass" not in record["kind"]]
    ledger = Recorded(around)
    assert recorded_ends(ledger, (emergency,)) == {}
    assert ledger.read == 4 * CHUNK, "one that was never recorded: as far as it can have been"
    assert recorded_ends(Recorded(around, minimum=3 * CHUNK), (emergency,)) == {}


def test_it_ends_in_time_also_while_the_broker_is_down_and_its_review_stays_open(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            first = await opened(keeper, *parts[:2], minutes=1)
            around.wall += 60
            await eventually(lambda: "break_glass_ended" in around.kinds())
            assert around.examined
            assert not around.in_force_now.anywhere(DI, around.wall)
            second = await opened(keeper, *parts[2:], minutes=1)
        around.wall += 3600
        async with around.keeper() as keeper:
            assert keeper.holding == ()
            await eventually(lambda: around.kinds().count("break_glass_ended") == 2)
            assert [found.ended_at for found in keeper.emergencies] == [first.until, second.until]
            assert f"reviews open: {first.id}, {second.id}" in keeper.readiness[1]

    asyncio.run(story())


def test_two_others_sign_and_a_restart_forgets_no_signature(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            emergency = await opened(keeper, *parts[:2])
            assert await keeper.sign(emergency, "bo", "x") is SigningRefusal.STILL_OPEN
            await keeper.close(emergency, DI.id)
            assert around.records[-1]["by"] == DI.id
            assert await keeper.sign(emergency, DI.id, "x") is SigningRefusal.OPENED_IT
            around.torn = True
            with pytest.raises(LedgerUnavailableError):
                await keeper.sign(emergency, "bo", "x")
            around.torn = False
            assert isinstance(await keeper.sign(emergency, "bo", "fine"), Emergency)
        async with around.keeper() as keeper:
            assert await keeper.sign(emergency, "bo", "again") is SigningRefusal.SIGNED_BEFORE
            assert isinstance(await keeper.sign(emergency, "eli", "fine"), Emergency)
            assert await keeper.sign(emergency, "eve", "late") is SigningRefusal.REVIEWED
            assert keeper.readiness == (True, "sealed, 2 parts left, 2 needed")

    asyncio.run(story())


def test_sealing_anew_is_noticed_recorded_once_and_ends_the_parts_from_before(around: Surroundings) -> None:
    async def story() -> None:
        old = seal(around.folder)
        async with around.keeper() as keeper:
            await eventually(lambda: around.kinds().count("break_glass_sealed") == 1)
            await opened(keeper, *old[:2])
            new = seal(around.folder, parts=3)
            await eventually(lambda: around.kinds().count("break_glass_sealed") == 2)
            assert len(keeper.emergencies) == 1
            assert await refused(keeper, *old[2:]) is OpeningRefusal.PARTS_REFUSED
            await opened(keeper, *new[:2])
        async with around.keeper() as keeper:
            assert len(keeper.emergencies) == 2
            await asyncio.sleep(0)
            assert around.kinds().count("break_glass_sealed") == 2

    asyncio.run(story())


@pytest.mark.parametrize(("kind", "target"), [(LockKind.SUBJECT, DI.id), (LockKind.SITE, "plant")])
def test_a_lock_on_the_person_or_the_site_opens_nothing(around: Surroundings, kind: LockKind, target: str) -> None:
    around.locks = LocksInForce((Lock("lck-1", kind, target, "why", "bo", NOW, "b/ledger"),))

    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            assert await refused(keeper, *parts[:2]) is OpeningRefusal.LOCKED
            assert keeper.parts_left == 4

    asyncio.run(story())


def test_the_isolations_that_hold_are_passed_and_remembered(around: Surroundings) -> None:
    first = Lock("lck-1", LockKind.SITE, "plant", "why", "bo", NOW, "b/ledger", isolation=True)
    around.locks = LocksInForce((first, replace(first, id="lck-2", set_by="cy")))

    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            assert (await opened(keeper, *parts[:2])).passes == ("lck-1", "lck-2")

    asyncio.run(story())


def test_without_settings_for_it_nothing_is_opened_and_what_was_open_holds_no_more(around: Surroundings) -> None:
    async def story() -> None:
        parts = seal(around.folder)
        async with around.keeper() as keeper:
            await opened(keeper, *parts[:2])
        around.terms, around.in_force_now = None, EmergenciesInForce()
        async with around.keeper() as keeper:
            assert keeper.holding == ()
            assert not around.in_force_now.anywhere(DI, NOW)
            assert await refused(keeper, *parts[2:]) is OpeningRefusal.NOT_SET_UP

    asyncio.run(story())


def test_a_file_that_makes_no_sense_keeps_the_broker_from_starting(around: Surroundings) -> None:
    (around.folder / NAME).write_text('{"seal": 3}')

    async def story() -> None:
        with pytest.raises(ConfigError, match="break_glass_unreadable"):
            async with around.keeper():
                pass

    asyncio.run(story())
