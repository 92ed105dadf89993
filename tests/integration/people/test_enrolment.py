"""From a code to a certificate: once, for exactly who was invited, and for nothing that a request asks beyond that."""

import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.access.locks import LocksInForce
from broker.adapters.sealing_key import SealingKey
from broker.adapters.state_database import StatePlace, sqlite_place
from broker.errors import LedgerUnavailableError, PolicyUnavailableError
from broker.identity.certificate import Trust
from broker.identity.invitation_code import encode_code
from broker.model.enrolment import InvitationState
from broker.model.lock import Lock, LockKind
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Reason
from broker.wiring.people.under_way import SECONDS
from tests.integration.people.stage import (
    BO,
    EVE,
    NORTHWIND,
    PLANT,
    Somebody,
    Stage,
    changed,
    make_authority,
    played,
    refusal,
    request_of,
)
from tests.totp import code_at

DAY = 86_400.0


@pytest.fixture
def sqlite(tmp_path: Path) -> StatePlace:
    return sqlite_place(tmp_path / "broker.db")


def test_who_was_invited_enrols_and_is_proven_by_certificate_and_factor(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert eve.issued is not None
        certificate = eve.issued.certificate
        leaf, *above = (
            c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(eve.issued.chain.encode())
        )
        proven = stage.authenticator.certificate_subject(leaf, tuple(above))
        proof = proven.proof(ProofKind.CERTIFICATE)
        assert (proven.id, proven.organisation) == (EVE, NORTHWIND)
        assert proof is not None
        assert (proof.authenticated_at, proof.methods) == (stage.world.wall, ("otp",))
        assert certificate.not_after - stage.world.wall == 8 * 3600
        assert stage.world.kinds() == ["invitation_created", "person_enrolled", "certificate_issued"]
        (person,) = await stage.people.membership.people(NORTHWIND)
        assert (person.subject, person.invited_by) == (EVE, BO)

    played(place, tmp_path, story)


def test_of_many_who_complete_with_one_code_one_enrols(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code = await stage.invite()
        everybody = [Somebody(stage) for _ in range(4)]
        tickets = [await somebody.begin(code) for somebody in everybody]
        tried = await asyncio.gather(
            *(
                stage.people.enrolment.complete(ticket, somebody.code, None)
                for somebody, ticket in zip(everybody, tickets, strict=True)
            ),
            return_exceptions=True,
        )
        codes = sorted(getattr(answer, "code", "enrolled") for answer in tried)
        assert codes == ["code_used"] * 3 + ["enrolled"]
        assert stage.world.kinds().count("person_enrolled") == 1
        assert stage.world.kinds().count("certificate_issued") == 1
        assert await refusal(Somebody(stage).begin(code)) == "code_used"

    played(place, tmp_path, story)


def test_a_code_is_refused_when_it_is_wrong_and_when_it_is_over(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code, other = await stage.invite(), await stage.invite("dan@northwind.example")
        found = await stage.people.membership.invitations(NORTHWIND)
        eves = next(invitation for invitation in found if invitation.subject == EVE)
        eve = Somebody(stage)
        place = base64.b32decode(eves.id.removeprefix("inv-").upper())
        assert await refusal(eve.begin(encode_code(place, b"0" * 16))) == "code_refused"
        assert await refusal(eve.begin(encode_code(b"-----", b"0" * 16))) == "code_refused"
        assert await refusal(eve.begin(code[:-1] + ("a" if code[-1] != "a" else "b"))) == "code_malformed"
        assert await stage.people.membership.revoke_invitation(eves, BO)
        assert await refusal(eve.begin(code)) == "code_revoked"
        stage.world.pass_time(3600)
        assert await refusal(eve.begin(other)) == "code_expired"
        assert stage.world.kinds() == ["invitation_created"] * 2 + ["invitation_revoked"]

    played(sqlite, tmp_path, story)


def test_who_only_knows_an_invitations_id_takes_nothing_from_its_bearer(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code = await stage.invite()
        (invitation,) = await stage.people.membership.invitations(NORTHWIND)
        place = base64.b32decode(invitation.id.removeprefix("inv-").upper())
        guesses = [encode_code(place, n.to_bytes(16, "big")) for n in range(40)]
        refused = await asyncio.gather(*(refusal(Somebody(stage).begin(guess)) for guess in guesses))
        assert set(refused) == {"code_refused"}
        await Somebody(stage).enrol(code)

    played(sqlite, tmp_path, story)


def test_a_secret_is_compared_whether_there_is_an_invitation_or_not(
    sqlite: StatePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(stage: Stage) -> None:
        await stage.invite()
        (invitation,) = await stage.people.membership.invitations(NORTHWIND)
        compared, bears = [], SealingKey.bears

        def noted(key: SealingKey, mark: bytes, *parts: str | bytes) -> bool:
            compared.append(len(mark))
            return bears(key, mark, *parts)

        monkeypatch.setattr(SealingKey, "bears", noted)
        for place in (base64.b32decode(invitation.id.removeprefix("inv-").upper()), b"-----"):
            assert await refusal(Somebody(stage).begin(encode_code(place, b"0" * 16))) == "code_refused"
        assert compared == [32, 32]

    played(sqlite, tmp_path, story)


def from_token(subject: str, *roles: str, certificate: str = "") -> Subject:
    proofs = (Proof(ProofKind.CERTIFICATE, "", "", certificate, 0.0, 0.0),) if certificate else ()
    return Subject(subject, SubjectKind.PERSON, "plant", roles, proofs=proofs)


LEE, MAX = "lee@plant.example", "max@plant.example"


@pytest.mark.parametrize("how", ["locked", "certificate", "role", "policy", "sponsor"])
def test_an_invitation_is_good_only_while_who_made_it_may_invite(how: str, sqlite: StatePlace, tmp_path: Path) -> None:
    by = {
        "locked": from_token(MAX, "security"),
        "certificate": from_token(MAX, "security", certificate="fp-of-max"),
        "role": from_token(LEE, "security"),
        "policy": from_token(MAX, "security"),
        "sponsor": from_token(BO),
    }[how]

    async def story(stage: Stage) -> None:
        world, eve, membership = stage.world, Somebody(stage), stage.people.membership
        code = await stage.invite(by=by)
        ticket = await eve.begin(code)
        (invitation,) = await membership.invitations(NORTHWIND)
        assert await membership.states((invitation,)) == (InvitationState.OPEN,)
        if how in {"locked", "certificate"}:
            kind, target = (LockKind.SUBJECT, MAX) if how == "locked" else (LockKind.CERTIFICATE, "fp-of-max")
            world.locks = LocksInForce([Lock("lck-1", kind, target, "why", BO, world.wall, "b")])
        elif how == "role":
            world.owner = replace(world.owner, roles=())
        elif how == "policy":
            world.inviting = ("no-such-role",)
        else:
            world.organisations = tuple(replace(known, sponsor=LEE) for known in world.organisations)
        assert await refusal(eve.begin(code)) == "code_void"
        assert await refusal(stage.people.enrolment.complete(ticket, eve.code, None)) == "code_void"
        assert await membership.states((invitation,)) == (InvitationState.VOID,)
        assert world.kinds() == ["invitation_created"]
        world.locks, world.owner, world.inviting = LocksInForce(), PLANT, ("security",)
        world.organisations = tuple(replace(known, sponsor=BO) for known in world.organisations)
        await eve.enrol(code)
        assert await membership.states(await membership.invitations(NORTHWIND)) == (InvitationState.USED,)

    played(sqlite, tmp_path, story)


@pytest.mark.parametrize("reason", [Reason.POLICY_LATE, Reason.LEDGER_PAUSED])
def test_nobody_enrols_while_the_policy_does_not_say_that_who_invited_may(
    sqlite: StatePlace, tmp_path: Path, reason: Reason
) -> None:
    async def story(stage: Stage) -> None:
        code, eve = await stage.invite(), Somebody(stage)
        stage.world.engine_says = (reason,)
        with pytest.raises(PolicyUnavailableError):
            await eve.begin(code)
        (invitation,) = await stage.people.membership.invitations(NORTHWIND)
        assert await stage.people.membership.states((invitation,)) == (InvitationState.OPEN,)
        stage.world.engine_says = ()
        await eve.enrol(code)

    played(sqlite, tmp_path, story)


def test_what_somebody_invited_others_by_ends_with_him(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert eve.issued is not None
        certificate = eve.issued.certificate.fingerprint
        by_eve = Subject(EVE, SubjectKind.PERSON, NORTHWIND, ("security",))
        by_her_certificate = from_token(MAX, "security", certificate=certificate)
        codes = [await stage.invite("dan@northwind.example", by=by) for by in (by_eve, by_her_certificate)]
        (person,) = await stage.people.membership.people(NORTHWIND)
        await stage.people.membership.revoke(person, BO, "left")
        assert [await refusal(Somebody(stage).begin(code)) for code in codes] == ["code_revoked", "code_void"]
        assert stage.world.kinds()[-2:] == ["invitation_revoked", "person_revoked"]
        late = await stage.invite("dan@northwind.example", by=by_eve)
        assert await refusal(Somebody(stage).begin(late)) == "code_void"

    played(sqlite, tmp_path, story)


@pytest.mark.parametrize(
    "change", ["inviter_roles = '[\"security\"]'", "created_by = 'lee@plant.example'", "inviter_organisation = 'x'"]
)
def test_nobody_else_can_be_made_to_have_invited(change: str, sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code = await stage.invite()
        await changed(stage, f"UPDATE invitations SET {change}")
        assert await refusal(Somebody(stage).begin(code)) == "code_refused"

    played(sqlite, tmp_path, story)


@pytest.mark.parametrize("how", ["used", "revoked"])
def test_an_invitation_that_is_set_back_in_the_database_enrols_nobody(
    how: str, sqlite: StatePlace, tmp_path: Path
) -> None:
    async def story(stage: Stage) -> None:
        code, eve, thief = await stage.invite(), Somebody(stage), Somebody(stage)
        if how == "used":
            await eve.enrol(code)
        else:
            (invitation,) = await stage.people.membership.invitations(NORTHWIND)
            assert await stage.people.membership.revoke_invitation(invitation, BO)
            await stage.people.office.see_to_lists()
        people, certificates = await stage.people.membership.people(NORTHWIND), stage.people.known.of(EVE)
        await changed(stage, "UPDATE invitations SET used_at = NULL, revoked_at = NULL")
        assert await refusal(thief.enrol(code)) == "code_used"
        await stage.people.known.look()
        assert await stage.people.membership.people(NORTHWIND) == people
        assert stage.people.known.of(EVE) == certificates
        if how == "used":
            stage.world.pass_time(60)
            await eve.renew()

    played(sqlite, tmp_path, story)


def test_a_row_that_was_changed_in_the_database_is_no_invitation(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code = await stage.invite("dan@northwind.example", 700)
        await changed(stage, "UPDATE invitations SET subject = 'eve@northwind.example'")
        assert await refusal(Somebody(stage).begin(code)) == "code_refused"
        await changed(stage, "UPDATE invitations SET subject = 'dan@northwind.example'")
        await Somebody(stage).begin(code)
        await changed(stage, "UPDATE invitations SET expires_at = expires_at + 86400")
        assert await refusal(Somebody(stage).begin(code)) == "code_refused"

    played(sqlite, tmp_path, story)


def test_a_certificate_row_that_no_broker_wrote_proves_no_factor(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        assert eve.issued is not None
        stage.world.pass_time(100)
        await changed(stage, "UPDATE certificates SET factor_at = factor_at + 90, changed_at = changed_at + 100")
        fingerprint = eve.issued.certificate.fingerprint
        assert await stage.people.known.stored(fingerprint) is None
        await stage.people.known.look()
        known = stage.people.known(fingerprint)
        assert known is not None
        assert known.factor_at == eve.issued.certificate.factor_at
        assert await refusal(eve.begin_renewal()) == "renewal_refused"

    played(sqlite, tmp_path, story)


def test_the_new_factor_is_shown_before_anything_is_issued(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code, eve = await stage.invite(), Somebody(stage)
        ticket = await eve.begin(code)
        complete = stage.people.enrolment.complete
        old, wrong = code_at(eve.secret, stage.world.wall - 90), f"{(int(eve.code) + 1) % 1_000_000:06}"
        for bad in (old, wrong, "", "12"):
            assert await refusal(complete(ticket, bad, None)) == "factor_refused"
        assert await refusal(complete("x" * 43, eve.code, None)) == "enrolment_unknown"
        assert await refusal(complete(ticket, "000000" if eve.code != "000000" else "1", None)) == "factor_refused"
        assert await refusal(complete(ticket, eve.code, None)) == "enrolment_unknown", "five tries are enough"
        ticket = await eve.begin(code)
        stage.world.pass_time(SECONDS)
        assert await refusal(complete(ticket, eve.code, None)) == "enrolment_unknown"
        assert "certificate_issued" not in stage.world.kinds()
        await eve.enrol(await stage.invite())

    played(sqlite, tmp_path, story)


KEY, AUTHORITY = ec.generate_private_key(ec.SECP256R1()), x509.BasicConstraints(ca=True, path_length=None)
MALLORY = x509.SubjectAlternativeName([x509.RFC822Name("mallory@northwind.example")])
EXTRA = x509.SubjectAlternativeName([x509.RFC822Name(EVE), x509.DNSName("broker.plant.example")])
POLICIES = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)])


def forged() -> str:
    """A request for the key of somebody else, signed by oneself."""
    der = bytearray(x509.load_pem_x509_csr(request_of(KEY).encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()


HOSTILE = {
    "another name": request_of(KEY, (MALLORY, False)),
    "more names": request_of(KEY, (EXTRA, False)),
    "an authority": request_of(KEY, (AUTHORITY, True)),
    "a server": request_of(KEY, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)),
    "an unknown extension": request_of(KEY, (POLICIES, False)),
    "a weak key": request_of(rsa.generate_private_key(65537, 1024)),
    "a key on another curve": request_of(ec.generate_private_key(ec.SECP256K1())),
    "no request": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
    "another's signature": forged(),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_request_for_more_than_was_granted_is_refused(what: str, sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code, eve = await stage.invite(), Somebody(stage)
        assert await refusal(eve.begin(code, HOSTILE[what])) in {"request_refused", "request_malformed"}
        assert stage.world.kinds() == ["invitation_created"]

    played(sqlite, tmp_path, story)


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("eve@acme.example", "invitation_refused"),
        ("eve@sub.northwind.example", "invitation_refused"),
        ("Eve@Northwind.example", "invitation_refused"),
        ("spiffe://northwind.example/sync", "invitation_refused"),
        ("northwind.example", "invitation_refused"),
        ("", "invitation_refused"),
    ],
)
def test_only_people_inside_the_namespaces_are_invited(
    subject: str, code: str, sqlite: StatePlace, tmp_path: Path
) -> None:
    async def story(stage: Stage) -> None:
        assert await refusal(stage.invite(subject)) == code
        assert stage.world.records == []

    played(sqlite, tmp_path, story)


def test_contract_lock_and_inventory_are_looked_at_in_both_steps(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code, eve = await stage.invite(), Somebody(stage)
        ticket = await eve.begin(code)
        now, world = stage.world.wall, stage.world
        whole = world.organisations
        lock = Lock("lck-1", LockKind.SUBJECT, EVE, "why", BO, now, "b")
        for locks in (
            LocksInForce([lock]),
            LocksInForce([replace(lock, kind=LockKind.ORGANISATION, target=NORTHWIND)]),
        ):
            world.locks = locks
            assert await refusal(eve.begin(code)) == "locked"
            assert await refusal(stage.people.enrolment.complete(ticket, eve.code, None)) == "locked"
        world.locks = LocksInForce()
        for changes, refused in (
            ({"contract_until": now}, "contract_ended"),
            ({"contract_from": now + 1}, "contract_ended"),
            ({"id": "other"}, "enrolment_unavailable"),
        ):
            world.organisations = tuple(replace(organisation, **changes) for organisation in whole)
            assert await refusal(eve.begin(code)) == refused
        world.organisations = whole
        stage.authenticator.replace_trust(Trust((replace(whole[0], namespaces=("*@elsewhere.example",)),)))
        assert await refusal(eve.begin(code)) == "invitation_refused"
        assert "person_enrolled" not in world.kinds()

    played(sqlite, tmp_path, story)


def test_an_authority_whose_root_the_inventory_does_not_name_issues_nothing(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        assert stage.people.office.unanchored == ()
        other = make_authority(tmp_path / "other", stage.world.wall)
        trust = Trust((stage.organisation(anchors=((other / "root.pem").read_text(),), crls=(), crl_required=False),))
        stage.authenticator.replace_trust(trust)
        assert stage.people.office.unanchored == (NORTHWIND,)
        code, eve = await stage.invite(), Somebody(stage)
        assert await refusal(eve.enrol(code)) == "certificate_untrusted"
        assert stage.people.known.of(EVE) == ()
        assert "certificate_issued" not in stage.world.kinds()

    played(sqlite, tmp_path, story)


def test_nothing_is_done_that_the_ledger_does_not_take(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code, eve = await stage.invite(), Somebody(stage)
        ticket = await eve.begin(code)
        stage.world.closed = True
        with pytest.raises(LedgerUnavailableError):
            await stage.invite()
        with pytest.raises(LedgerUnavailableError):
            await stage.people.enrolment.complete(ticket, eve.code, None)
        stage.world.closed = False
        (invitation,) = await stage.people.membership.invitations(NORTHWIND)
        assert invitation.used_at is None
        assert await stage.people.membership.people(NORTHWIND) == ()
        assert stage.people.known.of(EVE) == ()
        assert stage.world.kinds() == ["invitation_created"]

    played(sqlite, tmp_path, story)


def test_no_secret_is_in_the_ledger_or_in_the_state(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        code, eve = await stage.invite(), Somebody(stage)
        await eve.enrol(code)
        kept = (tmp_path / "broker.db").read_bytes() + str(stage.world.records).encode()
        secret = code.replace("-", "")
        assert eve.secret not in kept
        assert base64.b32encode(eve.secret) not in kept
        assert secret.encode() not in kept
        assert secret[8:34].encode() not in kept
        assert (tmp_path / "sealing-key").stat().st_mode & 0o077 == 0

    played(sqlite, tmp_path, story)


def test_whoever_enrols_again_has_lost_the_old_key_and_factor(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        lost = await stage.enrolled()
        stage.world.pass_time(60)
        again = await stage.enrolled()
        assert again.issued is not None
        assert lost.issued is not None
        assert [known.serial for known in stage.people.known.of(EVE)] == [again.issued.certificate.serial]
        assert stage.world.examined == 1
        await stage.people.office.see_to_lists()
        crl = (stage.authority_folder / "crl.pem").read_bytes()
        stage.authenticator.replace_trust(Trust((stage.organisation(crls=(crl,)),)))
        assert await refusal(lost.begin_renewal()) == "renewal_refused"

    played(sqlite, tmp_path, story)


def test_tickets_are_bounded_and_each_has_its_purpose(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        eve = await stage.enrolled()
        tickets = [await eve.begin_renewal() for _ in range(6)]
        stage.world.pass_time(30)
        renewal = stage.people.enrolment.complete_renewal
        assert await refusal(renewal(tickets[0], eve.code, None)) == "enrolment_unknown"
        assert await refusal(stage.people.enrolment.complete(tickets[5], eve.code, None)) == "enrolment_unknown"
        assert (await renewal(tickets[5], eve.code, None)).certificate.subject == EVE
        assert await refusal(renewal(tickets[5], eve.code, None)) == "enrolment_unknown"

    played(sqlite, tmp_path, story)
