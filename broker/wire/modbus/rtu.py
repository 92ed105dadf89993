"""Frames of a serial line (MODBUS over Serial Line v1.02, 2.5.1): unit, PDU, CRC with its low octet first.

A line has no lengths and no transaction ids: the end of a frame follows from its function and byte counts.
"""

from collections.abc import Callable

from broker.errors import FrameError

LONGEST_FRAME = 256  # MODBUS over Serial Line v1.02, 2.5.1
_EXCEPTION = 0x80
_EXCEPTION_OCTETS = 5
_IDENTIFICATION_HEADER = 8


def _crc_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1  # MODBUS over Serial Line v1.02, 6.2.2
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes) -> int:
    """The checksum of a frame's unit and PDU."""
    crc = 0xFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ octet) & 0xFF]
    return crc


def encode_rtu(unit: int, pdu: bytes) -> bytes:
    """The octets of one frame."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


Length = Callable[[bytes], int | None]


def _fixed(octets: int) -> Length:
    return lambda frame: octets


def _counted(place: int, width: int = 1) -> Length:
    """The length of a frame whose byte count is the `width` octets at `place`, with the CRC behind what is counted."""

    def length(frame: bytes) -> int | None:
        if len(frame) < place + width:
            return None
        return place + width + int.from_bytes(frame[place : place + width], "big") + 2

    return length


def _identification(frame: bytes) -> int | None:
    """The length of a reply of function 43/14, which is only known when every object's length octet is there."""
    if len(frame) < _IDENTIFICATION_HEADER:
        return None
    end = _IDENTIFICATION_HEADER
    for _ in range(frame[_IDENTIFICATION_HEADER - 1]):
        if len(frame) < end + 2:
            return None
        end += 2 + frame[end + 1]
    return end + 2


_REPLY_LENGTHS: dict[int, Length] = {
    **dict.fromkeys((1, 2, 3, 4, 12, 17, 20, 21, 23), _counted(2)),
    **dict.fromkeys((5, 6, 11, 15, 16), _fixed(8)),
    7: _fixed(5),
    22: _fixed(10),
    24: _counted(2, 2),
    43: _identification,
}

_REQUEST_LENGTHS: dict[int, Length] = {
    **dict.fromkeys((1, 2, 3, 4, 5, 6, 8), _fixed(8)),
    **dict.fromkeys((7, 11, 12, 17), _fixed(4)),
    **dict.fromkeys((15, 16), _counted(6)),
    **dict.fromkeys((20, 21), _counted(2)),
    22: _fixed(10),
    23: _counted(10),
    24: _fixed(6),
    43: _fixed(7),
}


class RtuReplyDecoder:
    """Finds the one reply to a request in what a line delivers; whatever does not belong to it is a refusal.

    After a refusal the line must be drained: use a new decoder for the next request.
    """

    __slots__ = ("_buffer", "_function", "_length", "_unit")

    def __init__(self, unit: int, request_pdu: bytes) -> None:
        self._buffer = b""
        self._unit = unit
        self._function = request_pdu[0]
        # Diagnostics has no byte count: its reply is as long as its request (6.8).
        self._length = _fixed(len(request_pdu) + 3) if self._function == 8 else _REPLY_LENGTHS[self._function]

    @property
    def pending(self) -> int:
        """Octets that were fed and not yet returned."""
        return len(self._buffer)

    def feed(self, data: bytes | memoryview) -> None:
        """Take what was just read."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The PDU of the reply once it is whole, or None until more is fed.

        Raises FrameError `framing`: another unit or function, an impossible length, a wrong checksum, octets behind it.
        """
        length = self._reply_length()
        if (length or len(self._buffer)) > LONGEST_FRAME:
            raise FrameError("framing", f"a reply longer than {LONGEST_FRAME} octets")
        if length is None or len(self._buffer) < length:
            return None
        frame, self._buffer = self._buffer, b""
        if len(frame) > length:
            raise FrameError("framing", "octets behind the end of the reply")
        return _verified(frame)

    def _reply_length(self) -> int | None:
        frame = self._buffer
        if frame and frame[0] != self._unit:
            raise FrameError("framing", f"a reply of unit {frame[0]} instead of {self._unit}")
        if len(frame) < 2:
            return None
        if frame[1] == self._function | _EXCEPTION:
            return _EXCEPTION_OCTETS
        if frame[1] != self._function:
            raise FrameError("framing", f"a reply of function {frame[1]} to function {self._function}")
        return self._length(frame)


def decode_rtu_request(octets: bytes) -> tuple[int, bytes] | None:
    """Unit and PDU of a request that begins the octets, None if it is not whole yet; diagnostics carry one data word.

    Raises FrameError `framing`: a function whose length is not known, a wrong checksum, octets behind the request.
    """
    if len(octets) < 2:
        return None
    length_of = _REQUEST_LENGTHS.get(octets[1])
    if length_of is None:
        raise FrameError("framing", f"a request of function {octets[1]}")
    length = length_of(octets)
    if length is None or len(octets) < length:
        return None
    if len(octets) > length:
        raise FrameError("framing", "octets behind the end of the request")
    return octets[0], _verified(octets)


def _verified(frame: bytes) -> bytes:
    """The PDU of a frame whose checksum is right."""
    if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
        raise FrameError("framing", "wrong checksum")
    return frame[1:-2]
