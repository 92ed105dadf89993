"""The documents of the API about invitations, enrolment and people."""

from typing import Annotated, Any

from pydantic import Field, StrictInt, StringConstraints, model_validator

from broker.api.models import Asked, Told
from broker.api.readable import READABLE
from broker.model.enrolment import FactorKind, InvitationState

LONGEST_INVITATION_SECONDS = 14 * 86_400


Id = Annotated[str, StringConstraints(min_length=1, max_length=63)]
SubjectId = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Why = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Request = Annotated[str, StringConstraints(min_length=1, max_length=16_384)]
Ticket = Annotated[str, StringConstraints(min_length=1, max_length=64)]
OneTimeCode = Annotated[str, StringConstraints(max_length=16)]


class InviteCall(Asked):
    """An invitation: whom, of which organisation, and for how long its code is good; at most as the settings say."""

    organisation: Id
    subject: Annotated[str, StringConstraints(min_length=1, max_length=300), READABLE]
    seconds: StrictInt | None = Field(default=None, ge=600, le=LONGEST_INVITATION_SECONDS)


class InvitationEntry(Told):
    """An invitation, and what has become of it."""

    id: str
    organisation: str
    subject: str
    created_by: str
    created_at: str
    expires_at: str
    state: InvitationState
    revoked_by: str


class InvitationEntries(Told):
    """Invitations, the newest first."""

    invitations: list[InvitationEntry]


class InvitationMade(Told):
    """An invitation with its code, which is shown this once and kept nowhere."""

    invitation: InvitationEntry
    code: str


class RevokeInvitationCall(Asked):
    """Revoking an invitation takes nothing but its id."""


class InvitationAnswer(Told):
    """The invitation as it is now."""

    invitation: InvitationEntry


class PersonEntry(Told):
    """Somebody who enrolled. `certificate_until`: until when the last good certificate lasts, null if there is none."""

    subject: str
    organisation: str
    invitation: str
    invited_by: str
    enrolled_at: str
    certificate_until: str | None
    revoked_at: str | None
    revoked_by: str
    why: str


class PersonEntries(Told):
    """Who enrolled."""

    people: list[PersonEntry]


class RevokePersonCall(Asked):
    """Whose factor, certificates and open invitations are taken away, and why."""

    subject: SubjectId
    why: Why


class PersonAnswer(Told):
    """The person as he is now."""

    person: PersonEntry


class EnrolCall(Asked):
    """The code of an invitation, a request (PKCS #10, PEM) for a key of one's own, and the kind of factor wanted."""

    lines = frozenset({"request"})
    code: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    request: Request
    factor: FactorKind = FactorKind.TOTP


class RenewCall(Asked):
    """The certificate that is to be followed by another (PEM), over or not; a request for a new key; and the signature
    of the old key over both, base64, as `otb renew` makes it.
    """

    lines = frozenset({"certificate", "request"})
    certificate: Annotated[str, StringConstraints(min_length=1, max_length=32_768)]
    request: Request
    signature: Annotated[str, StringConstraints(min_length=1, max_length=2_048)]


class OfferAnswer(Told):
    """What to prove now, within `seconds`. `uri` is for an authenticator app and secret; `options` is what a security
    key is asked, in the form of WebAuthn.
    """

    ticket: str
    subject: str
    organisation: str
    factor: FactorKind
    uri: str | None
    options: dict[str, Any] | None
    seconds: int


class CompleteCall(Asked):
    """The proof: a code of the authenticator app, or what the security key answered."""

    ticket: Ticket
    code: OneTimeCode = ""
    credential: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_proof(self) -> "CompleteCall":
        if bool(self.code) is (self.credential is not None):
            raise ValueError("give either code or credential")
        return self


class RenewServiceCall(Asked):
    """A request (PKCS #10, PEM) for the next key of a service."""

    lines = frozenset({"request"})
    request: Request


class CertificateAnswer(Told):
    """A certificate with its authority's (PEM). `authenticated_at`: when the factor before it was proven."""

    certificate: str
    subject: str
    organisation: str
    serial: str
    not_after: str
    authenticated_at: str | None
