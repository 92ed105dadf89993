"""A renewal is signed with the key of the certificate before, for exactly one request."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from broker.errors import EnrolmentError, IssuanceError
from broker.identity.renewal import PrivateKey, decode_old_certificate, sign_renewal, verify_possession

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ana")])
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def certificate_of(key: PrivateKey | ed25519.Ed25519PrivateKey) -> x509.Certificate:
    return certificate_with(key.public_key())


def certificate_with(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key)
    builder = builder.serial_number(1).not_valid_before(START).not_valid_after(START + datetime.timedelta(1))
    signer = ec.generate_private_key(ec.SECP256R1())
    return builder.sign(signer, hashes.SHA256())


def request_of(key: PrivateKey, encoding: Encoding = Encoding.PEM) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    return builder.sign(key, hashes.SHA256()).public_bytes(encoding)


OLD, NEW = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("old", [OLD, rsa.generate_private_key(65537, 2048)], ids=["ec", "rsa"])
def test_the_holder_of_the_old_key_signs_for_the_new(old: PrivateKey) -> None:
    certificate, request = certificate_of(old), request_of(NEW)
    verify_possession(certificate, request, sign_renewal(old, certificate, request))


def test_the_signature_is_for_one_request_and_one_certificate() -> None:
    certificate, request = certificate_of(OLD), request_of(NEW)
    signature = sign_renewal(OLD, certificate, request)
    others = [
        (certificate, request_of(OLD), signature),
        (certificate_of(OLD), request, signature),
        (certificate, request, sign_renewal(NEW, certificate, request)),
        (certificate, request, signature[:-1]),
        (certificate, request, b""),
    ]
    for other in others:
        with pytest.raises(EnrolmentError) as refused:
            verify_possession(*other)
        assert refused.value.code == "renewal_refused"


def test_a_key_of_another_kind_proves_nothing() -> None:
    with pytest.raises(IssuanceError):
        verify_possession(certificate_of(ed25519.Ed25519PrivateKey.generate()), request_of(NEW), b"x" * 64)


@pytest.mark.parametrize(
    "raw", ["", "no", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "ü", "x" * 99999]
)
def test_what_is_no_certificate_is_refused(raw: str) -> None:
    with pytest.raises(EnrolmentError) as refused:
        decode_old_certificate(raw)
    assert refused.value.code == "renewal_refused"


def test_a_key_that_is_dear_to_verify_is_not_used() -> None:
    dear = rsa.RSAPublicNumbers((1 << 63) + 1, (1 << 16_383) + 1).public_key()
    with pytest.raises(IssuanceError):
        verify_possession(certificate_with(dear), request_of(NEW), b"x" * 2048)
