"""Frames of Modbus/TCP (Messaging on TCP/IP Implementation Guide v1.0b, 3.1.3): 7 octets of header, then the PDU."""

from struct import Struct
from typing import NamedTuple

from broker.errors import FrameError

_HEADER = Struct(">HHHB")
_HEADER_OCTETS = _HEADER.size
_SHORTEST_LENGTH = 2
_LONGEST_LENGTH = 254


class Frame(NamedTuple):
    """One frame; `pdu` is 1 to 253 octets that nobody has looked into yet."""

    transaction: int
    unit: int
    pdu: bytes


def encode_mbap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """The octets of one frame."""
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class MbapDecoder:
    """Cuts a stream into frames; after a refusal the stream has no boundaries, so every later call refuses."""

    __slots__ = ("_buffer", "_refusal", "_start")

    def __init__(self) -> None:
        self._buffer = b""
        self._start = 0
        self._refusal = ""

    @property
    def pending(self) -> int:
        """Octets that were fed and not yet returned in a frame."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes | memoryview) -> None:
        """Take what was just read; it is copied unless it is `bytes`. Ignored after a refusal."""
        if self._refusal:
            return
        if self._buffer:
            self._buffer = self._buffer[self._start :] + data
            self._start = 0
        else:
            self._buffer = bytes(data)

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more is fed.

        Raises FrameError `framing` as soon as the octets at hand cannot become a frame.
        """
        buffer, start = self._buffer, self._start
        available = len(buffer) - start
        if available < _HEADER_OCTETS:
            if available or self._refusal:
                self._check_start()
            return None
        transaction, protocol, length, unit = _HEADER.unpack_from(buffer, start)
        if protocol or not _SHORTEST_LENGTH <= length <= _LONGEST_LENGTH:
            raise self._refuse(protocol, length)
        if available < length + 6:
            self._keep_rest()
            return None
        end = start + length + 6
        if available == length + 6:
            self._buffer, self._start = b"", 0
        else:
            self._start = end
        return Frame(transaction, unit, buffer[start + 7 : end])

    def _check_start(self) -> None:
        """Refuse a frame by the part of its header that is there."""
        if self._refusal:
            raise FrameError("framing", self._refusal)
        self._keep_rest()
        protocol = int.from_bytes(self._buffer[2:4], "big") if len(self._buffer) >= 4 else 0
        length = int.from_bytes(self._buffer[4:6], "big") if len(self._buffer) >= 6 else _SHORTEST_LENGTH
        if protocol or not _SHORTEST_LENGTH <= length <= _LONGEST_LENGTH:
            raise self._refuse(protocol, length)

    def _keep_rest(self) -> None:
        """Let go of frames already returned, so that what is kept stays below one frame."""
        self._buffer, self._start = self._buffer[self._start :], 0

    def _refuse(self, protocol: int, length: int) -> FrameError:
        wrong = f"protocol identifier {protocol}" if protocol else f"length field {length}"
        self._refusal = f"not Modbus/TCP: {wrong}"
        self._buffer, self._start = b"", 0
        return FrameError("framing", self._refusal)
