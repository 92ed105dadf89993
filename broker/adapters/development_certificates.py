"""Certificates and revocation lists of the development authority: their profiles, nothing of files.

They satisfy what path validation wants of everybody: version 3, key identifiers, critical constraints of authorities,
key usages and extended key usages that say what each is for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from broker.identity.modbus_role import ROLE_OID, encode_role

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
BACKDATED = timedelta(minutes=5)
CRL_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority's certificate and key."""

    certificate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class LeafProfile:
    """What a leaf certificate says of its holder."""

    common_name: str
    names: tuple[x509.GeneralName, ...]
    usage: x509.ObjectIdentifier
    modbus_role: str | None = None


def make_key(*, use_rsa: bool = False) -> PrivateKey:
    """A new private key: P-256, or RSA of 2048 bits."""
    return rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())


def make_root(organisation: str, key: PrivateKey, now: float, lifetime: timedelta) -> x509.Certificate:
    """A self-signed root."""
    name = _name(organisation, f"{organisation} development root")
    return _authority(name, key, name, key, 1, now, lifetime)


def make_issuing(organisation: str, key: PrivateKey, root: Signer, now: float, lifetime: timedelta) -> x509.Certificate:
    """The authority below the root, which issues leaves only."""
    name = _name(organisation, f"{organisation} development issuing")
    return _authority(name, key, root.certificate.subject, root.key, 0, now, lifetime)


def make_leaf(
    organisation: str, profile: LeafProfile, key: PrivateKey, issuing: Signer, now: float, lifetime: timedelta
) -> x509.Certificate:
    """A leaf of that profile."""
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage("digital_signature"), True),
        (x509.ExtendedKeyUsage([profile.usage]), False),
        (x509.SubjectAlternativeName(profile.names), False),
    ]
    if profile.modbus_role is not None:
        extensions.append((x509.UnrecognizedExtension(ROLE_OID, encode_role(profile.modbus_role)), False))
    subject = _name(organisation, profile.common_name)
    return _sign(subject, key, issuing.certificate.subject, issuing.key, extensions, now, lifetime)


def make_crl(
    signer: Signer, before: x509.CertificateRevocationList | None, serials: Iterable[int], now: float
) -> x509.CertificateRevocationList:
    """The signer's next revocation list: what the one before it revoked, and these serials."""
    when = datetime.fromtimestamp(now, UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(signer.certificate.subject)
    builder = builder.last_update(when - BACKDATED).next_update(when + CRL_LIFETIME)
    builder = builder.add_extension(x509.CRLNumber(_number(before) + 1), critical=False)
    key_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    builder = builder.add_extension(key_identifier, critical=False)
    for serial in sorted({entry.serial_number for entry in before or ()} | set(serials)):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer.key, hashes.SHA256())


def _authority(
    subject: x509.Name,
    key: PrivateKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    path_length: int,
    now: float,
    lifetime: timedelta,
) -> x509.Certificate:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_key_usage("key_cert_sign", "crl_sign"), True),
    ]
    return _sign(subject, key, issuer, issuer_key, extensions, now, lifetime)


def _sign(
    subject: x509.Name,
    key: PrivateKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    now: float,
    lifetime: timedelta,
) -> x509.Certificate:
    when = datetime.fromtimestamp(now, UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(when - BACKDATED).not_valid_after(when + lifetime)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(above, critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(organisation: str, common_name: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, common_name[:64]))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _key_usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital_signature" in uses,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign="key_cert_sign" in uses,
        crl_sign="crl_sign" in uses,
        encipher_only=False,
        decipher_only=False,
    )


def _number(crl: x509.CertificateRevocationList | None) -> int:
    return 0 if crl is None else crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
