"""BACnet's network layer, strictly (ASHRAE 135-2020, clause 6): where a message goes and where it came from."""

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from broker.errors import FrameError
from broker.wire.bacnet.tags import malformed

GLOBAL_NETWORK = 0xFFFF  # 6.2.2: the network number that means all networks
LONGEST_MAC = 7  # table 6-2: a Neuron id; addresses of IP and Secure Connect have six octets
MOST_HOPS = 255

_VERSION = 1
_NETWORK_MESSAGE = 0x80
_HAS_DESTINATION = 0x20
_HAS_SOURCE = 0x08
_EXPECTING_REPLY = 0x04
_PRIORITY = 0x03
_REMEMBERED_HEADERS = 4096
_RESERVED = 0x50  # 6.2.2: bits 6 and 4 shall be zero


class Message(IntEnum):
    """Network layer messages (6.2.4); those of the deleted clause 24 and of vendors are refused."""

    WHO_IS_ROUTER = 0x00
    I_AM_ROUTER = 0x01
    I_COULD_BE_ROUTER = 0x02
    REJECT = 0x03
    BUSY = 0x04
    AVAILABLE = 0x05
    INIT_ROUTING = 0x06
    INIT_ROUTING_ACK = 0x07
    ESTABLISH = 0x08
    DISCONNECT = 0x09
    WHAT_IS_NETWORK_NUMBER = 0x12
    NETWORK_NUMBER_IS = 0x13


class NotRouted(IntEnum):
    """Why a router rejects a message to a network (6.4.4)."""

    OTHER = 0
    NO_SUCH_NETWORK = 1
    BUSY = 2
    UNKNOWN_MESSAGE = 3
    TOO_LONG = 4
    SECURITY_ERROR = 5
    BAD_ADDRESS = 6


class Address(NamedTuple):
    """A station by network and MAC; an empty MAC means all stations of that network, on 65535 all there are."""

    network: int
    mac: bytes


class Npdu(NamedTuple):
    """One message: `payload` is an APDU, or the contents of the network layer message `message`."""

    payload: bytes
    destination: Address | None = None
    source: Address | None = None
    hop_count: int = MOST_HOPS
    expecting_reply: bool = False
    priority: int = 0
    message: int | None = None


_MESSAGES = frozenset(Message)
_EXACT_OCTETS = {
    Message.I_COULD_BE_ROUTER: 3,
    Message.REJECT: 3,
    Message.ESTABLISH: 3,
    Message.DISCONNECT: 2,
    Message.WHAT_IS_NETWORK_NUMBER: 0,
    Message.NETWORK_NUMBER_IS: 3,
}
_NETWORK_LISTS = frozenset((Message.WHO_IS_ROUTER, Message.I_AM_ROUTER, Message.BUSY, Message.AVAILABLE))


def decode_npdu(octets: bytes) -> Npdu:
    """The message in these octets. Raises FrameError.

    Its code is `unknown_message` for a network layer message that a router answers with NotRouted.UNKNOWN_MESSAGE.
    """
    if len(octets) < 3 or octets[0] != _VERSION:
        raise malformed("not an NPDU of version 1")
    control = octets[1]
    if control & _RESERVED:
        raise malformed("reserved bits in the NPDU's control octet")
    if not control & ~(_EXPECTING_REPLY | _PRIORITY):  # the way of nearly every message between two devices
        return Npdu(octets[2:], None, None, MOST_HOPS, control & _EXPECTING_REPLY != 0, control & _PRIORITY)
    return _decode_routed(octets, control)


def _decode_routed(octets: bytes, control: int) -> Npdu:
    position = 2
    destination = source = None
    hop_count = MOST_HOPS
    if control & _HAS_DESTINATION:
        destination, position = _address(octets, position)
        if destination.network == GLOBAL_NETWORK and destination.mac:
            raise malformed("a station on all networks")  # 6.2.2.1: DLEN shall be zero
    if control & _HAS_SOURCE:
        source, position = _address(octets, position)
        if source.network == GLOBAL_NETWORK or not source.mac:
            raise malformed("a source that is no station")  # 6.2.2.1: SNET is 1 to 65534, SLEN not zero
    if destination is not None:
        hop_count, position = _octet(octets, position), position + 1
    message = None
    if control & _NETWORK_MESSAGE:
        message, position = _octet(octets, position), position + 1
        _check_contents(message, octets[position:])
    elif position == len(octets):
        raise malformed("an NPDU without an APDU")
    expecting = control & _EXPECTING_REPLY != 0
    return Npdu(octets[position:], destination, source, hop_count, expecting, control & _PRIORITY, message)


