"""What a bare request of a native client asks of a device, in the words of the product.

Each property of ReadPropertyMultiple and WritePropertyMultiple is an operation of its own; any other request is one.
Wildcards (ALL, REQUIRED, OPTIONAL) become the standard's properties of the object, and the instance that stands for a
device that is not known becomes the device's own, so that what is decided is what is sent.
"""

from collections.abc import Sequence

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Request
from broker.model.place import Device
from broker.model.vocabulary import Reason
from broker.wire.bacnet.encoding import encode_tags
from broker.wire.bacnet.items import Decoded, Item, ItemKey, digest_of
from broker.wire.bacnet.parameters import ParameterError
from broker.wire.bacnet.places import Places, places_of
from broker.wire.bacnet.property_requests import (
    Write,
    asked_one_by_one,
    encode_read_property,
    encode_read_property_multiple,
    encode_write_property_multiple,
)
from broker.wire.bacnet.property_services import MOST_READ
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.repeated_writes import RepeatedWrites
from broker.wire.bacnet.services import decode_confirmed, decode_unconfirmed
from broker.wire.bacnet.standard import PROPERTY_LIST, REQUIRED, WILDCARDS, number_of, properties_meant
from broker.wire.recent import Recent

CONFIRMED, UNCONFIRMED = 0x00, 0x10  # 20.1.2, 20.1.3: first octet of a bare request
READ, READ_MULTIPLE, WRITE_MULTIPLE = 12, 14, 16  # clause 21, BACnetConfirmedServiceChoice
_MOST_REMEMBERED_OCTETS = 256
_MOST_REMEMBERED_OPERATIONS = 20
"""What is larger costs more to keep than it saves: a client may send any number of different ones."""
_MULTIPLE = ("read-property-multiple", "write-property-multiple")
_BY_PROPERTY = ("read-property", "write-property", *_MULTIPLE)
_HAVE_BEFORE = ("write-property", "write-property-multiple", "add-list-element", "remove-list-element")
_NEED_PASSWORD = ("device-communication-control", "reinitialize-device")
_PASSWORD = ("password", "present")
_BARE = (bytes((CONFIRMED,)), bytes((UNCONFIRMED,)))
_WITH_SECRETS = tuple(bytes((service,)) for service in (17, 20, 24, 25))  # clause 21; 16.1, 16.4, clause 24
_SUBSCRIBE_MULTIPLE, _CREATE = "subscribe-cov-property-multiple", "create-object"
_OF_PRIORITIES = ("priority-array", "priority-for-writing")
_LONGEST_DELAY_SECONDS = 3600
PASSWORD_MISSING = "password_missing"
LIFETIME_OUT_OF_RANGE, NO_TIMESTAMPS = "lifetime_out_of_range", "no_timestamps"


class Interpreter:
    """`interpret` for one device, remembering what the same octets meant; the oldest of `capacity` are forgotten.

    Of writes is remembered what they are but for their value: it is often another one.
    """

    __slots__ = ("_device", "_known", "_writes")

    def __init__(self, device: Device, capacity: int = 1024) -> None:
        self._device = device
        self._known: Recent[bytes, Request] = Recent(capacity)
        self._writes = RepeatedWrites(places_of(device))

    def interpret(self, bare: bytes) -> Request:
        """What a bare request asks; an equal request for equal octets. Raises FrameError, not remembered."""
        request = self._known.get(bare)
        if request is None:
            request = self._writes.recognised(bare)
        return self._learn(bare) if request is None else request

    def _learn(self, bare: bytes) -> Request:
        decoded = decode(self._device, bare)
        request = _request(self._device, bare[:2], decoded)
        self._writes.learn(bare, decoded, request)
        if decoded.secret or len(bare) > _MOST_REMEMBERED_OCTETS:
            return request
        if len(request.operations) > _MOST_REMEMBERED_OPERATIONS:
            return request
        self._known.keep(bare, request)
        return request


def interpret(device: Device, bare: bytes) -> Request:
    """What a bare request asks of a device, with the octets that will be sent.

    Raises FrameError `unrecognized_service`, `service_not_allowed`, `malformed`, `invalid_datatype`, `illegal_value`,
    `priority_not_allowed` or `password_missing`.
    """
    return _request(device, bare[:2], decode(device, bare))


def may_hold_password(octets: bytes) -> bool:
    """Whether what was refused may hold one: certain requests, and whatever is no bare APDU to look into."""
    return octets[:1] not in _BARE or octets[1:2] in _WITH_SECRETS


def decode(device: Device, bare: bytes) -> Decoded:
    """A bare request, with the device's own instance where it names none. Raises FrameError."""
    if len(bare) < 2 or bare[0] not in (CONFIRMED, UNCONFIRMED):
        raise FrameError("malformed", "not a request")
    own = getattr(device.way, "instance", None)
    return (decode_confirmed if bare[0] == CONFIRMED else decode_unconfirmed)(bare[1], bare[2:], own)


def expanded(items: Sequence[Item]) -> tuple[tuple[Item, bool], ...]:
    """Every property that is read, and whether a wildcard stands for it. Raises ParameterError if they are too many.

    With ALL and OPTIONAL goes the device's own list of what the object has, for what is beyond the standard.
    """
    found: list[tuple[Item, bool]] = []
    for item in items:
        if item.property in WILDCARDS:
            meant = properties_meant(item.object_type, item.property)
            meant += () if item.property == REQUIRED else (PROPERTY_LIST,)
            found += [(Item(item.object_type, item.instance, name), True) for name in meant]
        else:
            found.append((item, False))
        if len(found) > MOST_READ:
            raise ParameterError("too-many-arguments", f"more than {MOST_READ} properties")
    return tuple(found)


