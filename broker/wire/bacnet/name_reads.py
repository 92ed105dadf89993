"""What the broker reads of a device to know it better, in the session of somebody who may, as if he had asked."""

from broker.model.operation import Request
from broker.model.place import BacnetIpWay, BacnetScWay, Device
from broker.wire.bacnet.interpreter import CONFIRMED, READ, READ_MULTIPLE, interpret
from broker.wire.bacnet.property_requests import encode_read_property, encode_read_property_multiple
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.standard import number_of

_OF_ITSELF = ("max-apdu-length-accepted", "segmentation-supported", "vendor-identifier")
_NO_MULTIPLE = ("read-property-multiple", "no")


def compose_name_read(device: Device, which: tuple[str, int]) -> Request:
    """The read of the name of an object, by type and instance."""
    return _read_of(device, _reference(*which, "object-name"))


def compose_self_reads(device: Device) -> tuple[Request, ...]:
    """The reads of what an I-Am of the device says; none of a device that does not speak BACnet."""
    if not isinstance(device.way, BacnetIpWay | BacnetScWay):
        return ()
    references = [_reference("device", device.way.instance, word) for word in _OF_ITSELF]
    if _NO_MULTIPLE in device.labels:
        return tuple(_read_of(device, reference) for reference in references)
    return (interpret(device, bytes((CONFIRMED, READ_MULTIPLE)) + encode_read_property_multiple(references)),)


def _read_of(device: Device, reference: Reference) -> Request:
    return interpret(device, bytes((CONFIRMED, READ)) + encode_read_property(reference))


def _reference(object_type: str, instance: int, word: str) -> Reference:
    return Reference(number_of("object-type", object_type), instance, number_of("property-identifier", word), None)
