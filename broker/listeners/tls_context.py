"""TLS contexts for listeners, the server name and certificate hooks inside a handshake, and the alerts of refusals."""

import ctypes
import re
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, cast

from broker.errors import BrokerError, ConfigError

ALERT_HANDSHAKE_FAILURE: Final = 40
ALERT_BAD_CERTIFICATE: Final = 42
ALERT_UNSUPPORTED_CERTIFICATE: Final = 43
ALERT_CERTIFICATE_REVOKED: Final = 44
ALERT_CERTIFICATE_EXPIRED: Final = 45
ALERT_UNKNOWN_CA: Final = 48
ALERT_ACCESS_DENIED: Final = 49
ALERT_UNRECOGNIZED_NAME: Final = 112

# Modbus/TCP Security: forward secrecy and AEAD only; TLS 1.3 has its own suites.
SUITES: Final = ":".join(
    f"ECDHE-{kind}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for kind in ("ECDSA", "RSA")
)
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_CERTIFICATE_MESSAGE: Final = 11
_HANDSHAKE_RECORD: Final = 22
_CTRL_SET_SESSION_CACHE: Final = 44

_ALERTS: Final = {
    "certificate_expired": ALERT_CERTIFICATE_EXPIRED,
    "certificate_malformed": ALERT_BAD_CERTIFICATE,
    "certificate_key_weak": ALERT_BAD_CERTIFICATE,
    # certificate_required is an alert of TLS 1.3, where OpenSSL sends it by itself (Modbus/TCP Security ).
    "certificate_missing": ALERT_HANDSHAKE_FAILURE,
    "certificate_not_for_clients": ALERT_UNSUPPORTED_CERTIFICATE,
    "certificate_not_yet_valid": ALERT_BAD_CERTIFICATE,
    "certificate_revoked": ALERT_CERTIFICATE_REVOKED,
    "certificate_untrusted": ALERT_UNKNOWN_CA,
    "chain_too_long": ALERT_UNKNOWN_CA,
    "crl_missing": ALERT_UNKNOWN_CA,
    "crl_stale": ALERT_UNKNOWN_CA,
    "role_malformed": ALERT_BAD_CERTIFICATE,
}

SelectContext = Callable[[str], "ssl.SSLContext | None"]
Examine = Callable[[bytes, tuple[bytes, ...]], None]


def certificate_error_alert(code: str) -> int:
    """The alert (RFC 8446, 6.2) for a refusal code: access_denied unless the code says that the certificate is bad."""
    return _ALERTS.get(code, ALERT_ACCESS_DENIED)


class HandshakeObject(ssl.SSLObject):
    """An SSLObject that carries what the hooks of its own handshake need and find.

    `refusal` is set if `examine` refused the certificate: such a handshake must never count as complete.
    """

    sni: str | None = None
    select: SelectContext | None = None
    examine: Examine | None = None
    refusal: BrokerError | None = None


class ServerContext(ssl.SSLContext):
    """A server's context with two others whose verification of the same client always fails, by the alert it leads to.

    Python's ssl has no verify callback. A context that is exchanged while the client's certificate message arrives
    brings its trust store and security level along, so OpenSSL itself refuses the certificate, inside the handshake.
    """

    refusing: dict[int, ssl.SSLContext]


def server_context(
    certificate: Path,
    key: Path,
    *,
    client_anchors_pem: Sequence[str],
    client_certificate: Literal["required", "optional"],
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ServerContext:
    """A context for `TlsListener`: TLS 1.2 and 1.3, AEAD suites, no resumption, renegotiation or compression.

    `optional` lets a peer without a certificate in; one that is presented must verify all the same. `oldest` is the
    oldest version that is spoken.

    Raises ConfigError `tls_files` when the files or anchors cannot be used.
    """
    context = _bare_context(client_anchors_pem)
    context.minimum_version = oldest
    context.verify_mode = ssl.CERT_REQUIRED if client_certificate == "required" else ssl.CERT_OPTIONAL
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "tls_files", "The listener's certificate or key cannot be used.", f"{certificate}: {error}"
        ) from None
    too_weak = _bare_context(client_anchors_pem)
    too_weak.set_ciphers(SUITES + ":@SECLEVEL=5")
    context.refusing = {ALERT_UNKNOWN_CA: _bare_context(()), ALERT_BAD_CERTIFICATE: too_weak}
    return context


def _no_password() -> str:
    """Refuse an encrypted key instead of asking for its password on a terminal."""
    raise ssl.SSLError("the key is encrypted")


def _bare_context(client_anchors_pem: Sequence[str]) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.sslobject_class = HandshakeObject
    context.sni_callback = _name_received
    context._msg_callback = _message_seen  # type: ignore[attr-defined]
    _switch_session_cache_off(context)
    if client_anchors_pem:
        try:
            context.load_verify_locations(cadata="\n".join(client_anchors_pem))
        except ssl.SSLError as error:
            raise ConfigError("tls_files", "A trust anchor cannot be used.", str(error)) from None
    return context


def _switch_session_cache_off(context: ssl.SSLContext) -> None:
    """Stop TLS 1.2 resumption by session id (Modbus/TCP Security R-42), which Python's ssl has no setting for.

    Where OpenSSL cannot be reached this way the connection refuses resumed handshakes instead.
    """
    try:
        control = ctypes.CDLL(ssl._ssl.__file__).SSL_CTX_ctrl  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return
    control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
    control.restype = ctypes.c_long
    # The first member of CPython's context object is the SSL_CTX pointer.
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    control(pointer, _CTRL_SET_SESSION_CACHE, 0, None)


def _name_received(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
    """Keep the server name on the connection's own object and let it choose the context (RFC 6066, 3)."""
    if name is None:
        return None
    tls = cast(HandshakeObject, tls)
    name = name.lower()
    if not _NAME.fullmatch(name):
        return ALERT_UNRECOGNIZED_NAME
    tls.sni = name
    try:
        chosen = tls.select(name) if tls.select else None
    except BrokerError:
        return ALERT_UNRECOGNIZED_NAME
    if chosen is not None:
        tls.context = chosen
    return None


def _message_seen(tls: ssl.SSLObject, direction: str, version: int, content: int, kind: int, message: bytes) -> None:
    """Examine the client's certificates while a TLS 1.3 handshake can still refuse them with an alert.

    In TLS 1.2 the alert can be sent after the examination of the complete handshake (see `TlsConnection.close`).
    """
    if kind != _CERTIFICATE_MESSAGE or content != _HANDSHAKE_RECORD or direction != "read":
        return
    tls = cast(HandshakeObject, tls)
    context = tls.context
    if tls.examine is None or version != ssl.TLSVersion.TLSv1_3 or not isinstance(context, ServerContext):
        return
    certificates = presented_certificates(message)
    if not certificates:
        return
    try:
        tls.examine(certificates[0], certificates[1:])
    except BrokerError as error:
        tls.refusal = error
        wanted = certificate_error_alert(error.code)
        tls.context = context.refusing.get(wanted, context.refusing[ALERT_BAD_CERTIFICATE])


def presented_certificates(message: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) of a TLS 1.3 certificate message (RFC 8446, 4.4.2); none if it is malformed."""
    found: list[bytes] = []
    place = 5 + message[4] if len(message) > 4 else len(message)
    place += 3
    while place < len(message):
        start = place + 3
        end = start + int.from_bytes(message[place:start], "big")
        place = end + 2 + int.from_bytes(message[end : end + 2], "big")
        if end == start or place > len(message):
            return ()
        found.append(message[start:end])
    return tuple(found)
