"""The role extension of Modbus/TCP Security (specification v36, R-21 to R-23 and R-65)."""

from cryptography import x509

from broker.errors import CertificateError
from broker.identity.codes import certificate_error

ROLE_OID = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
_UTF8_STRING = 0x0C
LONGEST_ROLE = 255


def decode_role(extensions: x509.Extensions) -> str | None:
    """The role of a certificate, None if it has none (R-23).

    Raises CertificateError `role_malformed`.
    """
    try:
        extension = extensions.get_extension_for_oid(ROLE_OID)
    except x509.ExtensionNotFound:
        return None
    if not isinstance(extension.value, x509.UnrecognizedExtension):
        raise role_malformed("the extension is not opaque")
    return decode_role_value(extension.value.value)


def decode_role_value(raw_value: bytes) -> str:
    """Read one DER UTF8String that fills the whole value (R-22); the whole string is one role (R-65).

    Raises CertificateError `role_malformed`.
    """
    try:
        role = _content(raw_value).decode("utf-8")
    except ValueError as error:
        raise role_malformed(str(error)) from None
    if not role or not role.isprintable():
        raise role_malformed("a role is one or more printable characters")
    return role


def encode_role(role: str) -> bytes:
    """The DER UTF8String of a role of at most 255 octets."""
    content = role.encode("utf-8")
    length = bytes([len(content)]) if len(content) < 0x80 else bytes([0x81, len(content)])
    return bytes([_UTF8_STRING]) + length + content


def role_malformed(detail: str) -> CertificateError:
    """The one error of this module."""
    return certificate_error("role_malformed", detail)


def _content(raw_value: bytes) -> bytes:
    """The content octets; X.690, 8.1.3 and 10.1: definite lengths in the fewest octets."""
    if len(raw_value) < 2 or raw_value[0] != _UTF8_STRING:
        raise ValueError("not a DER UTF8String")
    length, start = raw_value[1], 2
    if length == 0x81 and len(raw_value) > 2:
        length, start = raw_value[2], 3
        if length < 0x80:
            raise ValueError("the length is not in its shortest form")
    elif length >= 0x80:
        raise ValueError(f"the string is longer than {LONGEST_ROLE} octets or of indefinite length")
    if len(raw_value) != start + length:
        raise ValueError("the string does not fill the value")
    return raw_value[start:]
