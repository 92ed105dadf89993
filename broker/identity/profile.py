"""The client certificate profile: what must hold of the leaf alone, before and besides path validation.

Path validation by cryptography looks neither at the strength of the leaf's own key nor for the presence of an extended
key usage; this module does. Who issued the certificate is not its matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from broker.identity.rsa_keys import sound_rsa_key

_SOUND_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_POLICY_BINDINGS = (ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.POLICY_MAPPINGS, ExtensionOID.INHIBIT_ANY_POLICY)


# All that cryptography raises for octets that are not what they should be; a TypeError comes of odd types in a name.
X509_ERRORS = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a certificate: the code it is refused with, what is wrong, and what to do."""

    code: str
    problem: str
    remedy: str
    certificate: str = ""


def leaf_findings(leaf: x509.Certificate, now: float) -> Iterator[Finding]:
    """Everything in the leaf itself for which it is refused, the most telling first."""
    yield from _validity(leaf, now)
    yield from key_findings(leaf)
    yield from _purpose(leaf.extensions)
    if not has(leaf.extensions, x509.SubjectAlternativeName):
        yield Finding(
            "certificate_name_refused",
            "it has no subject alternative name; the common name is not read",
            "reissue with one URI (spiffe://), e-mail or DNS name",
        )


def key_findings(certificate: x509.Certificate) -> Iterator[Finding]:
    """Whether the certificate's own key is of a kind and size that is accepted."""
    if not sound_key(certificate):
        yield Finding(
            "certificate_key_weak",
            "its key is neither sound RSA of 2048 to 8192 bits nor on P-256, P-384 or P-521",
            "make a new key (P-256 fits every Modbus/TCP Security suite) and reissue",
        )


def sound_key(certificate: x509.Certificate | x509.CertificateSigningRequest) -> bool:
    """Whether the public key is sound RSA of 2048 to 8192 bits or on a NIST curve."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    if isinstance(key, rsa.RSAPublicKey):
        return sound_rsa_key(key)
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)


def sound_hash(
    signed: x509.Certificate | x509.CertificateRevocationList | x509.CertificateSigningRequest,
) -> bool:
    """Whether it is signed over SHA-256, SHA-384 or SHA-512."""
    try:
        return isinstance(signed.signature_hash_algorithm, _SOUND_HASHES)
    except UnsupportedAlgorithm:
        return False


def binds_policies(certificate: x509.Certificate) -> bool:
    """Whether a path with it is valid for certain policies only (RFC 5280, 6.1.4 (a), (i), (j) and 6.1.5 (b)).

    Policies are not followed here, so no certificate of a path may, an end entity's included; path validation passes
    over what is not marked critical. `certificatePolicies` alone binds nothing while nobody asks for a policy.
    """
    return any(extension.oid in _POLICY_BINDINGS for extension in certificate.extensions)


def read_whole(certificate: x509.Certificate) -> x509.Certificate:
    """Force the parts that are read lazily; each raises one of `X509_ERRORS` here or never.

    A signature is whole octets: a certificate that says otherwise would be another file of the same content.
    """
    unused_bits = certificate.public_bytes(Encoding.DER)[-len(certificate.signature) - 1]  # X.690, 8.6.2.2
    if unused_bits:
        raise ValueError(f"the signature leaves {unused_bits} bits of its last octet unused")
    certificate.issuer.rfc4514_string()
    certificate.subject.rfc4514_string()
    len(certificate.extensions)
    return certificate


def has(extensions: x509.Extensions, kind: type[x509.ExtensionType]) -> bool:
    """Whether an extension of that kind is there."""
    return any(isinstance(extension.value, kind) for extension in extensions)


def _validity(leaf: x509.Certificate, now: float) -> Iterator[Finding]:
    if now >= leaf.not_valid_after_utc.timestamp():
        yield Finding(
            "certificate_expired",
            f"it expired at {leaf.not_valid_after_utc:%Y-%m-%dT%H:%MZ}",
            "renew the certificate",
        )
    if now < leaf.not_valid_before_utc.timestamp():
        yield Finding(
            "certificate_not_yet_valid",
            f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%dT%H:%MZ}",
            "wait until then, or check the clocks of issuer and broker",
        )


def _purpose(extensions: x509.Extensions) -> Iterator[Finding]:
    """RFC 5280, 4.2.1.3, 4.2.1.9 and 4.2.1.12; `anyExtendedKeyUsage` does not stand for clientAuth."""
    code = "certificate_not_for_clients"
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            yield Finding(code, "it is the certificate of an authority", "use an end-entity certificate")
        if isinstance(value, x509.KeyUsage) and not value.digital_signature:
            yield Finding(code, "its key usage lacks digitalSignature", "reissue with keyUsage digitalSignature")
        if isinstance(value, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CLIENT_AUTH not in value:
            yield Finding(code, "its extended key usage lacks clientAuth", "reissue with extendedKeyUsage clientAuth")
    if not has(extensions, x509.ExtendedKeyUsage):
        yield Finding(code, "it has no extended key usage", "reissue with extendedKeyUsage clientAuth")