def _request(device: Device, head: bytes, decoded: Decoded) -> Request:
    places = places_of(device)
    service, items, octets, _, secret = decoded
    if service == _MULTIPLE[0] and any(item.property in WILDCARDS for item in items):
        items = tuple(item for item, _ in expanded(items))
        octets = encode_read_property_multiple([reference_to(item) for item in items])
    if service in _BY_PROPERTY:
        operations = tuple([_of_property(places, service, item) for item in items])
    elif service == _SUBSCRIBE_MULTIPLE and items:
        operations = _subscriptions(places, decoded)
    else:
        _check_whole(decoded)
        operations = (places.whole(decoded, _at(device, items)),)
    before = _before(device, places, items) if service in _HAVE_BEFORE else None
    payload = head + octets
    return Request(operations, payload, digest_of(payload.removesuffix(secret)), before=before)


def _subscriptions(places: Places, decoded: Decoded) -> tuple[Operation, ...]:
    """One for each property of SubscribeCOVPropertyMultiple."""
    facts = dict(decoded.facts)
    if "cancels" not in facts:
        lifetime, delay = int(facts["lifetime"]), int(facts.get("max-notification-delay", 0))
        if not delay < lifetime or delay > _LONGEST_DELAY_SECONDS:  # 13.16.1.1.4, 13.16.1.1.5
            raise FrameError(LIFETIME_OUT_OF_RANGE, "a lifetime of nothing, or a delay as long as that")
        if any(dict(item.facts)["timestamped"] == "true" for item in decoded.items):
            raise FrameError(NO_TIMESTAMPS, "the broker hears of a change when it is told, and not when it was")
    return tuple(
        places.whole(decoded._replace(items=(item,), facts=(*decoded.facts, *item.facts)), BacnetProperty(*item[:4]))
        for item in decoded.items
    )


def _check_whole(decoded: Decoded) -> None:
    """Refuse what is asked without its password, and what as one operation would hide some of what it is about: which
    priorities lists or new objects set.
    """
    if decoded.service in _NEED_PASSWORD and _PASSWORD not in decoded.facts:
        raise FrameError(PASSWORD_MISSING, f"{decoded.service} without a password")
    slots = any(item.property in _OF_PRIORITIES and item.value is not None for item in decoded.items)
    if slots or (decoded.service == _CREATE and any(item.priority is not None for item in decoded.items)):
        raise FrameError(Reason.PRIORITY_NOT_ALLOWED, "priority 6 is the device's own")  # 19.2.3


def _of_property(places: Places, service: str, item: Item) -> Operation:
    if item.value is None:
        return places.read(service, item)
    return places.written(service, item)


def _at(device: Device, items: Sequence[Item]) -> BacnetProperty:
    """What a request is about: its first object or property, or the device."""
    if not items:
        return BacnetProperty("device", getattr(device.way, "instance", None), None)
    first = items[0]
    alone = len({item[:4] for item in items}) == 1
    return BacnetProperty(*first[:4]) if alone else BacnetProperty(first.object_type, first.instance, None)


def _before(device: Device, places: Places, items: Sequence[Item]) -> Request | None:
    """The read of what is written; None where a device cannot be asked for several at once."""
    asked = (items[0][:4],) if len(items) == 1 else tuple(dict.fromkeys([item[:4] for item in items]))
    if len(asked) > 1 and asked_one_by_one(device):
        return None
    known = places.looks.get(asked)
    return _look(places, asked) if known is None else known


def _look(places: Places, asked: tuple[ItemKey, ...]) -> Request:
    """The read of these properties, kept because the same ones are written again and again."""
    items = [Item(*key) for key in asked]
    references = [reference_to(item) for item in items]
    if len(asked) == 1:
        choice, service, octets = READ, "read-property", encode_read_property(references[0])
    else:
        choice, service, octets = READ_MULTIPLE, _MULTIPLE[0], encode_read_property_multiple(references)
    payload = bytes((CONFIRMED, choice)) + octets
    request = Request(tuple([places.read(service, item) for item in items]), payload, digest_of(payload))
    if len(asked) <= _MOST_REMEMBERED_OPERATIONS:
        places.looks.keep(asked, request)
    return request


def reference_to(item: Item) -> Reference:
    """The numbers of the property that an item is about. Raises FrameError if it is about none."""
    if item.instance is None or item.property is None:
        raise FrameError("illegal_value", "no property of an object")
    object_type = number_of("object-type", item.object_type)
    return Reference(object_type, item.instance, number_of("property-identifier", item.property), item.index)


def narrowed(request: Request, places: Sequence[int]) -> Request:
    """The request for these operations of another one, in their order.

    Raises FrameError for a request that cannot be divided: only ReadPropertyMultiple and WritePropertyMultiple can.
    """
    head, items = request.payload[:2], decode_confirmed(request.payload[1], request.payload[2:]).items
    left = [items[place] for place in places]
    if head == bytes((CONFIRMED, READ_MULTIPLE)):
        octets = encode_read_property_multiple([reference_to(item) for item in left])
    elif head == bytes((CONFIRMED, WRITE_MULTIPLE)):
        octets = encode_write_property_multiple(
            Write(reference_to(item), encode_tags(item.value or ()), item.priority) for item in left
        )
    else:
        raise FrameError("illegal_value", "a request that cannot be divided")
    payload = head + octets
    operations = tuple(request.operations[place] for place in places)
    return Request(operations, payload, digest_of(payload), before=request.before)
