"""The way to a certificate: from an invitation's code with a new factor, or from the certificate before with the known.

Each has two steps. The first proves the code, or the key of the certificate before, and says what the factor is asked;
the second proves the factor. Everything that must hold of a subject is looked at in both.
"""

import logging
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from broker.adapters.sealing_key import SealingKey
from broker.adapters.state_invitations import InvitationRows
from broker.adapters.state_people import PersonRows
from broker.engine.ports import Clock, Ledger
from broker.errors import EnrolmentError
from broker.identity.certificate import fingerprint
from broker.identity.enrolment_codes import enrolment_error, spent_error
from broker.identity.invitation_code import decode_code
from broker.identity.issuance import verify_request
from broker.identity.renewal import decode_old_certificate, verify_possession
from broker.ledger import records
from broker.model.backer import Backer
from broker.model.enrolment import (
    EnrolledCertificate,
    FactorKind,
    Invitation,
    InvitationState,
    IssuedCertificate,
    Person,
    ProvenFactor,
)
from broker.model.subject import ProofKind, Subject
from broker.wiring.people.factors import SecondFactors
from broker.wiring.people.inviters import Inviters
from broker.wiring.people.issuing import CertificateOffice
from broker.wiring.people.known import KnownCertificates
from broker.wiring.people.under_way import SECONDS, Begun, UnderWay
from broker.wiring.recording import record_durably

log = logging.getLogger(__name__)
PERSON, SERVICE = "person", "service"
DAY_SECONDS = 86_400.0
MOST_FOLLOWERS = 1
"""An answer may be lost, and then the certificate before is all that its holder has; older keys are worth nothing."""
MOST_SERVICE_RENEWALS = 6
SERVICE_RENEWALS_SECONDS = 3600.0
MOST_SERVICES = 4096
_NOBODYS = Invitation("", "nobody", "nobody@invalid", Backer("", PERSON, ""), 0.0, 0.0, bytes(16), bytes(32))
"""What a code is compared with that is nobody's."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a first step led to: the ticket for the second, and what the factor is asked."""

    ticket: str
    subject: str
    organisation: str
    kind: FactorKind
    seconds: float
    uri: str = ""
    options: dict[str, Any] | None = None


