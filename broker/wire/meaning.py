"""Which protocol's meaning applies to a device."""

from broker.errors import FrameError
from broker.model.operation import Request
from broker.model.place import Device, Point, Protocol
from broker.wire.bacnet import meaning as bacnet
from broker.wire.modbus import meaning as modbus


def values_of(device: Device, request: Request, payload: bytes) -> tuple[tuple[str, str], ...]:
    """Engineering values by point id, as text, of a reply that the wire accepted."""
    if device.protocol is Protocol.MODBUS:
        return modbus.values_of(device, request, payload)
    return bacnet.values_of(device, request, payload)


def compose_look(device: Device, point: Point, priority: int | None) -> Request:
    """The read of what a point holds, or one priority of it. Raises FrameError."""
    if device.protocol is Protocol.MODBUS:
        return modbus.compose_read(device, (point,))[0]
    if priority is not None:
        return bacnet.compose_read_priority(point, priority)
    return bacnet.compose_read(device, (point,))[0]


def compose_undo(device: Device, point: Point, value: str | None, priority: int | None) -> Request:
    """The write that puts a value back, or (None) gives a priority back. Raises FrameError or LimitError."""
    if device.protocol is Protocol.BACNET:
        return bacnet.compose_write(device, point, value, priority)
    if value is None:
        raise FrameError("illegal_value", "only BACnet has priorities")
    return modbus.compose_write(device, point, value)
