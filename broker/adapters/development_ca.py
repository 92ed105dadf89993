"""Certification authorities for development and tests; their keys lie unencrypted in files (0600).

Whatever is there and still good is used again, so that every command can be repeated. Not for production: there the
organisations bring their own authorities or use `authority`, whose certificates these are, and the broker never holds a
key that can issue.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from broker.adapters.authority.certificates import (
    PrivateKey,
    Signer,
    authority_name,
    crl_number,
    make_crl,
    make_issuing,
    make_key,
    make_leaf,
    make_root,
    revoked_entry,
)
from broker.adapters.private_files import write_private
from broker.errors import ConfigError
from broker.identity.anchors import issued
from broker.identity.certificate import fingerprint
from broker.identity.issuance import PROFILES, Address, Profile, Terms
from broker.identity.modbus_role import decode_role
from broker.identity.names import Name, NameForm, decode_name, decode_subject_id
from broker.identity.profile import X509_ERRORS
from broker.identity.revocation import RevocationList, decode_crls

_AUTHORITY_LIFETIME = timedelta(days=365)
CRL_LIFETIME = timedelta(days=7)
_LEAF_LIFETIME = timedelta(days=30)
_RENEW_BEFORE = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody of the development building; `subject` is the subject id, by which it is a person or a service."""

    name: str
    organisation: str
    subject: str


OWNER = "plant-owner"
VENDOR = "acme"
NAMESPACES = {
    OWNER: ("spiffe://plant.example/*", "*@plant.example", "*.plant.example"),
    VENDOR: ("spiffe://acme.example/*", "*@acme.example", "*.acme.example"),
}
PERSONAS = (
    Persona("vendor-ana", VENDOR, "ana@acme.example"),
    Persona("secops-bo", OWNER, "bo@plant.example"),
    Persona("auditor-cy", OWNER, "cy@plant.example"),
    Persona("duty-di", OWNER, "di@plant.example"),
    Persona("operator-eli", OWNER, "eli@plant.example"),
    Persona("bms-sync", OWNER, "spiffe://plant.example/bms-sync"),
)


@dataclass(frozen=True, slots=True)
class Authority:
    """An organisation's root (the anchor), the authority below it that issues, and where they lie."""

    folder: Path
    organisation: str
    root: Signer
    issuing: Signer

    @property
    def anchor(self) -> Path:
        """The root's certificate, PEM: the organisation's trust anchor."""
        return self.folder / "root.pem"

    @property
    def crl(self) -> Path:
        """The revocation lists of both authorities, PEM."""
        return self.folder / "crl.pem"


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its chain (PEM, leaf first), its key (PEM), and what identifies and ends it."""

    certificate: Path
    key: Path
    fingerprint: str
    serial: int
    not_after: float


def create_authority(folder: Path, organisation: str, now: float) -> Authority:
    """The organisation's authority in that folder, made if there is none that lasts, with fresh revocation lists."""
    authority = _load_authority(folder, organisation, now) or _make_authority(folder, organisation, now)
    publish_crl(authority, (), now)
    return authority


def publish_crl(authority: Authority, revoked: Iterable[int], now: float) -> Path:
    """Publish the lists of both authorities, with these serials revoked besides those that already are."""
    serials = set(revoked)
    above = serials & {authority.issuing.certificate.serial_number}
    before = _published(authority)
    lists = (
        _next_list(authority.root, before.get(authority.root.certificate), above, now),
        _next_list(authority.issuing, before.get(authority.issuing.certificate), serials - above, now),
    )
    write_private(authority.crl, b"".join(crl.public_bytes(Encoding.PEM) for crl in lists))
    return authority.crl


def issue_client(
    authority: Authority, subject: str, target: Path, now: float, *, modbus_role: str | None = None
) -> Credential:
    """A client certificate for a subject id: a person's mailbox or a service's SPIFFE id. Raises ConfigError."""
    try:
        name = decode_subject_id(subject)
    except ValueError as error:
        raise ConfigError("subject_malformed", f"{subject!r} is not a subject id.", str(error)) from None
    if name.form is NameForm.DNS:
        raise ConfigError("subject_malformed", f"{subject!r} is neither a mailbox nor a SPIFFE id.")
    profile = PROFILES["person" if name.form is NameForm.EMAIL else "service"]
    return _issue(authority, target, _terms(profile, name, modbus_role=modbus_role), now)


def issue_server(
    authority: Authority,
    hosts: Sequence[str],
    target: Path,
    now: float,
    *,
    addresses: Sequence[str] = ("127.0.0.1",),
    use_rsa: bool = False,
) -> Credential:
    """A server certificate for DNS names and addresses; `use_rsa` for clients that offer only RSA suites."""
    names = (decode_name(host, NameForm.DNS) for host in hosts)
    terms = _terms(PROFILES["server"], *names, addresses=tuple(ip_address(address) for address in addresses))
    return _issue(authority, target, terms, now, use_rsa=use_rsa)


def load_key(path: Path) -> PrivateKey | None:
    """The private key in a PEM file, None if there is none that can be used."""
    with suppress(OSError, ValueError, TypeError):
        key = load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, PrivateKey):
            return key
    return None


