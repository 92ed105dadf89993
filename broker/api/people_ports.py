"""What the API needs of the parts about people, named by role."""

from collections.abc import Sequence
from typing import Any, Protocol

from broker.model.enrolment import (
    EnrolledCertificate,
    FactorKind,
    Invitation,
    InvitationState,
    IssuedCertificate,
    Person,
    ProvenFactor,
)
from broker.model.place import Organisation
from broker.model.subject import Subject


class Offer(Protocol):
    """What a first step led to: the ticket for the second, and what the factor is asked."""

    @property
    def ticket(self) -> str:
        """Known to its holder alone."""

    @property
    def subject(self) -> str:
        """Whose certificate it will be."""

    @property
    def organisation(self) -> str:
        """And of which organisation."""

    @property
    def kind(self) -> FactorKind:
        """The kind of factor."""

    @property
    def seconds(self) -> float:
        """How long the ticket is good."""

    @property
    def uri(self) -> str:
        """What an authenticator app is shown."""

    @property
    def options(self) -> dict[str, Any] | None:
        """What a security key is asked."""


class Enrolment(Protocol):
    """The way to a certificate. Everything raises PeerError or UnavailableError."""

    async def begin(self, raw_code: str, raw_request: str, kind: FactorKind) -> Offer:
        """From an invitation's code."""

    async def complete(self, ticket: str, raw_code: str, raw_response: dict[str, Any] | None) -> IssuedCertificate:
        """With the new factor."""

    async def begin_renewal(self, raw_certificate: str, raw_request: str, signature: bytes) -> Offer:
        """From a certificate before."""

    async def complete_renewal(
        self, ticket: str, raw_code: str, raw_response: dict[str, Any] | None
    ) -> IssuedCertificate:
        """With the factor."""

    async def renew_service(self, subject: Subject, raw_request: str) -> IssuedCertificate:
        """For a service, by the certificate of the connection."""


class Membership(Protocol):
    """Invitations and people. What acts raises PeerError, LedgerUnavailableError or StateUnavailableError."""

    longest_seconds: int

    @property
    def organisations(self) -> tuple[Organisation, ...]:
        """Those whose people can be invited here."""

    def require_invitable(self, subject: str, organisation: str) -> None:
        """That somebody could enrol."""

    async def invite(self, subject: str, organisation: str, seconds: float, by: Subject) -> tuple[Invitation, str]:
        """An invitation, and its code."""

    async def invitations(self, organisation: str) -> tuple[Invitation, ...]:
        """Those of an organisation."""

    async def invitation(self, identifier: str) -> Invitation | None:
        """The one of that id."""

    async def states(self, invitations: Sequence[Invitation]) -> tuple[InvitationState, ...]:
        """Whether their codes can still be used, or why not; the newest first."""

    async def revoke_invitation(self, invitation: Invitation, by: str) -> bool:
        """Let its code be good for nothing; False if it is already."""

    async def people(self, organisation: str) -> tuple[Person, ...]:
        """Who enrolled of an organisation."""

    async def person(self, subject: str) -> Person | None:
        """Somebody who enrolled."""

    def certificates(self, subject: str) -> tuple[EnrolledCertificate, ...]:
        """The certificates of a subject that are good now."""

    async def revoke(self, person: Person, by: str, why: str) -> bool:
        """Take everything away; False if that was done before."""


class Factors(Protocol):
    """Second factors of people who enrolled."""

    async def verify(self, subject: str, raw_code: str) -> ProvenFactor:
        """Prove a person by a code of his authenticator app. Raises PeerError or StateUnavailableError."""


class People(Protocol):
    """Vendors as people."""

    @property
    def factors(self) -> Factors:
        """Second factors."""

    @property
    def enrolment(self) -> Enrolment:
        """The way to a certificate."""

    @property
    def membership(self) -> Membership:
        """Invitations and people."""
