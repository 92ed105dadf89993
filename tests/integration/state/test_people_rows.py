"""Invitations, people, factors and certificates in both databases: each counts once, however many try at once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace

from broker.adapters.state_certificates import CertificateRows
from broker.adapters.state_database import StateDatabase, StatePlace
from broker.adapters.state_factors import FactorRows
from broker.adapters.state_invitations import InvitationRows
from broker.adapters.state_people import PersonRows
from broker.adapters.state_tables import CERTIFICATES
from broker.model.backer import Backer
from broker.model.enrolment import EnrolledCertificate, Factor, FactorKind, Invitation, Person

NOW = 1_800_000_000.25
BO = Backer("bo@plant.example", "person", "plant", ("security", "shift lead"), "fp-of-bo")
INVITATION = Invitation("inv-a", "acme", "ana@acme.example", BO, NOW, NOW + 60, b"salt", b"\x00digest")
PERSON = Person("ana@acme.example", "acme", "inv-a", "bo@plant.example", NOW + 1)
FACTOR = Factor("fac-a", "ana@acme.example", FactorKind.TOTP, b"\x00sealed", NOW + 1, 7)
CERTIFICATE = EnrolledCertificate(
    "fp", "1f", "ana@acme.example", "acme", "person", NOW, NOW + 60, NOW - 1, ("otp",), None, NOW, b"seal"
)


async def recorded() -> None:
    """It is on record."""


def using(place: StatePlace, use: Callable[[StateDatabase], Awaitable[None]]) -> None:
    async def run() -> None:
        database = StateDatabase(place)
        try:
            await use(database)
        finally:
            await database.close()

    asyncio.run(run())


def test_an_invitation_comes_back_as_it_was_made(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        rows = InvitationRows(database)
        assert await rows.add(INVITATION)
        assert not await rows.add(replace(INVITATION, subject="mallory@acme.example"))
        assert await rows.invitation("inv-a") == INVITATION
        assert await rows.invitations("acme") == (INVITATION,)
        assert await rows.invitations("other") == ()
        assert await rows.invitation("inv-b") is None

    using(place, use)


def test_of_many_who_use_an_invitation_one_enrols(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        await InvitationRows(database).add(INVITATION)
        people, factors = PersonRows(database), FactorRows(database)
        enrolled = await asyncio.gather(
            *(people.enrol(PERSON, replace(FACTOR, id=f"fac-{n}"), recorded) for n in range(6))
        )
        assert sorted(enrolled) == [False] * 5 + [True]
        assert await people.person(PERSON.subject) == PERSON
        assert await factors.factor(PERSON.subject) == replace(FACTOR, id=f"fac-{enrolled.index(True)}")
        found = await InvitationRows(database).invitation("inv-a")
        assert found == replace(INVITATION, used_at=PERSON.enrolled_at)

    using(place, use)


def test_an_invitation_that_was_revoked_or_has_expired_enrols_nobody(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        rows, people = InvitationRows(database), PersonRows(database)
        await rows.add(INVITATION)
        assert not await people.enrol(replace(PERSON, enrolled_at=NOW + 60), FACTOR, recorded)
        assert await rows.revoke("inv-a", "bo", NOW)
        assert not await rows.revoke("inv-a", "bo", NOW)
        assert not await people.enrol(PERSON, FACTOR, recorded)
        assert await people.people("acme") == ()

    using(place, use)


def test_whoever_enrols_again_loses_what_he_had(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        rows, people, certificates = InvitationRows(database), PersonRows(database), CertificateRows(database)
        await rows.add(INVITATION)
        await rows.add(replace(INVITATION, id="inv-b"))
        assert await people.enrol(PERSON, FACTOR, recorded)
        await certificates.add(CERTIFICATE)
        again = replace(PERSON, invitation="inv-b", enrolled_at=NOW + 5)
        assert await people.enrol(again, replace(FACTOR, id="fac-b"), recorded)
        assert await people.people("acme") == (again,)
        (found,) = await certificates.changed(NOW + 5, NOW, 0.0)
        assert found == replace(CERTIFICATE, revoked_at=NOW + 5, changed_at=NOW + 5)

    using(place, use)


def test_whoever_is_revoked_has_nothing_left_and_is_revoked_once(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        rows, people, certificates = InvitationRows(database), PersonRows(database), CertificateRows(database)
        await rows.add(INVITATION)
        await rows.add(replace(INVITATION, id="inv-b"))
        await people.enrol(PERSON, FACTOR, recorded)
        await certificates.add(CERTIFICATE)
        revoked = await asyncio.gather(*(people.revoke(PERSON.subject, "bo", "left", NOW + 9) for _ in range(4)))
        assert sorted(revoked) == [False, False, False, True]
        assert await FactorRows(database).factor(PERSON.subject) is None
        assert (await certificates.certificate("fp")).revoked_at == NOW + 9  # type: ignore[union-attr]
        assert (await rows.invitation("inv-b")).revoked_by == "bo"  # type: ignore[union-attr]
        assert not await people.enrol(replace(PERSON, invitation="inv-b"), FACTOR, recorded)

    using(place, use)


def test_whoever_is_revoked_has_invited_nobody_any_more(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        rows, people, dan = InvitationRows(database), PersonRows(database), "dan@acme.example"
        await rows.add(INVITATION)
        await people.enrol(PERSON, FACTOR, recorded)
        by_ana = replace(INVITATION, id="inv-b", subject=dan, inviter=replace(BO, id=PERSON.subject))
        by_bo = replace(INVITATION, id="inv-c", subject=dan)
        for invitation in (by_ana, by_bo, replace(by_ana, id="inv-d", used_at=NOW)):
            await rows.add(invitation)
        assert await rows.open_about(PERSON.subject, NOW) == (by_ana,)
        assert await rows.open_about(PERSON.subject, NOW + 60) == ()
        await people.revoke(PERSON.subject, "bo", "left", NOW + 9)
        assert await rows.invitation("inv-b") == replace(by_ana, revoked_at=NOW + 9, revoked_by="bo")
        assert await rows.invitation("inv-c") == by_bo

    using(place, use)


def test_whoever_is_revoked_or_enrols_anew_while_a_certificate_is_made_does_not_get_it(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        rows, people, certificates = InvitationRows(database), PersonRows(database), CertificateRows(database)
        for identifier in ("inv-a", "inv-b"):
            await rows.add(replace(INVITATION, id=identifier))
        await people.enrol(PERSON, FACTOR, recorded)
        assert await certificates.add(CERTIFICATE, "inv-a")
        await people.enrol(replace(PERSON, invitation="inv-b"), replace(FACTOR, id="fac-b"), recorded)
        assert not await certificates.add(replace(CERTIFICATE, fingerprint="fq"), "inv-a")
        await people.revoke(PERSON.subject, "bo", "left", NOW + 9)
        assert not await certificates.add(replace(CERTIFICATE, fingerprint="fr"), "inv-b")
        assert await certificates.certificate("fq") is await certificates.certificate("fr") is None

    using(place, use)


def test_no_certificate_that_is_stored_while_its_person_is_revoked_is_left(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        people, certificates = PersonRows(database), CertificateRows(database)
        await InvitationRows(database).add(INVITATION)
        await people.enrol(PERSON, FACTOR, recorded)
        made = [certificates.add(replace(CERTIFICATE, fingerprint=f"fp-{n}"), "inv-a") for n in range(8)]
        revoking = people.revoke(PERSON.subject, "bo", "left", NOW + 9)
        # One is there in any case: which of the others are is the race.
        assert await certificates.add(CERTIFICATE, "inv-a")
        kept = await asyncio.gather(*made[:4], revoking, *made[4:])
        del kept[4]
        stored = [CERTIFICATE.fingerprint, *(f"fp-{n}" for n, is_kept in enumerate(kept) if is_kept)]
        found = {known.fingerprint: known.revoked_at for known in await certificates.changed(0.0, NOW, 0.0)}
        assert found == dict.fromkeys(stored, NOW + 9)

    using(place, use)


def test_of_many_tries_of_a_factor_each_is_counted_and_a_step_counts_once(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        await InvitationRows(database).add(INVITATION)
        await PersonRows(database).enrol(PERSON, FACTOR, recorded)
        rows = FactorRows(database)
        begun = await asyncio.gather(*(rows.begin_try(FACTOR, NOW + 30) for _ in range(5)))
        assert sorted(begun) == [False] * 4 + [True]
        assert await rows.factor(PERSON.subject) == replace(FACTOR, failures=1, blocked_until=NOW + 30)
        accepted = await asyncio.gather(*(rows.accept(FACTOR, 8) for _ in range(5)))
        assert sorted(accepted) == [False] * 4 + [True]
        assert not await rows.accept(FACTOR, 7)
        assert await rows.factor(PERSON.subject) == replace(FACTOR, counter=8)

    using(place, use)


def test_certificates_come_back_with_what_changed_since(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        rows = CertificateRows(database)
        service = replace(CERTIFICATE, fingerprint="fq", factor_at=None, methods=(), changed_at=NOW + 5)
        await rows.add(CERTIFICATE)
        await rows.add(service)
        assert set(await rows.changed(0.0, NOW, 0.0)) == {CERTIFICATE, service}
        assert await rows.changed(NOW + 1, NOW, 0.0) == (service,)
        assert await rows.changed(0.0, NOW + 60, 600.0) == ()
        over = replace(service, fingerprint="fs", revoked_at=NOW + 6)
        await rows.add(over)
        assert await rows.changed(0.0, NOW + 60, 600.0) == (over,), "it could still be renewed"
        assert await rows.changed(0.0, NOW + 660, 600.0) == ()
        assert await rows.certificate("fp") == CERTIFICATE
        assert await rows.certificate("fr") is None

    using(place, use)


def test_what_a_lagging_clock_issues_or_revokes_is_not_behind_what_others_have_read(place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        people, certificates = PersonRows(database), CertificateRows(database)
        await InvitationRows(database).add(INVITATION)
        await people.enrol(PERSON, FACTOR, recorded)
        await certificates.add(CERTIFICATE, "inv-a")
        others = replace(CERTIFICATE, fingerprint="fq", subject="eve@acme.example", changed_at=NOW + 50)
        await certificates.add(others)
        assert await certificates.add(replace(CERTIFICATE, fingerprint="fr", changed_at=NOW - 3600), "inv-a")
        issued = replace(CERTIFICATE, fingerprint="fr", changed_at=NOW + 50)
        assert set(await certificates.changed(NOW + 50, NOW, 0.0)) == {others, issued}
        assert await people.revoke(PERSON.subject, "bo", "left", NOW - 3600)
        revoked = {replace(one, revoked_at=NOW - 3600, changed_at=NOW + 50) for one in (CERTIFICATE, issued)}
        assert set(await certificates.changed(NOW + 50, NOW, 0.0)) == {others, *revoked}

    using(place, use)


def test_what_is_stored_at_one_time_is_stored_in_the_order_of_its_moments(postgresql_place: StatePlace) -> None:
    async def use(database: StateDatabase) -> None:
        changed_at, order = CERTIFICATES.c.changed_at, []
        rows = CertificateRows(database)

        async def lagging() -> None:
            await rows.add(replace(CERTIFICATE, fingerprint="fr", changed_at=NOW - 3600))
            order.append("lagging")

        async with database.connection() as connection:
            await database.stamp(connection, changed_at, NOW)
            task = asyncio.create_task(lagging())
            await asyncio.wait([task], timeout=0.3)
            row = asdict(CERTIFICATE) | {"methods": ""}
            await database.insert(connection, CERTIFICATES, (row,))
            order.append("punctual")
            await database.commit(connection)
        await task
        assert order == ["punctual", "lagging"]
        assert {one.changed_at for one in await rows.changed(0.0, NOW, 0.0)} == {NOW}

    using(postgresql_place, use)
