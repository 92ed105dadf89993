"""File records: functions 20 and 21 (6.14, 6.15). A record is one register of a file of 10,000."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Self

from broker.wire.modbus.fields import illegal_value, require_between, require_echo, require_length, require_words

_REFERENCE = Struct(">BHHH")
_REFERENCE_TYPE = 6  # 6.14, 6.15: reference type 6
_RECORDS = 10000  # 6.14: records 0 to 0x270F
_MOST_OCTETS_READ = 0xF5  # 6.14: byte count 0x07 to 0xF5, in the request and in the reply
_MOST_OCTETS_WRITTEN = 0xFB  # 6.15: request data length 0x09 to 0xFB


def _require_place(file: int, record: int, length: int) -> None:
    require_between("file number", file, 1, 0xFFFF)  # 6.14: file number 1 to 0xFFFF
    require_between("record number", record, 0, _RECORDS - 1)
    require_between("record length", length, 1, _RECORDS - record)


def _require_body(pdu: bytes, least: int, most: int) -> None:
    """Refuse a PDU whose second octet does not count exactly the octets behind it, within the limits."""
    require_between("length of the PDU", len(pdu), 2 + least, 2 + most)
    require_length(pdu, 2 + pdu[1])


def _reference(pdu: bytes, place: int) -> tuple[int, int, int]:
    """File number, record number and record length of the sub-request at `place`."""
    if len(pdu) < place + _REFERENCE.size:
        raise illegal_value("a sub-request is cut short")
    kind, file, record, length = _REFERENCE.unpack_from(pdu, place)
    require_between("reference type", kind, _REFERENCE_TYPE, _REFERENCE_TYPE)
    return file, record, length


@dataclass(frozen=True, slots=True)
class FileRange:
    """So many records of one file, from one on."""

    file: int
    record: int
    length: int

    def __post_init__(self) -> None:
        _require_place(self.file, self.record, self.length)


@dataclass(frozen=True, slots=True)
class FileContents:
    """The contents for records of one file, from one on, big-endian."""

    file: int
    record: int
    data: bytes

    def __post_init__(self) -> None:
        require_words(self.data, (_MOST_OCTETS_WRITTEN - _REFERENCE.size) // 2)
        _require_place(self.file, self.record, len(self.data) // 2)

    def encode(self) -> bytes:
        """The octets of the sub-request."""
        return _REFERENCE.pack(_REFERENCE_TYPE, self.file, self.record, len(self.data) // 2) + self.data


@dataclass(frozen=True, slots=True)
class ReadFileRecordReply:
    """Reply of function 20: the contents of each range asked for, big-endian."""

    contents: tuple[bytes, ...]
    function: ClassVar[int] = 20

    def __post_init__(self) -> None:
        for data in self.contents:
            require_words(data, (_MOST_OCTETS_READ - 2) // 2)
        octets = sum(len(data) + 2 for data in self.contents)
        require_between("octets of the reply", octets, 4, _MOST_OCTETS_READ)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        body = b"".join(bytes((len(data) + 1, _REFERENCE_TYPE)) + data for data in self.contents)
        return bytes((self.function, len(body))) + body


@dataclass(frozen=True, slots=True)
class ReadFileRecord:
    """Function 20."""

    ranges: tuple[FileRange, ...]
    function: ClassVar[int] = 20
    service: ClassVar[str] = "read-file-record"

    def __post_init__(self) -> None:
        require_between("number of sub-requests", len(self.ranges), 1, _MOST_OCTETS_READ // _REFERENCE.size)
        octets = sum(2 * asked.length + 2 for asked in self.ranges)
        require_between("octets of the reply", octets, 4, _MOST_OCTETS_READ)  # 6.14: the reply must fit as well

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        _require_body(pdu, _REFERENCE.size, _MOST_OCTETS_READ)
        return cls(tuple(FileRange(*_reference(pdu, place)) for place in range(2, len(pdu), _REFERENCE.size)))

    def encode(self) -> bytes:
        """The octets of the PDU."""
        places = (_REFERENCE.pack(_REFERENCE_TYPE, asked.file, asked.record, asked.length) for asked in self.ranges)
        return bytes((self.function, len(self.ranges) * _REFERENCE.size)) + b"".join(places)

    def decode_reply(self, pdu: bytes) -> ReadFileRecordReply:
        """The reply to this request. Raises FrameError."""
        contents = []
        place = 2
        for asked in self.ranges:
            contents.append(pdu[place + 2 : place + 2 + 2 * asked.length])
            place += 2 + 2 * asked.length
        require_length(pdu, place)
        reply = ReadFileRecordReply(tuple(contents))
        require_echo(pdu, reply.encode())  # 6.14: lengths and reference types are those of the request
        return reply


@dataclass(frozen=True, slots=True)
class _WrittenRecords:
    """What is written where, the same in request and reply of function 21."""

    contents: tuple[FileContents, ...]
    function: ClassVar[int] = 21

    def __post_init__(self) -> None:
        octets = sum(len(written.data) + _REFERENCE.size for written in self.contents)
        require_between("octets of the request", octets, _REFERENCE.size + 2, _MOST_OCTETS_WRITTEN)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        body = b"".join(written.encode() for written in self.contents)
        return bytes((self.function, len(body))) + body


@dataclass(frozen=True, slots=True)
class WriteFileRecordReply(_WrittenRecords):
    """Reply of function 21."""


@dataclass(frozen=True, slots=True)
class WriteFileRecord(_WrittenRecords):
    """Function 21."""

    service: ClassVar[str] = "write-file-record"

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        _require_body(pdu, _REFERENCE.size + 2, _MOST_OCTETS_WRITTEN)
        return cls(tuple(_contents(pdu)))

    def decode_reply(self, pdu: bytes) -> WriteFileRecordReply:
        """The reply to this request. Raises FrameError."""
        require_echo(pdu, self.encode())
        return WriteFileRecordReply(self.contents)


def _contents(pdu: bytes) -> Iterator[FileContents]:
    place = 2
    while place < len(pdu):
        file, record, length = _reference(pdu, place)
        begin, place = place + _REFERENCE.size, place + _REFERENCE.size + 2 * length
        if place > len(pdu):
            raise illegal_value("a sub-request is cut short")
        yield FileContents(file, record, pdu[begin:place])
