"""Access requests on real databases: races, forged rows, and what holds while state or ledger fail."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, func, insert, text, update

from broker.access.locks import LocksInForce
from broker.access.requests import LIVING
from broker.adapters import state_requests
from broker.adapters.state_database import StateDatabase, StatePlace, sqlite_place
from broker.adapters.state_request_journal import RequestJournal
from broker.adapters.state_tables import REQUEST_REVIEWS, REQUEST_USES, REQUESTS
from broker.errors import ConfigError, LedgerUnavailableError, RequestRefusedError, StateUnavailableError
from broker.ledger.notes import verifier_of
from broker.ledger.reviews import encode_terms, sign_review
from broker.listeners.session_register import REQUESTS_UNREAD
from broker.model.access_request import AccessRequest, Ending, RequestState, Standing, Verdict
from broker.model.lock import Lock, LockKind
from broker.model.operation import ModbusRange, Operation, Request, Touch
from broker.model.place import Organisation, Scope, Table, Window
from broker.model.schedule import Occurrence
from broker.model.subject import Subject
from broker.model.vocabulary import Action, Reason
from broker.wiring import request_grants
from broker.wiring.request_grants import RequestGrants
from broker.wiring.request_parts import verifiers
from broker.wiring.requests import reviewer_of
from tests.integration.state.request_stage import ANA, BO, CY, DI, NOW, PLANT, Broker, eventually, person, terms
from tests.unit.access.inventories import point

SUBJECT = person(ANA, organisation="acme")


async def approved(broker: Broker, *, by: Subject = BO, **changes: Any) -> None:
    asked = terms(**changes)
    await broker.book.create(asked, submit=True)
    await broker.book.review(await broker.fresh(asked.id), by, Verdict.APPROVE, "")


async def outcomes(*acts: Any) -> list[str]:
    """`done`, or why not, of acts at one time."""
    found = await asyncio.gather(*acts, return_exceptions=True)
    for one in found:
        assert not isinstance(one, BaseException) or isinstance(one, RequestRefusedError | StateUnavailableError), one
    return sorted(one.code if isinstance(one, RequestRefusedError | StateUnavailableError) else "done" for one in found)


async def tamper(place: StatePlace, *statements: Any) -> None:
    """What the database's administrator does."""
    database = StateDatabase(place)
    async with database.connection() as connection:
        for statement in statements:
            await connection.execute(statement)
        await database.commit(connection)
    await database.close()


