"""What the broker reads of a device to know it better, in the session of somebody who may, as if he had asked."""

from collections.abc import Sequence

from broker.model.operation import Request
from broker.model.place import BacnetAddress, Device
from broker.model.way import BacnetIpWay, BacnetScWay
from broker.wire.bacnet.device_said import DeviceSaid, ObjectId
from broker.wire.bacnet.interpreter import CONFIRMED, READ, READ_MULTIPLE, interpret
from broker.wire.bacnet.property_requests import (
    asked_one_by_one,
    encode_read_property,
    encode_read_property_multiple,
)
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.standard import number_of

_OF_ITSELF = ("max-apdu-length-accepted", "segmentation-supported", "vendor-identifier")
_MOST_NAMES, _READ_AT_ONCE = 200, 8


def compose_name_read(device: Device, which: ObjectId) -> Request:
    """The read of the name of an object, by type and instance."""
    return _read_of(device, _reference(*which, "object-name"))


def compose_name_reads(
    device: Device, granted: frozenset[str] | None, said: DeviceSaid, now: float
) -> tuple[Request, ...]:
    """The reads of names that are not known."""
    return _reads(device, [_reference(*which, "object-name") for which in unnamed(device, granted, said, now)])


def unnamed(device: Device, granted: frozenset[str] | None, said: DeviceSaid, now: float) -> list[ObjectId]:
    """The objects of these points (None: of all) whose names the device has not said."""
    addresses = (point.address for point in device.points if granted is None or point.id in granted)
    objects = dict.fromkeys((at.object_type, at.instance) for at in addresses if isinstance(at, BacnetAddress))
    return [which for which in objects if not said.name_of(which, now)][:_MOST_NAMES]


def compose_self_reads(device: Device) -> tuple[Request, ...]:
    """The reads of what an I-Am of the device says; none of a device that does not speak BACnet."""
    if not isinstance(device.way, BacnetIpWay | BacnetScWay):
        return ()
    return _reads(device, [_reference("device", device.way.instance, word) for word in _OF_ITSELF])


def _reads(device: Device, references: Sequence[Reference]) -> tuple[Request, ...]:
    """A few names or numbers at a time, which fit into any reply."""
    if asked_one_by_one(device):
        return tuple(_read_of(device, reference) for reference in references)
    head = bytes((CONFIRMED, READ_MULTIPLE))
    parts = (references[at : at + _READ_AT_ONCE] for at in range(0, len(references), _READ_AT_ONCE))
    return tuple(interpret(device, head + encode_read_property_multiple(part)) for part in parts)


def _read_of(device: Device, reference: Reference) -> Request:
    return interpret(device, bytes((CONFIRMED, READ)) + encode_read_property(reference))


def _reference(object_type: str, instance: int, word: str) -> Reference:
    return Reference(number_of("object-type", object_type), instance, number_of("property-identifier", word), None)
