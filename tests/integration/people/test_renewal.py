"""The next certificate: for the holder of the key before, with the factor; services by what is good now."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update

from broker.access.locks import LocksInForce
from broker.adapters.authority.folder import AuthorityFolder
from broker.adapters.authority.online import NewCertificate, OnlineAuthority
from broker.adapters.authority.register import Issued, RegisterFile, Revoked, locked
from broker.adapters.state_database import StateDatabase, StatePlace, sqlite_place
from broker.adapters.state_tables import CERTIFICATES, FACTORS, PEOPLE
from broker.identity.certificate import Trust, fingerprint
from broker.identity.issuance import decode_terms
from broker.model.enrolment import EnrolledCertificate
from broker.model.lock import Lock, LockKind
from broker.model.subject import ProofKind, Subject
from broker.wiring.people import authority_turns
from broker.wiring.people.enrolment import MOST_SERVICE_RENEWALS
from broker.wiring.people.parts import FileSecrets
from tests.integration.people.stage import (
    BO,
    EVE,
    NORTHWIND,
    SYNC,
    Stage,
    Surroundings,
    broker,
    changed,
    make_authority,
    played,
    refusal,
    request_of,
)

HOUR, DAY = 3_600.0, 86_400.0
Story = Callable[[Stage], Awaitable[None]]


@pytest.fixture
def sqlite(tmp_path: Path) -> StatePlace:
    return sqlite_place(tmp_path / "broker.db")


def test_a_certificate_that_is_over_is_renewed_by_key_and_factor(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(20 * HOUR)
        renewed = (await eve.renew()).certificate
        assert renewed.factor_at == stage.world.wall
        assert renewed.not_after == stage.world.wall + 8 * HOUR
        known = stage.people.known(renewed.fingerprint)
        assert known is not None
        assert known.methods == ("otp",)
        assert stage.world.records[-1]["occasion"] == "renewal"

    played(place, tmp_path, story)


def test_of_many_renewals_with_one_code_one_succeeds(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(60)
        tickets = [await eve.begin_renewal() for _ in range(4)]
        complete = stage.people.enrolment.complete_renewal
        tried = await asyncio.gather(*(complete(t, eve.code, None) for t in tickets), return_exceptions=True)
        codes = sorted(getattr(answer, "code", "renewed") for answer in tried)
        assert codes == ["factor_refused"] * 3 + ["renewed"]
        assert stage.world.kinds().count("certificate_issued") == 2

    played(place, tmp_path, story)


def test_whoever_is_revoked_while_his_certificate_is_made_does_not_get_it(
    place: StatePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(60)
        people, store, made = stage.people, stage.people.known.add, []
        person = await people.membership.person(EVE)
        assert person is not None

        async def store_later(certificate: EnrolledCertificate, invitation: str) -> bool:
            made.append(certificate.fingerprint)
            assert await people.membership.revoke(person, BO, "left")
            return await store(certificate, invitation)

        monkeypatch.setattr(people.known, "add", store_later)
        assert await refusal(eve.renew()) == "renewal_refused"
        assert people.known.of(EVE) == ()
        assert await people.known.stored(made[0]) is None
        assert await refusal(people.office.good(made[0], NORTHWIND)) == "renewal_refused"

    played(place, tmp_path, story)


def test_neither_the_code_of_the_enrolment_nor_any_other_counts_twice(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert await refusal(eve.renew()) == "factor_refused"
        stage.world.pass_time(30)
        code = eve.code
        eve.issued = await eve.renew(code)
        assert await refusal(eve.renew(code)) == "factor_refused"
        stage.world.pass_time(30)
        assert await refusal(eve.renew(code)) == "factor_refused"
        await eve.renew()

    played(sqlite, tmp_path, story)


def test_without_the_factor_nothing_is_renewed_and_guessing_is_held_back(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(60)
        wrong = f"{(int(eve.code) + 1) % 1_000_000:06}"
        for _ in range(4):
            assert await refusal(eve.renew(wrong)) == "factor_refused"
        assert await refusal(eve.renew()) == "factor_blocked"
        stage.world.pass_time(31)
        assert await refusal(eve.renew(wrong)) == "factor_refused"
        stage.world.pass_time(31)
        assert await refusal(eve.renew()) == "factor_blocked"
        stage.world.pass_time(31)
        await eve.renew()
        stage.people.factors.flush()
        told = [record for record in stage.world.records if record["kind"] == "factor_refused"]
        assert ({record["subject"] for record in told}, sum(record["count"] for record in told)) == ({EVE}, 5)

    played(sqlite, tmp_path, story)


def test_whoever_guesses_in_parallel_does_not_guess_faster(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.enrolled()
        stage.world.pass_time(60)
        verify = stage.people.factors.verify
        refused = await asyncio.gather(*(refusal(verify(EVE, f"{n:06}")) for n in range(30)))
        assert set(refused) <= {"factor_refused", "factor_blocked"}
        factor = await stage.people.factors._rows.factor(EVE)
        assert factor is not None
        assert 1 <= factor.failures <= 5

    played(place, tmp_path, story)


def test_an_old_key_renews_nothing_but_the_last_may_have_missed_its_answer(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(30)
        await eve.renew()
        stage.world.pass_time(30)
        await eve.renew()
        stage.world.pass_time(30)
        assert await refusal(eve.begin_renewal()) == "renewal_refused"

    played(sqlite, tmp_path, story)


def test_a_stolen_certificate_without_its_key_renews_nothing(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        thief = ec.generate_private_key(ec.SECP256R1())
        assert await refusal(eve.begin_renewal(key=thief, signer=thief)) == "renewal_refused"

    played(sqlite, tmp_path, story)


def test_a_certificate_of_another_authority_or_by_hand_is_not_renewed(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        chain = by_hand(stage, "person", "dan@northwind.example", eve.key)
        assert eve.issued is not None
        eve.issued = replace(eve.issued, chain=chain)
        assert await refusal(eve.begin_renewal()) == "renewal_refused"

    played(sqlite, tmp_path, story)


def test_after_its_days_a_certificate_says_nothing_any_more(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(8 * HOUR + 2 * DAY - 1)
        await eve.begin_renewal()
        stage.world.pass_time(1)
        assert await refusal(eve.begin_renewal()) == "renewal_refused"

    played(sqlite, tmp_path, story, renewal_days=2)


@pytest.mark.parametrize("how", ["person", "ca", "lock", "certificate", "contract"])
def test_who_was_revoked_or_locked_renews_nothing(how: str, sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert eve.issued is not None
        stage.world.pass_time(60)
        ticket, world = await eve.begin_renewal(), stage.world
        expected = "renewal_refused"
        if how == "person":
            (person,) = await stage.people.membership.people(NORTHWIND)
            assert await stage.people.membership.revoke(person, BO, "left")
            assert not await stage.people.membership.revoke(replace(person, revoked_at=1.0), BO, "left")
        elif how == "ca":
            with locked(stage.authority_folder):
                folder = AuthorityFolder(stage.authority_folder, secrets_of(stage))
                folder.revoke(eve.issued.certificate.serial, "key-compromise", world.wall)
        elif how == "contract":
            world.organisations = tuple(replace(known, contract_until=world.wall) for known in world.organisations)
            expected = "contract_ended"
        else:
            kind = LockKind.SUBJECT if how == "lock" else LockKind.CERTIFICATE
            target = EVE if how == "lock" else eve.issued.certificate.fingerprint
            world.locks = LocksInForce([Lock("lck-1", kind, target, "why", BO, world.wall, "b")])
            expected = "locked"
        assert await refusal(stage.people.enrolment.complete_renewal(ticket, eve.code, None)) == expected
        assert await refusal(eve.begin_renewal()) == expected

    played(sqlite, tmp_path, story)


def test_a_revoked_person_is_refused_before_any_list_says_so(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert eve.issued is not None
        leaf, *above = (
            c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(eve.issued.chain.encode())
        )
        subject = stage.authenticator.certificate_subject(leaf, tuple(above))
        (person,) = await stage.people.membership.people(NORTHWIND)
        await stage.people.membership.revoke(person, BO, "left")
        assert stage.world.examined == 1
        assert await refusal(asyncio.to_thread(stage.authenticator.certificate_subject, leaf, tuple(above))) == REVOKED
        assert await refusal(asyncio.to_thread(stage.authenticator.prove_again, subject, stage.world.wall)) == REVOKED
        crl = (stage.authority_folder / "crl.pem").read_bytes()
        trust = Trust((stage.organisation(crls=(crl,)),))
        assert await refusal(asyncio.to_thread(trust.verify, leaf, tuple(above), stage.world.wall)) == REVOKED
        assert stage.world.kinds()[-1] == "person_revoked"

    played(place, tmp_path, story)


@asynccontextmanager
async def two_brokers(place: StatePlace, folder: Path) -> AsyncIterator[tuple[Stage, Stage]]:
    """One that issues, and one on the same state that issues nothing."""
    world, other = Surroundings(), Surroundings()
    authority = make_authority(folder / "ca", world.wall)
    key = {"key_file": str(folder / "sealing-key")}
    async with (
        broker(place, folder, authority, world, **key) as stage,
        broker(place, folder / "b", authority, other, authorities=[], **key) as second,
    ):
        yield stage, second


def test_another_broker_knows_the_factor_and_cuts_who_is_revoked(postgresql_place: StatePlace, tmp_path: Path) -> None:
    async def run() -> None:
        async with two_brokers(postgresql_place, tmp_path) as (stage, second):
            eve = await stage.enrolled()
            assert eve.issued is not None
            await eventually(lambda: bool(second.people.known.of(EVE)))
            proof = proven(second, eve.issued.chain).proofs[0]
            assert (proof.authenticated_at, proof.methods) == (stage.world.wall, ("otp",))
            second.world.pass_time(60)
            stage.world.pass_time(60)
            assert (await second.people.factors.verify(EVE, eve.code)).at == second.world.wall
            assert await refusal(stage.people.factors.verify(EVE, eve.code)) == "factor_refused"
            assert await refusal(second.invite()) == "enrolment_unavailable"
            (person,) = await stage.people.membership.people(NORTHWIND)
            await stage.people.membership.revoke(person, BO, "left")
            await eventually(lambda: second.world.examined == 1)
            assert second.people.known.of(EVE) == ()

    asyncio.run(run())


def test_another_broker_learns_of_a_revocation_by_one_whose_clock_lags(
    postgresql_place: StatePlace, tmp_path: Path
) -> None:
    async def run() -> None:
        async with two_brokers(postgresql_place, tmp_path) as (stage, second):
            await stage.enrolled()
            await eventually(lambda: len(second.people.known.of(EVE)) == 1)
            (person,) = await stage.people.membership.people(NORTHWIND)
            stage.world.wall -= 3600
            await stage.people.membership.revoke(person, BO, "left")
            await eventually(lambda: not second.people.known.of(EVE))

    asyncio.run(run())


def test_neither_a_row_from_the_future_nor_a_folder_that_is_held_hides_a_revocation(
    postgresql_place: StatePlace, tmp_path: Path
) -> None:
    async def run() -> None:
        async with two_brokers(postgresql_place, tmp_path) as (stage, second):
            held = asyncio.Event()
            second.people.office.see_to_lists = held.wait  # type: ignore
            await stage.enrolled()
            ahead = update(CERTIFICATES).values(changed_at=stage.world.wall + 6 * 3600)
            database = StateDatabase(postgresql_place)
            async with database.connection() as connection:
                await connection.execute(ahead)
                await database.commit(connection)
            await database.close()
            await eventually(lambda: any(c.changed_at > second.world.wall for c in second.people.known._known.values()))
            (person,) = await stage.people.membership.people(NORTHWIND)
            await stage.people.membership.revoke(person, BO, "left")
            await eventually(lambda: bool(second.people.known.revoked) and not second.people.known.of(EVE))
            held.set()

    asyncio.run(run())


def test_a_revocation_that_is_taken_out_of_the_state_goes_on(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert eve.issued is not None
        stage.world.pass_time(60)
        (person,) = await stage.people.membership.people(NORTHWIND)
        await stage.people.membership.revoke(person, BO, "left")
        await changed(stage, f"UPDATE certificates SET revoked_at = NULL, changed_at = {stage.world.wall + 1}")
        await stage.people.known.look()
        assert stage.people.known.of(EVE) == ()
        assert await refusal(asyncio.to_thread(proven, stage, eve.issued.chain)) == REVOKED
        await stage.people.known.look()
        assert stage.people.known.of(EVE) == ()

    played(sqlite, tmp_path, story)


def test_whoever_was_revoked_does_not_come_back_by_rows_that_are_put_back(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        factor = await stage.people.factors._rows.factor(EVE)
        assert factor is not None
        stage.world.pass_time(20 * HOUR)
        (person,) = await stage.people.membership.people(NORTHWIND)
        await stage.people.membership.revoke(person, BO, "left")
        database = stage.people.known._rows._database
        async with database.connection() as connection:
            await database.insert(connection, FACTORS, (asdict(factor) | {"kind": factor.kind.value},))
            await connection.execute(update(PEOPLE).values(revoked_at=None))
            await connection.execute(update(CERTIFICATES).values(revoked_at=None))
            await database.commit(connection)
        assert await refusal(eve.renew()) == "renewal_refused", "its certificate had run out when she was revoked"

    played(sqlite, tmp_path, story)


def test_a_factor_that_is_set_back_lets_no_code_count_again_and_nobody_guess_faster(
    sqlite: StatePlace, tmp_path: Path
) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(60)
        verify, code = stage.people.factors.verify, eve.code
        await verify(EVE, code)
        back = "UPDATE factors SET counter = 0, failures = 0, blocked_until = 0"
        await changed(stage, back)
        assert await refusal(verify(EVE, code)) == "factor_refused"
        wrong = f"{(int(code) + 1) % 1_000_000:06}"
        refused = []
        for _ in range(6):
            await changed(stage, back)
            refused.append(await refusal(verify(EVE, wrong)))
        assert refused[-1] == "factor_blocked"
        stage.world.pass_time(3600)
        await verify(EVE, eve.code)
        stage.world.pass_time(30)
        await verify(EVE, eve.code)

    played(sqlite, tmp_path, story)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


REVOKED = "certificate_revoked"


def test_a_service_renews_itself_under_the_same_name_and_role(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        chain = by_hand(stage, "service", SYNC, key, modbus_role="Collector")
        subject = proven(stage, chain)
        renew = stage.people.enrolment.renew_service
        fresh = ec.generate_private_key(ec.SECP256R1())
        renewed = await renew(subject, request_of(fresh))
        again = proven(stage, renewed.chain)
        assert (again.id, again.modbus_role) == (SYNC, "Collector")
        assert renewed.certificate.factor_at is None
        assert again.proofs[0].authenticated_at is None
        for _ in range(MOST_SERVICE_RENEWALS - 1):
            await renew(again, request_of(fresh))
        assert await refusal(renew(again, request_of(fresh))) == "renewal_too_often"
        stage.world.pass_time(HOUR)
        await renew(again, request_of(fresh))
        other = (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{SYNC}/root")]), False)
        assert await refusal(renew(again, request_of(fresh, other))) == "request_refused"

    played(sqlite, tmp_path, story)


def test_whoever_renewed_with_a_stolen_key_falls_with_what_he_stole(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stolen, thiefs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        chain = by_hand(stage, "service", SYNC, stolen)
        renew = stage.people.enrolment.renew_service
        first = await renew(proven(stage, chain), request_of(thiefs))
        second = await renew(proven(stage, first.chain), request_of(thiefs))
        told = [record["certificate"]["renewed_from"] for record in stage.world.records]
        serial = x509.load_pem_x509_certificate(chain.encode()).serial_number
        assert told == [f"{serial:x}", first.certificate.serial]
        follower = proven(stage, second.chain)
        with locked(stage.authority_folder):
            folder = AuthorityFolder(stage.authority_folder, secrets_of(stage))
            assert len(folder.revoke(f"{serial:x}", "key-compromise", stage.world.wall)) == 3
        assert await refusal(renew(follower, request_of(thiefs))) == "renewal_refused"
        crl = (stage.authority_folder / "crl.pem").read_bytes()
        stage.authenticator.replace_trust(Trust((stage.organisation(crls=(crl,)),)))
        for issued in (first, second):
            assert await refusal(asyncio.to_thread(proven, stage, issued.chain)) == REVOKED

    played(sqlite, tmp_path, story)


def test_no_person_and_no_other_profile_renews_as_a_service(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert eve.issued is not None
        renew = stage.people.enrolment.renew_service
        assert await refusal(renew(proven(stage, eve.issued.chain), request_of(eve.key))) == "renewal_refused"
        connector = by_hand(stage, "connector", SYNC, eve.key)
        assert await refusal(renew(proven(stage, connector), request_of(eve.key))) == "renewal_refused"
        bare = Subject(SYNC, proven(stage, connector).kind, NORTHWIND)
        assert await refusal(renew(bare, request_of(eve.key))) == "renewal_refused"

    played(sqlite, tmp_path, story)


def test_an_authority_that_cannot_be_used_holds_up_no_other(sqlite: StatePlace, tmp_path: Path) -> None:
    class Unusable:
        def revoke(self, *_: object) -> None:
            raise OSError("the folder is not there")

    async def story(stage: Stage) -> None:
        office, list_file = stage.people.office, stage.authority_folder / "crl.pem"
        before = list_file.read_bytes()
        office._authorities = {"first": Unusable(), **office._authorities}  # type: ignore
        stage.world.pass_time(4 * DAY)
        await office.see_to_lists()
        assert list_file.read_bytes() != before

    played(sqlite, tmp_path, story)


def test_lists_are_renewed_before_they_run_out(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        office, list_file = stage.people.office, stage.authority_folder / "crl.pem"
        await office.see_to_lists()
        before = list_file.read_bytes()
        stage.world.pass_time(3 * DAY)
        await office.see_to_lists()
        assert list_file.read_bytes() == before
        stage.world.pass_time(DAY)
        await office.see_to_lists()
        assert list_file.read_bytes() != before

    played(sqlite, tmp_path, story)


def secrets_of(stage: Stage) -> FileSecrets:
    return FileSecrets(str(stage.authority_folder / "passphrase"), "")


def by_hand(stage: Stage, profile: str, name: str, key: ec.EllipticCurvePrivateKey, **rest: str) -> str:
    """What `otbroker ca issue` gives."""
    with locked(stage.authority_folder):
        folder = AuthorityFolder(stage.authority_folder, secrets_of(stage))
        terms = decode_terms(profile, folder.facts.spaces, [name], **rest)  # type: ignore[arg-type]
        return folder.issue(terms, key.public_key(), stage.world.wall).decode()


def proven(stage: Stage, chain: str) -> Subject:
    leaf, *above = (c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(chain.encode()))
    subject = stage.authenticator.certificate_subject(leaf, tuple(above))
    proof = subject.proof(ProofKind.CERTIFICATE)
    assert proof is not None
    assert proof.fingerprint == fingerprint(leaf)
    return subject


def test_a_folder_that_somebody_holds_and_a_token_that_hangs_take_no_thread_from_others(
    sqlite: StatePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()

    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        monkeypatch.setattr(authority_turns, "ANSWER_SECONDS", 0.2)
        assert eve.issued is not None
        office, fingerprint = stage.people.office, eve.issued.certificate.fingerprint
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        try:
            with locked(stage.authority_folder):
                for _ in range(3):
                    assert await refusal(office.good(fingerprint, NORTHWIND)) == "enrolment_unavailable"
                async with asyncio.timeout(20):
                    await asyncio.to_thread(stage.authority_folder.exists)
            monkeypatch.setattr(OnlineAuthority, "good", lambda *_: hangs.wait())
            for _ in range(3):
                assert await refusal(office.good(fingerprint, NORTHWIND)) == "enrolment_unavailable"
            async with asyncio.timeout(20):
                await asyncio.to_thread(stage.authority_folder.exists)
        finally:
            hangs.set()

    played(sqlite, tmp_path, story)


def test_what_is_signed_when_nobody_waits_for_it_any_more_is_revoked(
    sqlite: StatePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, hangs, issue = threading.Event(), threading.Event(), OnlineAuthority.issue

    def late(*arguments: Any, **named: Any) -> NewCertificate:
        begun.set()
        hangs.wait()
        return issue(*arguments, **named)

    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        stage.world.pass_time(60)
        monkeypatch.setattr(OnlineAuthority, "issue", late)
        renewing = asyncio.create_task(eve.renew())
        assert await asyncio.to_thread(begun.wait, 60)
        renewing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await renewing
        hangs.set()
        register = stage.authority_folder / "register.jsonl"
        async with asyncio.timeout(20):
            while not any(isinstance(entry, Revoked) for entry in RegisterFile(register).entries):
                await stage.people.office.see_to_lists()
                await asyncio.sleep(0.02)
        issued, revoked = (
            [entry for entry in RegisterFile(register).entries if isinstance(entry, kind)] for kind in (Issued, Revoked)
        )
        assert [entry.serial for entry in revoked] == [issued[-1].serial]
        assert stage.world.kinds().count("certificate_issued") == 1

    try:
        played(sqlite, tmp_path, story)
    finally:
        hangs.set()
