"""Proposals in both databases: one person counts once, enough people warrant once, and nobody can be made up."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, insert, text, update

from broker.adapters.state_database import StateDatabase, StatePlace, sqlite_place
from broker.adapters.state_people import PersonRows
from broker.adapters.state_proposal_journal import ProposalJournal
from broker.adapters.state_tables import PEOPLE, PROPOSAL_APPROVALS, PROPOSALS
from broker.errors import LedgerUnavailableError, PolicyUnavailableError
from broker.ledger.approvals import verify
from broker.ledger.notes import verifier_of
from broker.model.proposal import ProposalAct, ProposalEnd, Warrant
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Reason
from broker.wiring.proposal_approvers import ProposalApprovers
from broker.wiring.proposals import OPEN_SECONDS, ProposalBook
from tests.temporary import lasting_folder

ORIGINS = ("one.example/ledger", "two.example/ledger")
KEYS = {origin: Ed25519PrivateKey.generate() for origin in (*ORIGINS, "evil.example/ledger")}
REVISION = (("revision", "r" * 43),)
BO, CY, EVE = "bo@plant.example", "cy@plant.example", "eve@plant.example"


class Clock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.5

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


NOBODY_KNOWN: Any = SimpleNamespace(known=lambda fingerprint: None)


class Desk:
    """Decides by the roles in `lasting`, which the inventory gives: without "security" nobody may approve."""

    def __init__(self) -> None:
        self.lasting = {BO: ("security",), CY: ("security",)}
        self.silent = False
        self.asked: list[tuple[Subject, str, dict[str, object]]] = []
        self.in_force = self

    def roles_of(self, organisation: str, subject: str) -> tuple[str, ...]:
        return self.lasting.get(subject, ())

    def admin(self, subject: Subject, permission: str, resource: dict[str, object], about: Any, decided: Any) -> None:
        self.asked.append((subject, permission, resource))
        reasons = (
            (Reason.POLICY_LATE,) if self.silent else () if "security" in subject.roles else (Reason.ROLE_MISSING,)
        )
        decided(SimpleNamespace(allow=not reasons, reasons=reasons))


def person(identifier: str, *roles: str) -> Subject:
    proof = Proof(ProofKind.CERTIFICATE, "ca", identifier, f"fp-{identifier}", 1_795_000_000.0, 1_900_000_000.0)
    return Subject(identifier, SubjectKind.PERSON, "plant-owner", roles, proofs=(proof,))


class LedgerDouble:
    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.failing = False

    def append(self, record: bytes, *, intent: bool = False) -> int:
        self.records.append(record)
        return len(self.records) - 1

    def settle(self, durable: bool, settled: Callable[[LedgerUnavailableError | None], None]) -> bool:
        assert durable, "it may be lost in a power cut"
        if self.failing:
            settled(LedgerUnavailableError("ledger_closed", "The ledger takes no records."))
        return not self.failing

    def of(self, kind: str) -> int:
        return sum(f'"kind":"{kind}"'.encode() in record for record in self.records)


def book(
    database: StateDatabase,
    origin: str = ORIGINS[0],
    clock: Clock | None = None,
    folder: Path | None = None,
    desk: Any = None,
) -> tuple[ProposalBook, LedgerDouble]:
    """A broker's book; of those in one folder, the later are the same broker started again."""
    numbers, ledger, made_clock = count(), LedgerDouble(), clock or Clock()
    journal = ProposalJournal((folder or lasting_folder()) / "proposals.json")
    known = [verifier_of(name, KEYS[name]) for name in ORIGINS]
    made = ProposalBook(
        made_clock,
        ledger,
        database,
        journal,
        ProposalApprovers(made_clock, desk or Desk(), PersonRows(database), NOBODY_KNOWN, origin),
        lambda kind: f"{kind}-{origin[:3]}{next(numbers)}",
        origin,
        KEYS[origin],
        known,
    )
    return made, ledger


async def reopen(database: StateDatabase, **more: object) -> None:
    """What whoever writes the database can do to proposals that are over."""
    async with database.connection() as connection:
        again = {"ended_as": "", "ended_by": "", "ended_at": None, "warrant": ""} | more
        await connection.execute(update(PROPOSALS).values(**again))
        await database.commit(connection)


def using(place: StatePlace, use: Callable[[StateDatabase, StateDatabase], Awaitable[None]]) -> None:
    async def run() -> None:
        one, two = StateDatabase(place), StateDatabase(place)
        try:
            for database in (one, two):  # within one process migrations are no race
                async with database.connection():
                    pass
            await use(one, two)
        finally:
            await one.close()
            await two.close()

    asyncio.run(run())


