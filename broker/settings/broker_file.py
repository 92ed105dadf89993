"""The broker's one YAML file."""

from ipaddress import IPv4Address
from pathlib import PurePath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from broker.model.trust import Issuer, Requirement
from broker.settings.emergencies import BreakGlassSection
from broker.settings.enrolling import EnrolmentSection
from broker.settings.fields import (
    File,
    Folder,
    Host,
    LedgerKey,
    MadePath,
    Port,
    SecretFile,
    Section,
    https_or_loopback,
    is_loopback,
)
from broker.settings.issuing import IssuerSection
from broker.settings.listening import BacnetScListener, BacnetScNode, HttpsListener, ModbusTlsListener, OpsListener
from broker.settings.notifying import NoticeChannel
from broker.settings.ticketing import TicketsSection


def _ipv4(address: str) -> str:
    return str(IPv4Address(address)) if address else ""


Milliseconds = Annotated[int, Field(ge=1, le=10_000)]


class OpaServer(Section):
    """An OPA server that evaluates the policy."""

    url: str
    """Address of the server; http only to this machine."""
    ca_file: File = ""
    """PEM certificates that the server must chain to; needed for https."""
    certificate_file: File = ""
    """PEM client certificate to show to the server."""
    key_file: SecretFile = ""
    """PEM private key of that certificate."""
    token_file: SecretFile = ""
    """File with the bearer token for the server."""

    @field_validator("url")
    @classmethod
    def _protected(cls, url: str) -> str:
        return https_or_loopback(url).rstrip("/")

    @model_validator(mode="after")
    def _certificate_with_key(self) -> "OpaServer":
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file belong together: give both or neither")
        return self


class PolicySection(Section):
    """The policy and the engine that evaluates it."""

    engine: Literal["embedded", "opa"] = "embedded"
    """`embedded` needs nothing else; `opa` asks the server under `opa`."""
    opa: OpaServer | None = None
    """The OPA server, for `engine: opa`."""
    folder: Folder = ""
    """Folder of the Rego files; without it, the library that comes with the broker."""
    activation: Literal["apply", "review"] = "apply"
    """`apply`: changed files come into force at once; `review`: when enough people have activated their revision."""
    embedded_deadline_milliseconds: Milliseconds = 50
    """Time for one evaluation by the embedded engine; later means denied."""
    opa_deadline_milliseconds: Milliseconds = 250
    """Time for one answer of the OPA server; later means denied."""

    @model_validator(mode="after")
    def _opa_if_asked_for(self) -> "PolicySection":
        if (self.engine == "opa") != (self.opa is not None):
            raise ValueError("engine: opa and the section opa belong together: give both or neither")
        return self


class FileExport(Section):
    """Checkpoints appended to a file, on a mount that is not this host's disk."""

    kind: Literal["file"]
    """`file`"""
    path: MadePath
    """File that checkpoints are appended to."""


class SyslogExport(Section):
    """Checkpoints sent to a syslog receiver by RFC 5425 (TLS)."""

    kind: Literal["syslog"]
    """`syslog`"""
    host: Host
    """The receiver."""
    port: Port = 6514
    """Its TCP port."""
    ca_file: File
    """PEM certificates that the receiver must chain to."""
    certificate_file: File = ""
    """PEM client certificate to show."""
    key_file: SecretFile = ""
    """PEM private key of that certificate."""


class HttpExport(Section):
    """Checkpoints sent by HTTP POST."""

    kind: Literal["http"]
    """`http`"""
    url: str
    """Address to post to; http only to this machine."""
    ca_file: File = ""
    """PEM certificates that the server must chain to; without it, those of the host."""
    token_file: SecretFile = ""
    """File with the bearer token for the server."""

    @field_validator("url")
    @classmethod
    def _protected(cls, url: str) -> str:
        return https_or_loopback(url).rstrip("/")


Export = Annotated[FileExport | SyslogExport | HttpExport, Field(discriminator="kind")]


