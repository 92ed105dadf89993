"""Requests made from points and engineering values, interpreted like those of any caller."""

from collections.abc import Callable, Iterator, Sequence

from broker.errors import FrameError, LimitError
from broker.model.operation import Request
from broker.model.place import Device, Point, Table, ValueType
from broker.wire.modbus import bits, registers
from broker.wire.modbus.fields import illegal_value
from broker.wire.modbus.operations import interpret
from broker.wire.modbus.pdu import RequestPdu, encode_request
from broker.wire.modbus.places import Place, places_of
from broker.wire.modbus.values import BIT_TABLES, Value

_ALL_BITS = 0xFFFF
_READS: dict[Table, Callable[[int, int], RequestPdu]] = {
    Table.COIL: bits.ReadCoils,
    Table.DISCRETE_INPUT: bits.ReadDiscreteInputs,
    Table.HOLDING_REGISTER: registers.ReadHoldingRegisters,
    Table.INPUT_REGISTER: registers.ReadInputRegisters,
}


def compose_read(device: Device, points: Sequence[Point], *, gap: int = 0) -> tuple[Request, ...]:
    """The fewest reads that cover the points wholly, by table and address.

    Points are joined if no more than `gap` addresses lie between them: those are read, and decided on, as well.
    Raises FrameError for a point that is not a Modbus point of this device.
    """
    spans: dict[Table, list[tuple[int, int]]] = {}
    for point in points:
        place = _place_of(device, point)
        spans.setdefault(place.table, []).append((place.start, place.end))
    return tuple(
        compose_read_raw(device, table, start, end - start)
        for table in Table
        for start, end in _joined(sorted(spans.get(table, ())), gap, _most_read(table))
    )


def compose_read_raw(device: Device, table: Table, start: int, count: int) -> Request:
    """A read of a range by raw address. Raises FrameError if the standard has no such range."""
    return _request(device, _READS[table](start, count))


def compose_write(device: Device, point: Point, value: Value) -> Request:
    """A write of an engineering value to a whole point; limits of the point are policy and not checked here.

    Raises FrameError or LimitError, both `illegal_value`, if the point cannot hold exactly this value.
    """
    place = _place_of(device, point)
    try:
        octets = place.conversion.octets(value)
        return _request(device, _write_of(place, octets))
    except LimitError as error:
        raise LimitError(error.code, f"{point.id}: {error.public}") from None
    except FrameError as error:
        raise FrameError(error.code, f"{point.id}: {error.public}") from None


def compose_write_raw(device: Device, table: Table, start: int, values: Sequence[int]) -> Request:
    """A write of coils (0 or 1) or registers by raw address. Raises FrameError."""
    _require_writable(table)
    if table is Table.COIL:
        packed = bits.pack_bits(values)
        if len(values) == 1:
            return _request(device, bits.WriteSingleCoil(start, packed == b"\x01"))
        return _request(device, bits.WriteMultipleCoils(start, len(values), packed))
    return _request(device, _register_write(start, registers.pack_words(values)))


def _request(device: Device, pdu: RequestPdu) -> Request:
    return interpret(device, encode_request(pdu))


def _place_of(device: Device, point: Point) -> Place:
    place = places_of(device).place_of(point)
    if place is None:
        raise illegal_value(f"{point.id} is not a Modbus point of {device.key}")
    return place


def _require_writable(table: Table) -> None:
    if table not in (Table.COIL, Table.HOLDING_REGISTER):  # 4.3: discrete inputs and input registers are read-only
        raise illegal_value(f"nothing can be written to table {table.value}")


def _write_of(place: Place, octets: bytes) -> RequestPdu:
    _require_writable(place.table)
    if place.table is Table.COIL:
        return bits.WriteSingleCoil(place.start, octets == b"\x01")
    if place.value_type is ValueType.BIT:
        return registers.MaskWriteRegister(place.start, _ALL_BITS ^ place.mask, int.from_bytes(octets, "big"))
    return _register_write(place.start, octets)


def _register_write(start: int, octets: bytes) -> RequestPdu:
    if len(octets) == 2:
        return registers.WriteSingleRegister(start, int.from_bytes(octets, "big"))
    return registers.WriteMultipleRegisters(start, octets)


def _most_read(table: Table) -> int:
    return bits.MOST_READ if table in BIT_TABLES else registers.MOST_READ


def _joined(spans: Sequence[tuple[int, int]], gap: int, most: int) -> Iterator[tuple[int, int]]:
    """Spans sorted by start, joined while neighbours are near enough and the whole stays within `most`."""
    if not spans:
        return
    start, end = spans[0]
    for next_start, next_end in spans[1:]:
        if next_start <= end + gap and max(end, next_end) - start <= most:
            end = max(end, next_end)
        else:
            yield start, end
            start, end = next_start, next_end
    yield start, end
