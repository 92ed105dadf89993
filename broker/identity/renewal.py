"""Who renews holds the key of the certificate before: he signs the request for the next one with it.

Over TLS an expired certificate cannot be presented, and every certificate of a person is expired in the morning. The
signature ties the new key to the old one; taken from the wire it is worth nothing, for what it asks for is a
certificate of the new key, and the second factor is asked for besides.
"""

from collections.abc import Callable
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from broker.errors import IssuanceError
from broker.identity.enrolment_codes import enrolment_error
from broker.identity.issuance import decode_request
from broker.identity.profile import X509_ERRORS, sound_key

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_LARGEST_CERTIFICATE = 32 * 1024
_Verify = Callable[[bytes, bytes], None]


def sign_renewal(key: PrivateKey, certificate: x509.Certificate, raw_request: bytes) -> bytes:
    """Sign a request (PEM or DER) with the key of the certificate that it shall replace."""
    signed = _signed(certificate, raw_request)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(signed, ec.ECDSA(hashes.SHA256()))


def verify_possession(certificate: x509.Certificate, raw_request: bytes, signature: bytes) -> None:
    """That whoever asks holds the certificate's key. Raises EnrolmentError `renewal_refused`, or IssuanceError."""
    try:
        _verifier(certificate)(signature, _signed(certificate, raw_request))
    except InvalidSignature:
        raise enrolment_error("renewal_refused", "the request is not signed with the certificate's key") from None


def decode_old_certificate(raw_certificate: str) -> x509.Certificate:
    """The first certificate (PEM) of what was presented. Raises EnrolmentError `renewal_refused`."""
    try:
        if len(raw_certificate) > _LARGEST_CERTIFICATE:
            raise ValueError("larger than 32 KiB")
        return x509.load_pem_x509_certificate(raw_certificate.encode("ascii"))
    except X509_ERRORS as error:
        raise enrolment_error("renewal_refused", f"unreadable: {error}") from None


def _signed(certificate: x509.Certificate, raw_request: bytes) -> bytes:
    request = decode_request(raw_request)
    parts = (certificate.public_bytes(Encoding.DER), request.public_bytes(Encoding.DER))
    return b"otbroker renewal 1\0" + b"".join(sha256(part).digest() for part in parts)


def _verifier(certificate: x509.Certificate) -> _Verify:
    # Anybody may present a certificate of his own making: what a key may cost is looked at before it is used.
    key = certificate.public_key() if sound_key(certificate) else None
    if isinstance(key, rsa.RSAPublicKey):
        rsa_key = key
        return lambda signature, signed: rsa_key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePublicKey):
        ec_key = key
        return lambda signature, signed: ec_key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    raise IssuanceError("request_refused", "The certificate's key is of a kind that is not certified.")
