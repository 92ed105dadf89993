"""The root's folder, meant for a medium that lies in a safe: it signs issuing authorities and revokes them.

root.json   organisation and namespaces     register.jsonl   what it signed and revoked
root.pem    its certificate, the anchor     root.key         encrypted
crl.pem     its last revocation list
"""

from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, ConfigDict, ValidationError

from broker.adapters.authority.certificates import (
    Signer,
    authority_name,
    make_crl,
    make_issuing,
    make_root,
    revoked_entry,
)
from broker.adapters.authority.key_files import FileKey, Secrets
from broker.adapters.authority.register import Issued, Listed, RegisterFile, Revoked
from broker.adapters.private_files import write_private, write_public
from broker.errors import ConfigError, IssuanceError
from broker.identity.certificate import fingerprint
from broker.identity.issuance import decode_request, key_problems, public_key_of
from broker.identity.names import Namespace, decode_namespace
from broker.identity.profile import X509_ERRORS

ROOT_LIFETIME = timedelta(days=3650)
ISSUING_LIFETIME = timedelta(days=730)
ROOT_LIST_LIFETIME = timedelta(days=180)
REASONS = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "ca-compromise": x509.ReasonFlags.ca_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
    "privilege-withdrawn": x509.ReasonFlags.privilege_withdrawn,
}
_LONGEST_ORGANISATION = 40
Facts = TypeVar("Facts", bound=BaseModel)


class AuthorityFacts(BaseModel):
    """Whose authority it is, and whom it may name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    organisation: str
    namespaces: tuple[str, ...]

    @property
    def spaces(self) -> tuple[Namespace, ...]:
        """The namespaces, read. Raises ConfigError."""
        return tuple(decode_namespace(pattern) for pattern in self.namespaces)


class Root:
    """A root whose key is at hand."""

    def __init__(self, folder: Path, secrets: Secrets) -> None:
        """Open it. Raises ConfigError if there is none, IntegrityError for a register that was tampered with."""
        self._folder = folder
        self.facts = read_facts(folder / "root.json", AuthorityFacts)
        self.certificate = read_certificate(folder / "root.pem")
        self._signer = Signer(self.certificate, FileKey(folder / "root.key", secrets).load())
        if self._signer.key.public_key() != self.certificate.public_key():
            raise ConfigError("key_unusable", "The root's key does not belong to its certificate.", str(folder))
        self.register = RegisterFile(folder / "register.jsonl")
        self._serial = f"{self.certificate.serial_number:x}"

    def certify(self, raw_request: bytes, now: float) -> x509.Certificate:
        """The certificate of a new issuing authority; of its request only key and name count. Raises IssuanceError."""
        request = decode_request(raw_request)
        problems = list(key_problems(request))
        if problems:
            raise IssuanceError("request_refused", f"The request of the authority is refused: {'; '.join(problems)}.")
        names = {attribute.value for attribute in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
        title = str(min(names, default=""))
        if not title.startswith(f"{self.facts.organisation} issuing "):
            public = f"The request is not one for an issuing authority of {self.facts.organisation}."
            raise IssuanceError("request_refused", public, "`otbroker ca rotate DIR --request FILE` makes one")
        name = authority_name(self.facts.organisation, title)
        key = public_key_of(request)
        certificate = make_issuing(name, key, self._signer, now, ISSUING_LIFETIME, self.facts.spaces)
        self.register.append(issued_entry(self._serial, certificate, "issuing", (title,), now))
        return certificate

    def revoke(self, serial: str, reason: str, now: float) -> None:
        """Revoke an issuing authority and all below it. Raises IssuanceError `serial_unknown`."""
        record_revocation(self.register, serial, reason, now)

    def publish(self, now: float) -> x509.CertificateRevocationList:
        """The root's next list, in `crl.pem` of its folder."""
        revoked = [entry for entry in self.register.entries if isinstance(entry, Revoked)]
        entries = [revoked_entry(int(entry.serial, 16), entry.at, REASONS[entry.reason]) for entry in revoked]
        number = next_number(self.register.entries, self._serial)
        crl = make_crl(self._signer, entries, number, now, ROOT_LIST_LIFETIME)
        self.register.append(Listed(now, self._serial, number, now + ROOT_LIST_LIFETIME.total_seconds()))
        write_public(self._folder / "crl.pem", crl.public_bytes(Encoding.PEM))
        return crl