def _octet(octets: bytes, position: int) -> int:
    if position >= len(octets):
        raise malformed("an NPDU cut short")
    return octets[position]


def _address(octets: bytes, position: int) -> tuple[Address, int]:
    start = position + 3
    end = start + _octet(octets, position + 2)
    network = octets[position] << 8 | octets[position + 1]
    if not network or not start <= end <= min(len(octets), start + LONGEST_MAC):
        raise malformed(f"an address of {end - start} octets on network {network}")
    return Address(network, octets[start:end]), end


def _check_contents(message: int, contents: bytes) -> None:
    """Refuse a network layer message that is unknown, or not as long as 6.4 has it."""
    if message not in _MESSAGES:
        raise FrameError("unknown_message", "not BACnet as the standard has it", f"network layer message {message}")
    octets = len(contents)
    if message in _NETWORK_LISTS:
        networks = decode_networks(contents)
        fits = len(networks) <= 1 if message == Message.WHO_IS_ROUTER else networks or message != Message.I_AM_ROUTER
    elif message in (Message.INIT_ROUTING, Message.INIT_ROUTING_ACK):
        fits = _is_routing_table(contents) or (not octets and message == Message.INIT_ROUTING_ACK)
    else:
        fits = octets == _EXACT_OCTETS[Message(message)]
    if not fits:
        raise malformed(f"network layer message {message} with {octets} octets")
    if message == Message.NETWORK_NUMBER_IS:
        decode_network_number(contents)


def _is_routing_table(contents: bytes) -> bool:
    """Whether there are as many ports as announced: network, port id, as much information as it says (6.4.7)."""
    if not contents:
        return False
    position = 1
    for _ in range(contents[0]):
        if position + 4 > len(contents):
            return False
        position += 4 + contents[position + 3]
    return position == len(contents)


def encode_npdu(npdu: Npdu) -> bytes:
    """The octets of one message."""
    control = npdu.priority | (_EXPECTING_REPLY if npdu.expecting_reply else 0)
    addresses = b""
    if npdu.destination is not None:
        control |= _HAS_DESTINATION
        addresses += _encode_address(npdu.destination)
    if npdu.source is not None:
        control |= _HAS_SOURCE
        addresses += _encode_address(npdu.source)
    if npdu.destination is not None:
        addresses += bytes((npdu.hop_count,))
    if npdu.message is not None:
        control |= _NETWORK_MESSAGE
        addresses += bytes((npdu.message,))
    return bytes((_VERSION, control)) + addresses + npdu.payload


@lru_cache(_REMEMBERED_HEADERS)
def npci(destination: Address | None, source: Address | None, expecting_reply: bool) -> bytes:
    """What stands in front of an APDU that goes there: the same again and again."""
    return encode_npdu(Npdu(b"", destination, source, expecting_reply=expecting_reply))


def _encode_address(address: Address) -> bytes:
    return address.network.to_bytes(2, "big") + bytes((len(address.mac),)) + address.mac


def decode_networks(payload: bytes) -> tuple[int, ...]:
    """The network numbers that Who-Is-Router, I-Am-Router, Router-Busy or Router-Available holds. Raises FrameError."""
    if len(payload) % 2:
        raise malformed("half a network number")
    networks = tuple(payload[place] << 8 | payload[place + 1] for place in range(0, len(payload), 2))
    if 0 in networks or GLOBAL_NETWORK in networks:
        raise malformed("a network number that is none")
    return networks


def encode_networks(networks: Iterable[int]) -> bytes:
    """The contents of a message that lists these networks."""
    return b"".join(network.to_bytes(2, "big") for network in networks)


def decode_reject(payload: bytes) -> tuple[int, int]:
    """Why and for which network a router rejected a message (6.4.4). Raises FrameError."""
    if len(payload) != 3:
        raise malformed(f"a rejection of {len(payload)} octets")
    return payload[0], payload[1] << 8 | payload[2]


def encode_reject(reason: int, network: int) -> bytes:
    """The contents of Reject-Message-To-Network."""
    return bytes((reason,)) + network.to_bytes(2, "big")


def decode_network_number(payload: bytes) -> tuple[int, bool]:
    """The number of this network, and whether it was configured, not learned (6.4.20). Raises FrameError."""
    if len(payload) != 3 or payload[2] > 1:
        raise malformed("a network number that is not told as it should be")
    (network,) = decode_networks(payload[:2])
    return network, payload[2] == 1


def encode_network_number(network: int, configured: bool) -> bytes:
    """The contents of Network-Number-Is."""
    return network.to_bytes(2, "big") + bytes((configured,))
