"""Makes certificates, lists and tokens with any single thing wrong with them."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from broker.errors import CertificateError
from broker.model.place import Organisation

NOW = 1_800_000_000.0
DAY = 86_400.0
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
DROP = object()


@cache
def key(name):
    """One P-256 key for each name: making them is the slow part."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(bits):
    return rsa.generate_private_key(65537, bits)


def at(instant):
    return datetime.fromtimestamp(instant, UTC)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) if text else x509.Name([])


USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(*uses):
    return x509.KeyUsage(**{use: use in uses for use in USES})


@dataclass(frozen=True)
class Holder:
    """A certificate and the key that belongs to it."""

    certificate: x509.Certificate
    key: object

    @property
    def der(self):
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self):
        return self.certificate.public_bytes(Encoding.PEM).decode()


def forge(
    subject,
    holder_key,
    issuer,
    issuer_key,
    extensions,
    *,
    starts=NOW - DAY,
    ends=NOW + 30 * DAY,
    digest=None,
    serial=None,
):
    """Sign anything."""
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(issuer)
    builder = builder.public_key(holder_key.public_key()).serial_number(serial or x509.random_serial_number())
    builder = builder.not_valid_before(at(starts)).not_valid_after(at(ends))
    for extension, critical in extensions:
        if extension is not DROP:
            builder = builder.add_extension(extension, critical)
    return Holder(builder.sign(issuer_key, digest or hashes.SHA256()), holder_key)


def authority(
    subject,
    above=None,
    *,
    holder_key=None,
    path_length=None,
    constraints=(x509.BasicConstraints, True),
    uses=("key_cert_sign", "crl_sign"),
    extra=(),
    **times,
):
    """An authority, self-signed or below another."""
    holder_key = holder_key or key(subject)
    signer, issuer = (holder_key, name(subject)) if above is None else (above.key, above.certificate.subject)
    kind, critical = constraints
    extensions = [
        (x509.SubjectKeyIdentifier.from_public_key(holder_key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        (DROP if kind is DROP else kind(ca=True, path_length=path_length), critical),
        (usage(*uses) if uses else DROP, True),
        *extra,
    ]
    return forge(subject, holder_key, issuer, signer, extensions, **times)


def leaf(
    above,
    *names,
    holder_key=None,
    subject="whoever",
    san=None,
    san_critical=False,
    ca=False,
    uses=("digital_signature",),
    purpose=CLIENT,
    purpose_critical=False,
    key_identifier=True,
    extra=(),
    **rest,
):
    """A client certificate, right unless told otherwise; names with a colon are URIs, with an @ mailboxes."""
    holder_key = holder_key or key("leaf")
    signer_key = above.key
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key())
    if san is None:
        san = x509.SubjectAlternativeName([general_name(text) for text in names]) if names else DROP
    extensions = [
        (x509.BasicConstraints(ca=ca, path_length=None), True),
        (aki if key_identifier else DROP, False),
        (usage(*uses) if uses else DROP, True),
        (purpose or DROP, purpose_critical),
        (san, san_critical),
        *extra,
    ]
    return forge(subject, holder_key, above.certificate.subject, signer_key, extensions, **rest)


def general_name(text):
    if isinstance(text, x509.GeneralName):
        return text
    if ":" in text:
        return x509.UniformResourceIdentifier(text)
    return x509.RFC822Name(text) if "@" in text else x509.DNSName(text)


def raw_san(*tagged):
    """A subject alternative name of (context tag, octets) that no library would write."""
    content = b"".join(bytes([0x80 | tag, len(octets)]) + octets for tag, octets in tagged)
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes([0x30, len(content)]) + content)


def resign(holder, above, change):
    """The same certificate with octets of its signed part changed, and signed again (ECDSA with SHA-256)."""
    tbs = change(holder.certificate.tbs_certificate_bytes)
    signature = above.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    return sequence(tbs + algorithm + b"\x03" + length(len(signature) + 1) + b"\x00" + signature)


def sequence(content):
    return b"\x30" + length(len(content)) + content


def length(count):
    if count < 0x80:
        return bytes([count])
    octets = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def crl(
    above,
    revoked=(),
    *,
    signer=None,
    starts=NOW - DAY,
    ends=NOW + DAY,
    extra=(),
    entry_extra=(),
    encoding=Encoding.DER,
    digest=None,
):
    """A revocation list."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(above.certificate.subject)
    builder = builder.last_update(at(starts)).next_update(at(ends))
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    for holder in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(holder.certificate.serial_number)
        entry = entry.revocation_date(at(starts) - timedelta(hours=1))
        for extension, critical in entry_extra:
            entry = entry.add_extension(extension, critical)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign((signer or above).key, digest or hashes.SHA256()).public_bytes(encoding)


def organisation(
    identifier="acme", anchors=(), namespaces=("*@acme.example", "spiffe://acme.example/*", "*.acme.example"), **rest
):
    return Organisation(identifier, tuple(anchor.pem for anchor in anchors), tuple(namespaces), **rest)


def base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def compact(header, payload, signer):
    """A signed token from any header and payload; octets are taken as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(base64url(part) for part in parts)
    return f"{signing_input}.{base64url(signer(signing_input.encode()))}"


def es256(private):
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    return lambda signing_input: algorithm.sign(signing_input, private)


@cache
def ed25519_key(name):
    return ed25519.Ed25519PrivateKey.generate()


def doubt(trust, subject, now):
    """Why a subject would no longer be proven; None if it still would."""
    try:
        trust.prove_again(subject, now)
    except CertificateError as error:
        return error.code
    return None
