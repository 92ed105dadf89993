"""What a request asks, in the words of the product: operations on named points with engineering values."""

from base64 import urlsafe_b64encode
from hashlib import sha256

from broker.errors import FrameError
from broker.model.operation import ModbusRange, Operation, Request, Touch
from broker.model.place import Device, Protocol, Table, ValueType
from broker.model.vocabulary import Action
from broker.wire.modbus.bits import ReadBits, ReadCoils, WriteMultipleCoils, WriteSingleCoil, bits_of
from broker.wire.modbus.diagnostics import COUNTERS, RETURN_QUERY_DATA, Diagnostics
from broker.wire.modbus.files import ReadFileRecord, WriteFileRecord
from broker.wire.modbus.pdu import RequestPdu, decode_request, encode_request
from broker.wire.modbus.places import Place, Places, places_of
from broker.wire.modbus.registers import (
    MaskWriteRegister,
    ReadFifoQueue,
    ReadHoldingRegisters,
    ReadRegisters,
    ReadWriteMultipleRegisters,
    WriteMultipleRegisters,
    WriteSingleRegister,
    words_of,
)

_DANGER = {Action.ADJUST: 0, Action.CONTROL: 1, Action.OVERRIDE: 2, Action.CONFIG: 3, Action.INSTALL: 4}
_HARMLESS_DIAGNOSTICS = COUNTERS | {RETURN_QUERY_DATA}
_ALL_BITS = 0xFFFF

_Write = WriteSingleCoil | WriteMultipleCoils | WriteSingleRegister | WriteMultipleRegisters


def interpret(device: Device, pdu: bytes) -> Request:
    """What a PDU asks of a device, with the octets that will be sent, re-encoded from what was understood.

    Raises FrameError `illegal_function` or `illegal_value`.
    """
    asked = decode_request(pdu)
    payload = encode_request(asked)
    back = _read_back(asked)
    return Request(
        operations=_operations(places_of(device), device.upstream_unit_id, asked),
        payload=payload,
        digest=_digest(device.upstream_unit_id, payload),
        unit_id=device.upstream_unit_id,
        before=None if back is None else interpret(device, back.encode()),
    )


def _digest(unit_id: int, payload: bytes) -> str:
    return urlsafe_b64encode(sha256(bytes((unit_id,)) + payload).digest()).rstrip(b"=").decode()


def _read_back(asked: RequestPdu) -> RequestPdu | None:
    """The request that reads what this one writes, for coils and registers."""
    if isinstance(asked, WriteSingleCoil | WriteMultipleCoils):
        return ReadCoils(asked.start, asked.count)
    if isinstance(asked, WriteSingleRegister | WriteMultipleRegisters):
        return ReadHoldingRegisters(asked.start, asked.count)
    if isinstance(asked, MaskWriteRegister):
        return ReadHoldingRegisters(asked.start, 1)
    if isinstance(asked, ReadWriteMultipleRegisters):
        return ReadHoldingRegisters(asked.write_start, asked.write_count)
    return None


def _operations(places: Places, unit_id: int, asked: RequestPdu) -> tuple[Operation, ...]:
    if isinstance(asked, ReadBits | ReadRegisters):
        return (_read(places, unit_id, asked.service, asked.table, asked.start, asked.count),)
    if isinstance(asked, _Write):
        return (_write(places, unit_id, asked.service, asked.table, asked.start, _cells(asked)),)
    if isinstance(asked, ReadWriteMultipleRegisters):
        table = Table.HOLDING_REGISTER
        # 6.17: the write is performed before the read.
        return (
            _write(places, unit_id, asked.service, table, asked.write_start, asked.data),
            _read(places, unit_id, asked.service, table, asked.read_start, asked.read_count),
        )
    if isinstance(asked, MaskWriteRegister):
        return (_mask_write(places, unit_id, asked),)
    if isinstance(asked, ReadFifoQueue):
        return (_read_queue(places, unit_id, asked),)
    return (_unaddressed(unit_id, asked),)


def _read(places: Places, unit_id: int, service: str, table: Table, start: int, count: int) -> Operation:
    end = start + count
    touches = tuple(
        place.read_whole if place.start >= start and place.end <= end else place.read_part
        for place in places.within(table, start, count)
    )
    return Operation(
        protocol=Protocol.MODBUS.value,
        action=Action.VIEW,
        service=service,
        address=ModbusRange(table, start, count),
        touches=touches,
        described=places.describes(table, start, count),
        unit_id=unit_id,
    )


