"""How much a message counts where only so many a second are taken; told by a look, before anything is decoded."""

from typing import Final

from broker.wire.bacnet.sc_message import VMAC_OCTETS, Function

WEIGHT_OF_QUESTIONS_TO_ALL: Final = 10.0
"""A confirmed request waits for its reply, and a reply for its request; what nobody answers comes as fast as it can be
sent, and is often for every device.
"""
_NETWORK_MESSAGE, _HAS_DESTINATION, _HAS_SOURCE = 0x80, 0x20, 0x08  # 6.2.2
_UNCONFIRMED = 0x10  # 20.1.3
_SC_HEAD_OCTETS = 4
_ORIGIN, _DESTINATION, _DESTINATION_OPTIONS, _DATA_OPTIONS = 0x08, 0x04, 0x02, 0x01  # AB.2.2
_MORE, _HAS_DATA = 0x80, 0x20  # AB.2.3
_MOST_OPTIONS = 4


def weight_of(npdu: bytes) -> float:
    """1 for requests that want a reply and for replies; more for all else, octets that are no NPDU among it."""
    try:
        control, place = npdu[1], 2
        if control & _HAS_DESTINATION:
            place += 3 + npdu[place + 2]
        if control & _HAS_SOURCE:
            place += 3 + npdu[place + 2]
        if control & _HAS_DESTINATION:
            place += 1
        light = not control & _NETWORK_MESSAGE and npdu[place] & 0xF0 != _UNCONFIRMED
    except IndexError:
        light = False
    return 1.0 if light else WEIGHT_OF_QUESTIONS_TO_ALL


def weight_of_sc(message: bytes) -> float:
    """The same of a message of BACnet/SC: by its NPDU. One without is about the connection, and those are few."""
    try:
        if message[0] != Function.ENCAPSULATED_NPDU:
            return WEIGHT_OF_QUESTIONS_TO_ALL
        control = message[1]
        place = _SC_HEAD_OCTETS + VMAC_OCTETS * (bool(control & _ORIGIN) + bool(control & _DESTINATION))
        for options in (_DESTINATION_OPTIONS, _DATA_OPTIONS):
            if control & options:
                place = _behind_options(message, place)
    except IndexError:
        return WEIGHT_OF_QUESTIONS_TO_ALL
    return weight_of(message[place:])


def _behind_options(message: bytes, place: int) -> int:
    """Where a chain of header options ends. Raises IndexError if it does not, or is a long one."""
    for _ in range(_MOST_OPTIONS):
        marker = message[place]
        place += 1
        if marker & _HAS_DATA:
            place += 2 + (message[place] << 8 | message[place + 1])
        if not marker & _MORE:
            return place
    raise IndexError