def test_one_person_counts_once_however_often_and_wherever(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        (here, ledger), (there, ledger_there) = book(one), book(two, ORIGINS[1])
        opened = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        await asyncio.gather(*(who.approve(opened, person(BO)) for who in (here, there) for _ in range(4)))
        standing = await here.standing(opened.proposal.id)
        assert standing is not None and standing.approved_by == (BO,)
        assert ledger.of("proposal_approved") + ledger_there.of("proposal_approved") == 1

    using(place, use)


def test_an_approval_that_does_not_count_is_given_again(place: StatePlace) -> None:
    """As one of an earlier version, or one that somebody made up to keep a person out."""

    async def use(one: StateDatabase, _: StateDatabase) -> None:
        here, ledger = book(one)
        opened = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        row = {"proposal": opened.proposal.id, "approver": BO, "note": "an old one"}
        async with one.connection() as connection:
            await connection.execute(insert(PROPOSAL_APPROVALS).values(row))
            await one.commit(connection)
        for _ in range(2):
            standing = await here.approve(opened, person(BO))
            assert standing.approved_by == (BO,)
        assert ledger.of("proposal_approved") == 1

    using(place, use)


def test_an_approval_that_is_there_twice_is_one(tmp_path: Path) -> None:
    async def use(one: StateDatabase, _: StateDatabase) -> None:
        here, _ = book(one)
        opened = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        await here.approve(opened, person(BO))
        async with one.connection() as connection:
            for statement in (
                "CREATE TABLE copy AS SELECT * FROM proposal_approvals UNION ALL SELECT * FROM proposal_approvals",
                "DROP TABLE proposal_approvals",
                "ALTER TABLE copy RENAME TO proposal_approvals",
            ):
                await connection.execute(text(statement))
            await one.commit(connection)
        standing = await here.standing(opened.proposal.id)
        assert standing is not None and standing.approved_by == (BO,)

    using(sqlite_place(tmp_path / "broker.db"), use)


def test_two_who_come_first_at_one_time_mean_the_same_proposal(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        (here, _), (there, _) = book(one), book(two, ORIGINS[1])
        opened = await asyncio.gather(
            *(who.open_for(ProposalAct.POLICY_ACTIVATE, REVISION) for who in (here, there) * 2)
        )
        assert len({standing.proposal.id for standing in opened}) == 1
        other = await here.open_for(ProposalAct.POLICY_ACTIVATE, (("revision", "s" * 43),))
        assert other.proposal.id != opened[0].proposal.id

    using(place, use)


def test_of_two_last_approvals_at_one_time_one_warrants(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        (here, ledger), (there, ledger_there) = book(one), book(two, ORIGINS[1])
        opened = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        first, second = await asyncio.gather(here.approve(opened, person(BO)), there.approve(opened, person(CY)))
        both = max(first, second, key=lambda standing: len(standing.approved_by))
        assert both.approved_by == (BO, CY)
        ended = await asyncio.gather(*(who.warrant(both, BO) for who in (here, there) * 3))
        assert sum(standing is not None for standing in ended) == 1
        assert ledger.of("proposal_ended") + ledger_there.of("proposal_ended") == 1
        (warrant,) = await there.warrants(ProposalAct.POLICY_ACTIVATE)
        assert (warrant.approved_by, warrant.parameters) == ((BO, CY), REVISION)
        again = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        assert (again.proposal.id != opened.proposal.id, again.approved_by) == (True, ())

    using(place, use)


def test_nothing_counts_whose_record_does_not_reach_the_disk(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        here, ledger = book(one)
        asked = await here.create(ProposalAct.CA_SIGN, (("csr", "x"),), person(BO), "rotation")
        ledger.failing = True
        for act in (
            here.create(ProposalAct.CA_SIGN, (("csr", "y"),), person(BO), "another"),
            here.approve(asked, person(CY)),
            here.warrant(asked, CY),
            here.refuse(asked, CY, "no"),
        ):
            with pytest.raises(LedgerUnavailableError):
                await act
        there, _ = book(two)
        assert [each.proposal.id for each in await there.newest()] == [asked.proposal.id]
        standing = await there.standing(asked.proposal.id)
        assert standing is not None and (standing.approved_by, standing.ended_as) == ((BO,), None)

    using(place, use)


def test_what_was_refused_is_not_warranted(place: StatePlace) -> None:
    async def use(one: StateDatabase, _: StateDatabase) -> None:
        here, ledger = book(one)
        asked = await here.create(ProposalAct.CA_SIGN, (("csr", "x"),), person(BO), "rotation")
        assert asked.approved_by == (BO,)
        refused = await here.refuse(asked, CY, "not today")
        assert refused is not None and refused.ended_as is ProposalEnd.REFUSED
        assert await here.warrant(asked, CY) is None
        assert await here.warrants(ProposalAct.CA_SIGN) == ()
        assert ledger.of("proposal_created") == ledger.of("proposal_ended") == 1

    using(place, use)


def test_whoever_writes_the_database_makes_nobody_up(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        (here, _), (evil, _) = book(one), book(two, "evil.example/ledger")
        asked = await here.create(ProposalAct.CA_SIGN, (("csr", "x"),), person(BO), "rotation")
        other = await here.create(ProposalAct.CA_SIGN, (("csr", "y"),), person(EVE), "another")
        await evil.approve(asked, person(EVE))
        async with one.connection() as connection:
            notes = (await connection.execute(PROPOSAL_APPROVALS.select())).all()
            eves = next(row.note for row in notes if row.proposal == other.proposal.id)
            bos = next(row.note for row in notes if row.approver == BO)
            for approver, note in ((CY, bos), ("dan@plant.example", "no note"), (f"{EVE} ", eves)):
                row = {"proposal": asked.proposal.id, "approver": approver, "note": note}
                await connection.execute(insert(PROPOSAL_APPROVALS).values(**row))
            await one.commit(connection)
        standing = await here.standing(asked.proposal.id)
        assert standing is not None and standing.approved_by == (BO,)
        async with one.connection() as connection:
            changed = update(PROPOSALS).where(PROPOSALS.c.id == asked.proposal.id)
            await connection.execute(changed.values(parameters='{"csr":"z"}', ended_as="approved", warrant=bos))
            await one.commit(connection)
        standing = await here.standing(asked.proposal.id)
        assert standing is not None and standing.approved_by == ()
        assert await here.warrants(ProposalAct.CA_SIGN) == ()

    using(place, use)


def test_a_warrant_of_a_broker_that_is_not_known_counts_for_nothing(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        (here, _), (evil, _) = book(one), book(two, "evil.example/ledger")
        opened = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        ended = await evil.warrant(opened, EVE)
        assert ended is not None
        key = verifier_of("evil.example/ledger", KEYS["evil.example/ledger"])
        assert verify(Warrant, ended.warrant, [key]).broker == "evil.example/ledger"
        assert await here.warrants(ProposalAct.POLICY_ACTIVATE) == ()

    using(place, use)


@pytest.mark.parametrize("how", ["refused", "warranted"])
def test_what_is_over_is_not_reopened_through_the_database(place: StatePlace, tmp_path: Path, how: str) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        (here, _), (there, _) = book(one, folder=tmp_path / "here"), book(two, ORIGINS[1])
        opened = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        await here.approve(opened, person(BO))
        both = await here.approve(opened, person(CY))
        assert await (here.refuse(both, CY, "no") if how == "refused" else here.warrant(both, CY)) is not None
        await there.look()
        await reopen(one)
        again, _ = book(one, folder=tmp_path / "here")
        await again.start()
        await again.stop()
        for who in (here, there, again):
            standing = await who.standing(opened.proposal.id)
            assert standing is not None and not standing.open_at(Clock().now())
            assert await who.warrant(both, EVE) is None
        async with one.connection() as connection:
            await connection.execute(delete(PROPOSALS))
            await one.commit(connection)
        anew = await there.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        assert (anew.proposal.id != opened.proposal.id, anew.approved_by) == (True, ())
        assert await here.warrants(ProposalAct.POLICY_ACTIVATE) == ()

    using(place, use)


def test_an_approval_is_good_for_three_days_whatever_the_database_says(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        clock = Clock()
        (here, _), (new, _) = book(one, clock=clock), book(two, ORIGINS[1], clock)
        asked = await here.create(ProposalAct.CA_SIGN, (("csr", "x"),), person(BO), "rotation")
        until = asked.proposal.until
        await reopen(one, until=until + 60)
        standing = await new.standing(asked.proposal.id)
        assert standing is not None and standing.approved_by == ()
        await reopen(one, until=until)
        clock.time += OPEN_SECONDS - 1
        standing = await new.standing(asked.proposal.id)
        assert standing is not None and standing.approved_by == (BO,)
        clock.time += 400 * 86_400
        await reopen(one, until=clock.time + 60)
        standing = await new.standing(asked.proposal.id)
        assert standing is not None and standing.open_at(clock.time)
        standing = await new.approve(standing, person(EVE))
        assert standing.approved_by == (EVE,)

    using(place, use)


def test_a_row_that_no_broker_writes_hides_no_other_and_keeps_no_broker_from_starting(place: StatePlace) -> None:
    async def use(one: StateDatabase, _: StateDatabase) -> None:
        clock = Clock()
        here, _ledger = book(one, clock=clock)
        asked = await here.create(ProposalAct.CA_SIGN, (("csr", "x"),), person(BO), "rotation")
        row = dict.fromkeys(PROPOSALS.c.keys(), "") | {"act": "ca.sign", "parameters": "{}", "ended_as": "refused"}
        row |= dict.fromkeys(("proposed_at", "until", "ended_at"), clock.time)
        odd: list[dict[str, object]] = [{"act": "x"}, {"parameters": "[1]"}, {"until": 1e300}, {"ended_as": "x"}]
        async with one.connection() as connection:
            for number, fields in enumerate(odd):
                await connection.execute(insert(PROPOSALS).values(**row | {"id": f"prp-odd{number}"} | fields))
            await one.commit(connection)
        await here.start()
        await here.stop()
        assert [standing.proposal.id for standing in await here.newest()] == [asked.proposal.id]

    using(place, use)


def test_who_approved_what_is_over_is_still_told(place: StatePlace) -> None:
    async def use(one: StateDatabase, _: StateDatabase) -> None:
        clock = Clock()
        here, _ledger = book(one, clock=clock)
        asked = await here.create(ProposalAct.CA_SIGN, (("csr", "x"),), person(BO), "rotation")
        assert await here.warrant(await here.approve(asked, person(CY)), CY) is not None
        clock.time += 2 * OPEN_SECONDS
        (standing,) = await here.newest()
        assert (standing.ended_as, standing.approved_by) == (ProposalEnd.APPROVED, (BO, CY))

    using(place, use)


def test_an_approval_counts_only_while_its_approver_may_approve(place: StatePlace) -> None:
    async def use(one: StateDatabase, _: StateDatabase) -> None:
        desk = Desk()
        here, _ledger = book(one, desk=desk)
        opened = await here.open_for(ProposalAct.POLICY_ACTIVATE, REVISION)
        await here.approve(opened, person(BO, "security"))
        await here.approve(opened, person(CY, "security"))
        all_three = await here.approve(opened, person(EVE, "security", "of-her-token"))
        assert (await here.counting(all_three)).approved_by == (BO, CY, EVE)
        (bo, permission, about), *_rest, (eve, _permission, _about) = desk.asked
        assert (permission, about["id"], about["approved_by"]) == ("policy.approve", "r" * 43, (CY, EVE))
        assert bo.proofs[0].fingerprint == f"fp-{BO}"  # by which a lock on his certificate finds him
        assert (bo.roles, eve.roles) == (("security",), ("security", "of-her-token"))
        desk.lasting = {CY: ("security",)}
        assert (await here.counting(all_three)).approved_by == (CY, EVE)
        async with one.connection() as connection:
            gone: dict[str, object] = dict.fromkeys(PEOPLE.c.keys(), "")
            gone |= {"subject": CY, "enrolled_at": 1.0, "revoked_at": 2.0}
            await connection.execute(insert(PEOPLE).values(**gone))
            await one.commit(connection)
        assert (await here.counting(all_three)).approved_by == (EVE,)
        desk.silent = True
        with pytest.raises(PolicyUnavailableError):
            await here.counting(all_three)

    using(place, use)


def test_the_last_policy_that_people_activate_is_the_newest_whatever_the_clocks_say(place: StatePlace) -> None:
    async def use(one: StateDatabase, two: StateDatabase) -> None:
        ahead, behind = Clock(), Clock()
        ahead.time += 120
        for database, origin, clock, revision in ((one, ORIGINS[0], ahead, "a"), (two, ORIGINS[1], behind, "b")):
            who, _ = book(database, origin, clock)
            opened = await who.open_for(ProposalAct.POLICY_ACTIVATE, (("revision", revision),))
            await who.approve(opened, person(BO))
            assert await who.warrant(await who.approve(opened, person(CY)), CY) is not None
        newest, older = await who.warrants(ProposalAct.POLICY_ACTIVATE)
        assert (dict(newest.parameters)["revision"], newest.at > older.at) == ("b", True)
        asked = await who.create(ProposalAct.CA_SIGN, (("csr", "x"),), person(BO), "rotation")
        assert await who.warrant(await who.approve(asked, person(CY)), CY) is not None
        (of_authority,) = await who.warrants(ProposalAct.CA_SIGN)
        assert of_authority.at == behind.time

    using(place, use)
