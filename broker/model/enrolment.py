"""Vendors as people: invitations, those who enrolled, their second factors, and the certificates they were given."""

from dataclasses import dataclass, field
from enum import StrEnum

from broker.model.backer import Backer


class FactorKind(StrEnum):
    """What a person proves himself with besides a key: codes of an authenticator app, or a security key."""

    TOTP = "totp"
    WEBAUTHN = "webauthn"

    @property
    def methods(self) -> tuple[str, ...]:
        """How that is named among authentication methods (RFC 8176, 2)."""
        return ("otp",) if self is FactorKind.TOTP else ("hwk",)


class InvitationState(StrEnum):
    """What has become of an invitation."""

    OPEN = "open"
    USED = "used"
    REVOKED = "revoked"
    EXPIRED = "expired"
    VOID = "void"
    """Whoever made it may not invite any more."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """That somebody of an organisation may enrol, once; times in epoch seconds.

    `digest` is a keyed, salted digest of the code's secret and of everything here that never changes: the code is not
    kept, and no row can be made or altered without the broker's key. The secret is not to be guessed, so nobody who
    knows the id alone can use up anything by trying.
    """

    id: str
    organisation: str
    subject: str
    inviter: Backer
    created_at: float
    expires_at: float
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    used_at: float | None = None
    revoked_at: float | None = None
    revoked_by: str = ""

    @property
    def terms(self) -> tuple[str, ...]:
        """What its digest covers besides the secret."""
        by, moments = self.inviter, (repr(self.created_at), repr(self.expires_at))
        who = (by.id, by.kind, by.organisation, by.certificate, *by.roles)
        return self.id, self.organisation, self.subject, *moments, *who

    @property
    def created_by(self) -> str:
        """The id of who made it."""
        return self.inviter.id

    def state_at(self, now: float) -> InvitationState:
        """Whether its code can still be used, or why not; whether it is void, the policy knows."""
        if self.used_at is not None:
            return InvitationState.USED
        if self.revoked_at is not None:
            return InvitationState.REVOKED
        return InvitationState.EXPIRED if now >= self.expires_at else InvitationState.OPEN


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who enrolled, by which invitation; revoked until invited and enrolled again."""

    subject: str
    organisation: str
    invitation: str
    invited_by: str
    enrolled_at: float
    revoked_at: float | None = None
    revoked_by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Factor:
    """A person's second factor; `secret` is sealed.

    `counter` is the last step or count that was accepted; of a security key that does not count, a negative one of the
    broker's own. `failures` are those since the last success; until `blocked_until` none is looked at.
    """

    id: str
    subject: str
    kind: FactorKind
    secret: bytes = field(repr=False)
    added_at: float
    counter: int = 0
    failures: int = 0
    blocked_until: float = 0.0


@dataclass(frozen=True, slots=True)
class EnrolledCertificate:
    """A certificate that the broker issued itself, and when the factor before it was proven (services: never).

    `seal` is a keyed digest of all but `revoked_at` and `changed_at`: no row can be made up without the broker's key.
    """

    fingerprint: str
    serial: str
    subject: str
    organisation: str
    profile: str
    issued_at: float
    not_after: float
    factor_at: float | None = None
    methods: tuple[str, ...] = ()
    revoked_at: float | None = None
    changed_at: float = 0.0
    seal: bytes = field(default=b"", repr=False)

    @property
    def terms(self) -> tuple[str, ...]:
        """What its seal covers."""
        moments = (repr(self.issued_at), repr(self.not_after), repr(self.factor_at))
        names = (self.fingerprint, self.serial, self.subject, self.organisation, self.profile)
        return *names, *moments, *self.methods


@dataclass(frozen=True, slots=True)
class ProvenFactor:
    """That a person proved a second factor: when (epoch seconds), and by which methods (RFC 8176)."""

    at: float
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate that is handed out: it and its authority's, PEM, and what is kept of it."""

    chain: str
    certificate: EnrolledCertificate
