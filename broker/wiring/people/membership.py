"""Invitations and people, as administrators and sponsors have them. Every act is recorded before it takes effect."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from broker.adapters.sealing_key import SealingKey
from broker.adapters.state_invitations import InvitationRows
from broker.adapters.state_people import PersonRows
from broker.engine.ports import Clock, Ledger
from broker.identity.enrolment_codes import enrolment_error
from broker.identity.invitation_code import PLACE_OCTETS, SECRET_OCTETS, encode_code, invitation_id
from broker.identity.names import decode_subject_id
from broker.ledger import records
from broker.model.enrolment import EnrolledCertificate, Invitation, InvitationState, Person
from broker.model.place import Organisation
from broker.model.subject import Subject, SubjectKind
from broker.wiring.people.enrolment import PERSON
from broker.wiring.people.inviters import Inviters
from broker.wiring.people.issuing import CertificateOffice
from broker.wiring.people.known import KnownCertificates
from broker.wiring.recording import record_durably

log = logging.getLogger(__name__)
SALT_OCTETS = 16


class Membership:
    """One per broker. Raises EnrolmentError, LedgerUnavailableError (no record, no act) or StateUnavailableError."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        octets: Callable[[int], bytes],
        invitations: InvitationRows,
        people: PersonRows,
        sealing_key: SealingKey,
        office: CertificateOffice,
        inviters: Inviters,
        known: KnownCertificates,
        longest_seconds: int,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._octets = octets
        self._invitations = invitations
        self._people = people
        self._sealing_key = sealing_key
        self._office = office
        self._known = known
        self._inviters = inviters
        self.longest_seconds = longest_seconds

    @property
    def organisations(self) -> tuple[Organisation, ...]:
        """Those whose people can be invited here."""
        return self._office.organisations

    def require_invitable(self, subject: str, organisation: str) -> None:
        """That somebody could enrol: a person in the organisation's namespaces. Raises PeerError."""
        try:
            person = decode_subject_id(subject).kind is SubjectKind.PERSON
        except ValueError as error:
            raise enrolment_error("invitation_refused", str(error)) from None
        if not person:
            raise enrolment_error("invitation_refused", f"{subject} is a service")
        self._office.require_eligible(subject, organisation)
        self._office.terms(PERSON, subject, organisation)

    async def invite(self, subject: str, organisation: str, seconds: float, by: Subject) -> tuple[Invitation, str]:
        """An invitation, and the code, which is not kept."""
        place, secret = self._octets(PLACE_OCTETS), self._octets(SECRET_OCTETS)
        now, salt = self._clock.now(), self._octets(SALT_OCTETS)
        until = now + min(seconds, self.longest_seconds)
        bare = Invitation(
            invitation_id(place), organisation, subject, self._inviters.inviter(by), now, until, salt, b""
        )
        invitation = replace(bare, digest=self._sealing_key.mark("invitation", salt, secret, *bare.terms))
        record = records.invitation_created(
            now, invitation=invitation.id, subject=subject, organisation=organisation, by=by.id, until=until
        )
        await record_durably(self._ledger, record)
        if not await self._invitations.add(invitation):
            raise enrolment_error("invitation_refused", "the id is taken; once more")
        return invitation, encode_code(place, secret)

    async def invitations(self, organisation: str) -> tuple[Invitation, ...]:
        """Those of an organisation, the newest first."""
        return await self._invitations.invitations(organisation)

    async def invitation(self, identifier: str) -> Invitation | None:
        """The one of that id."""
        return await self._invitations.invitation(identifier)

    async def states(self, invitations: Sequence[Invitation]) -> tuple[InvitationState, ...]:
        """Whether their codes can still be used, or why not; the newest first."""
        return await self._inviters.states(invitations)

    async def revoke_invitation(self, invitation: Invitation, by: str) -> bool:
        """Let its code be good for nothing; False if it is used or revoked."""
        now = self._clock.now()
        if invitation.used_at is not None or invitation.revoked_at is not None:
            return False
        await record_durably(self._ledger, records.invitation_revoked(now, invitation=invitation.id, by=by))
        self._office.spend(invitation)
        return await self._invitations.revoke(invitation.id, by, now)

    async def people(self, organisation: str) -> tuple[Person, ...]:
        """Who enrolled of an organisation."""
        return await self._people.people(organisation)

    async def person(self, subject: str) -> Person | None:
        """Somebody who enrolled."""
        return await self._people.person(subject)

    def certificates(self, subject: str) -> tuple[EnrolledCertificate, ...]:
        """The certificates of a subject that are good now."""
        return self._known.of(subject)

    async def revoke(self, person: Person, by: str, why: str) -> bool:
        """Take everything away, the invitations that he made too, and cut what lives; False if that was done before."""
        if person.revoked_at is not None:
            return False
        now = self._clock.now()
        record = records.person_revoked(now, subject=person.subject, organisation=person.organisation, by=by, why=why)
        for invitation in await self._invitations.open_about(person.subject, now):
            self._ledger.append(records.invitation_revoked(now, invitation=invitation.id, by=by))
            self._office.spend(invitation)
        await record_durably(self._ledger, record)
        revoked = await self._people.revoke(person.subject, by, why, now)
        log.warning("%s of %s was revoked by %s", person.subject, person.organisation, by)
        await self._known.look()
        await self._office.see_to_lists()
        return revoked
