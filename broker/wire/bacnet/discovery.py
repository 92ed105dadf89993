"""Who-Is and Who-Has (16.9, 16.10): what a client looks for, and what a device that fits says.

What is said comes from the inventory alone: a point's object is had by the name that the inventory gives the point.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Request
from broker.model.place import BacnetAddress, BacnetIpWay, BacnetScWay, Device, Point
from broker.model.vocabulary import Action
from broker.wire.bacnet.apdu import LARGEST_MAX_APDU, Kind
from broker.wire.bacnet.encoding import (
    application,
    application_enumerated,
    application_object,
    application_unsigned,
)
from broker.wire.bacnet.meaning import compose_read
from broker.wire.bacnet.standard import number_of, object_type_word
from broker.wire.bacnet.tags import TEXT, Tag, decode_tags, malformed
from broker.wire.bacnet.values import text_of

WHO_HAS, WHO_IS, I_AM, I_HAVE = 7, 8, 0, 1  # 21, BACnetUnconfirmedServiceChoice
LARGEST_INSTANCE = 0x3FFFFF
_SEGMENTED_BOTH = 0  # 21, BACnetSegmentation: the broker ends segmentation on the client's side
_DEVICE = 8
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
    tags = decode_tags(bare[2:])
    low, high, rest = _limits(tags)
    if bare[1] == WHO_IS:
        if rest:
            raise malformed("tags behind Who-Is")
        return Sought("who-is", low, high)
    return _sought_object(low, high, rest)


def _limits(tags: tuple[Tag, ...]) -> tuple[int, int, tuple[Tag, ...]]:
    """Lowest and highest instance, both or neither (16.9.1.1.1), and the tags behind them."""
    if not tags or tags[0][:2] != ("context", 0):
        return 0, LARGEST_INSTANCE, tags
    if len(tags) < 2 or tags[1][:2] != ("context", 1):
        raise malformed("one limit without the other")
    low, high = (_unsigned(tag) for tag in tags[:2])
    if low > high or high > LARGEST_INSTANCE:
        raise malformed("limits of instances that cannot be")
    return low, high, tags[2:]


def _unsigned(tag: Tag) -> int:
    if not 1 <= len(tag.content) <= 4:
        raise malformed(f"a number of {len(tag.content)} octets")
    return int.from_bytes(tag.content, "big")


def _sought_object(low: int, high: int, tags: tuple[Tag, ...]) -> Sought:
    if len(tags) != 1 or tags[0].kind != "context":
        raise malformed("Who-Has names one object")
    tag = tags[0]
    if tag.number == 2 and len(tag.content) == 4:
        identifier = int.from_bytes(tag.content, "big")
        return Sought("who-has", low, high, object_type_word(identifier >> 22), identifier & LARGEST_INSTANCE)
    if tag.number == 3 and tag.content:
        return Sought("who-has", low, high, name=text_of(Tag("application", TEXT, tag.content)))
    raise malformed("Who-Has names one object")


def fits(sought: Sought, device: Device) -> bool:
    """Whether a device is what is looked for."""
    instance = _instance(device)
    if instance is None or not sought.low <= instance <= sought.high:
        return False
    return sought.service == "who-is" or _object_of(sought, device) is not None


def compose_question(sought: Sought, device: Device) -> Request:
    """What looking for a device that fits is to that device: the read of the point whose object is looked for, or to
    discover the device. Nothing of it is sent there.
    """
    point = _point_of(sought, device) if sought.service == "who-has" else None
    if point is not None:
        return compose_read(device, (point,))[0]
    address = BacnetProperty("device", _instance(device), None)
    payload = bytes((Kind.UNCONFIRMED_REQUEST, WHO_IS if sought.service == "who-is" else WHO_HAS))
    operation = Operation("bacnet", Action.DISCOVER, sought.service, address)
    return Request((operation,), payload, urlsafe_b64encode(sha256(payload).digest()).rstrip(b"=").decode())


def announcement(sought: Sought, device: Device) -> bytes:
    """The bare I-Am or I-Have of a device that fits."""
    instance = _instance(device)
    found = _object_of(sought, device) if sought.service == "who-has" else None
    if instance is None:
        raise FrameError("illegal_value", "not a BACnet device")
    identifier = application_object(_DEVICE, instance)
    if found is None:
        vendor = device.bacnet.vendor_identifier or _NO_VENDOR
        return bytes((Kind.UNCONFIRMED_REQUEST, I_AM)) + b"".join(
            (
                identifier,
                application_unsigned(LARGEST_MAX_APDU),
                application_enumerated(_SEGMENTED_BOTH),
                application_unsigned(vendor),
            )
        )
    (object_type, number), name = found
    had = application_object(number_of("object-type", object_type), number)
    return bytes((Kind.UNCONFIRMED_REQUEST, I_HAVE)) + identifier + had + application(TEXT, _UTF8 + name.encode())


def _instance(device: Device) -> int | None:
    return device.way.instance if isinstance(device.way, BacnetIpWay | BacnetScWay) else None


def _object_of(sought: Sought, device: Device) -> tuple[tuple[str, int], str] | None:
    """The object that is looked for, and its name, as the inventory knows them."""
    for identifier, name in _objects(device):
        if sought.name == name if sought.name else (sought.object_type, sought.instance) == identifier:
            return identifier, name
    return None


def _point_of(sought: Sought, device: Device) -> Point | None:
    found = _object_of(sought, device)
    for point in device.points if found is not None else ():
        if isinstance(point.address, BacnetAddress) and found is not None and _object(point.address) == found[0]:
            return point
    return None


def _object(address: BacnetAddress) -> tuple[str, int]:
    return address.object_type, address.instance


def _objects(device: Device) -> list[tuple[tuple[str, int], str]]:
    instance = _instance(device)
    own = [(("device", instance), device.bacnet.name or device.id)] if instance is not None else []
    points = [(_object(point.address), point.id) for point in device.points if isinstance(point.address, BacnetAddress)]
    return own + points
