"""The property Object_List of a device (ASHRAE 135-2020, 12.11.13), put together from points."""

from collections.abc import Iterable, Iterator

from broker.model.operation import BacnetProperty, Operation, Request
from broker.model.place import BacnetAddress, Device, Point
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.encoding import application_enumerated, object_octets, unsigned_octets
from broker.wire.bacnet.meaning import compose_read
from broker.wire.bacnet.references import reference_of
from broker.wire.bacnet.replies import Reported, encode_read_property_ack
from broker.wire.bacnet.standard import error_numbers, number_of
from broker.wire.bacnet.tags import OBJECT, UNSIGNED, Tag

_READ = 12  # clause 21, BACnetConfirmedServiceChoice
_READS = frozenset(("read-property", "read-property-multiple"))
_MOST_POINTS = 1024
"""Fewer than a session keeps decisions for, so that they are not asked for anew each time."""
_INVALID_INDEX = error_numbers("property/invalid-array-index")


def asked_for_list(request: Request, device: Device) -> tuple[int, ...]:
    """The places at which a request reads the list of this device's objects, its size or one element of it."""
    return tuple(place for place, operation in enumerate(request.operations) if _is_list(operation, device))


def _is_list(operation: Operation, device: Device) -> bool:
    at = operation.address
    if not isinstance(at, BacnetProperty) or at.property != "object-list" or operation.service not in _READS:
        return False  # as nearly every one
    return at.object_type == "device" and at.instance == getattr(device.way, "instance", None)


def reads_of(device: Device, named: frozenset[str] | None) -> Iterator[tuple[Point, Request]]:
    """The read of each of the named points of a device (None: of all) by itself."""
    points = [point for point in device.points if named is None or point.id in named]
    return ((point, compose_read(device, (point,))[0]) for point in points[:_MOST_POINTS])


def made_list(operation: Operation, points: Iterable[Point]) -> Reported:
    """What such an operation brings: the device, and the objects of these points, each once."""
    at = operation.address
    assert isinstance(at, BacnetProperty)
    assert at.instance is not None
    addresses = (point.address for point in points)
    objects = [(a.object_type, a.instance) for a in addresses if isinstance(a, BacnetAddress)]
    listed = list(dict.fromkeys([("device", at.instance), *objects]))
    if at.index == 0:  # 12.1.5.1: the size of the array
        return Reported(reference_of(at), (Tag("application", UNSIGNED, unsigned_octets(len(listed))),))
    if at.index is not None and at.index > len(listed):
        return Reported(reference_of(at), error=_INVALID_INDEX)
    wanted = listed if at.index is None else listed[at.index - 1 : at.index]
    return Reported(reference_of(at), tuple(_object(kind, instance) for kind, instance in wanted))


def encode_list(made: Reported) -> bytes:
    """The bare reply to ReadProperty of the list."""
    if made.error is not None:
        return bytes((Kind.ERROR, _READ)) + b"".join(map(application_enumerated, made.error))
    return bytes((Kind.COMPLEX_ACK, _READ)) + encode_read_property_ack(made)


def _object(kind: str, instance: int) -> Tag:
    return Tag("application", OBJECT, object_octets(number_of("object-type", kind), instance))
