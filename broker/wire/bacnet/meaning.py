"""BACnet property services in protocol-neutral form: what the broker asks of points, and what of it came back.

Payloads are bare APDUs, which have neither an invoke id nor what is said of segments: PDU type, service choice,
parameters (20.1). So what the ledger says of a request can be compared with a capture of it.
"""

from collections.abc import Sequence

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Request, Touch
from broker.model.place import BacnetAddress, Device, Point
from broker.model.vocabulary import Action
from broker.wire.bacnet.action_classes import action_of
from broker.wire.bacnet.items import digest_of
from broker.wire.bacnet.judging import told
from broker.wire.bacnet.property_requests import (
    Write,
    asked_one_by_one,
    encode_read_property,
    encode_read_property_multiple,
    encode_write_property,
)
from broker.wire.bacnet.references import reference_of
from broker.wire.bacnet.values import RELEASE, encode_value, text_to_write

READ = "read-property"
READ_MULTIPLE = "read-property-multiple"
WRITE = "write-property"
_CONFIRMED = 0x00  # 20.1.2: confirmed request
_READ_CHOICE, _READ_MULTIPLE_CHOICE, _WRITE_CHOICE = 12, 14, 15  # clause 21: confirmed service choices

MOST_READ_AT_ONCE = 20
"""So many primitive values fit an APDU of 480 octets, the largest of many small devices."""

_PRIORITIES = range(1, 17)
_PRIORITY_ARRAY = "priority-array"

Value = str | float | bool | None


def compose_read(device: Device, points: Sequence[Point]) -> tuple[Request, ...]:
    """Few requests that read all these points, in order.

    A device labelled `read-property-multiple: "no"` is asked for one property at a time.
    """
    if not points:
        return ()
    most = 1 if asked_one_by_one(device) else MOST_READ_AT_ONCE
    return tuple(_read(points[start : start + most]) for start in range(0, len(points), most))


def compose_read_priority(point: Point, priority: int) -> Request:
    """The request that reads what one priority of a commandable point holds (19.2.1). Raises FrameError."""
    address = _address(point)
    if priority not in _PRIORITIES or address.priority_lowest is None or address.index is not None:
        raise FrameError("illegal_value", f"{point.id} has no priority {priority}")
    slot = BacnetProperty(address.object_type, address.instance, _PRIORITY_ARRAY, priority)
    operation = Operation("bacnet", Action.VIEW, READ, slot, (Touch(point, whole=False),))
    return _request((operation,), _READ_CHOICE, encode_read_property(reference_of(slot)))


def compose_write(device: Device, point: Point, value: Value, priority: int | None = None) -> Request:
    """The request that writes a value, or releases a priority (`None` or "null").

    Without a priority a commandable point gets its least urgent allowed one. Raises FrameError `illegal_value`.
    """
    address = _address(point)
    text = text_to_write(address.object_type, address.property, value, address.index)
    if priority is None:
        priority = address.priority_highest
    elif priority not in _PRIORITIES:
        raise FrameError("illegal_value", "a priority is 1 to 16")
    if text == RELEASE and priority is None:
        raise FrameError("illegal_value", f"{point.id} has no priorities that could be released")
    operation = Operation(
        protocol="bacnet",
        action=action_of(WRITE, _property(address), priority, point.action),
        service=WRITE,
        address=_property(address),
        touches=(Touch(point, whole=True, value=text),),
        priority=priority,
    )
    octets = encode_value(address.object_type, address.property, address.index, text)
    parameters = encode_write_property(Write(reference_of(address), octets, priority))
    return _request((operation,), _WRITE_CHOICE, parameters, before=_read((point,)))


def values_of(device: Device, request: Request, payload: bytes) -> tuple[tuple[str, str], ...]:
    """Values by point id, as text, of the properties that a read brought; arrays as JSON lists."""
    return tuple((point, text) for point, word, text in told(request, payload) if word == "value")


def errors_of(request: Request, payload: bytes) -> tuple[tuple[str, str], ...]:
    """The device's refusals by point id (`property/unknown-property`) inside an accepted reply."""
    return tuple((point, text) for point, word, text in told(request, payload) if word == "error")


def _read(points: Sequence[Point]) -> Request:
    service = READ if len(points) == 1 else READ_MULTIPLE
    operations = tuple(
        Operation("bacnet", Action.VIEW, service, _property(_address(point)), (Touch(point, whole=True),))
        for point in points
    )
    references = [reference_of(_address(point)) for point in points]
    if service == READ:
        return _request(operations, _READ_CHOICE, encode_read_property(references[0]))
    return _request(operations, _READ_MULTIPLE_CHOICE, encode_read_property_multiple(references))


def _request(
    operations: tuple[Operation, ...], choice: int, parameters: bytes, before: Request | None = None
) -> Request:
    payload = bytes((_CONFIRMED, choice)) + parameters
    return Request(operations, payload, digest_of(payload), before=before)


def _address(point: Point) -> BacnetAddress:
    if not isinstance(point.address, BacnetAddress):
        raise FrameError("illegal_value", f"{point.id} is not a BACnet point")
    return point.address


def _property(address: BacnetAddress) -> BacnetProperty:
    return BacnetProperty(address.object_type, address.instance, address.property, address.index)
