"""Payloads of BVLC-SC messages, of exactly the octets that they have (ASHRAE 135-2020, Annex AB.2)."""

from struct import Struct
from typing import NamedTuple

from broker.wire.bacnet.sc_message import BROADCAST, MAX_NPDU_OCTETS, NO_VMAC, ErrorCode, Nak, wrong

_NAK = Struct(">BHH")
_CONNECT = Struct(">6s16sHH")
_ADVERTISEMENT = Struct(">BBHH")


class ScResult(NamedTuple):
    """What became of a message of that function; no NAK: acknowledged (AB.2.4)."""

    function: int
    nak: Nak | None = None


class Connect(NamedTuple):
    """Payload of Connect-Request and Connect-Accept (AB.2.10, AB.2.11)."""

    vmac: bytes
    uuid: bytes
    max_bvlc: int
    max_npdu: int


class Advertisement(NamedTuple):
    """Payload of Advertisement (AB.2.8); `hub_status` 0 no hub, 1 primary, 2 failover."""

    hub_status: int
    accepts_direct: bool
    max_bvlc: int
    max_npdu: int


class Proprietary(NamedTuple):
    """Payload of Proprietary-Message (AB.2.16)."""

    vendor: int
    function: int
    data: bytes = b""


def decode_result(payload: bytes) -> ScResult:
    """The payload of a BVLC-Result. Raises ScFrameError."""
    _check_least(payload, 2)
    function, code = payload[0], payload[1]
    if code == 0:
        _check_exact(payload, 2)
        return ScResult(function)
    if code != 1:  # AB.2.4.1
        raise wrong(ErrorCode.PARAMETER_OUT_OF_RANGE, f"result code {code}")
    _check_least(payload, 2 + _NAK.size)
    marker, error_class, error_code = _NAK.unpack_from(payload, 2)
    details = _text(payload[2 + _NAK.size :])
    return ScResult(function, Nak(error_code, error_class, marker, details))


def encode_result(result: ScResult) -> bytes:
    """The payload of a BVLC-Result."""
    if result.nak is None:
        return bytes((result.function, 0))
    nak = result.nak
    return bytes((result.function, 1)) + _NAK.pack(nak.marker, nak.error_class, nak.code) + nak.details.encode()


def decode_connect(payload: bytes) -> Connect:
    """The payload of Connect-Request or Connect-Accept. Raises ScFrameError."""
    _check_least(payload, _CONNECT.size)
    _check_exact(payload, _CONNECT.size)
    connect = Connect(*_CONNECT.unpack(payload))
    if connect.vmac in (NO_VMAC, BROADCAST):  # AB.1.5.2
        raise wrong(ErrorCode.PARAMETER_OUT_OF_RANGE, "a reserved VMAC")
    if not any(connect.uuid):  # AB.1.5.3: a UUID of RFC 4122 that is the device's own
        raise wrong(ErrorCode.PARAMETER_OUT_OF_RANGE, "no device UUID")
    return connect


def encode_connect(connect: Connect) -> bytes:
    """The payload of Connect-Request or Connect-Accept."""
    return _CONNECT.pack(*connect)


def decode_advertisement(payload: bytes) -> Advertisement:
    """The payload of an Advertisement. Raises ScFrameError."""
    _check_least(payload, _ADVERTISEMENT.size)
    _check_exact(payload, _ADVERTISEMENT.size)
    status, direct, max_bvlc, max_npdu = _ADVERTISEMENT.unpack(payload)
    if status > 2 or direct > 1:  # AB.2.8.1
        raise wrong(ErrorCode.PARAMETER_OUT_OF_RANGE, f"hub connection status {status}, direct connections {direct}")
    return Advertisement(status, bool(direct), max_bvlc, max_npdu)


def encode_advertisement(advertisement: Advertisement) -> bytes:
    """The payload of an Advertisement."""
    return _ADVERTISEMENT.pack(*advertisement)


def decode_proprietary(payload: bytes) -> Proprietary:
    """The payload of a Proprietary-Message. Raises ScFrameError."""
    _check_least(payload, 3)
    return Proprietary(int.from_bytes(payload[:2], "big"), payload[2], payload[3:])


def decode_uris(payload: bytes) -> tuple[str, ...]:
    """The URIs of an Address-Resolution-ACK, which are parted by one space each (AB.2.7). Raises ScFrameError."""
    text = _text(payload)
    uris = tuple(text.split(" ")) if text else ()
    if not all(uris):
        raise wrong(ErrorCode.PARAMETER_OUT_OF_RANGE, "an empty URI")
    return uris


def check_npdu(payload: bytes) -> None:
    """An NPDU has at least one octet and is not too long. Raises ScFrameError."""
    _check_least(payload, 1)
    if len(payload) > MAX_NPDU_OCTETS:
        raise wrong(ErrorCode.UNEXPECTED_DATA, "an NPDU is too long")


def check_nothing(payload: bytes) -> None:
    """There is no payload. Raises ScFrameError."""
    _check_exact(payload, 0)


def _check_least(payload: bytes, octets: int) -> None:
    if not payload:
        raise wrong(ErrorCode.PAYLOAD_EXPECTED, "no payload")
    if len(payload) < octets:
        raise wrong(ErrorCode.MESSAGE_INCOMPLETE, "the payload is cut short")


def _check_exact(payload: bytes, octets: int) -> None:
    if len(payload) > octets:
        raise wrong(ErrorCode.UNEXPECTED_DATA, "the payload is too long")


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise wrong(ErrorCode.PARAMETER_OUT_OF_RANGE, "text that is not UTF-8") from None
