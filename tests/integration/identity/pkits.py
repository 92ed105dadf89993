"""NIST's PKITS as client certificates: its paths and lists as they are, its end entities issued again in our profile.

PKITS' end entities are mail certificates of 2010 without an extended key usage and mostly without an alternative name:
we refuse every one of them before any path is looked at, and would learn nothing. Its authorities' keys are published,
so each end entity is issued again by the same key with all that it says, and only what our profile asks for besides.
"""

import email
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    pkcs7,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

FOLDER = Path(__file__).parents[3] / ".tools" / "pkits"
NOW = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
NAME = "vector.pkits.example"
NAMESPACES = (
    "*.pkits.example",
    "*.testcertificates.gov",
    "*@testcertificates.gov",
    "*@mailserver.testcertificates.gov",
    "*.invalidcertificates.gov",
)
_PEM_KEY = re.compile(rb"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n", re.DOTALL)
_SigningKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey


@dataclass(frozen=True, slots=True)
class Vector:
    """One test: what it is called, the end entity and the authorities that its message carries."""

    name: str
    leaf: x509.Certificate
    others: tuple[x509.Certificate, ...]

    @property
    def presented(self) -> tuple[bytes, ...]:
        return tuple(authority.public_bytes(Encoding.DER) for authority in self.others)


def public_octets(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Suite:
    """All of PKITS that can be read."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.anchor = self.certificate("TrustAnchorRootCertificate")

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_der_x509_certificate((FOLDER / "certs" / f"{name}.crt").read_bytes())

    @cached_property
    def names(self) -> list[str]:
        return sorted(path.stem.removeprefix("Signed") for path in (FOLDER / "smime").glob("Signed*.eml"))

    @cached_property
    def crls(self) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in sorted((FOLDER / "crls").glob("*.crl"))}

    @cached_property
    def authorities(self) -> list[x509.Certificate]:
        """Every authority whose certificate can be read."""
        found = []
        for path in sorted((FOLDER / "certs").glob("*.crt")):
            try:
                found.append(x509.load_der_x509_certificate(path.read_bytes()))
                found[-1].public_key()
            except ValueError:
                continue
        return found

    @cached_property
    def _keys(self) -> dict[bytes, _SigningKey]:
        keys = {}
        for block in _PEM_KEY.findall((FOLDER / "authority_keys.pem").read_bytes()):
            key = load_pem_private_key(block, None, unsafe_skip_rsa_key_validation=True)
            assert isinstance(key, _SigningKey)
            octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            keys[octets] = key
        return keys

    def vector(self, name: str) -> Vector:
        """Raises ValueError if a certificate of it cannot be read at all."""
        message = email.message_from_bytes((FOLDER / "smime" / f"Signed{name}.eml").read_bytes())
        (signature,) = (
            part
            for part in message.walk()
            if part.get_content_type() in ("application/x-pkcs7-signature", "application/pkcs7-signature")
        )
        octets = signature.get_payload(decode=True)
        assert isinstance(octets, bytes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            carried = pkcs7.load_der_pkcs7_certificates(octets)
        (leaf,) = (certificate for certificate in carried if certificate.public_bytes(Encoding.DER) in self._ends)
        return Vector(name, leaf, tuple(c for c in carried if c not in (leaf, self.anchor)))

    @cached_property
    def _ends(self) -> set[bytes]:
        return {path.read_bytes() for path in (FOLDER / "certs").glob("*EE.crt")}

    def issued_again(self, vector: Vector) -> bytes:
        """The end entity with our key, clientAuth, and a name where it has none, signed by the key that signed it.

        What no authority of the suite signed is signed with a strange key.
        """
        builder = x509.CertificateBuilder(
            issuer_name=vector.leaf.issuer,
            subject_name=vector.leaf.subject,
            public_key=self.key.public_key(),
            serial_number=vector.leaf.serial_number,
            not_valid_before=vector.leaf.not_valid_before_utc,
            not_valid_after=vector.leaf.not_valid_after_utc,
        )
        for extension in vector.leaf.extensions:
            if not isinstance(extension.value, x509.SubjectKeyIdentifier):
                builder = builder.add_extension(extension.value, extension.critical)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        if not any(isinstance(extension.value, x509.SubjectAlternativeName) for extension in vector.leaf.extensions):
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        return builder.sign(self._signer(vector.leaf), hashes.SHA256()).public_bytes(Encoding.DER)

    def _signer(self, leaf: x509.Certificate) -> _SigningKey | ec.EllipticCurvePrivateKey:
        for authority in (self.anchor, *self.authorities):
            if authority.subject == leaf.issuer and _signed(leaf, authority):
                return self._keys[public_octets(authority)]
        return self.key


def _signed(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