def test_of_two_acts_at_one_time_on_two_brokers_one_is_refused(place: StatePlace, tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(place, tmp_path) as one, Broker(place, tmp_path, "two", (one.verifier,)) as two:
            await one.book.create(terms(), submit=True)
            seen = await one.fresh()
            acts = [b.book.review(seen, by, Verdict.APPROVE, "") for b in (one, two) for by in (BO, CY)]
            told = await outcomes(*acts)
            assert told.count("done") == 1, told
            assert len((await one.fresh()).notes) == 1
            seen = await one.fresh()
            told = await outcomes(
                one.book.revoke(seen, CY, "no more"),
                two.book.revoke(seen, BO, "no more"),
                one.book.close(seen, SUBJECT, "all is done"),
            )
            assert told.count("done") == 1, told

    asyncio.run(story())


def test_nobody_approves_twice_and_two_groups_are_two_people(place: StatePlace, tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            one.machine.needed = 2
            await approved(one)
            assert await one.state() == "pending"
            for by, code in ((BO, "already_reviewed"), (person("ed", "auditor"), "review_refused")):
                with pytest.raises(RequestRefusedError, match=code):
                    await one.book.review(await one.fresh(), by, Verdict.APPROVE, "")
            await one.book.review(await one.fresh(), CY, Verdict.APPROVE, "the same group")
            assert (await one.state(), one.gives) == ("pending", set())
            await one.book.review(await one.fresh(), DI, Verdict.APPROVE, "")
            assert (await one.state(), one.gives) == ("active", {"req-a"})

    asyncio.run(story())


def test_who_cannot_review_looks_as_often_as_he_likes_and_leaves_one_record(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            one.machine.needed = 2
            await approved(one)
            asked = person(ANA, organisation="acme")
            for who in (asked, BO):
                told = len(one.machine.kinds("decision"))
                answers = {await one.book.may_review(await one.fresh(), who) for _ in range(3)}
                assert [(answer.needed, answer.approvers) for answer in answers] == [(2, ("operator", "security"))]
                assert len(one.machine.kinds("decision")) == told + 1
            one.machine.revision, one.machine.needed = "r2", 1
            assert (await one.book.may_review(await one.fresh(), asked)).needed == 1, "another policy is asked anew"
            told = len(one.machine.kinds("decision"))
            for _ in range(2):
                assert (await one.book.may_review(await one.fresh(), DI)).allow
            assert len(one.machine.kinds("decision")) == told + 2, "who may still review is asked about each time"

    asyncio.run(story())


def write(value: str) -> Request:
    touches = (Touch(point(), True, value),)
    place = ModbusRange(Table.HOLDING_REGISTER, 10, 1)
    return Request((Operation("modbus", Action.ADJUST, "write-single-register", place, touches),), b"", "d")


def test_a_single_use_is_taken_up_once_by_whomever(place: StatePlace, tmp_path: Path) -> None:
    session = SimpleNamespace(device_key="plant/ahu-1", id="ses-1")

    async def claim(broker: Broker, value: str = "21") -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        broker.book.uses.claim(session, write(value).operations, "req-a", answer.set_result)  # type: ignore[arg-type]
        return await answer

    async def story() -> None:
        async with Broker(place, tmp_path) as one, Broker(place, tmp_path, "two", (one.verifier,)) as two:
            await approved(one, single_use=True)
            await two.grants.look()
            assert one.gives == two.gives == {"req-a"}
            told = await asyncio.gather(*(claim(broker) for broker in (one, two) * 4))
            assert sorted(told) == ["", *[Reason.GRANT_USED] * 7]
            assert await claim(one, "19") == Reason.OUTSIDE_PLAN
            winner = one if told[::2].count("") else two
            same = write("21").operations
            winner.book.uses.give_back(session, same, "req-a", same)  # type: ignore[arg-type]
            await winner.book.uses.settled()
            assert await claim(winner) == Reason.GRANT_USED, "another operation of that request has used it"
            winner.book.uses.give_back(session, write("21").operations, "req-a")  # type: ignore[arg-type]
            await winner.book.uses.settled()
            assert sorted(await asyncio.gather(claim(one), claim(two))) == ["", Reason.GRANT_USED]

    asyncio.run(story())


def test_a_use_whose_row_was_deleted_is_not_taken_up_again_where_it_was_even_after_a_restart(tmp_path: Path) -> None:
    session = SimpleNamespace(device_key="plant/ahu-1", id="ses-1")
    place = sqlite_place(tmp_path / "broker.db")

    async def claim(broker: Broker) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        broker.book.uses.claim(session, write("21").operations, "req-a", answer.set_result)  # type: ignore[arg-type]
        return await answer

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one, single_use=True)
            assert await claim(one) == ""
            await tamper(place, delete(REQUEST_USES))
            assert await claim(one) == Reason.GRANT_USED
            knows = (one.verifier,)
        async with Broker(place, tmp_path, knows=knows) as again:
            assert again.gives == {"req-a"}
            assert await claim(again) == Reason.GRANT_USED

    asyncio.run(story())


Forge = Callable[[Broker, AccessRequest], list[Any]]
_HERE = REQUESTS.c.id == "req-a"


def _wider(broker: Broker, request: AccessRequest) -> list[Any]:
    other = replace(request.terms, devices=("plant/ahu-1", "plant/ahu-2"))
    return [update(REQUESTS).where(_HERE).values(terms=encode_terms(other).decode())]


def _longer(broker: Broker, request: AccessRequest) -> list[Any]:
    other = replace(request.terms, ends=request.terms.ends + 10**6)
    return [update(REQUESTS).where(_HERE).values(terms=encode_terms(other).decode(), ends=other.ends)]


def _only_the_column(broker: Broker, request: AccessRequest) -> list[Any]:
    return [update(REQUESTS).where(_HERE).values(ends=request.terms.ends + 10**6)]


def _another_subject(broker: Broker, request: AccessRequest) -> list[Any]:
    other = replace(request.terms, subject="eve@acme.example")
    return [update(REQUESTS).where(_HERE).values(terms=encode_terms(other).decode(), subject=other.subject)]


def _no_note(broker: Broker, request: AccessRequest) -> list[Any]:
    return [delete(REQUEST_REVIEWS)]


def _another_reviewer(broker: Broker, request: AccessRequest) -> list[Any]:
    return [update(REQUEST_REVIEWS).values(reviewer="di")]


def _signed_by_a_stranger(broker: Broker, request: AccessRequest) -> list[Any]:
    note = sign_review(
        request.terms,
        reviewer_of(BO),
        Verdict.APPROVE,
        comment="",
        groups=("security",),
        at=int(NOW),
        index=0,
        origin=broker.origin,
        key=Ed25519PrivateKey.generate(),
    )
    return [update(REQUEST_REVIEWS).values(note=note)]


def _garbage(broker: Broker, request: AccessRequest) -> list[Any]:
    return [update(REQUEST_REVIEWS).values(note="\u2014 x AAAA\n"), update(REQUESTS).where(_HERE).values(terms="{}")]


@pytest.mark.parametrize(
    "forge",
    [_wider, _longer, _only_the_column, _another_subject, _no_note, _another_reviewer, _signed_by_a_stranger, _garbage],
)
def test_a_row_that_was_altered_gives_nothing_and_is_recorded(tmp_path: Path, forge: Forge) -> None:
    place = sqlite_place(tmp_path / "broker.db")

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one)
            assert one.gives == {"req-a"}
            await tamper(place, *forge(one, await one.fresh()))
            await one.grants.look()
            assert one.gives == set()
            assert one.machine.kinds("request_distrusted")
            assert one.machine.kinds("grant_withdrawn")

    asyncio.run(story())


def test_a_row_that_was_made_up_gives_nothing_and_is_recorded_once(place: StatePlace, tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            made_up = AccessRequest(terms(), Standing(RequestState.ACTIVE, 9, activated_at=NOW))

            async def unrecorded() -> None:
                return None

            await one.parts.rows.add(made_up, unrecorded)
            await one.grants.look()
            await one.grants.look()
            assert one.gives == set()
            assert [record["code"] for record in one.machine.kinds("request_distrusted")] == ["no_approval"]

    asyncio.run(story())


def _doubled(table: str) -> list[Any]:
    """Each row twice, which whoever administers the database can have."""
    statements = (
        f"CREATE TABLE copy AS SELECT * FROM {table} UNION ALL SELECT * FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE copy RENAME TO {table}",
    )
    return [text(statement) for statement in statements]


def test_one_verdict_that_is_there_twice_is_one(tmp_path: Path) -> None:
    place = sqlite_place(tmp_path / "broker.db")

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            one.machine.needed = 2
            await approved(one, by=person("ed", "operator", "security"))
            await tamper(place, *_doubled("request_reviews"), update(REQUESTS).where(_HERE).values(state="approved"))
            await one.grants.look()
            assert one.gives == set()
            assert [record["code"] for record in one.machine.kinds("request_distrusted")] == ["review_twice"]

    asyncio.run(story())


def test_of_an_approval_and_a_denial_of_one_reviewer_the_denial_counts(tmp_path: Path) -> None:
    place = sqlite_place(tmp_path / "broker.db")

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one)
            request = await one.fresh()
            note = sign_review(
                request.terms,
                reviewer_of(BO),
                Verdict.DENY,
                comment="",
                groups=("security",),
                at=int(NOW),
                index=0,
                origin=one.origin,
                key=one.key,
            )
            await tamper(place, *_doubled("request_reviews"))
            second = "UPDATE request_reviews SET note = :note WHERE rowid = (SELECT max(rowid) FROM request_reviews)"
            await tamper(place, text(second).bindparams(note=note))
            await one.grants.look()
            assert one.gives == set()

    asyncio.run(story())


def test_what_is_over_cannot_be_revived_even_after_a_restart(tmp_path: Path) -> None:
    place = sqlite_place(tmp_path / "broker.db")

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one)
            await one.book.revoke(await one.fresh(), BO, "no more")
            verifier = one.verifier
        revive = update(REQUESTS).where(_HERE).values(state="active", ended_at=None, ended_by="", ended_why="")
        await tamper(place, revive)
        async with Broker(place, tmp_path, "one", (verifier,)) as again:
            assert again.gives == set()
            assert [record["code"] for record in again.machine.kinds("request_distrusted")] == ["revived"]
            assert await again.state() == "revoked"

    asyncio.run(story())


