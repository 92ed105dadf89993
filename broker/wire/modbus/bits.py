"""Coils and discrete inputs: functions 1, 2, 5 and 15 (6.1, 6.2, 6.5, 6.11)."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Self

from broker.model.place import Table
from broker.wire.modbus.fields import (
    illegal_value,
    require_byte_count,
    require_echo,
    require_length,
    require_range,
)

MOST_READ = 2000  # 6.1, 6.2: quantity 1 to 0x07D0
MOST_WRITTEN = 1968  # 6.11: quantity 1 to 0x07B0

_RANGE = Struct(">BHH")
_RANGE_AND_BYTE_COUNT = Struct(">BHHB")
_ON, _OFF = 0xFF00, 0x0000


def bits_of(data: bytes, count: int) -> tuple[int, ...]:
    """The first `count` bits of packed octets, least significant first, each 0 or 1."""
    return tuple(data[place >> 3] >> (place & 7) & 1 for place in range(count))


def pack_bits(bits: Sequence[int]) -> bytes:
    """Bits (0 or 1) packed as on the wire, the last octet padded with zeros. Raises FrameError for any other number."""
    if any(bit not in (0, 1) for bit in bits):
        raise illegal_value("a coil is 0 or 1")
    packed = sum(bit << place for place, bit in enumerate(bits))
    return packed.to_bytes((len(bits) + 7) // 8, "little")


def _require_packed(data: bytes, count: int) -> None:
    if len(data) != (count + 7) // 8:
        raise illegal_value(f"{len(data)} octets do not hold {count} bits")
    if count % 8 and data[-1] >> count % 8:
        raise illegal_value("the bits that pad the last octet are not zero")  # 6.1, 6.11: padded with zeros


@dataclass(frozen=True, slots=True)
class _BitsReply:
    """The packed bits that were read."""

    data: bytes
    function: ClassVar[int]

    def __post_init__(self) -> None:
        if not 1 <= len(self.data) <= MOST_READ // 8:
            raise illegal_value(f"{len(self.data)} octets of bits")

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return bytes((self.function, len(self.data))) + self.data


@dataclass(frozen=True, slots=True)
class ReadCoilsReply(_BitsReply):
    """Reply of function 1."""

    function: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class ReadDiscreteInputsReply(_BitsReply):
    """Reply of function 2."""

    function: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class ReadBits:
    """What functions 1 and 2 have in common: a range of one table."""

    start: int
    count: int
    function: ClassVar[int]
    service: ClassVar[str]
    table: ClassVar[Table]
    reply: ClassVar[type[ReadCoilsReply] | type[ReadDiscreteInputsReply]]

    def __post_init__(self) -> None:
        require_range(self.start, self.count, MOST_READ)

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        require_length(pdu, 5)
        _, start, count = _RANGE.unpack(pdu)
        return cls(start, count)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE.pack(self.function, self.start, self.count)

    def decode_reply(self, pdu: bytes) -> ReadCoilsReply | ReadDiscreteInputsReply:
        """The reply to this request. Raises FrameError."""
        require_byte_count(pdu, 1, (self.count + 7) // 8)
        data = pdu[2:]
        _require_packed(data, self.count)
        return self.reply(data)


@dataclass(frozen=True, slots=True)
class ReadCoils(ReadBits):
    """Function 1."""

    function: ClassVar[int] = 1
    service: ClassVar[str] = "read-coils"
    table: ClassVar[Table] = Table.COIL
    reply: ClassVar[type[ReadCoilsReply]] = ReadCoilsReply


@dataclass(frozen=True, slots=True)
class ReadDiscreteInputs(ReadBits):
    """Function 2."""

    function: ClassVar[int] = 2
    service: ClassVar[str] = "read-discrete-inputs"
    table: ClassVar[Table] = Table.DISCRETE_INPUT
    reply: ClassVar[type[ReadDiscreteInputsReply]] = ReadDiscreteInputsReply


@dataclass(frozen=True, slots=True)
class WriteSingleCoilReply:
    """Reply of function 5: what was written where."""

    start: int
    on: bool
    function: ClassVar[int] = 5

    def __post_init__(self) -> None:
        require_range(self.start, 1, 1)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE.pack(self.function, self.start, _ON if self.on else _OFF)


@dataclass(frozen=True, slots=True)
class WriteSingleCoil:
    """Function 5."""

    start: int
    on: bool
    function: ClassVar[int] = 5
    service: ClassVar[str] = "write-single-coil"
    table: ClassVar[Table] = Table.COIL
    count: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require_range(self.start, 1, 1)

    @property
    def data(self) -> bytes:
        """The bit written, packed as function 15 packs it."""
        return b"\x01" if self.on else b"\x00"

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU of function 5. Raises FrameError."""
        require_length(pdu, 5)
        _, start, value = _RANGE.unpack(pdu)
        if value not in (_ON, _OFF):  # 6.5: all other values are illegal
            raise illegal_value(f"a coil is written with 0xFF00 or 0x0000, not 0x{value:04X}")
        return cls(start, value == _ON)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE.pack(self.function, self.start, _ON if self.on else _OFF)

    def decode_reply(self, pdu: bytes) -> WriteSingleCoilReply:
        """The reply to this request. Raises FrameError."""
        require_echo(pdu, self.encode())
        return WriteSingleCoilReply(self.start, self.on)


@dataclass(frozen=True, slots=True)
class WriteMultipleCoilsReply:
    """Reply of function 15: the range that was written."""

    start: int
    count: int
    function: ClassVar[int] = 15

    def __post_init__(self) -> None:
        require_range(self.start, self.count, MOST_WRITTEN)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE.pack(self.function, self.start, self.count)


@dataclass(frozen=True, slots=True)
class WriteMultipleCoils:
    """Function 15; `data` are the packed bits."""

    start: int
    count: int
    data: bytes
    function: ClassVar[int] = 15
    service: ClassVar[str] = "write-multiple-coils"
    table: ClassVar[Table] = Table.COIL

    def __post_init__(self) -> None:
        require_range(self.start, self.count, MOST_WRITTEN)
        _require_packed(self.data, self.count)

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU of function 15. Raises FrameError."""
        if len(pdu) < _RANGE_AND_BYTE_COUNT.size:
            raise illegal_value("function 15: cut short")
        _, start, count, octets = _RANGE_AND_BYTE_COUNT.unpack_from(pdu)
        require_byte_count(pdu, 5, octets)
        return cls(start, count, pdu[6:])

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE_AND_BYTE_COUNT.pack(self.function, self.start, self.count, len(self.data)) + self.data

    def decode_reply(self, pdu: bytes) -> WriteMultipleCoilsReply:
        """The reply to this request. Raises FrameError."""
        require_echo(pdu, _RANGE.pack(self.function, self.start, self.count))
        return WriteMultipleCoilsReply(self.start, self.count)
