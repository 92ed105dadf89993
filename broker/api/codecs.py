"""What the callers of the API say, in the protocol of the device they say it to."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from broker.api.json_text import decimal_text
from broker.api.models import ReadRange, WriteItem, WriteRange
from broker.api.problems import Problem
from broker.errors import PeerError
from broker.model.operation import ModbusRange, Request
from broker.model.place import Device, ModbusAddress, Point, Protocol, Table, ValueType
from broker.wire.bacnet import meaning as bacnet
from broker.wire.modbus import meaning as modbus
from broker.wire.modbus.bits import bits_of

_BIT_TABLES = frozenset({Table.COIL, Table.DISCRETE_INPUT})


def points_named(device: Device, names: Iterable[str]) -> dict[str, Point | None]:
    """The points of these names, None where the device has none, in the order of the names."""
    known = {point.id: point for point in device.points}
    return {name: known.get(name) for name in names}


def compose_read(device: Device, points: tuple[Point, ...]) -> tuple[Request, ...]:
    """Few requests that read all these points. Raises PeerError."""
    if device.protocol is Protocol.MODBUS:
        return modbus.compose_read(device, points)
    return bacnet.compose_read(device, points)


def compose_read_range(device: Device, asked: ReadRange) -> Request:
    """The request that reads a range of raw addresses. Raises PeerError, or Problem if the device has none."""
    _require_modbus(device)
    return modbus.compose_read_raw(device, asked.table, asked.address, asked.count)


def compose_write(device: Device, point: Point, item: WriteItem) -> Request:
    """The request that writes a value to a point. Raises PeerError, or Problem for what only BACnet has."""
    value = item.value
    wire_value = decimal_text(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
    if device.protocol is Protocol.BACNET:
        return bacnet.compose_write(device, point, wire_value, item.priority)
    if item.priority is not None or wire_value is None:
        raise Problem("value_invalid", f"{point.id}: only BACnet has priorities and releases them.")
    return modbus.compose_write(device, point, wire_value)


def compose_write_range(device: Device, asked: WriteRange) -> Request:
    """The request that writes a range of raw addresses. Raises PeerError, or Problem if the device has none."""
    _require_modbus(device)
    return modbus.compose_write_raw(device, asked.table, asked.address, asked.values)


def composed(at: str, compose: Callable[[], Request]) -> Request:
    """One request; what cannot be put in the device's words is a Problem that says where."""
    try:
        return compose()
    except PeerError as error:
        problem = error.public.removeprefix(f"{at.removeprefix('points.')}: ")
        errors = [{"at": at, "problem": problem}]
        raise Problem("value_invalid", error.public, members={"errors": errors}) from None


def values_of(device: Device, request: Request, payload: bytes) -> dict[str, str]:
    """Engineering values, as text, by point id, of a reply that the wire accepted."""
    if device.protocol is Protocol.MODBUS:
        return dict(modbus.values_of(device, request, payload))
    return dict(bacnet.values_of(device, request, payload))


def device_errors_of(device: Device, request: Request, payload: bytes) -> dict[str, str]:
    """The device's own refusals, by point id, inside a reply that the wire accepted."""
    return {} if device.protocol is Protocol.MODBUS else dict(bacnet.errors_of(request, payload))


def raw_values_of(request: Request, payload: bytes) -> list[int]:
    """Registers or bits, in order, of an accepted reply to a read of a range."""
    asked = request.operations[0].address
    assert isinstance(asked, ModbusRange)
    cells = payload[2:]  # Application Protocol v1.1b3, 6.1 to 6.4: function, octet count, contents
    if asked.table in _BIT_TABLES:
        return list(bits_of(cells, asked.count))
    return [int.from_bytes(cells[place : place + 2], "big") for place in range(0, len(cells), 2)]


def as_json(point: Point, text: str) -> Any:
    """A value as JSON shows it: an exact number with the decimals of its point, true, false, null or text."""
    if isinstance(point.address, ModbusAddress) and point.address.value_type is ValueType.STRING:
        return text
    if text in _WORDS:
        return _WORDS[text]
    return _number(point, text) if _plain(text) else text


_WORDS = {"true": True, "false": False, "null": None}


def _plain(text: str) -> bool:
    digits = text.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdigit() and text[-1] != "."


def _number(point: Point, text: str) -> Decimal:
    return Decimal(modbus.shown(point.address, text) if isinstance(point.address, ModbusAddress) else text)


def _require_modbus(device: Device) -> None:
    if device.protocol is not Protocol.MODBUS:
        raise Problem("value_invalid", "Only Modbus devices have raw addresses; use points by name.")
