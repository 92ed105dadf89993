"""BACnet/IP's virtual link layer, strictly (ASHRAE 135-2020, Annex J): a header, then what the function has."""

from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address
from struct import Struct
from typing import NamedTuple

from broker.wire.bacnet.tags import malformed

BACNET_IP = 0x81  # J.2: the type of every message
LONGEST_NPDU = 1497  # table 6-1

_HEADER = Struct(">BBH")
_HEADER_OCTETS = _HEADER.size
_ORIGIN_OCTETS = 6  # J.1.2: four octets of IPv4 address, two of UDP port
_TABLE_ENTRY_OCTETS = 10  # J.2.2, J.2.8: six of address, then a mask or two times
_LONGEST_DATAGRAM = _HEADER_OCTETS + _ORIGIN_OCTETS + LONGEST_NPDU
_MAC = Struct(">IH")
_REMEMBERED_PLACES = 1024


class Function(IntEnum):
    """What a message is for (J.2)."""

    RESULT = 0x00
    WRITE_BDT = 0x01
    READ_BDT = 0x02
    READ_BDT_ACK = 0x03
    FORWARDED_NPDU = 0x04
    REGISTER_FOREIGN_DEVICE = 0x05
    READ_FDT = 0x06
    READ_FDT_ACK = 0x07
    DELETE_FDT_ENTRY = 0x08
    DISTRIBUTE_BROADCAST = 0x09
    ORIGINAL_UNICAST = 0x0A
    ORIGINAL_BROADCAST = 0x0B
    SECURE = 0x0C


class ResultCode(IntEnum):
    """What a Result says (J.2.1.1)."""

    SUCCESS = 0x0000
    WRITE_BDT_REFUSED = 0x0010
    READ_BDT_REFUSED = 0x0020
    REGISTER_REFUSED = 0x0030
    READ_FDT_REFUSED = 0x0040
    DELETE_FDT_ENTRY_REFUSED = 0x0050
    DISTRIBUTE_REFUSED = 0x0060


class Bvlc(NamedTuple):
    """One message; `origin` is whom a Forwarded-NPDU came from, six octets, and not part of `payload`."""

    function: int
    payload: bytes
    origin: bytes = b""


_CARRIES_NPDU = frozenset((Function.DISTRIBUTE_BROADCAST, Function.ORIGINAL_UNICAST, Function.ORIGINAL_BROADCAST))
_EXACT_OCTETS = {
    Function.RESULT: 2,
    Function.READ_BDT: 0,
    Function.REGISTER_FOREIGN_DEVICE: 2,
    Function.READ_FDT: 0,
    Function.DELETE_FDT_ENTRY: _ORIGIN_OCTETS,
}
_TABLES = frozenset((Function.WRITE_BDT, Function.READ_BDT_ACK, Function.READ_FDT_ACK))
_RESULT_CODES = frozenset(ResultCode)


def decode_bvlc(datagram: bytes) -> Bvlc:
    """The one message that this datagram is. Raises FrameError.

    Secure-BVLL is refused: the clause it came from is deleted, and nothing within could be inspected.
    """
    octets = len(datagram)
    if not _HEADER_OCTETS <= octets <= _LONGEST_DATAGRAM:
        raise malformed(f"a datagram of {octets} octets")
    kind, function, length = _HEADER.unpack_from(datagram)
    if kind != BACNET_IP or length != octets:
        raise malformed(f"type {kind}, length field {length} in a datagram of {octets} octets")
    if function in _CARRIES_NPDU:
        return Bvlc(function, _npdu(datagram, _HEADER_OCTETS))
    if function == Function.FORWARDED_NPDU:
        start = _HEADER_OCTETS + _ORIGIN_OCTETS
        return Bvlc(function, _npdu(datagram, start), datagram[_HEADER_OCTETS:start])
    return Bvlc(function, _management(function, datagram[_HEADER_OCTETS:]))


def _npdu(datagram: bytes, start: int) -> bytes:
    npdu = datagram[start:]
    if not 2 <= len(npdu) <= LONGEST_NPDU:  # 6.2: version and control are always there
        raise malformed(f"an NPDU of {len(npdu)} octets")
    return npdu


def _management(function: int, payload: bytes) -> bytes:
    exact = _EXACT_OCTETS.get(function)  # type: ignore[call-overload]
    if exact is None and function not in _TABLES:
        raise malformed(f"function {function}")
    if len(payload) != exact if exact is not None else len(payload) % _TABLE_ENTRY_OCTETS:
        raise malformed(f"function {function} with {len(payload)} octets")
    return payload


def encode_bvlc(function: int, payload: bytes) -> bytes:
    """The datagram of any message but a Forwarded-NPDU."""
    return _HEADER.pack(BACNET_IP, function, _HEADER_OCTETS + len(payload)) + payload


def encode_forwarded(origin: bytes, npdu: bytes) -> bytes:
    """The datagram that forwards what `origin` (six octets) sent (J.2.5)."""
    return encode_bvlc(Function.FORWARDED_NPDU, origin + npdu)


def encode_result(code: int) -> bytes:
    """The datagram that says how a request to a BBMD ended (J.2.1)."""
    return encode_bvlc(Function.RESULT, code.to_bytes(2, "big"))


def encode_register(ttl_seconds: int) -> bytes:
    """The datagram that registers a foreign device for so long (J.2.6)."""
    return encode_bvlc(Function.REGISTER_FOREIGN_DEVICE, ttl_seconds.to_bytes(2, "big"))


def decode_result(payload: bytes) -> int:
    """The code of a Result. Raises FrameError if the standard has no such code."""
    code = _two_octets(payload)
    if code not in _RESULT_CODES:
        raise malformed(f"result {code}")
    return code


def decode_register(payload: bytes) -> int:
    """For how many seconds a foreign device registers. Raises FrameError."""
    return _two_octets(payload)


def _two_octets(payload: bytes) -> int:
    if len(payload) != 2:
        raise malformed(f"{len(payload)} octets instead of two")
    return int.from_bytes(payload, "big")


@lru_cache(_REMEMBERED_PLACES)
def mac_of(host: str, port: int) -> bytes:
    """The six octets by which an IPv4 address in dotted decimal and a UDP port are known (J.1.2)."""
    return _MAC.pack(int(IPv4Address(host)), port)


@lru_cache(_REMEMBERED_PLACES)
def place_of(mac: bytes) -> tuple[str, int]:
    """The IPv4 address and UDP port that these six octets stand for. Raises FrameError."""
    if len(mac) != _ORIGIN_OCTETS:
        raise malformed(f"a BACnet/IP address of {len(mac)} octets")
    host, port = _MAC.unpack(mac)
    return str(IPv4Address(host)), port
