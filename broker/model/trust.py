"""Whose tokens are believed, pinned in settings; nothing of this is ever taken from a token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Requirement(StrEnum):
    """Which proofs a listener wants."""

    CERTIFICATE = "certificate"
    TOKEN = "token"
    BOTH = "both"
    EITHER = "either"


class Binding(StrEnum):
    """Whether a token must carry `cnf.x5t#S256` (RFC 8705, 3.1); one that is there is always checked."""

    REQUIRED = "required"
    IF_PRESENT = "if-present"


@dataclass(frozen=True, slots=True)
class Issuer:
    """One token issuer: its exact `iss`, the organisation it speaks for, and the rules for its tokens.

    Exactly one of `jwks_url` (https) and `jwks_file` is given. `token_types` are the accepted `typ` headers, lower
    case.
    `kind_claim`: the claim whose value `service` makes the subject a service; `subjects` are the patterns (`fnmatch`,
    case sensitive) of subject ids it may name, `services` of those that are services whatever a token says. `clients`
    are the applications whose tokens are believed, and as which the issuer tells us who logged out; empty: any, and
    nobody's logout. `roles` gives the broker's roles for what is in `roles_claim`; empty: they stand there themselves.
    `required_acr`: a token says one of these, if there are any. Times in seconds.
    """

    issuer: str
    organisation: str
    audiences: tuple[str, ...]
    subjects: tuple[str, ...]
    algorithms: tuple[str, ...] = ("EdDSA", "ES256", "RS256", "PS256")
    jwks_url: str = ""
    jwks_file: str = ""
    jwks_ca_file: str = ""
    token_types: tuple[str, ...] = ("at+jwt", "jwt")
    maximum_lifetime_seconds: int = 3600
    leeway_seconds: int = 5
    required_claims: tuple[str, ...] = ()
    subject_claim: str = "sub"
    roles_claim: str = "roles"
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind_claim: str = "kind"
    services: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    required_acr: tuple[str, ...] = ()
    binding: Binding = Binding.IF_PRESENT
    refresh_seconds: int = 300
    maximum_age_seconds: int = 3600
