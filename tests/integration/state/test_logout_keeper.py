"""Logouts take effect where they are told at once, on other brokers soon, and are remembered."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from broker.adapters.state_database import StateDatabase, StatePlace
from broker.adapters.state_logouts import LogoutRows
from broker.errors import LedgerUnavailableError, StateUnavailableError, TokenError
from broker.identity.logout import REMEMBERED_SECONDS, LoggedOut
from broker.listeners.session_register import LOGOUTS_UNREAD
from broker.model.logout import Logout
from broker.model.subject import Proof, ProofKind
from broker.wiring import logouts
from broker.wiring.logouts import BATCH, OVERLAP_SECONDS, LogoutKeeper

NOW = 1_800_000_000.0
ISSUER = "https://id.example"
LOGOUT = Logout("out-1", ISSUER, "u-1", "", NOW)


def session(account: str, kind: ProofKind = ProofKind.TOKEN) -> Any:
    proof = Proof(kind, ISSUER, "j", "f", NOW - 9, NOW + 600, issued_at=NOW - 9, account=account)
    subject = SimpleNamespace(proof=lambda asked: proof if asked is kind else None)
    return SimpleNamespace(subject=subject, ended=None, token=proof)


@dataclass
class Surroundings:
    """What a keeper works on: clock, ledger, authenticator and register in one."""

    wall: float = NOW
    closed: bool = False
    recorded: list[dict[str, Any]] = field(default_factory=list)
    shut_for: set[str] = field(default_factory=set)
    open_sessions: list[Any] = field(default_factory=list)
    logged_out: LoggedOut = field(default_factory=LoggedOut)

    def now(self) -> float:
        return self.wall

    def append(self, record: bytes) -> int:
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "The ledger is closed.")
        self.recorded.append(orjson.loads(record))
        return len(self.recorded)

    def settle(self, durable: bool, settled: object) -> bool:
        return True

    async def logout(self, raw_token: str) -> Logout:
        return Logout(f"out-{raw_token}", ISSUER, raw_token, "", self.wall)

    def sessions(self) -> tuple[Any, ...]:
        return tuple(each for each in self.open_sessions if each.ended is None)

    def end(self, ended: Any, reason: str, detail: str) -> None:
        ended.ended = (reason, detail)

    @asynccontextmanager
    async def keeper(self, place: StatePlace) -> AsyncIterator[LogoutKeeper]:
        me: Any = self
        database = StateDatabase(place)
        keeper = LogoutKeeper(me, me, me, me, database)
        await keeper.start()
        try:
            yield keeper
        finally:
            await keeper.stop()
            await database.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_logout_ends_its_sessions_and_is_recorded_and_cannot_be_told_twice(place: StatePlace) -> None:
    async def story() -> None:
        at = Surroundings(open_sessions=[session("u-1"), session("u-2"), session("u-1", ProofKind.CERTIFICATE)])
        async with at.keeper(place) as keeper:
            await keeper.take("u-1")
            assert [each.ended for each in at.open_sessions] == [("logged_out", "out-u-1"), None, None]
            with pytest.raises(TokenError) as raised:
                await keeper.take("u-1")
            assert raised.value.code == "logout_replayed"
        (record,) = at.recorded
        assert (record["kind"], record["account"], record["logout"]) == ("logged_out", "u-1", "out-u-1")

    asyncio.run(story())


def test_after_a_restart_it_still_holds_until_no_token_can_live_any_more(place: StatePlace) -> None:
    async def story() -> None:
        async with Surroundings().keeper(place) as keeper:
            await keeper.take("u-1")
        again = Surroundings()
        async with again.keeper(place) as keeper:
            assert again.logged_out.ends(session("u-1").token)
            assert again.recorded == []
            with pytest.raises(TokenError):
                await keeper.take("u-1")
            again.wall += REMEMBERED_SECONDS + 1
            await keeper.take("u-2")
            assert not again.logged_out.ends(session("u-1").token)
        later = Surroundings(wall=again.wall)
        async with later.keeper(place):
            assert later.logged_out.ends(session("u-2").token)

    asyncio.run(story())


def test_another_broker_learns_of_it_and_records_it_too(postgresql_place: StatePlace) -> None:
    async def story() -> None:
        one, other = Surroundings(), Surroundings(open_sessions=[session("u-1")])
        async with one.keeper(postgresql_place) as keeper, other.keeper(postgresql_place) as elsewhere:
            await keeper.take("u-1")
            await until(lambda: other.open_sessions[0].ended)
            assert other.open_sessions[0].ended == ("logged_out", "out-u-1")
            assert [record["kind"] for record in other.recorded] == ["logged_out"]
            with pytest.raises(TokenError):
                await elsewhere.take("u-1")

    asyncio.run(story())


def test_without_the_state_it_holds_here_and_may_be_told_again(
    postgresql_place: StatePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        at = Surroundings(open_sessions=[session("u-1")])
        add = LogoutRows.add

        async def fails(*_: object) -> None:
            raise StateUnavailableError("state_unavailable", "gone")

        async with at.keeper(postgresql_place) as keeper:
            monkeypatch.setattr(LogoutRows, "add", fails)
            with pytest.raises(StateUnavailableError):
                await keeper.take("u-1")
            assert at.open_sessions[0].ended
            monkeypatch.setattr(LogoutRows, "add", add)
            other = Surroundings()
            async with other.keeper(postgresql_place):
                await until(lambda: other.logged_out.ends(session("u-1").token))
            await until(lambda: not keeper._unstored)
            with pytest.raises(TokenError):
                await keeper.take("u-1")
        assert len(at.recorded) == 1

    asyncio.run(story())


def test_however_many_waited_for_the_state_it_gets_all_in_small_steps(
    place: StatePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        add, steps, back = LogoutRows.add, [], False

        async def bears_little(rows: LogoutRows, told_of: Iterable[Logout], *moments: float) -> None:
            told = tuple(told_of)
            if not back or len(told) > BATCH:
                raise StateUnavailableError("state_unavailable", "gone, or not in time")
            steps.append(len(told))
            await add(rows, told, *moments)

        monkeypatch.setattr(LogoutRows, "add", bears_little)
        at = Surroundings()
        async with at.keeper(place) as keeper:
            for number in range(2 * BATCH + 50):
                with pytest.raises(StateUnavailableError):
                    await keeper.take(f"u-{number}")
            back = True
            await keeper.take("u-new")
            assert steps[0] == 1, "whoever tells a logout does not wait for those of others"
            await until(lambda: not keeper._unstored)
        later = Surroundings()
        async with later.keeper(place):
            assert all(later.logged_out.ends(session(f"u-{number}").token) for number in range(2 * BATCH + 50))

    asyncio.run(story())


def test_what_other_brokers_took_is_learned_while_ones_own_are_still_being_stored(
    postgresql_place: StatePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        add, begun, goes_on = LogoutRows.add, asyncio.Event(), asyncio.Event()

        async def fails(*_: object) -> None:
            raise StateUnavailableError("state_unavailable", "gone")

        async def takes_its_time(*told: Any) -> None:
            begun.set()
            await goes_on.wait()
            await add(*told)

        at, other = Surroundings(open_sessions=[session("u-other")]), Surroundings()
        async with at.keeper(postgresql_place) as keeper, other.keeper(postgresql_place) as elsewhere:
            monkeypatch.setattr(keeper._rows, "add", fails)
            with pytest.raises(StateUnavailableError):
                await keeper.take("u-own")
            monkeypatch.setattr(keeper._rows, "add", partial(takes_its_time, keeper._rows))
            async with asyncio.timeout(10):
                await begun.wait()
            await elsewhere.take("u-other")
            await until(lambda: at.open_sessions[0].ended)
            assert list(keeper._unstored) == ["out-u-own"]
            goes_on.set()
            await until(lambda: not keeper._unstored and other.logged_out.ends(session("u-own").token))

    asyncio.run(story())


def test_of_more_than_can_wait_for_the_state_the_oldest_holds_here_and_may_be_told_again(
    place: StatePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        add = LogoutRows.add

        async def fails(*_: object) -> None:
            raise StateUnavailableError("state_unavailable", "gone")

        monkeypatch.setattr(logouts, "MOST_UNSTORED", 3)
        monkeypatch.setattr(LogoutRows, "add", fails)
        at = Surroundings()
        async with at.keeper(place) as keeper:
            for number in range(5):
                with pytest.raises(StateUnavailableError):
                    await keeper.take(f"u-{number}")
            assert list(keeper._unstored) == ["out-u-2", "out-u-3", "out-u-4"]
            assert at.logged_out.ends(session("u-0").token)
            monkeypatch.setattr(LogoutRows, "add", add)
            await keeper.take("u-0")
            with pytest.raises(TokenError):
                await keeper.take("u-0")

    asyncio.run(story())


def test_until_the_state_was_read_once_nobody_is_let_in(place: StatePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        read = LogoutRows.logouts

        async def fails(*_: object) -> Any:
            raise StateUnavailableError("state_unavailable", "gone")

        monkeypatch.setattr(LogoutRows, "logouts", fails)
        at = Surroundings(closed=True)
        async with at.keeper(place) as keeper:
            assert at.shut_for == {LOGOUTS_UNREAD}
            monkeypatch.setattr(LogoutRows, "logouts", read)
            await until(lambda: not at.shut_for)
            await keeper.take("u-1")
            assert at.logged_out.ends(session("u-1").token)

    asyncio.run(story())


def test_a_logout_that_a_broker_with_a_lagging_clock_took_is_learned_too(postgresql_place: StatePlace) -> None:
    async def story() -> None:
        lagging, other = Surroundings(wall=NOW - 3600), Surroundings(open_sessions=[session("u-1")])
        async with other.keeper(postgresql_place) as elsewhere, lagging.keeper(postgresql_place) as keeper:
            await elsewhere.take("u-2")
            lagging.wall = NOW
            told = await lagging.logout("u-1")
            lagging.wall = NOW - 3600
            lagging.logout = lambda _: asyncio.sleep(0, told)  # type: ignore[assignment,method-assign,return-value]
            await keeper.take("u-1")
            await until(lambda: other.open_sessions[0].ended)

    asyncio.run(story())


def test_logouts_are_read_from_the_newest_on_however_long_ago_that_was(
    postgresql_place: StatePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        read, since = LogoutRows.logouts, []

        async def noting(rows: LogoutRows, stored_since: float, most: int) -> Any:
            since.append(stored_since)
            return await read(rows, stored_since, most)

        monkeypatch.setattr(LogoutRows, "logouts", noting)
        at = Surroundings()
        async with at.keeper(postgresql_place) as keeper:
            assert since[0] == NOW - REMEMBERED_SECONDS
            await keeper.take("u-1")
            await until(lambda: since[-1] == NOW - OVERLAP_SECONDS)
            at.wall += 3600
            await keeper._learn()
            assert since[-1] == NOW - OVERLAP_SECONDS
            at.wall += REMEMBERED_SECONDS
            await keeper._learn()
            assert since[-1] == at.wall - REMEMBERED_SECONDS
        assert len(at.recorded) == 1

    asyncio.run(story())
