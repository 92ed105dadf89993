"""Device identification: function 43 with MEI type 14 (6.21)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from broker.wire.modbus.fields import illegal_function, illegal_value, require_between, require_length

_FUNCTION = 43
_MEI_TYPE = 14
_ONE_OBJECT = 4
_CONFORMITY_LEVELS = frozenset((0x01, 0x02, 0x03, 0x81, 0x82, 0x83))
_HEADER = 7
_MOST_OCTETS = 253
_NOTHING_FOLLOWS, _MORE_FOLLOWS = 0x00, 0xFF


@dataclass(frozen=True, slots=True)
class IdentificationObject:
    """One object: 0 vendor name, 1 product code, 2 revision, 3 to 6 optional texts, from 128 on private."""

    id: int
    value: bytes

    def __post_init__(self) -> None:
        require_between("object id", self.id, 0, 0xFF)
        require_between("length of an object", len(self.value), 0, _MOST_OCTETS - _HEADER - 2)

    def encode(self) -> bytes:
        """The octets of the object."""
        return bytes((self.id, len(self.value))) + self.value


@dataclass(frozen=True, slots=True)
class ReadDeviceIdentificationReply:
    """Reply of function 43/14; `next_object` is where to go on if `more_follows`."""

    code: int
    conformity: int
    more_follows: bool
    next_object: int
    objects: tuple[IdentificationObject, ...]
    function: ClassVar[int] = _FUNCTION

    def __post_init__(self) -> None:
        require_between("read device id code", self.code, 1, _ONE_OBJECT)
        if self.conformity not in _CONFORMITY_LEVELS:  # 6.21: conformity level
            raise illegal_value(f"conformity level 0x{self.conformity:02X} is not known")
        require_between("next object id", self.next_object, 0, 0xFF if self.more_follows else 0)
        if self.code == _ONE_OBJECT:
            require_between("number of objects", len(self.objects), 1, 1)  # 6.21: individual access
        octets = _HEADER + sum(len(thing.value) + 2 for thing in self.objects)
        require_between("length of the PDU", octets, _HEADER, _MOST_OCTETS)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        more = _MORE_FOLLOWS if self.more_follows else _NOTHING_FOLLOWS
        fields = (self.function, _MEI_TYPE, self.code, self.conformity, more, self.next_object, len(self.objects))
        return bytes(fields) + b"".join(thing.encode() for thing in self.objects)


@dataclass(frozen=True, slots=True)
class ReadDeviceIdentification:
    """Function 43/14; `code` 1 basic, 2 regular, 3 extended (streams from `object_id` on), 4 that object only."""

    code: int
    object_id: int
    function: ClassVar[int] = _FUNCTION
    service: ClassVar[str] = "read-device-identification"

    def __post_init__(self) -> None:
        require_between("read device id code", self.code, 1, _ONE_OBJECT)
        require_between("object id", self.object_id, 0, 0xFF)

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        if len(pdu) < 2:
            raise illegal_value("function 43: cut short")
        if pdu[1] != _MEI_TYPE:
            raise illegal_function(f"MEI type {pdu[1]} is not relayed")  # 6.19, 6.20: 13 carries CANopen
        require_length(pdu, 4)
        return cls(pdu[2], pdu[3])

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return bytes((self.function, _MEI_TYPE, self.code, self.object_id))

    def decode_reply(self, pdu: bytes) -> ReadDeviceIdentificationReply:
        """The reply to this request. Raises FrameError."""
        if len(pdu) < _HEADER or pdu[1] != _MEI_TYPE or pdu[2] != self.code:
            raise illegal_value("function 43: not the reply to this request")
        conformity, more, following, number = pdu[3:_HEADER]
        if more not in (_NOTHING_FOLLOWS, _MORE_FOLLOWS):  # 6.21: more follows 0x00 or 0xFF
            raise illegal_value(f"function 43: more follows 0x{more:02X}")
        objects = tuple(_objects(pdu, number))
        if self.code == _ONE_OBJECT and (more or number != 1 or objects[0].id != self.object_id):
            raise illegal_value("function 43: another object than the one asked for")
        return ReadDeviceIdentificationReply(self.code, conformity, bool(more), following, objects)


def _objects(pdu: bytes, number: int) -> Iterator[IdentificationObject]:
    place = _HEADER
    for _ in range(number):
        if len(pdu) < place + 2 or len(pdu) < place + 2 + pdu[place + 1]:
            raise illegal_value("function 43: an object is cut short")
        end = place + 2 + pdu[place + 1]
        yield IdentificationObject(pdu[place], pdu[place + 2 : end])
        place = end
    require_length(pdu, place)