class Enrolment:
    """One per broker. Everything raises EnrolmentError, IssuanceError, CertificateError or an UnavailableError."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        invitations: InvitationRows,
        people: PersonRows,
        sealing_key: SealingKey,
        factors: SecondFactors,
        office: CertificateOffice,
        inviters: Inviters,
        known: KnownCertificates,
        under_way: UnderWay,
        certificate_seconds: int,
        renewal_days: int,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._invitations = invitations
        self._people = people
        self._sealing_key = sealing_key
        self._factors = factors
        self._office = office
        self._inviters = inviters
        self._known = known
        self._under_way = under_way
        self._certificate_seconds = certificate_seconds
        self._renewal_seconds = renewal_days * DAY_SECONDS
        self._service_renewals: dict[str, deque[float]] = {}

    # From an invitation

    async def begin(self, raw_code: str, raw_request: str, kind: FactorKind) -> Offer:
        """The code proves that its bearer may enrol, as often as he begins anew, until he has once."""
        invitation = await self._invited(raw_code)
        self._check(invitation.subject, invitation.organisation, raw_request)
        await self._inviters.require_standing(invitation)
        factor = self._factors.new(kind, invitation.subject)
        begun = Begun(
            invitation.subject,
            invitation.organisation,
            raw_request.encode(),
            self._under_way.ends,
            invitation=invitation,
            factor=factor,
        )
        return self._offer(begun, kind, factor.uri, factor.options)

    async def complete(self, ticket: str, raw_code: str, raw_response: dict[str, Any] | None) -> IssuedCertificate:
        """The new factor is shown to be there; the invitation is used up, by one of all who try."""
        begun = self._under_way.tried(ticket, enrols=True)
        invitation, new = begun.invitation, begun.factor
        assert invitation is not None
        assert new is not None
        self._office.require_eligible(begun.subject, begun.organisation)
        await self._inviters.require_standing(invitation)
        factor, proven = self._factors.confirmed(new, begun.subject, raw_code, raw_response)
        await self._office.require_unspent(invitation.id, begun.organisation)
        now = self._clock.now()
        person = Person(begun.subject, begun.organisation, invitation.id, invitation.created_by, now)
        told = {"organisation": person.organisation, "invitation": person.invitation, "invited_by": person.invited_by}
        record = records.person_enrolled(now, subject=person.subject, factor=factor.kind.value, **told)
        if not await self._people.enrol(person, factor, partial(record_durably, self._ledger, record)):
            raise await self._spent(invitation.id)
        self._under_way.done(ticket)
        await self._known.look()
        log.info("%s of %s has enrolled by %s", person.subject, person.organisation, person.invitation)
        return await self._issued(begun, "enrolment", proven, invitation.id)

    # From the certificate before

    async def begin_renewal(self, raw_certificate: str, raw_request: str, signature: bytes) -> Offer:
        """The certificate's key proves who asks, even after its end; that he is there, the factor must prove."""
        certificate = decode_old_certificate(raw_certificate)
        verify_possession(certificate, raw_request.encode(), signature)
        old = await self._renewable(fingerprint(certificate.public_bytes(Encoding.DER)))
        self._check(old.subject, old.organisation, raw_request)
        kind = await self._factors.kind_of(old.subject)
        if kind is None:
            raise enrolment_error("factor_missing")
        begun = Begun(
            old.subject, old.organisation, raw_request.encode(), self._under_way.ends, certificate=old.fingerprint
        )
        options = None
        if kind is FactorKind.WEBAUTHN:
            begun.challenge, options = await self._factors.challenge(old.subject)
        return self._offer(begun, kind, "", options)

    async def complete_renewal(
        self, ticket: str, raw_code: str, raw_response: dict[str, Any] | None
    ) -> IssuedCertificate:
        """The factor is proven, and everything else holds still."""
        begun = self._under_way.tried(ticket, enrols=False)
        # The person before the certificate: if he enrols anew after this, the certificate is found revoked below.
        person = await self._people.person(begun.subject)
        await self._renewable(begun.certificate)
        self._office.require_eligible(begun.subject, begun.organisation, begun.certificate)
        if begun.challenge:
            proven = await self._factors.verify_assertion(begun.subject, begun.challenge, raw_response or {})
        else:
            proven = await self._factors.verify(begun.subject, raw_code)
        self._under_way.done(ticket)
        old = await self._renewable(begun.certificate)
        assert person is not None
        return await self._issued(begun, "renewal", proven, person.invitation, old.serial)

    async def renew_service(self, subject: Subject, raw_request: str) -> IssuedCertificate:
        """A service renews by its certificate that is good now, under the same name and role, and not too often."""
        proof = subject.proof(ProofKind.CERTIFICATE)
        if proof is None:
            raise enrolment_error("renewal_refused", "no certificate")
        entry = await self._office.good(proof.fingerprint, subject.organisation)
        if entry.profile != SERVICE or entry.names != (subject.id,):
            raise enrolment_error("renewal_refused", f"a certificate of profile {entry.profile}")
        self._office.require_eligible(subject.id, subject.organisation, proof.fingerprint)
        self._count_service(subject.id)
        terms = self._office.terms(SERVICE, subject.id, subject.organisation, role=entry.modbus_role)
        return await self._office.issue(
            terms, raw_request.encode(), subject.organisation, "renewal", None, renewed_from=entry.serial
        )

    async def _invited(self, raw_code: str) -> Invitation:
        """The invitation of a code. What is said of one that is spent, only its bearer is told; whoever has not the
        secret does not even learn whether there is one, by the time that the answer takes neither.
        """
        identifier, secret = decode_code(raw_code)
        found = await self._invitations.invitation(identifier)
        invitation = found or replace(_NOBODYS, id=identifier)
        bears = self._sealing_key.bears(invitation.digest, "invitation", invitation.salt, secret, *invitation.terms)
        if not bears or found is None:
            raise enrolment_error("code_refused")
        state = invitation.state_at(self._clock.now())
        if state is not InvitationState.OPEN:
            raise spent_error(state)
        return invitation

    async def _spent(self, identifier: str) -> EnrolmentError:
        invitation = await self._invitations.invitation(identifier)
        state = InvitationState.REVOKED if invitation is None else invitation.state_at(self._clock.now())
        return spent_error(InvitationState.USED if state is InvitationState.OPEN else state)

    async def _renewable(self, identifier: str) -> EnrolledCertificate:
        """A person's certificate that was issued here and may be followed by another. Raises EnrolmentError."""
        old = await self._known.stored(identifier)
        if old is None or old.profile != PERSON or old.revoked_at is not None:
            raise enrolment_error("renewal_refused", "not issued here to a person, or revoked")
        if self._clock.now() >= old.not_after + self._renewal_seconds:
            raise enrolment_error("renewal_refused", "it ended too long ago")
        if await self._known.followers(old) > MOST_FOLLOWERS:
            raise enrolment_error("renewal_refused", "others have followed it")
        person = await self._people.person(old.subject)
        if person is None or person.revoked_at is not None:
            raise enrolment_error("renewal_refused", "the person was revoked")
        self._office.require_eligible(old.subject, old.organisation, old.fingerprint)
        await self._office.good(old.fingerprint, old.organisation)
        return old

    def _check(self, subject: str, organisation: str, raw_request: str) -> None:
        """What can be known before the factor: that a certificate could be issued for this request."""
        self._office.require_eligible(subject, organisation)
        verify_request(raw_request.encode(), self._office.terms(PERSON, subject, organisation, 1))

    def _offer(self, begun: Begun, kind: FactorKind, uri: str, options: dict[str, Any] | None) -> Offer:
        ticket = self._under_way.add(begun)
        return Offer(ticket, begun.subject, begun.organisation, kind, SECONDS, uri, options)

    async def _issued(
        self, begun: Begun, occasion: str, proven: ProvenFactor, invitation: str, renewed_from: str = ""
    ) -> IssuedCertificate:
        terms = self._office.terms(PERSON, begun.subject, begun.organisation, self._certificate_seconds)
        return await self._office.issue(
            terms, begun.request, begun.organisation, occasion, proven, invitation, renewed_from
        )

    def _count_service(self, subject: str) -> None:
        now = self._clock.monotonic()
        if len(self._service_renewals) >= MOST_SERVICES:
            self._service_renewals.clear()
        renewals = self._service_renewals.setdefault(subject, deque(maxlen=MOST_SERVICE_RENEWALS))
        if len(renewals) == MOST_SERVICE_RENEWALS and now < renewals[0] + SERVICE_RENEWALS_SECONDS:
            raise enrolment_error("renewal_too_often", wait_seconds=renewals[0] + SERVICE_RENEWALS_SECONDS - now)
        renewals.append(now)