def test_only_verdicts_of_known_brokers_count_and_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = sqlite_place(tmp_path / "broker.db")

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one)
            async with Broker(place, tmp_path, "knows", (one.verifier,)) as knows:
                assert knows.gives == {"req-a"}
            async with Broker(place, tmp_path, "stranger") as stranger:
                assert stranger.gives == set()
                codes = {record["code"]: record for record in stranger.machine.kinds("request_distrusted")}
                assert "signed by one.example/ledger, not by stranger.example" in codes["signed_by_others"]["detail"]
                assert "state.brokers" in caplog.text

    asyncio.run(story())


def test_a_broker_may_be_in_its_own_list_and_no_other_has_its_origin() -> None:
    one, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    names = "one.example/ledger", "other.example/ledger"
    keys = [verifier_of(name, key).vkey for name, key in zip(names, (one, other), strict=True)]
    assert [verifier.vkey for verifier in verifiers(names[0], one, keys)] == keys
    with pytest.raises(ConfigError, match=r"same ledger\.origin"):
        verifiers(names[0], one, [verifier_of(names[0], other).vkey])


def test_the_clock_starts_at_the_window_and_stops_at_its_end(place: StatePlace, tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one, starts=int(NOW) + 100, ends=int(NOW) + 200)
            assert (await one.state(), one.gives) == ("scheduled", set())
            await one.at(NOW + 99.9)
            assert one.gives == set()
            await one.at(NOW + 100)
            assert (await one.state(), one.gives) == ("active", {"req-a"})
            await one.at(NOW + 200)
            assert (await one.state(), one.gives) == ("expired", set())
            with pytest.raises(RequestRefusedError, match="report_due"):
                await one.book.create(terms("req-b", ends=int(NOW) + 900, chain="req-b"), submit=True)
            await one.book.close(await one.fresh(), SUBJECT, "the coil is exchanged")
            await one.book.create(terms("req-b", ends=int(NOW) + 900, chain="req-b"), submit=True)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("first", "openings"),
    [
        # In Berlin clocks go forward on 28 March 2027 and back on 31 October, at 01:00 UTC.
        ("2027-03-27T04:00:00", ("2027-03-27T03:00:00+00:00", "2027-03-28T02:00:00+00:00")),
        ("2027-10-30T04:00:00", ("2027-10-30T02:00:00+00:00", "2027-10-31T03:00:00+00:00")),
    ],
    ids=["forward", "back"],
)
def test_a_named_window_of_local_time_is_given_from_instant_to_instant_on_both_sides_of_a_change_of_clocks(
    first: str, openings: tuple[str, ...], tmp_path: Path
) -> None:
    night = Window("night", Scope(sites=("plant",)), Occurrence(first, "Europe/Berlin", 1800, recurrence="FREQ=DAILY"))

    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            one.machine.bring(replace(PLANT, revision="windows", windows=(night,)))
            for number, opens in enumerate(datetime.fromisoformat(text).timestamp() for text in openings):
                name = f"req-{number}"
                await one.at(opens - 10800)  # before the change, for the second
                found = one.machine.in_force.occurrence("night", PLANT.devices[0], "acme", one.machine.wall)
                assert found is not None
                assert (found.opens, found.closes) == (opens, opens + 1800)
                asked = terms(name, window="night", starts=int(found.opens), ends=int(found.closes), chain=name)
                await one.book.create(asked, submit=True)
                await one.book.review(await one.fresh(name), BO, Verdict.APPROVE, "")
                for moment, given in ((-1, set()), (0, {name}), (1799, {name}), (1800, set())):
                    await one.at(opens + moment)
                    assert one.gives == given, moment
                await one.book.close(await one.fresh(name), SUBJECT, "the coil is exchanged")

    asyncio.run(story())


