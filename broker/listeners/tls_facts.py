"""What a TLS connection says about itself: constant words for its failures, and the certificates the peer presented."""

import ssl
from collections.abc import Callable
from typing import Final

_HANDSHAKE_CODES: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "certificate_missing",
    "HTTP_REQUEST": "plain_text",
    "HTTPS_PROXY_REQUEST": "plain_text",
    "WRONG_VERSION_NUMBER": "plain_text",
    "UNSUPPORTED_PROTOCOL": "tls_version",
    "NO_SHARED_CIPHER": "tls_suite",
    "CALLBACK_FAILED": "server_name",
    "PARSE_TLSEXT": "server_name",
}
# X509_V_ERR_* of OpenSSL's verification.
_VERIFY_CODES: Final = {
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    18: "certificate_untrusted",
    19: "certificate_untrusted",
    20: "certificate_untrusted",
    21: "certificate_untrusted",
    23: "certificate_revoked",
    25: "chain_too_long",
    26: "certificate_not_for_clients",
    66: "certificate_key_weak",
    67: "certificate_key_weak",
    68: "certificate_key_weak",
}


def handshake_code(error: ssl.SSLError) -> str:
    """The refusal code for an error of the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, "certificate_malformed")
    return _HANDSHAKE_CODES.get(error.reason or "", "handshake_failed")


def words(error: ssl.SSLError) -> str:
    """OpenSSL's constant words for an error; nothing that the peer chose."""
    return getattr(error, "verify_message", None) or error.reason or type(error).__name__


def loss_reason(error: Exception | None) -> str:
    """Why a transport was lost that neither side closed in order."""
    if error is None:
        return "peer_closed"
    return "reset" if isinstance(error, OSError) else "fault"


def intermediates(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates presented beyond the leaf; Python before 3.13 has them in its private object only."""
    chain: Callable[[], list[bytes]] | None = getattr(tls, "get_unverified_chain", None)
    if chain is not None:
        return tuple(chain()[1:])
    presented = tls._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
    der = ssl._ssl.ENCODING_DER  # type: ignore[attr-defined]
    return tuple(certificate.public_bytes(der) for certificate in presented[1:])
