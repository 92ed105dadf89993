"""Who-Is and Who-Has (16.9, 16.10): what a client looks for, and what a device that fits says.

What is said comes from the inventory, and where that is silent from what the device has said itself. A point's object
is had by the name that the inventory gives the point, too.
"""

from collections.abc import Iterator
from typing import NamedTuple

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Request
from broker.model.place import BacnetAddress, Device, Point
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay, BacnetScWay, Segmentation
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.device_said import SEGMENTATIONS, DeviceSaid, ObjectId
from broker.wire.bacnet.encoding import (
    application,
    application_enumerated,
    application_object,
    application_unsigned,
)
from broker.wire.bacnet.items import digest_of
from broker.wire.bacnet.locating import I_AM, I_HAVE, WHO_HAS, WHO_IS
from broker.wire.bacnet.meaning import compose_read
from broker.wire.bacnet.name_reads import compose_name_read
from broker.wire.bacnet.services import decode_unconfirmed
from broker.wire.bacnet.standard import number_of
from broker.wire.bacnet.tags import LARGEST_INSTANCE, TEXT

_DEVICE, _DEVICE_WORD = 8, "device"
_UTF8 = b"\x00"
_NO_VENDOR = 0


class Sought(NamedTuple):
    """Devices by instance (16.9), or (`name`, or `object_type` and `instance`) those that have an object (16.10)."""

    service: str
    low: int
    high: int
    object_type: str = ""
    instance: int = 0
    name: str = ""


def decode_sought(bare: bytes) -> Sought | None:
    """What a bare Who-Is or Who-Has looks for; None if it is another request. Raises FrameError."""
    if len(bare) < 2 or bare[0] != Kind.UNCONFIRMED_REQUEST or bare[1] not in (WHO_IS, WHO_HAS):
        return None
    decoded = decode_unconfirmed(bare[1], bare[2:])
    facts = dict(decoded.facts)
    low, high = int(facts.get("low-limit", 0)), int(facts.get("high-limit", LARGEST_INSTANCE))
    sought = Sought(decoded.service, low, high, name=facts.get("object-name", ""))
    if not decoded.items:
        return sought
    (item,) = decoded.items
    return sought._replace(object_type=item.object_type, instance=item.instance or 0)


def fits(sought: Sought, device: Device, said: DeviceSaid | None = None, now: float = 0.0) -> bool:
    """Whether a device is what is looked for, by the inventory or by what it has said."""
    instance = _instance(device)
    if instance is None or not sought.low <= instance <= sought.high:
        return False
    return sought.service == "who-is" or _object_of(sought, device, said, now) is not None


def compose_question(sought: Sought, device: Device, said: DeviceSaid | None = None, now: float = 0.0) -> Request:
    """What looking for a device that fits is to it: to read the point whose object is looked for, or the object's name,
    or to discover the device. Nothing of it is sent there.
    """
    found = _object_of(sought, device, said, now) if sought.service == "who-has" else None
    if found is not None and found[0] != (_DEVICE_WORD, _instance(device)):
        point = _point_of(found[0], device)
        return compose_name_read(device, found[0]) if point is None else compose_read(device, (point,))[0]
    address = BacnetProperty(_DEVICE_WORD, _instance(device), None)
    payload = bytes((Kind.UNCONFIRMED_REQUEST, WHO_IS if sought.service == "who-is" else WHO_HAS))
    operation = Operation("bacnet", Action.DISCOVER, sought.service, address)
    return Request((operation,), payload, digest_of(payload))


def announcement(sought: Sought, device: Device, said: DeviceSaid | None = None, now: float = 0.0) -> bytes:
    """The bare I-Am or I-Have of a device that fits: what the inventory says of it, else what it has said itself."""
    way = device.way
    if not isinstance(way, BacnetIpWay | BacnetScWay):
        raise FrameError("illegal_value", "not a BACnet device")
    identifier = application_object(_DEVICE, way.instance)
    found = _object_of(sought, device, said, now) if sought.service == "who-has" else None
    if found is not None:
        (object_type, number), name = found
        had = application_object(number_of("object-type", object_type), number)
        return bytes((Kind.UNCONFIRMED_REQUEST, I_HAVE)) + identifier + had + application(TEXT, _UTF8 + name.encode())
    known = way if said is None else said.completed(now)
    vendor = device.bacnet.vendor_identifier
    if vendor is None:
        vendor = (said.vendor_identifier(now) if said is not None else None) or _NO_VENDOR
    return bytes((Kind.UNCONFIRMED_REQUEST, I_AM)) + b"".join(
        (
            identifier,
            application_unsigned(known.longest_apdu),
            application_enumerated(SEGMENTATIONS.index(known.segmentation or Segmentation.BOTH)),
            application_unsigned(vendor),
        )
    )


def left_out(device: Device) -> bool:
    """Whether the inventory leaves out something that an I-Am says."""
    way = device.way
    silent = isinstance(way, BacnetIpWay | BacnetScWay) and (way.max_apdu is None or way.segmentation is None)
    return silent or device.bacnet.vendor_identifier is None


def _instance(device: Device) -> int | None:
    return device.way.instance if isinstance(device.way, BacnetIpWay | BacnetScWay) else None


def _object_of(sought: Sought, device: Device, said: DeviceSaid | None, now: float) -> tuple[ObjectId, str] | None:
    """The object that is looked for, and its name: by the inventory, else by what the device has said."""
    wanted = (sought.object_type, sought.instance)
    for identifier, name, stated in _objects(device):
        if sought.name == name if sought.name else wanted == identifier:
            own = "" if said is None or stated or sought.name else said.name_of(identifier, now)
            return identifier, own or name
    if said is None:
        return None
    if sought.name:
        named = said.object_named(sought.name, now)
        return None if named is None else (named, sought.name)
    name = said.name_of(wanted, now)
    return (wanted, name) if name else None


def _point_of(which: ObjectId, device: Device) -> Point | None:
    for point in device.points:
        if isinstance(point.address, BacnetAddress) and _object(point.address) == which:
            return point
    return None


def _object(address: BacnetAddress) -> ObjectId:
    return address.object_type, address.instance


def _objects(device: Device) -> Iterator[tuple[ObjectId, str, bool]]:
    """Objects of the inventory, what they are called there, and whether that is stated to be their name."""
    instance = _instance(device)
    if instance is not None:
        yield (_DEVICE_WORD, instance), device.bacnet.name or device.id, bool(device.bacnet.name)
    for point in device.points:
        if isinstance(point.address, BacnetAddress):
            yield _object(point.address), point.id, False