class LedgerSection(Section):
    """The evidence: where it is, how durable, and where its checkpoints go."""

    origin: Annotated[str, Field(pattern=r"^[^\s+\x00-\x1f]{1,200}$")]
    """Name of this ledger in its checkpoints, such as `broker-1.acme.example/ledger`; never change it."""
    folder: MadePath = ""
    """Folder of the ledger; without it, `ledger` in `state_dir`."""
    key_file: SecretFile
    """PEM private key (Ed25519) that signs checkpoints."""
    public_key_file: File = ""
    """Its public key, for checking at start that the two belong together."""
    durability: Literal["writes", "strict"] = "writes"
    """`writes`: what changes anything is on disk before it is relayed, views soon after; `strict`: views too."""
    segment_octets: Annotated[int, Field(ge=65536, le=4 * 1024**3)] = 64 * 1024**2
    """Size at which a ledger file is finished and the next begun."""
    retention_days: Annotated[int, Field(ge=0, le=36500)] = 0
    """Age after which records are given up, their hashes stay; 0 keeps everything."""
    exports: tuple[Export, ...] = ()
    """Where checkpoints are sent, off this host."""


class StateSection(Section):
    """Where locks, access requests and people are kept. Several brokers share them in one PostgreSQL."""

    url: str = ""
    """`postgresql://USER@HOST:PORT/DATABASE`, without password; without it, a SQLite file in `state_dir`."""
    password_file: SecretFile = ""
    """File with the password of that user."""
    ca_file: File = ""
    """PEM certificates that the PostgreSQL server must chain to; needed unless it is on this machine."""
    brokers: tuple[LedgerKey, ...] = ()
    """Public keys of the other brokers' ledgers, as in their `ledger.public_key_file`: whose approvals count here."""

    @field_validator("url")
    @classmethod
    def _without_secrets(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.password is not None:
            raise ValueError("must not contain a password; use password_file")
        if url and (parts.scheme != "postgresql" or not parts.hostname or not parts.username):
            raise ValueError("must be like postgresql://USER@HOST:PORT/DATABASE")
        if url and (parts.query or parts.fragment or not parts.path.strip("/")):
            raise ValueError("must name a database, and nothing after it")
        return url

    @model_validator(mode="after")
    def _protected(self) -> "StateSection":
        host = urlsplit(self.url).hostname
        if host and not is_loopback(host) and not self.ca_file:
            raise ValueError("a PostgreSQL on another machine needs ca_file, so that it can be believed")
        if not self.url and (self.password_file or self.ca_file):
            raise ValueError("password_file and ca_file belong to a url")
        return self


class BacnetIpPlace(Section):
    """Where on this machine BACnet/IP devices are asked from."""

    address: Annotated[str, AfterValidator(_ipv4)] = ""
    """IPv4 address of this machine in their segment; without it, the one that routes to each device."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """UDP port, for firewalls that want to know it; 0 is any that is free."""
    interface: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$|^$")] = ""
    """Network interface that nothing leaves or is heard but through; without it, as this machine routes."""


class BacnetIpSegment(BacnetIpPlace):
    """A UDP port for the devices of one segment alone."""

    segment: Annotated[str, StringConstraints(pattern=r"^[^/\s]+/[^/\s]+$")]
    """The segment, as `site/segment`."""


class BacnetIpSection(BacnetIpPlace):
    """Where on this machine BACnet/IP devices are asked from: one UDP port for all that have none of their own."""

    segments: tuple[BacnetIpSegment, ...] = ()
    """Segments whose devices are asked from a port of their own, for a machine that is in several networks of OT."""


class LeaveSection(Section):
    """How long the broker waits before it undoes what somebody left, where points say `on_leave`."""

    grace_seconds: Annotated[float, Field(ge=0, le=86400)] = 60.0
    """Time for who lost a connection to come back; when grant or window ends, or by a lock, there is none."""
    give_up_seconds: Annotated[float, Field(ge=1, le=30 * 86400)] = 86400.0
    """Time to wait for the end of what is in the way (a freeze, a lock, an isolation); then it is given up."""


class ReloadSection(Section):
    """How changed files come into force while the broker runs."""

    gains: Literal["apply", "review"] = "review"
    """`review`: who gains access waits for `otbroker config apply`; `apply`: at once. Losses always apply at once."""
    invalid_stop_seconds: Annotated[int, Field(ge=0, le=86400)] = 300
    """Time with invalid files after which no new session is opened."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.2
    """How often files are looked at for changes."""


class LoggingSection(Section):
    """The operator's log, on standard error; evidence is in the ledger."""

    format: Literal["text", "json"] = "text"
    """One line of text or one JSON object for each event."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""


class Settings(Section):
    """The broker's settings."""

    state_dir: MadePath = "/var/lib/otbroker"
    """Folder of everything the broker keeps; only the broker's user may enter it."""
    inventory: Folder
    """Folder of the inventory's YAML files."""
    modbus_tls: tuple[ModbusTlsListener, ...] = ()
    """Listeners for Modbus/TCP Security."""
    bacnet_sc: Annotated[tuple[BacnetScListener, ...], Field(max_length=64)] = ()
    """BACnet/SC hubs."""
    bacnet_sc_node: BacnetScNode | None = None
    """What the broker is at the BACnet/SC hubs of the field; without it, no device is reached through one."""
    https: HttpsListener | None = None
    """Listener for the API and the tunnels."""
    ops: OpsListener = OpsListener()
    """Health and metrics on loopback."""
    issuers: tuple[IssuerSection, ...] = ()
    """Token issuers that are believed."""
    enrolment: EnrolmentSection | None = None
    """Certificates for people who are invited; without it, nobody can enrol."""
    policy: PolicySection = PolicySection()
    """The policy and its engine."""
    ledger: LedgerSection
    """The evidence."""
    state: StateSection = StateSection()
    """Where locks are kept."""
    bacnet_ip: BacnetIpSection = BacnetIpSection()
    """Where BACnet/IP devices are asked from."""
    leave: LeaveSection = LeaveSection()
    """What is undone when somebody's access ends."""
    break_glass: BreakGlassSection | None = None
    """What sealed parts open in an emergency."""
    reload: ReloadSection = ReloadSection()
    """How changes come into force."""
    notifications: Annotated[tuple[NoticeChannel, ...], Field(max_length=16)] = ()
    """Where people are told what they should know."""
    host_journals: Annotated[tuple[Folder, ...], Field(max_length=16)] = ()
    """Folders, beside `state_dir` and the ledger's, whose commands on this host are recorded: those of authorities."""
    tickets: TicketsSection | None = None
    """Whether access requests need a ticket."""
    logging: LoggingSection = LoggingSection()
    """The operator's log."""

    @model_validator(mode="after")
    def _someone_can_connect(self) -> "Settings":
        if not self.modbus_tls and not self.bacnet_sc and self.https is None:
            raise ValueError("there is no listener: give modbus_tls, bacnet_sc or https")
        if self.enrolment is not None and self.https is None:
            raise ValueError("people enrol through https: give it too, or leave enrolment out")
        wants_tokens = self.https is not None and self.https.requirement in (Requirement.TOKEN, Requirement.BOTH)
        if wants_tokens and not self.issuers:
            raise ValueError("https asks for tokens but there are no issuers: add one, or set requirement: certificate")
        return self

    @model_validator(mode="after")
    def _channels_have_names_of_their_own(self) -> "Settings":
        names = [channel.name for channel in self.notifications]
        if len(set(names)) < len(names):
            raise ValueError("two notifications have the same name")
        return self

    @property
    def ledger_folder(self) -> str:
        """The ledger's folder, with its default."""
        return self.ledger.folder or str(PurePath(self.state_dir) / "ledger")

    def trust_issuers(self) -> tuple[Issuer, ...]:
        """The issuers as the rest of the broker knows them."""
        return tuple(issuer.to_model() for issuer in self.issuers)
