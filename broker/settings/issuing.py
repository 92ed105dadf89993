"""Token issuers as the settings pin them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from broker.model.trust import Binding, Issuer
from broker.settings.fields import DnsLabel, File, RoleName, Section, Word

Roles = Annotated[tuple[RoleName, ...], Field(min_length=1)]
Algorithm = Literal["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]


class IssuerSection(Section):
    """One issuer whose tokens are believed, and the rules for them."""

    issuer: Word
    """The exact `iss` of its tokens."""
    organisation: DnsLabel
    """The organisation it speaks for."""
    audiences: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Accepted `aud` values."""
    subjects: Annotated[tuple[Word, ...], Field(min_length=1)]
    """Patterns (`*`, `?`) of the subject ids it may name."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("EdDSA", "ES256", "RS256", "PS256")
    """Accepted signature algorithms."""
    jwks_url: Annotated[str, Field(pattern=r"^(https://[^\s]+)?$")] = ""
    """Where its keys are (https only); or `jwks_file`."""
    jwks_file: File = ""
    """File with its keys (a JWK Set)."""
    jwks_ca_file: File = ""
    """PEM certificates that the server of `jwks_url` must chain to; without it, those of the host."""
    token_types: Annotated[tuple[Word, ...], Field(min_length=1)] = ("at+jwt", "jwt")
    """Accepted `typ` headers, lower case."""
    maximum_lifetime_seconds: Annotated[int, Field(ge=1, le=86400)] = 3600
    """Longest time from `iat` to `exp`."""
    leeway_seconds: Annotated[int, Field(ge=0, le=60)] = 5
    """How far its clock may differ."""
    required_claims: tuple[Word, ...] = ()
    """Claims that must be there besides iss, aud, exp, iat and the subject's."""
    subject_claim: Word = "sub"
    """The claim that names the subject; `email` counts only beside `email_verified: true`."""
    roles_claim: Word = "roles"
    """The claim that lists roles or groups; dots lead into objects, as in `realm_access.roles`."""
    roles: Annotated[dict[Word, Roles], Field(max_length=1024)] = Field(default_factory=dict)
    """The broker's roles for each value of `roles_claim`, and none for others; without it, the values are roles."""
    kind_claim: Word = "kind"
    """The claim whose value `service` makes the subject a service."""
    services: tuple[Word, ...] = ()
    """Patterns of subject ids that are services, whatever a token says."""
    clients: tuple[Word, ...] = ()
    """Clients (`client_id`, `azp`) whose tokens are accepted and as which logouts are taken; without: any, none."""
    required_acr: tuple[Word, ...] = ()
    """Ways of logging in, one of which a token must name (`acr`); without it, any."""
    binding: Binding = Binding.IF_PRESENT
    """Whether a token must be bound to the caller's certificate (`cnf.x5t#S256`)."""
    refresh_seconds: Annotated[int, Field(ge=5, le=86400)] = 300
    """How often keys are fetched again."""
    maximum_age_seconds: Annotated[int, Field(ge=5, le=604800)] = 3600
    """Age at which keys that could not be fetched again are believed no more."""

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> "IssuerSection":
        if bool(self.jwks_url) == bool(self.jwks_file):
            raise ValueError("give exactly one of jwks_url and jwks_file")
        if self.maximum_age_seconds < self.refresh_seconds:
            raise ValueError("maximum_age_seconds must not be less than refresh_seconds")
        return self

    @model_validator(mode="after")
    def _audiences_are_not_clients(self) -> "IssuerSection":
        both = sorted(set(self.audiences) & set(self.clients))
        if both:
            raise ValueError(
                f"{', '.join(both)} cannot be audience and client: an ID token would pass for an access token"
            )
        return self

    def to_model(self) -> Issuer:
        """The issuer as the rest of the broker knows it."""
        return Issuer(**{name: getattr(self, name) for name in type(self).model_fields})
