"""The folder of an authority in use: it issues, revokes and publishes.

    ca.json          organisation, namespaces, how long lists are good     register.jsonl   issued, revoked, listed
    root.pem         the anchor                                            root-crl.pem     the root's own list
    issuing-N.pem    the Nth issuing authority                             crl.pem          every list, for the broker
    issuing-N.json   where its key lies, and from when on it issues        lock             one change at a time
    issuing-N.key    its key, encrypted, unless it lies in a token

Whoever changes something holds `register.locked`. Certificates and lists are readable by everybody, the rest is not.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, ConfigDict

from broker.adapters.authority.certificates import Signer, make_crl, make_leaf, revoked_entry
from broker.adapters.authority.key_files import FileKey, KeyPlace, Secrets
from broker.adapters.authority.key_tokens import TokenKey
from broker.adapters.authority.register import Issued, Listed, RegisterFile, Revoked, followers
from broker.adapters.authority.root import (
    REASONS,
    AuthorityFacts,
    issued_entry,
    next_number,
    read_certificate,
    read_facts,
    record_revocation,
)
from broker.adapters.private_files import write_public
from broker.errors import ConfigError, IssuanceError
from broker.identity.issuance import PublicKey, Terms
from broker.identity.revocation import RevocationList, decode_crls

SUPERSEDED = "superseded"
# Lists of an authority that was replaced go on a little longer than its last certificate: clocks differ.
_AFTER_THE_LAST = timedelta(days=1).total_seconds()


class FolderFacts(AuthorityFacts):
    """What `ca.json` says."""

    crl_seconds: int


class KeyFacts(BaseModel):
    """Where a key lies: in a file beside, or in a token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["file", "pkcs11"] = "file"
    module: str = ""
    token: str = ""
    label: str = ""


