"""Registers: functions 3, 4, 6, 16, 22, 23 and 24 (6.3, 6.4, 6.6, 6.12, 6.16 to 6.18)."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct, pack, unpack
from typing import ClassVar, Self

from broker.model.place import Table
from broker.wire.modbus.fields import (
    illegal_value,
    require_between,
    require_byte_count,
    require_echo,
    require_length,
    require_range,
    require_words,
)

MOST_READ = 125  # 6.3, 6.4, 6.17: quantity 1 to 0x007D
MOST_WRITTEN = 123  # 6.12: quantity 1 to 0x007B
MOST_WRITTEN_AND_READ = 121  # 6.17: quantity to write 1 to 0x0079
MOST_QUEUED = 31  # 6.18: FIFO count up to 31

_RANGE = Struct(">BHH")
_RANGE_AND_BYTE_COUNT = Struct(">BHHB")
_MASK = Struct(">BHHH")
_TWO_RANGES = Struct(">BHHHHB")
_POINTER = Struct(">BH")
_QUEUE = Struct(">BHH")


def words_of(data: bytes) -> tuple[int, ...]:
    """Register contents as unsigned numbers."""
    return unpack(f">{len(data) // 2}H", data)


def pack_words(words: Sequence[int]) -> bytes:
    """Register contents as octets. Raises FrameError for a number that no register holds."""
    for word in words:
        require_between("a register value of", word, 0, 0xFFFF)
    return pack(f">{len(words)}H", *words)


@dataclass(frozen=True, slots=True)
class _RegistersReply:
    """The contents of the registers that were read, big-endian."""

    data: bytes
    function: ClassVar[int]

    def __post_init__(self) -> None:
        require_words(self.data, MOST_READ)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return bytes((self.function, len(self.data))) + self.data


@dataclass(frozen=True, slots=True)
class ReadHoldingRegistersReply(_RegistersReply):
    """Reply of function 3."""

    function: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class ReadInputRegistersReply(_RegistersReply):
    """Reply of function 4."""

    function: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class ReadWriteMultipleRegistersReply(_RegistersReply):
    """Reply of function 23."""

    function: ClassVar[int] = 23


@dataclass(frozen=True, slots=True)
class ReadRegisters:
    """What functions 3 and 4 have in common: a range of one table."""

    start: int
    count: int
    function: ClassVar[int]
    service: ClassVar[str]
    table: ClassVar[Table]
    reply: ClassVar[type[ReadHoldingRegistersReply] | type[ReadInputRegistersReply]]

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

    def decode_reply(self, pdu: bytes) -> ReadHoldingRegistersReply | ReadInputRegistersReply:
        """The reply to this request. Raises FrameError."""
        require_byte_count(pdu, 1, 2 * self.count)
        return self.reply(pdu[2:])


@dataclass(frozen=True, slots=True)
class ReadHoldingRegisters(ReadRegisters):
    """Function 3."""

    function: ClassVar[int] = 3
    service: ClassVar[str] = "read-holding-registers"
    table: ClassVar[Table] = Table.HOLDING_REGISTER
    reply: ClassVar[type[ReadHoldingRegistersReply]] = ReadHoldingRegistersReply


@dataclass(frozen=True, slots=True)
class ReadInputRegisters(ReadRegisters):
    """Function 4."""

    function: ClassVar[int] = 4
    service: ClassVar[str] = "read-input-registers"
    table: ClassVar[Table] = Table.INPUT_REGISTER
    reply: ClassVar[type[ReadInputRegistersReply]] = ReadInputRegistersReply


@dataclass(frozen=True, slots=True)
class _SingleRegister:
    """One register and its contents, the same in request and reply of function 6."""

    start: int
    value: int
    function: ClassVar[int] = 6

    def __post_init__(self) -> None:
        require_range(self.start, 1, 1)
        require_between("a register value of", self.value, 0, 0xFFFF)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE.pack(self.function, self.start, self.value)


@dataclass(frozen=True, slots=True)
class WriteSingleRegisterReply(_SingleRegister):
    """Reply of function 6: what was written where."""


@dataclass(frozen=True, slots=True)
class WriteSingleRegister(_SingleRegister):
    """Function 6."""

    service: ClassVar[str] = "write-single-register"
    table: ClassVar[Table] = Table.HOLDING_REGISTER
    count: ClassVar[int] = 1

    @property
    def data(self) -> bytes:
        """The register written, as function 16 carries it."""
        return self.value.to_bytes(2, "big")

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        require_length(pdu, 5)
        _, start, value = _RANGE.unpack(pdu)
        return cls(start, value)

    def decode_reply(self, pdu: bytes) -> WriteSingleRegisterReply:
        """The reply to this request. Raises FrameError."""
        require_echo(pdu, self.encode())
        return WriteSingleRegisterReply(self.start, self.value)


@dataclass(frozen=True, slots=True)
class WriteMultipleRegistersReply:
    """Reply of function 16: the range that was written."""

    start: int
    count: int
    function: ClassVar[int] = 16

    def __post_init__(self) -> None:
        require_range(self.start, self.count, MOST_WRITTEN)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE.pack(self.function, self.start, self.count)


@dataclass(frozen=True, slots=True)
class WriteMultipleRegisters:
    """Function 16; `data` are the register contents, big-endian."""

    start: int
    data: bytes
    function: ClassVar[int] = 16
    service: ClassVar[str] = "write-multiple-registers"
    table: ClassVar[Table] = Table.HOLDING_REGISTER

    def __post_init__(self) -> None:
        require_words(self.data, MOST_WRITTEN)
        require_range(self.start, self.count, MOST_WRITTEN)

    @property
    def count(self) -> int:
        """Registers written."""
        return len(self.data) // 2

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        if len(pdu) < _RANGE_AND_BYTE_COUNT.size:
            raise illegal_value("function 16: cut short")
        _, start, count, _ = _RANGE_AND_BYTE_COUNT.unpack_from(pdu)
        require_range(start, count, MOST_WRITTEN)
        require_byte_count(pdu, 5, 2 * count)
        return cls(start, pdu[6:])

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _RANGE_AND_BYTE_COUNT.pack(self.function, self.start, self.count, len(self.data)) + self.data

    def decode_reply(self, pdu: bytes) -> WriteMultipleRegistersReply:
        """The reply to this request. Raises FrameError."""
        require_echo(pdu, _RANGE.pack(self.function, self.start, self.count))
        return WriteMultipleRegistersReply(self.start, self.count)


@dataclass(frozen=True, slots=True)
class _Mask:
    """Register becomes (contents AND and_mask) OR (or_mask AND NOT and_mask) (6.16); the same in request and reply."""

    start: int
    and_mask: int
    or_mask: int
    function: ClassVar[int] = 22

    def __post_init__(self) -> None:
        require_range(self.start, 1, 1)
        require_between("a mask of", self.and_mask, 0, 0xFFFF)
        require_between("a mask of", self.or_mask, 0, 0xFFFF)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _MASK.pack(self.function, self.start, self.and_mask, self.or_mask)


@dataclass(frozen=True, slots=True)
class MaskWriteRegisterReply(_Mask):
    """Reply of function 22."""


@dataclass(frozen=True, slots=True)
class MaskWriteRegister(_Mask):
    """Function 22."""

    service: ClassVar[str] = "mask-write-register"

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        require_length(pdu, 7)
        _, start, and_mask, or_mask = _MASK.unpack(pdu)
        return cls(start, and_mask, or_mask)

    def decode_reply(self, pdu: bytes) -> MaskWriteRegisterReply:
        """The reply to this request. Raises FrameError."""
        require_echo(pdu, self.encode())
        return MaskWriteRegisterReply(self.start, self.and_mask, self.or_mask)


@dataclass(frozen=True, slots=True)
class ReadWriteMultipleRegisters:
    """Function 23: the device writes first, then reads (6.17)."""

    read_start: int
    read_count: int
    write_start: int
    data: bytes
    function: ClassVar[int] = 23
    service: ClassVar[str] = "read-write-multiple-registers"

    def __post_init__(self) -> None:
        require_words(self.data, MOST_WRITTEN_AND_READ)
        require_range(self.read_start, self.read_count, MOST_READ)
        require_range(self.write_start, self.write_count, MOST_WRITTEN_AND_READ)

    @property
    def write_count(self) -> int:
        """Registers written."""
        return len(self.data) // 2

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        if len(pdu) < _TWO_RANGES.size:
            raise illegal_value("function 23: cut short")
        _, read_start, read_count, write_start, write_count, _ = _TWO_RANGES.unpack_from(pdu)
        require_range(write_start, write_count, MOST_WRITTEN_AND_READ)
        require_byte_count(pdu, 9, 2 * write_count)
        return cls(read_start, read_count, write_start, pdu[10:])

    def encode(self) -> bytes:
        """The octets of the PDU."""
        ranges = (self.read_start, self.read_count, self.write_start, self.write_count)
        return _TWO_RANGES.pack(self.function, *ranges, len(self.data)) + self.data

    def decode_reply(self, pdu: bytes) -> ReadWriteMultipleRegistersReply:
        """The reply to this request. Raises FrameError."""
        require_byte_count(pdu, 1, 2 * self.read_count)
        return ReadWriteMultipleRegistersReply(pdu[2:])


@dataclass(frozen=True, slots=True)
class ReadFifoQueueReply:
    """Reply of function 24: the registers queued, big-endian, none to 31."""

    data: bytes
    function: ClassVar[int] = 24

    def __post_init__(self) -> None:
        if self.data:
            require_words(self.data, MOST_QUEUED)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _QUEUE.pack(self.function, len(self.data) + 2, len(self.data) // 2) + self.data


@dataclass(frozen=True, slots=True)
class ReadFifoQueue:
    """Function 24; `start` is the FIFO pointer address."""

    start: int
    function: ClassVar[int] = 24
    service: ClassVar[str] = "read-fifo-queue"

    def __post_init__(self) -> None:
        require_range(self.start, 1, 1)

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        require_length(pdu, 3)
        return cls(_POINTER.unpack(pdu)[1])

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _POINTER.pack(self.function, self.start)

    def decode_reply(self, pdu: bytes) -> ReadFifoQueueReply:
        """The reply to this request. Raises FrameError."""
        if len(pdu) < _QUEUE.size:
            raise illegal_value("function 24: cut short")
        _, octets, queued = _QUEUE.unpack_from(pdu)
        require_length(pdu, _QUEUE.size + 2 * queued)
        if octets != 2 * queued + 2:  # 6.18: the byte count includes the queue count
            raise illegal_value(f"function 24: byte count {octets} with {queued} registers queued")
        return ReadFifoQueueReply(pdu[5:])