def test_eligibility_is_proven_again_at_the_window_and_whenever_it_changes(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            machine = one.machine
            lock = Lock("lck-1", LockKind.SUBJECT, ANA, "why", "bo", NOW, "b")
            machine.locks = LocksInForce((lock,))
            with pytest.raises(RequestRefusedError, match="request_ineligible"):
                await approved(one)
            machine.locks = LocksInForce()
            await approved(one, starts=int(NOW) + 100)
            machine.locks = LocksInForce((lock,))
            await one.at(NOW + 100)
            assert (one.gives, one.grants.held_because("req-a")) == (set(), (Reason.LOCKED,))
            machine.locks = LocksInForce()
            await one.grants.look()
            assert one.gives == {"req-a"}
            acme = Organisation("acme", (), (), contract_until=NOW + 150)
            machine.bring(replace(PLANT, revision="x", organisations=(acme, *PLANT.organisations[1:])))
            await one.grants.look()
            assert (one.gives, one.grants.held_because("req-a")) == (set(), (Reason.OUTSIDE_REACH,))
            machine.bring(replace(PLANT, revision="y", devices=PLANT.devices[1:]))
            await one.grants.look()
            assert Reason.DEVICE_UNKNOWN in one.grants.held_because("req-a")
            machine.bring(PLANT)
            await one.grants.look()
            assert one.gives == {"req-a"}
            machine.needed, machine.revision = 2, "r2"
            await one.grants.look()
            assert (one.gives, one.grants.held_because("req-a")) == (set(), (Reason.APPROVALS_MISSING,))

    asyncio.run(story())


def test_an_approver_who_is_locked_has_approved_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            one.machine.locks = LocksInForce((Lock("lck-1", LockKind.SUBJECT, BO.id, "stolen", "di", NOW, "b"),))
            await one.grants.look()
            assert one.gives == set()

    asyncio.run(story())


def test_nothing_is_approved_or_given_that_cannot_be_recorded(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await one.book.create(terms(starts=int(NOW) + 100), submit=True)
            one.machine.closed = True
            with pytest.raises(RequestRefusedError, match="review_refused"):
                await one.book.review(await one.fresh(), BO, Verdict.APPROVE, "")
            with pytest.raises(LedgerUnavailableError):
                await one.book.withdraw(await one.fresh(), SUBJECT, "")
            assert (await one.state(), (await one.fresh()).notes) == ("pending", ())
            one.machine.closed = False
            await one.book.review(await one.fresh(), BO, Verdict.APPROVE, "")
            one.machine.closed = True
            await one.at(NOW + 100)
            assert one.gives == set()
            one.machine.closed = False
            await one.grants.look()
            assert one.gives == {"req-a"}

    asyncio.run(story())


def test_without_the_state_nothing_new_is_given_and_a_revocation_holds_all_the_same(tmp_path: Path) -> None:
    place = sqlite_place(tmp_path / "broker.db")

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one)
            (tmp_path / "broker.db").rename(tmp_path / "away.db")
            (tmp_path / "broker.db").mkdir()
            request = one.grants.request("req-a")
            assert request is not None
            view = await one.book.revoke(request, BO, "no more")
            assert (view.shared, view.in_force, one.gives) == (False, False, set())
            with pytest.raises(StateUnavailableError):
                await one.book.create(terms("req-b", chain="req-b"), submit=True)
            (tmp_path / "broker.db").rmdir()
            (tmp_path / "away.db").rename(tmp_path / "broker.db")
            await one.grants.look()
            assert await one.state() == "revoked"
            assert one.machine.kinds("request_distrusted") == []
            assert any(r["to"] == "revoked" and r["by"] == BO.id for r in one.machine.kinds("request_changed"))

    asyncio.run(story())


def test_what_ends_while_others_are_looked_at_is_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            await approved(one, identifier="req-b", chain="req-b")
            revived = (await one.fresh("req-b")).standing
            one.grants._over["req-b"] = Ending("req-b", RequestState.REVOKED, NOW, BO.id, "", NOW + 3600, stored=False)
            change, meanwhile = one.parts.rows.change, Ending("req-a", RequestState.REVOKED, NOW, BO.id, "", NOW + 3600)

            async def changing(identifier: str, *arguments: Any) -> bool:
                await one.grants.end(meanwhile)
                return await change(identifier, *arguments)

            one.parts.rows.change = changing  # type: ignore[method-assign]
            await one.grants.look()
            assert revived.state is not RequestState.REVOKED
            assert (one.gives, one.grants.request("req-a")) == (set(), None)
            assert len(one.machine.kinds("grant_given")) == 2

    asyncio.run(story())


def test_what_ends_while_it_is_read_was_not_revived(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            living, request = one.parts.rows.living, await one.fresh()

            async def read_first(*arguments: Any) -> Any:
                found = await living(*arguments)
                one.parts.rows.living = living  # type: ignore[method-assign]
                await one.grants.end(Ending("req-a", RequestState.REVOKED, NOW, BO.id, "", NOW + 3600))
                return found

            one.parts.rows.living = read_first  # type: ignore[method-assign]
            await one.grants.look()
            assert request.standing.state is not RequestState.REVOKED
            assert one.gives == set()
            assert one.machine.kinds("request_distrusted") == []

    asyncio.run(story())


def test_a_report_owed_is_not_hidden_behind_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_requests, "MOST_LISTED", 3)
    later = int(NOW) + 9000

    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            for name in "bcde":
                await one.book.create(
                    terms(f"req-{name}", chain=f"req-{name}", starts=later, ends=later + 60), submit=False
                )
            await one.book.revoke(await one.fresh(), BO, "no more")
            with pytest.raises(RequestRefusedError, match="report_due"):
                await one.book.create(terms("req-f", chain="req-f"), submit=True)

    asyncio.run(story())


def test_what_could_not_be_read_for_five_seconds_gives_nothing_until_it_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            living = one.parts.rows.living

            async def broken(*_: object) -> Any:
                raise RuntimeError("whatever it is")

            one.parts.rows.living = broken  # type: ignore[method-assign]
            one.machine.ticks += 4.9
            one.grants._hold_if_stale()
            assert (one.gives, one.grants.readiness[0]) == ({"req-a"}, True)
            assert not one.machine.grants_unread
            one.machine.ticks += 0.2
            one.grants._hold_if_stale()
            assert (one.gives, one.grants.readiness[0]) == (set(), False)
            assert one.machine.grants_unread == {REQUESTS_UNREAD}
            assert one.grants.held_because("req-a") == (Reason.STATE_STALE,)
            one.parts.rows.living = living  # type: ignore[method-assign]
            await one.grants.look()
            assert (one.gives, one.grants.readiness[0]) == ({"req-a"}, True)
            assert not one.machine.grants_unread

    asyncio.run(story())


def test_a_broker_that_starts_without_the_state_does_not_conclude_that_nothing_was_granted(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:

            async def away(*_: object) -> Any:
                raise StateUnavailableError("state_unavailable", "away")

            one.parts.rows.living = away  # type: ignore[method-assign]
            started = RequestGrants(one.parts)
            await started.look()
            assert one.machine.grants_unread == {REQUESTS_UNREAD}
            del one.parts.rows.living
            await started.look()
            assert not one.machine.grants_unread

    asyncio.run(story())


@pytest.mark.parametrize("what", ["disk", "ledger"])
def test_what_another_broker_ends_is_over_here_while_the_own_disk_or_ledger_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    place, hangs = sqlite_place(tmp_path / "broker.db"), threading.Event()
    write = RequestJournal.write

    def writing(journal: RequestJournal, endings: Iterable[Ending]) -> None:
        if journal._path.name == "two.json" and what == "disk":
            hangs.wait()
        write(journal, endings)

    monkeypatch.setattr(RequestJournal, "write", writing)
    monkeypatch.setattr(request_grants, "OWN_FILE_HEARTBEAT_SECONDS", 0.05)

    async def story() -> None:
        async with Broker(place, tmp_path) as one, Broker(place, tmp_path, "two", (one.verifier,)) as two:
            for name in ("req-a", "req-b"):
                await approved(one, identifier=name, chain=name)
            await two.grants.start()
            assert two.gives == {"req-a", "req-b"}
            if what == "ledger":
                two.machine.settle = lambda *_: False  # type: ignore[method-assign]
                await approved(one, identifier="req-c", chain="req-c")
                await eventually(lambda: any(r["grant"] == "req-c" for r in two.machine.kinds("grant_given")))
            for name in ("req-b", "req-a"):
                await one.book.revoke(await one.fresh(name), BO, "the switch")
                await eventually(lambda name=name: name not in two.gives)  # type: ignore[misc]
            hangs.set()
            await two.grants.stop()

    try:
        asyncio.run(story())
    finally:
        hangs.set()


def test_a_state_that_hangs_is_noticed_without_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            await one.grants.start()
            one.parts.rows.living = lambda *_: asyncio.Event().wait()  # type: ignore[assignment, method-assign]
            one.grants._follower.wake()
            one.machine.ticks += 5.1
            await eventually(lambda: not one.gives)
            await one.grants.stop()

    asyncio.run(story())


def test_what_somebody_locked_while_it_was_recorded_does_not_come_into_force(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            settled: list[Any] = []

            def slow(durable: bool, done: Any) -> bool:
                if one.machine.records[-1]["kind"] != "grant_given":
                    return True
                settled.append(done)
                return False

            one.machine.settle = slow  # type: ignore[method-assign]
            approving = asyncio.create_task(approved(one))
            await eventually(lambda: bool(settled))
            one.machine.locks = LocksInForce((Lock("lck-1", LockKind.SUBJECT, BO.id, "why", "cy", NOW, "o", None),))
            settled[0](None)
            await approving
            assert one.gives == set()
            assert [r["kind"] for r in one.machine.kinds("grant_given", "grant_withdrawn")] == [
                "grant_given",
                "grant_withdrawn",
            ]

    asyncio.run(story())


def test_an_engine_that_says_nothing_any_more_holds_grants_after_a_minute_and_five_seconds(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            one.machine.silent = True
            for seconds, gives in ((59, {"req-a"}), (64, {"req-a"}), (66, set())):
                await one.at(NOW + seconds)
                assert one.gives == gives, seconds
            one.machine.silent = False
            await one.grants.look()
            assert one.gives == {"req-a"}

    asyncio.run(story())


def test_a_table_filled_with_requests_is_a_state_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_requests, "MOST_LIVING", 2)

    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            for name in "abc":
                await one.parts.rows.living(LIVING, ())
                await one.book.create(terms(f"req-{name}", chain=f"req-{name}"), submit=True)
            with pytest.raises(StateUnavailableError):
                await one.parts.rows.living(LIVING, ())

    asyncio.run(story())


@pytest.mark.parametrize(
    ("code", "table", "rows"),
    [
        ("verdicts", REQUEST_REVIEWS, [{"request": "req-a", "reviewer": f"x{n}", "note": "x"} for n in range(8)]),
        (
            "uses",
            REQUEST_USES,
            [{"request": "req-a", "chain": "c", "use": f"x{n}", "broker": "x", "at": 0.0} for n in range(257)],
        ),
    ],
)
def test_a_request_with_more_to_it_than_brokers_write_gives_nothing_and_is_told(
    place: StatePlace, tmp_path: Path, code: str, table: Any, rows: list[dict[str, Any]]
) -> None:
    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one)
            await approved(one, identifier="req-b", chain="req-b")
            await tamper(place, insert(table).values(rows[:-1]))
            await one.grants.look()
            assert one.gives == {"req-a", "req-b"}
            await tamper(place, insert(table).values(rows[-1:]))
            await one.grants.look()
            assert one.gives == {"req-b"}
            assert any(code in str(told) for told in one.machine.kinds("request_distrusted"))

    asyncio.run(story())


@pytest.mark.parametrize("member", ["terms", "report"])
def test_of_a_text_that_no_broker_writes_only_the_beginning_is_read(tmp_path: Path, member: str) -> None:
    place = sqlite_place(tmp_path / "broker.db")

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await approved(one)
            await tamper(
                place, update(REQUESTS).values({member: func.replace(func.hex(func.zeroblob(200_000)), "0", " ")})
            )
            await one.grants.look()
            assert one.gives == set()
            assert any(f"its {member} is longer" in str(told) for told in one.machine.kinds("request_distrusted"))

    asyncio.run(story())


def test_others_have_their_turns_while_forged_verdicts_are_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, names = sqlite_place(tmp_path / "broker.db"), [f"req-{n}" for n in range(24)]
    monkeypatch.setattr(request_grants, "MOST_ASKED_AT_ONCE", 1)

    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            for name in names:
                await one.book.create(terms(name, chain=name), submit=True)
            forged = [{"request": name, "reviewer": BO.id, "note": "forged"} for name in names]
            await tamper(place, insert(REQUEST_REVIEWS).values(forged), update(REQUESTS).values(state="approved"))
            await one.grants._read()
            turns = 0

            async def others() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            beside = asyncio.create_task(others())
            await one.grants._take_effect()
            beside.cancel()
            assert one.gives == set()
            assert turns >= len(names)

    asyncio.run(story())


def test_an_end_that_cannot_be_kept_is_told_and_kept_when_it_can_be(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            (tmp_path / "one.json").unlink(missing_ok=True)
            (tmp_path / "one.json").mkdir()
            await one.book.revoke(await one.fresh(), BO, "no more")
            ready, words = one.grants.readiness
            assert not ready
            assert "cannot be kept" in words
            (tmp_path / "one.json").rmdir()
            await one.grants.look()
            assert one.grants.readiness[0]
            assert [ending.request for ending in one.parts.journal.read()] == ["req-a"]

    asyncio.run(story())


def test_whoever_owes_a_report_is_approved_nothing_else(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one)
            await one.book.create(terms("req-b", chain="req-b"), submit=True)
            await one.book.revoke(await one.fresh(), BO, "no more")
            with pytest.raises(RequestRefusedError, match="report_due"):
                await one.book.review(await one.fresh("req-b"), BO, Verdict.APPROVE, "")
            await one.book.close(await one.fresh(), SUBJECT, "half of it done")
            await one.book.review(await one.fresh("req-b"), BO, Verdict.APPROVE, "")
            assert one.gives == {"req-b"}

    asyncio.run(story())


def test_what_prolongs_access_uses_nothing_up_again_and_reports_for_both(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            await approved(one, single_use=True)
            longer = replace(terms(single_use=True), id="req-b", extends="req-a", ends=int(NOW) + 7200)
            await one.book.create(longer, submit=True)
            await one.book.review(await one.fresh("req-b"), CY, Verdict.APPROVE, "")
            assert one.gives == {"req-a", "req-b"}
            assert await one.parts.rows.claim("req-a", "req-a", ("plant/ahu-1 setpoint = 21",), "x", NOW)
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            session: Any = SimpleNamespace(device_key="plant/ahu-1", id="ses-1")
            one.book.uses.claim(session, write("21").operations, "req-b", answer.set_result)
            assert await answer == Reason.GRANT_USED
            await one.at(NOW + 3600)
            assert (await one.state(), one.gives) == ("expired", {"req-b"})
            await one.book.create(terms("req-c", ends=int(NOW) + 9000, chain="req-c"), submit=False)

    asyncio.run(story())


def test_who_lost_his_role_in_the_inventory_approves_no_more_while_a_token_s_role_stays(tmp_path: Path) -> None:
    acme, owner = PLANT.organisations
    trusting = replace(PLANT, organisations=(acme, replace(owner, roles=((BO.id, ("security",)),))), revision="r-bo")

    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            one.machine.bring(trusting)
            await approved(one)
            await one.book.create(terms("req-b", chain="req-b"), submit=True)
            await one.book.review(await one.fresh("req-b"), CY, Verdict.APPROVE, "")
            assert one.gives == {"req-a", "req-b"}
            assert one.machine.kinds("request_reviewed")[0]["reviewer"]["roles"] == ["security"]
            one.machine.bring(PLANT)
            await one.grants.look()
            assert one.gives == {"req-b"}
            assert one.grants.held_because("req-a") == (Reason.APPROVALS_MISSING,)
            one.machine.bring(trusting)
            await one.grants.look()
            assert one.gives == {"req-a", "req-b"}

    asyncio.run(story())
