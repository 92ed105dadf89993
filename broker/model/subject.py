"""The proven caller and the facts that proved it."""

from dataclasses import dataclass, field
from enum import StrEnum


class SubjectKind(StrEnum):
    """A person answers for what it does; a service acts for an organisation."""

    PERSON = "person"
    SERVICE = "service"


class ProofKind(StrEnum):
    """By what a subject was proven; `broker` is this broker itself, by the key of its ledger."""

    CERTIFICATE = "certificate"
    TOKEN = "token"
    BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Proof:
    """One fact that was proven: what kind, by which issuer, when, and until when it holds (epoch seconds).

    `fingerprint` is the SHA-256 of the certificate (DER) or of the token's signing input, base64url without padding:
    enough to recognise the proof, never enough to replay it. `chain` is the verified path (DER, the leaf first, the
    anchor left out), kept so that a live session can be verified again; it belongs into no record. Of a token,
    `authenticated_at`, `acr` and `methods` tell how its issuer let the subject log in; `roles` are those that it gives;
    `account` and `login` are the issuer's own words for the subject and for that log-in (`sub` and `sid`), by which it
    tells who logged out.
    """

    kind: ProofKind
    issuer: str
    identifier: str
    fingerprint: str
    proven_at: float
    not_after: float
    crl_next_update: float | None = None
    serial: str = ""
    authenticated_at: float | None = None
    methods: tuple[str, ...] = ()
    acr: str = ""
    issued_at: float | None = None
    account: str = ""
    login: str = ""
    key_id: str = ""
    roles: tuple[str, ...] = ()
    chain: tuple[bytes, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Subject:
    """A person or service, its organisation and roles, and the proofs; never built from anything a caller only says."""

    id: str
    kind: SubjectKind
    organisation: str
    roles: tuple[str, ...] = ()
    modbus_role: str | None = None
    proofs: tuple[Proof, ...] = field(default=())

    def proof(self, kind: ProofKind) -> Proof | None:
        """The proof of that kind, if it was given."""
        return next((p for p in self.proofs if p.kind is kind), None)
