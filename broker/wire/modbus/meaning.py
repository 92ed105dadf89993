"""What the rest of the product uses of Modbus: PDUs to operations, replies to values, points to PDUs."""

from broker.errors import FrameError
from broker.model.operation import ModbusRange, Request
from broker.model.place import Device
from broker.wire.modbus.bits import bits_of
from broker.wire.modbus.composing import compose_read, compose_read_raw, compose_write, compose_write_raw
from broker.wire.modbus.operations import interpret
from broker.wire.modbus.places import Place, places_of
from broker.wire.modbus.registers import words_of
from broker.wire.modbus.values import BIT_TABLES, shown

_EXCEPTION = 0x80
_RANGE_READS = frozenset((1, 2, 3, 4, 23))


class Interpreter:
    """`interpret` for one device, remembering what the same octets meant; the oldest of `capacity` are forgotten."""

    __slots__ = ("_capacity", "_device", "_known")

    def __init__(self, device: Device, capacity: int = 1024) -> None:
        self._device = device
        self._capacity = capacity
        self._known: dict[bytes, Request] = {}

    def interpret(self, pdu: bytes) -> Request:
        """What a PDU asks; the identical request for identical octets. Raises FrameError, which is not remembered."""
        request = self._known.get(pdu)
        return self._learn(pdu) if request is None else request

    def _learn(self, pdu: bytes) -> Request:
        request = interpret(self._device, pdu)
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[pdu] = request
        return request


def values_of(device: Device, request: Request, reply_pdu: bytes) -> tuple[tuple[str, str], ...]:
    """Engineering values by point id of the points that a reply holds wholly; the reply was accepted by `decode_reply`.

    A point whose octets are no value of its type (not a number, not text) is left out; exceptions and replies to
    anything but reads of a range hold none.
    """
    asked = _range_read(request, reply_pdu)
    if asked is None or asked.table is None:
        return ()
    cells = _cells(asked, reply_pdu)
    places = places_of(device).within(asked.table, asked.start, asked.count)
    values = ((place.point.id, _value(place, asked.start, cells, len(cells) // asked.count)) for place in places)
    return tuple((id_, value) for id_, value in values if value is not None)


def raw_values_of(request: Request, reply_pdu: bytes) -> tuple[int, ...]:
    """Registers, or bits as 0 and 1, of a reply that `decode_reply` accepted; none if it is no read of a range."""
    asked = _range_read(request, reply_pdu)
    if asked is None:
        return ()
    cells = _cells(asked, reply_pdu)
    return tuple(cells) if asked.table in BIT_TABLES else words_of(cells)


def _range_read(request: Request, reply_pdu: bytes) -> ModbusRange | None:
    """The range whose contents a reply holds."""
    asked = request.operations[-1].address
    return asked if isinstance(asked, ModbusRange) and reply_pdu[0] in _RANGE_READS else None


def _cells(asked: ModbusRange, reply_pdu: bytes) -> bytes:
    """What was read, one octet (0 or 1) for each bit or two for each register."""
    return bytes(bits_of(reply_pdu[2:], asked.count)) if asked.table in BIT_TABLES else reply_pdu[2:]


def _value(place: Place, start: int, cells: bytes, width: int) -> str | None:
    begin, end = (place.start - start) * width, (place.end - start) * width
    if begin < 0 or end > len(cells):
        return None
    try:
        return place.conversion.engineering(cells[begin:end])
    except FrameError:
        return None


def exception_reply(function: int, code: int) -> bytes:
    """The refusal of a request of any function, known or not (7)."""
    return bytes((function | _EXCEPTION, code))


__all__ = [
    "Interpreter",
    "compose_read",
    "compose_read_raw",
    "compose_write",
    "compose_write_raw",
    "exception_reply",
    "interpret",
    "raw_values_of",
    "shown",
    "values_of",
]
