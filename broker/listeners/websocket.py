"""WebSocket frames (RFC 6455) of a server, sans I/O: strict, without extensions, without keeping what can be passed on.

Where a tunnel's binary messages are one octet stream, their payload is handed over as it arrives, frame by frame; only
texts, control frames and (where they are datagrams) whole binary messages are gathered, within small bounds.
"""

import base64
import hashlib
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from broker.errors import FrameError, LimitError

MAX_BINARY_OCTETS: Final = 65_536
MAX_TEXT_OCTETS: Final = 16_384
MAX_CONTROL_OCTETS: Final = 125  # 5.5
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # 1.3
_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_SHORT, _LONG = Struct(">H"), Struct(">Q")


class Opcode(IntEnum):
    """What a frame is (5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Why a connection is closed (7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    UNSUPPORTED = 1003
    NOT_UTF8 = 1007
    POLICY = 1008
    TOO_BIG = 1009
    FAULT = 1011


@dataclass(slots=True)
class Message:
    """Part of the binary stream, a whole binary message or text, or a control frame."""

    opcode: Opcode
    payload: bytes


class FrameDecoder:
    """Octets of a client in, messages out. Raises FrameError (close with 1002) or LimitError (close with 1009).

    With `whole_octets` binary messages are handed over whole, and may be that long; with 0 they are one stream.
    """

    __slots__ = ("_closed", "_gathered", "_kind", "_octets", "_whole_octets")

    def __init__(self, whole_octets: int = 0) -> None:
        self._octets = b""
        self._closed = False
        self._kind: Opcode | None = None
        self._gathered = b""
        self._whole_octets = whole_octets

    def receive(self, data: bytes) -> list[Message]:
        """Take octets; what is complete. What comes after a close frame is not looked at (5.5.1)."""
        octets = self._octets + data if self._octets else data
        messages: list[Message] = []
        place = 0
        while not self._closed and (frame := _frame(octets, place)) is not None:
            first, payload, place = frame
            message = self._take(first, payload)
            if message is not None:
                messages.append(message)
        self._octets = b"" if self._closed else octets[place:]
        return messages

    def _take(self, first: int, payload: bytes) -> Message | None:
        opcode, final = Opcode(first & 0x0F), bool(first & _FIN)
        if opcode >= Opcode.CLOSE:
            self._closed = opcode is Opcode.CLOSE
            return Message(opcode, payload)
        if (opcode is Opcode.CONTINUATION) is (self._kind is None):
            raise FrameError("frame_order", "a fragment out of order")
        kind = self._kind or opcode
        self._kind = None if final else kind
        most = MAX_TEXT_OCTETS if kind is Opcode.TEXT else self._whole_octets
        return self._gather(kind, payload, final, most) if most else Message(kind, payload)

    def _gather(self, kind: Opcode, payload: bytes, final: bool, most: int) -> Message | None:
        self._gathered += payload
        if len(self._gathered) > most:
            raise LimitError("message_too_long", "a message is too long")
        if not final:
            return None
        whole, self._gathered = self._gathered, b""
        return Message(kind, whole)


def _frame(octets: bytes, place: int) -> tuple[int, bytes, int] | None:
    """First octet, unmasked payload and end of the frame at `place`; None if it is not complete."""
    if len(octets) - place < 2:
        return None
    first, second = octets[place], octets[place + 1]
    _check_head(first, second)
    start, length = place + 2, second & 0x7F
    if length >= 126:
        layout = _SHORT if length == 126 else _LONG
        if len(octets) - start < layout.size:
            return None
        (length,) = layout.unpack_from(octets, start)
        if length < (126 if layout is _SHORT else 65_536):  # 5.2: the minimal number of octets
            raise FrameError("frame_length", "a length is not in its shortest form")
        start += layout.size
    if length > (MAX_TEXT_OCTETS if first & 0x0F == Opcode.TEXT else MAX_BINARY_OCTETS):
        raise LimitError("frame_too_long", "a frame is too long")
    end = start + 4 + length
    if len(octets) < end:
        return None
    return first, _masked(octets[start + 4 : end], octets[start : start + 4]), end


def _check_head(first: int, second: int) -> None:
    opcode = first & 0x0F
    if first & _RESERVED:
        raise FrameError("frame_reserved", "reserved bits are set though no extension was agreed")
    if opcode not in _OPCODES:
        raise FrameError("frame_opcode", "an unknown opcode")
    if not second & _MASKED:  # 5.1
        raise FrameError("frame_unmasked", "a frame of a client is not masked")
    if opcode >= Opcode.CLOSE and (not first & _FIN or second & 0x7F > MAX_CONTROL_OCTETS):
        raise FrameError("frame_control", "a control frame is fragmented or too long")


_OPCODES = frozenset(Opcode)


def _masked(payload: bytes, mask: bytes) -> bytes:
    """The payload with its mask taken off, or put on (5.3)."""
    length = len(payload)
    if not length:
        return b""
    pad = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """One whole, unmasked frame of a server."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | opcode, length)) + payload
    if length < 65_536:
        return bytes((_FIN | opcode, 126)) + _SHORT.pack(length) + payload
    return bytes((_FIN | opcode, 127)) + _LONG.pack(length) + payload


def encode_close(code: CloseCode, reason: str) -> bytes:
    """A close frame; the reason is cut to what fits."""
    return encode_frame(Opcode.CLOSE, _SHORT.pack(code) + reason.encode("ascii", "replace")[: MAX_CONTROL_OCTETS - 2])


def accept_key(key: str) -> str:
    """`Sec-WebSocket-Accept` for a client's key (4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