def _read_queue(places: Places, unit_id: int, asked: ReadFifoQueue) -> Operation:
    """A queue is named by a register, yet what it holds belongs to no point."""
    return Operation(
        protocol=Protocol.MODBUS.value,
        action=Action.VIEW,
        service=asked.service,
        address=ModbusRange(Table.HOLDING_REGISTER, asked.start, 1),
        touches=tuple(place.read_part for place in places.within(Table.HOLDING_REGISTER, asked.start, 1)),
        described=False,
        unit_id=unit_id,
    )


def _cells(asked: _Write) -> bytes:
    """What is written, one octet (0 or 1) for each coil or two for each register."""
    if isinstance(asked, WriteSingleCoil | WriteMultipleCoils):
        return bytes(bits_of(asked.data, asked.count))
    return asked.data


def _write(places: Places, unit_id: int, service: str, table: Table, start: int, cells: bytes) -> Operation:
    width = 1 if table is Table.COIL else 2
    count = len(cells) // width
    touches = tuple(_written(place, start, cells, width) for place in places.within(table, start, count))
    described = places.describes(table, start, count)
    return Operation(
        protocol=Protocol.MODBUS.value,
        action=_write_action(touches, described),
        service=service,
        address=ModbusRange(table, start, count),
        touches=touches,
        raw_values=tuple(map(str, cells if table is Table.COIL else words_of(cells))),
        described=described,
        unit_id=unit_id,
    )


def _written(place: Place, start: int, cells: bytes, width: int) -> Touch:
    """The touch of a write; its value if the point is written wholly."""
    begin, end = (place.start - start) * width, (place.end - start) * width
    if begin < 0 or end > len(cells):
        return Touch(place.point, whole=False)
    return Touch(place.point, whole=True, value=_engineering(place, cells[begin:end]))


def _engineering(place: Place, octets: bytes) -> str:
    try:
        return place.conversion.engineering(octets)
    except FrameError as error:
        raise FrameError(error.code, f"{place.point.id}: {error.public}") from None


def _write_action(touches: tuple[Touch, ...], described: bool) -> Action:
    """The most dangerous class touched; what no point describes, parts of points and read-only points are `config`."""
    classes = [Action.ADJUST if described else Action.CONFIG]
    for touch in touches:
        written_as = touch.point.action
        classes.append(written_as if written_as in _DANGER else Action.CONFIG)
        if not touch.whole:
            classes.append(Action.CONFIG)
    return max(classes, key=_DANGER.__getitem__)


def _mask_write(places: Places, unit_id: int, asked: MaskWriteRegister) -> Operation:
    """Bits where the AND mask is 0 become those of the OR mask, the others stay (6.16)."""
    table = Table.HOLDING_REGISTER
    written = asked.and_mask ^ _ALL_BITS
    octets = asked.or_mask.to_bytes(2, "big")
    touched = [place for place in places.within(table, asked.start, 1) if place.mask & written]
    touches = tuple(_masked(place, written, octets) for place in touched)
    described = written & ~places.mask_at(table, asked.start) == 0
    only_bits = bool(touched) and all(place.value_type is ValueType.BIT for place in touched)
    return Operation(
        protocol=Protocol.MODBUS.value,
        action=_write_action(touches, described and only_bits),
        service=asked.service,
        address=ModbusRange(table, asked.start, 1),
        touches=touches,
        raw_values=(str(asked.and_mask), str(asked.or_mask)),
        described=described,
        unit_id=unit_id,
    )


def _masked(place: Place, written: int, octets: bytes) -> Touch:
    if place.mask & ~written or place.end - place.start > 1:
        return Touch(place.point, whole=False)
    return Touch(place.point, whole=True, value=_engineering(place, octets))


def _unaddressed(unit_id: int, asked: RequestPdu) -> Operation:
    """A request that names no address of a table; file records are addresses that no point describes."""
    raw_values: tuple[str, ...] = ()
    action = Action.DISCOVER
    if isinstance(asked, WriteFileRecord):
        action = Action.INSTALL
        raw_values = tuple(str(word) for contents in asked.contents for word in words_of(contents.data))
    elif isinstance(asked, ReadFileRecord):
        action = Action.VIEW
    elif isinstance(asked, Diagnostics) and asked.sub_function not in _HARMLESS_DIAGNOSTICS:
        action = Action.CONFIG
    return Operation(
        protocol=Protocol.MODBUS.value,
        action=action,
        service=asked.service,
        address=ModbusRange(None),
        raw_values=raw_values,
        described=not isinstance(asked, ReadFileRecord | WriteFileRecord),
        unit_id=unit_id,
    )
