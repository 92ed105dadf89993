"""Where notices go: signed webhooks and mail."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from broker.model.notice import BrokerNotice, Severity, Wanted
from broker.model.vocabulary import RecordKind
from broker.settings.fields import DnsLabel, File, Host, Port, SecretFile, Section, https_or_loopback, is_loopback

_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}")
_KINDS = frozenset(kind.value for kind in (*RecordKind, *BrokerNotice))
SeverityWord = Literal["info", "warning", "alarm"]


def _mail_address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError("must be a plain mail address, such as duty@plant.example")
    return text


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError("is no kind of record or notice; see the vocabulary")
    return text


MailAddress = Annotated[str, AfterValidator(_mail_address)]
Kind = Annotated[str, AfterValidator(_kind)]


class _ChannelSection(Section):
    """What every channel has."""

    name: DnsLabel
    """Its name, in the log and the metrics; the position in the ledger is kept under it."""
    severity: SeverityWord = "warning"
    """The least that it takes, if no `kinds` are given."""
    kinds: tuple[Kind, ...] = ()
    """These kinds of notices, however much they matter, and no others but `break_glass_opened`."""

    @property
    def wanted(self) -> Wanted:
        """Which notices it takes."""
        return Wanted(Severity[self.severity.upper()], frozenset(self.kinds))


class WebhookSection(_ChannelSection):
    """Notices posted as JSON, signed."""

    kind: Literal["webhook"]
    """`webhook`"""
    url: str
    """Address to post to; http only to this machine."""
    secret_file: SecretFile
    """File with the secret both sides have, `whsec_` and base64; a second line while it is changed."""
    ca_file: File = ""
    """PEM certificates that the receiver must chain to; without it, those of the host."""

    @field_validator("url")
    @classmethod
    def _protected(cls, url: str) -> str:
        return https_or_loopback(url)


class EmailSection(_ChannelSection):
    """Notices sent by mail, under TLS."""

    kind: Literal["email"]
    """`email`"""
    host: Host
    """The SMTP server; its certificate must name it."""
    port: Port = 587
    """Its port: 587 for `starttls`, 465 for `implicit`."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """How the connection is protected; `none` only to this machine."""
    ca_file: File = ""
    """PEM certificates that the server must chain to; without it, those of the host."""
    user: str = ""
    """User to log in as."""
    password_file: SecretFile = ""
    """File with the password of that user."""
    sender: MailAddress
    """Address that the mails come from."""
    recipients: Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=20)]
    """Addresses that they go to."""

    @model_validator(mode="after")
    def _protected(self) -> "EmailSection":
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError("tls: none is for this machine only")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file belong together: give both or neither")
        return self


NoticeChannel = Annotated[WebhookSection | EmailSection, Field(discriminator="kind")]