def create_root(folder: Path, organisation: str, namespaces: tuple[str, ...], secrets: Secrets, now: float) -> Root:
    """Make a root in a folder that has none. Raises ConfigError."""
    facts = AuthorityFacts(organisation=organisation, namespaces=namespaces)
    if not namespaces or not facts.spaces:
        raise ConfigError("namespaces_missing", "An authority needs at least one namespace that it may name.")
    if not organisation.isprintable() or not 0 < len(organisation) <= _LONGEST_ORGANISATION:
        public = f"An organisation has 1 to {_LONGEST_ORGANISATION} printable characters."
        raise ConfigError("organisation_malformed", public)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = FileKey(folder / "root.key", secrets).create()
    certificate = make_root(authority_name(organisation, f"{organisation} root"), key, now, ROOT_LIFETIME)
    write_public(folder / "root.pem", certificate.public_bytes(Encoding.PEM))
    write_private(folder / "root.json", facts.model_dump_json(indent=2).encode() + b"\n")
    return Root(folder, secrets)


def read_facts(path: Path, kind: type[Facts]) -> Facts:
    """What a folder says of itself. Raises ConfigError `authority_missing` or `authority_malformed`."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        public = f"{path.parent} is not the folder of an authority."
        raise ConfigError("authority_missing", public, f"{path.name}: {error.strerror}") from None
    except ValidationError as error:
        raise ConfigError("authority_malformed", f"{path} cannot be used.", str(error)) from None


def read_certificate(path: Path) -> x509.Certificate:
    """One certificate of an authority. Raises ConfigError `authority_malformed`."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError("authority_malformed", f"{path} cannot be read.", error.strerror or "") from None
    except X509_ERRORS as error:
        raise ConfigError("authority_malformed", f"{path} is not a certificate.", str(error)) from None


def issued_entry(
    authority: str,
    certificate: x509.Certificate,
    profile: str,
    names: tuple[str, ...],
    now: float,
    modbus_role: str | None = None,
    renewed_from: str | None = None,
) -> Issued:
    """What the register keeps of a certificate."""
    return Issued(
        at=now,
        authority=authority,
        serial=f"{certificate.serial_number:x}",
        profile=profile,
        names=names,
        not_after=certificate.not_valid_after_utc.timestamp(),
        fingerprint=fingerprint(certificate.public_bytes(Encoding.DER)),
        modbus_role=modbus_role,
        renewed_from=renewed_from,
    )


def record_revocation(register: RegisterFile, serial: str, reason: str, now: float) -> Issued:
    """Note that a certificate counts no longer; a second time changes nothing. Raises IssuanceError."""
    wanted = serial.lower().replace(":", "").lstrip("0")
    issued = (entry for entry in register.entries if isinstance(entry, Issued) and entry.serial == wanted)
    found = next(issued, None)
    if found is None:
        public = f"No certificate of serial {serial!a} was issued here."
        raise IssuanceError("serial_unknown", public, "`openssl x509 -noout -serial -in FILE` prints it")
    if not any(isinstance(entry, Revoked) and entry.serial == wanted for entry in register.entries):
        register.append(Revoked(now, found.authority, wanted, reason))
    return found


def next_number(entries: tuple[object, ...], authority: str) -> int:
    """The number of an authority's next list (RFC 5280, 5.2.3: never goes back)."""
    numbers = [entry.number for entry in entries if isinstance(entry, Listed) and entry.authority == authority]
    return max(numbers, default=0) + 1
