"""What a tunnel to the BACnet network of a site carries: datagrams, several in one message where they come together.

Each is the address of a client (six octets: IPv4 address and UDP port as in ASHRAE 135-2020, J.1.2, or whatever tells
clients apart), the length of the NPDU (two octets), and the NPDU.
"""

from struct import Struct
from typing import Final

from broker.wire.bacnet.bvlc import LONGEST_NPDU
from broker.wire.bacnet.tags import malformed

MAC_OCTETS: Final = 6
ALL_CLIENTS: Final = b"\xff" * MAC_OCTETS
"""The address that reaches every client; none of them has it."""
LONGEST_MESSAGE: Final = 16_384

_HEAD = Struct(">6sH")


def encode_datagram(mac: bytes, npdu: bytes) -> bytes:
    """One datagram; those of one message stand behind one another."""
    return _HEAD.pack(mac, len(npdu)) + npdu


def decode_datagrams(message: bytes) -> list[tuple[bytes, bytes]]:
    """The address and NPDU of each datagram in a message. Raises FrameError."""
    datagrams: list[tuple[bytes, bytes]] = []
    place, end = 0, len(message)
    while place < end:
        start = place + _HEAD.size
        if start > end:
            raise malformed("a datagram cut short")
        mac, octets = _HEAD.unpack_from(message, place)
        place = start + octets
        if not 0 < octets <= LONGEST_NPDU or place > end:
            raise malformed(f"an NPDU of {octets} octets")
        datagrams.append((mac, message[start:place]))
    if not datagrams:
        raise malformed("no datagram")
    return datagrams
