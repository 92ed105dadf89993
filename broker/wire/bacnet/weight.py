"""How much an NPDU counts where only so many a second are taken; told by a look, before anything is decoded."""

from typing import Final

WEIGHT_OF_QUESTIONS_TO_ALL: Final = 10.0
"""A confirmed request waits for its reply, and a reply for its request; what nobody answers comes as fast as it can be
sent, and is often for every device.
"""
_NETWORK_MESSAGE, _HAS_DESTINATION, _HAS_SOURCE = 0x80, 0x20, 0x08  # 6.2.2
_UNCONFIRMED = 0x10  # 20.1.3


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
