"""Whom the broker itself gives certificates, and what it asks of them."""

from typing import Annotated

from pydantic import Field, model_validator

from broker.settings.fields import DnsLabel, Folder, Host, MadePath, SecretFile, Section, Word

_HOUR = 3600


class IssuingAuthority(Section):
    """The authority of one organisation, as `otbroker ca init` makes it; its issuing key is in use here."""

    organisation: DnsLabel
    """The organisation for whose people and services it issues; its anchors must contain the authority's root."""
    folder: Folder
    """Folder of the authority; the broker's user must be able to write in it."""
    passphrase_file: SecretFile = ""
    """File with the passphrase of the issuing key; or `pin_file`."""
    pin_file: SecretFile = ""
    """File with the PIN of the PKCS #11 token that holds the issuing key."""

    @model_validator(mode="after")
    def _opened_by_something(self) -> "IssuingAuthority":
        if bool(self.passphrase_file) == bool(self.pin_file):
            raise ValueError("give exactly one of passphrase_file and pin_file")
        return self


class SecurityKeySection(Section):
    """Security keys (WebAuthn) as second factors; without it, authenticator apps only."""

    relying_party: Host
    """The domain that keys are made for, such as `broker.plant.example`; a key counts for no other."""
    origins: Annotated[tuple[Word, ...], Field(min_length=1, max_length=16)]
    """Origins of the pages or programs that may use keys, such as `https://broker.plant.example`."""


class EnrolmentSection(Section):
    """Vendors without an account at the owner's: invited, enrolled with a second factor, given short certificates."""

    authorities: Annotated[tuple[IssuingAuthority, ...], Field(max_length=256)] = ()
    """Authorities that issue here, one for each organisation; without any, it only knows who enrolled elsewhere."""
    key_file: MadePath = ""
    """Key that seals second factors and invitations, made if it is not there (default: `sealing-key` in `state_dir`);
    brokers that share their state share it."""
    certificate_seconds: Annotated[int, Field(ge=300, le=24 * _HOUR)] = 8 * _HOUR
    """How long a person's certificate is good; a certificate is what a stolen laptop is worth."""
    renewal_days: Annotated[int, Field(ge=0, le=90)] = 30
    """So long after its end a certificate still says who renews; the second factor is asked for every time."""
    invitation_seconds: Annotated[int, Field(ge=600, le=14 * 24 * _HOUR)] = 48 * _HOUR
    """How long an invitation's code is good, at most and unless the sponsor says less."""
    security_keys: SecurityKeySection | None = None
    """Security keys as second factors."""

    @model_validator(mode="after")
    def _one_authority_each(self) -> "EnrolmentSection":
        named = [authority.organisation for authority in self.authorities]
        if len(set(named)) != len(named):
            raise ValueError("an organisation has one authority at most")
        return self