class IssuingFacts(BaseModel):
    """What `issuing-N.json` says; without `issues_from` its certificate is still awaited."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: KeyFacts
    issues_from: float | None = None


@dataclass(frozen=True, slots=True)
class Issuing:
    """An issuing authority; `certificate` is None as long as the root has not signed it."""

    number: int
    facts: IssuingFacts
    certificate: x509.Certificate | None

    @property
    def serial(self) -> str:
        """The serial of its certificate, hexadecimal; empty without one."""
        return f"{self.certificate.serial_number:x}" if self.certificate else ""

    def issues_at(self, now: float) -> bool:
        """Whether it has begun to issue and has not ended."""
        if self.certificate is None or self.facts.issues_from is None:
            return False
        return self.facts.issues_from <= now < self.certificate.not_valid_after_utc.timestamp()


class AuthorityFolder:
    """The authority in a folder, as it was when this was made."""

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        """Open it. Raises ConfigError if there is none, IntegrityError for a register that was tampered with."""
        self.folder = folder
        self.facts = read_facts(folder / "ca.json", FolderFacts)
        self.root = read_certificate(folder / "root.pem")
        self.register = RegisterFile(folder / "register.jsonl")
        self.issuing = tuple(self._issuing())
        self.secrets = secrets

    @property
    def anchor(self) -> Path:
        """The root's certificate, which brokers trust."""
        return self.folder / "root.pem"

    @property
    def crl(self) -> Path:
        """Every list, which brokers read."""
        return self.folder / "crl.pem"

    @property
    def lists(self) -> tuple[RevocationList, ...]:
        """The lists as they are published; those that cannot be read are not there."""
        with suppress(OSError, ConfigError):
            return decode_crls(self.crl.read_bytes())
        return ()

    def path(self, number: int, ending: str) -> Path:
        """A file of an issuing authority."""
        return self.folder / f"issuing-{number}.{ending}"

    def key_place(self, number: int, key: KeyFacts) -> KeyPlace:
        """Where that authority's key lies."""
        if key.kind == "pkcs11":
            return TokenKey(key.module, key.token, key.label, self.secrets)
        return FileKey(self.path(number, "key"), self.secrets)

    def in_use(self, now: float) -> Issuing:
        """The authority that issues: the newest that has begun and whose lists are published.

        Raises IssuanceError `no_authority`.
        """
        for issuing in reversed(self.issuing):
            if issuing.issues_at(now) and self.newest_list(issuing) and not self.is_revoked(issuing):
                return issuing
        raise IssuanceError("no_authority", "No issuing authority is in use.", "`otbroker ca status DIR` says why")

    def newest_list(self, issuing: Issuing) -> RevocationList | None:
        """The list of that authority that is published."""
        certificate = issuing.certificate
        return next((crl for crl in self.lists if certificate is not None and crl.issued_by(certificate)), None)

    def is_revoked(self, issuing: Issuing) -> bool:
        """Whether the root revoked that authority."""
        if issuing.certificate is None:
            return False
        return any(crl.revokes(issuing.certificate) for crl in decode_crls((self.folder / "root-crl.pem").read_bytes()))

    def issue(self, terms: Terms, public_key: PublicKey, now: float, renewed_from: str | None = None) -> bytes:
        """The certificate and its issuing authority's, PEM; recorded before it is handed out. Raises BrokerError."""
        signer = self._signer(self.in_use(now))
        leaf = make_leaf(self.facts.organisation, terms, public_key, signer, now)
        names = tuple(str(name.value) for name in terms.general_names)
        serial = f"{signer.certificate.serial_number:x}"
        profile, role = terms.profile.name, terms.modbus_role
        self.register.append(issued_entry(serial, leaf, profile, names, now, role, renewed_from))
        return leaf.public_bytes(Encoding.PEM) + signer.certificate.public_bytes(Encoding.PEM)

    def revoke(self, serial: str, reason: str, now: float) -> tuple[Issued, ...]:
        """Revoke a certificate with what followed from it, and publish. Raises IssuanceError `serial_unknown`."""
        revoked = self.note_revoked(serial, reason, now)
        self.publish(now)
        return revoked

    def good_of(self, name: str, now: float) -> tuple[str, ...]:
        """The serials of the certificates of a name that are neither over nor revoked."""
        revoked = {entry.serial for entry in self.register.entries if isinstance(entry, Revoked)}
        mine = (entry for entry in self.register.entries if isinstance(entry, Issued) and name in entry.names)
        return tuple(entry.serial for entry in mine if now < entry.not_after and entry.serial not in revoked)

    def note_revoked(self, serial: str, reason: str, now: float) -> tuple[Issued, ...]:
        """Revoke a certificate and what was renewed from it, for whoever copied its key has renewed with a key of his
        own; the next list says so. One that was only superseded leaves its followers. Raises IssuanceError
        `serial_unknown`.
        """
        revoked = record_revocation(self.register, serial, reason, now)
        then = () if reason == SUPERSEDED else followers(self.register.entries, revoked.serial)
        for follower in then:
            record_revocation(self.register, follower.serial, reason, now)
        return revoked, *then

    def publish(self, now: float) -> None:
        """Publish a new list of every authority that still has certificates, beside the root's, in one step."""
        listed = [issuing for issuing in self.issuing if self.needs_list(issuing, now)]
        ours = b"".join(self._list(issuing, now).public_bytes(Encoding.PEM) for issuing in listed)
        write_public(self.crl, (self.folder / "root-crl.pem").read_bytes() + ours)

    def needs_list(self, issuing: Issuing, now: float) -> bool:
        """Whether lists of that authority still count: it issues or will, or what it issued has not run out."""
        if issuing.certificate is None or now >= issuing.certificate.not_valid_after_utc.timestamp():
            return False
        replaced = any(later.number > issuing.number and later.issues_at(now) for later in self.issuing)
        return not replaced or now < self.last_end(issuing) + _AFTER_THE_LAST

    def last_end(self, issuing: Issuing) -> float:
        """When the last of its certificates runs out; 0 if it never issued."""
        mine = (e for e in self.register.entries if isinstance(e, Issued) and e.authority == issuing.serial)
        return max((entry.not_after for entry in mine), default=0.0)

    def _issuing(self) -> Iterator[Issuing]:
        number = 1
        while (path := self.path(number, "json")).exists():
            facts = read_facts(path, IssuingFacts)
            certificate = None if facts.issues_from is None else read_certificate(self.path(number, "pem"))
            yield Issuing(number, facts, certificate)
            number += 1

    def _signer(self, issuing: Issuing) -> Signer:
        assert issuing.certificate is not None
        key = self.key_place(issuing.number, issuing.facts.key).load()
        if key.public_key() != issuing.certificate.public_key():
            raise ConfigError("key_unusable", f"The key of issuing authority {issuing.number} is not its own.")
        return Signer(issuing.certificate, key)

    def _list(self, issuing: Issuing, now: float) -> x509.CertificateRevocationList:
        """The next list; of an authority that the root revoked the last one stays, for its key may be lost."""
        last = self.newest_list(issuing)
        return last.crl if last and self.is_revoked(issuing) else self._next_list(issuing, now)

    def _next_list(self, issuing: Issuing, now: float) -> x509.CertificateRevocationList:
        signer, lifetime = self._signer(issuing), timedelta(seconds=self.facts.crl_seconds)
        number = next_number(self.register.entries, issuing.serial)
        crl = make_crl(signer, self._revoked(signer.certificate, issuing.serial, now), number, now, lifetime)
        self.register.append(Listed(now, issuing.serial, number, now + self.facts.crl_seconds))
        return crl

    def _revoked(self, authority: x509.Certificate, serial: str, now: float) -> list[x509.RevokedCertificate]:
        """What is revoked and has not long run out; a revocation that only a published list knows is kept."""
        ends = {e.serial: e.not_after for e in self.register.entries if isinstance(e, Issued) and e.authority == serial}
        revoked = [e for e in self.register.entries if isinstance(e, Revoked) and e.authority == serial]
        lasting = [e for e in revoked if now < ends.get(e.serial, now) + self.facts.crl_seconds]
        known = {entry.serial for entry in revoked}
        published = (entry for crl in self.lists if crl.issued_by(authority) for entry in crl.crl)
        return [
            *(revoked_entry(int(entry.serial, 16), entry.at, REASONS[entry.reason]) for entry in lasting),
            *(entry for entry in published if f"{entry.serial_number:x}" not in known),
        ]
