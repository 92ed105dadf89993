"""What an authority signs: certificates of roots, issuing authorities and leaves, and revocation lists.

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

from broker.errors import IssuanceError
from broker.identity.issuance import PublicKey, Terms, role_extension
from broker.identity.names import NameForm, Namespace

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
BACKDATED = timedelta(minutes=5)
_LONGEST_COMMON_NAME = 64
_Extensions = Sequence[tuple[x509.ExtensionType, bool]]


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority's certificate and its key, which may lie in a token: it signs and need not be readable."""

    certificate: x509.Certificate
    key: PrivateKey


def make_key(*, use_rsa: bool = False) -> PrivateKey:
    """A new private key: P-256, or RSA of 2048 bits."""
    return rsa.generate_private_key(65537, 2048) if use_rsa else ec.generate_private_key(ec.SECP256R1())


def authority_name(organisation: str, title: str) -> x509.Name:
    """The name of an authority of an organisation."""
    parts = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, title[:_LONGEST_COMMON_NAME]))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def make_root(name: x509.Name, key: PrivateKey, now: float, lifetime: timedelta) -> x509.Certificate:
    """A self-signed root, above issuing authorities only."""
    return _sign(name, key.public_key(), name, key, _authority(1), now, lifetime)


def make_issuing(
    name: x509.Name,
    public_key: PublicKey,
    root: Signer,
    now: float,
    lifetime: timedelta,
    namespaces: Sequence[Namespace] = (),
) -> x509.Certificate:
    """The authority below the root, which issues leaves only; those of e-mail and DNS inside the namespaces.

    SPIFFE ids stay outside the name constraints: path validation by cryptography refuses constraints of URIs.
    """
    extensions = [*_authority(0), *_constraints(namespaces)]
    return _sign(name, public_key, root.certificate.subject, root.key, extensions, now, lifetime)


def make_leaf(organisation: str, terms: Terms, public_key: PublicKey, issuing: Signer, now: float) -> x509.Certificate:
    """A leaf of these terms. Raises IssuanceError `authority_ends` if its authority ends before it."""
    lifetime = timedelta(seconds=terms.lifetime_seconds)
    ends = issuing.certificate.not_valid_after_utc
    if datetime.fromtimestamp(now, UTC) + lifetime > ends:
        public = (
            f"The issuing authority ends at {ends:%Y-%m-%dT%H:%MZ}, before this certificate would: rotate it first."
        )
        raise IssuanceError("authority_ends", public)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage("digital_signature"), True),
        (x509.ExtendedKeyUsage(terms.profile.usages), False),
        (x509.SubjectAlternativeName(terms.general_names), False),
    ]
    if terms.modbus_role is not None:
        extensions.append((role_extension(terms.modbus_role), False))
    subject = authority_name(organisation, terms.names[0].text)
    return _sign(subject, public_key, issuing.certificate.subject, issuing.key, extensions, now, lifetime)


def revoked_entry(serial: int, when: float, reason: x509.ReasonFlags) -> x509.RevokedCertificate:
    """One line of a revocation list; RFC 5280, 5.3.1: an unspecified reason is left out."""
    builder = x509.RevokedCertificateBuilder().serial_number(serial)
    builder = builder.revocation_date(datetime.fromtimestamp(when, UTC))
    if reason is not x509.ReasonFlags.unspecified:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()


def make_crl(
    signer: Signer, entries: Iterable[x509.RevokedCertificate], number: int, now: float, lifetime: timedelta
) -> x509.CertificateRevocationList:
    """The signer's revocation list of that number."""
    when = datetime.fromtimestamp(now, UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(signer.certificate.subject)
    builder = builder.last_update(when - BACKDATED).next_update(when + lifetime)
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    builder = builder.add_extension(_key_identifier_of(signer.key), critical=False)
    for entry in sorted(entries, key=lambda entry: entry.serial_number):
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer.key, hashes.SHA256())


def crl_number(crl: x509.CertificateRevocationList | None) -> int:
    """The number of a list, 0 for none."""
    return 0 if crl is None else crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _authority(path_length: int) -> _Extensions:
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_key_usage("key_cert_sign", "crl_sign"), True),
    ]


def _constraints(namespaces: Sequence[Namespace]) -> _Extensions:
    kinds = {NameForm.EMAIL: x509.RFC822Name, NameForm.DNS: x509.DNSName}
    permitted = [kinds[space.form](space.domain) for space in namespaces if space.form in kinds]
    # RFC 5280, 4.2.1.10: must be critical.
    return [(x509.NameConstraints(permitted, None), True)] if permitted else []


def _sign(
    subject: x509.Name,
    public_key: PublicKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    extensions: _Extensions,
    now: float,
    lifetime: timedelta,
) -> x509.Certificate:
    when = datetime.fromtimestamp(now, UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(when - BACKDATED).not_valid_after(when + lifetime)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    builder = builder.add_extension(_key_identifier_of(issuer_key), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _key_identifier_of(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


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