def encode_key(key: PrivateKey) -> bytes:
    """A private key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _make_authority(folder: Path, organisation: str, now: float) -> Authority:
    root_key, issuing_key = make_key(), make_key()
    names = [authority_name(organisation, f"{organisation} development {title}") for title in ("root", "issuing")]
    root = Signer(make_root(names[0], root_key, now, _AUTHORITY_LIFETIME), root_key)
    certificate = make_issuing(names[1], issuing_key.public_key(), root, now, _AUTHORITY_LIFETIME)
    issuing = Signer(certificate, issuing_key)
    for name, signer in (("root", root), ("issuing", issuing)):
        write_private(folder / f"{name}.key", encode_key(signer.key))
        write_private(folder / f"{name}.pem", signer.certificate.public_bytes(Encoding.PEM))
    return Authority(folder, organisation, root, issuing)


def _load_authority(folder: Path, organisation: str, now: float) -> Authority | None:
    """What lies there, if it belongs together and outlives every leaf that it may issue."""
    root, issuing = _load_signer(folder / "root"), _load_signer(folder / "issuing")
    if root is None or issuing is None or not issued(root.certificate, issuing.certificate):
        return None
    enough = now + _LEAF_LIFETIME.total_seconds()
    if not all(_lasts(signer.certificate, now, enough) for signer in (root, issuing)):
        return None
    return Authority(folder, organisation, root, issuing)


def _load_signer(stem: Path) -> Signer | None:
    chain, key = _load_chain(stem.with_suffix(".pem")), load_key(stem.with_suffix(".key"))
    if not chain or key is None or chain[0].public_key() != key.public_key():
        return None
    return Signer(chain[0], key)


def _load_chain(path: Path) -> list[x509.Certificate]:
    with suppress(OSError, *X509_ERRORS):
        return x509.load_pem_x509_certificates(path.read_bytes())
    return []


def _lasts(certificate: x509.Certificate, now: float, until: float) -> bool:
    starts, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return starts <= now and until < ends


def _terms(
    profile: Profile, *names: Name, modbus_role: str | None = None, addresses: tuple[Address, ...] = ()
) -> Terms:
    """Longer than a production authority would give; `otbroker dev` renews only when it starts."""
    return Terms(profile, names, int(_LEAF_LIFETIME.total_seconds()), modbus_role, addresses)


def _issue(authority: Authority, target: Path, terms: Terms, now: float, *, use_rsa: bool = False) -> Credential:
    certificate_path, key_path = target.with_name(f"{target.name}.pem"), target.with_name(f"{target.name}.key")
    leaf = _reusable(authority, certificate_path, key_path, terms, now)
    if leaf is None:
        key = make_key(use_rsa=use_rsa)
        leaf = make_leaf(authority.organisation, terms, key.public_key(), authority.issuing, now)
        chain = leaf.public_bytes(Encoding.PEM) + authority.issuing.certificate.public_bytes(Encoding.PEM)
        write_private(key_path, encode_key(key))
        write_private(certificate_path, chain)
    ends = leaf.not_valid_after_utc.timestamp()
    return Credential(
        certificate_path, key_path, fingerprint(leaf.public_bytes(Encoding.DER)), leaf.serial_number, ends
    )


def _reusable(
    authority: Authority, certificate: Path, key_path: Path, terms: Terms, now: float
) -> x509.Certificate | None:
    """The leaf that lies there, if it says the same, was issued here, lasts, fits its key and is not revoked."""
    chain, key = _load_chain(certificate), load_key(key_path)
    if not chain or key is None or chain[0].public_key() != key.public_key():
        return None
    leaf, issuing = chain[0], authority.issuing.certificate
    if not issued(issuing, leaf) or not _lasts(leaf, now, now + _RENEW_BEFORE.total_seconds()):
        return None
    revoked = any(crl.issued_by(issuing) and crl.revokes(leaf) for crl in _lists(authority))
    return leaf if not revoked and _says(leaf, terms) else None


def _says(leaf: x509.Certificate, terms: Terms) -> bool:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    same = tuple(names) == terms.general_names and tuple(usage) == terms.profile.usages
    return same and decode_role(leaf.extensions) == terms.modbus_role


def _next_list(
    signer: Signer, before: x509.CertificateRevocationList | None, serials: set[int], now: float
) -> x509.CertificateRevocationList:
    """What the list before it revoked, and these serials."""
    known = {entry.serial_number for entry in before or ()} | serials
    entries = [revoked_entry(serial, now, x509.ReasonFlags.unspecified) for serial in known]
    return make_crl(signer, entries, crl_number(before) + 1, now, CRL_LIFETIME)


def _lists(authority: Authority) -> tuple[RevocationList, ...]:
    with suppress(OSError, ConfigError):
        return decode_crls(authority.crl.read_bytes())
    return ()


def _published(authority: Authority) -> dict[x509.Certificate, x509.CertificateRevocationList]:
    """The lists that are there, by the authority that made them; those of earlier authorities are left out."""
    signers = (authority.root.certificate, authority.issuing.certificate)
    return {signer: crl.crl for crl in _lists(authority) for signer in signers if crl.issued_by(signer)}
