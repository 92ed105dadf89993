"""Which points of a device an object or property is, indexed once so that no request looks at all of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Touch
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.settings.bacnet_words import COMMANDABLE
from broker.wire.bacnet.action_classes import action_of
from broker.wire.bacnet.encoding import encode_tags
from broker.wire.bacnet.items import Decoded, Item
from broker.wire.bacnet.parameters import ParameterError
from broker.wire.bacnet.standard import datatype_of
from broker.wire.bacnet.tags import NULL, Tag
from broker.wire.bacnet.values import text_of, text_of_value

MOST_RAW_VALUES = 2048
_LONGEST_RAW_VALUE = 1000
_PRESENT_VALUE, _PRIORITY_ARRAY = "present-value", "priority-array"
_SUBSCRIPTIONS = frozenset(("subscribe-cov", "subscribe-cov-property", "subscribe-cov-property-multiple"))
_TOUCHING = frozenset(("add-list-element", "remove-list-element", "create-object", "delete-object"))
_MOST_DEVICES = 4096

ObjectKey = tuple[str, int | None]
PropertyKey = tuple[str, int | None, str | None]


class Places:
    """The points of one device by object and by property."""

    __slots__ = ("_of_object", "_of_property")

    def __init__(self, points: Iterable[Point]) -> None:
        self._of_object: defaultdict[ObjectKey, list[Point]] = defaultdict(list)
        self._of_property: defaultdict[PropertyKey, list[tuple[int | None, Point]]] = defaultdict(list)
        for point in points:
            at = point.address
            if isinstance(at, BacnetAddress):
                self._of_object[at.object_type, at.instance].append(point)
                self._of_property[at.object_type, at.instance, at.property].append((at.index, point))

    def read(self, service: str, item: Item) -> Operation:
        """The reading of one property, or of one element of it."""
        touches = self._looked_at(item)
        at = BacnetProperty(item.object_type, item.instance, item.property, item.index)
        action = action_of(service, at)
        return Operation(Protocol.BACNET.value, action, service, at, touches, described=bool(touches))

    def _looked_at(self, item: Item) -> tuple[Touch, ...]:
        """The points that a property shows; a priority array shows what a commandable point is.

        What else an object says of itself (its name, units, status) belongs to the point that its present value is.
        """
        touches = [
            Touch(point, whole=item.index in (None, index))
            for index, point in self._of_property.get(item[:3], ())
            if item.index is None or index in (None, item.index)
        ]
        if item.property == _PRIORITY_ARRAY:
            commanded = self._of_property.get((item.object_type, item.instance, _PRESENT_VALUE), ())
            touches += [Touch(point, whole=False) for _, point in commanded]
        elif item[:3] not in self._of_property:
            held = self._of_property.get((item.object_type, item.instance, _PRESENT_VALUE), ())
            touches += [Touch(point, whole=False) for _, point in held]
        return tuple(touches)

    def written(self, service: str, item: Item) -> Operation:
        """The writing of one property, or of one element of it.

        Raises FrameError `invalid_datatype` or `illegal_value` for what a described point cannot be.
        """
        touches = tuple(self._touch(point, index, item) for index, point in self._under(item))
        described = bool(touches) and all(touch.whole for touch in touches)
        at = BacnetProperty(item.object_type, item.instance, item.property, item.index)
        classes = {touch.point.action for touch in touches}
        point_class = classes.pop() if described and len(classes) == 1 else None
        return Operation(
            Protocol.BACNET.value,
            action_of(service, at, item.priority, point_class),
            service,
            at,
            touches,
            () if described else raw_values(item.value or ()),
            described,
            priority=item.priority,
        )

    def _under(self, item: Item) -> list[tuple[int | None, Point]]:
        """The points that a write changes."""
        known = self._of_property.get(item[:3], ())
        # Element 0 is the size of an array: to change it changes all of it (12.1.5.1).
        found = [(i, point) for i, point in known if i is None or item.index in (None, 0, i)]
        if item.property == _PRIORITY_ARRAY:
            found += self._of_property.get((item.object_type, item.instance, _PRESENT_VALUE), ())
        return found

    def _touch(self, point: Point, index: int | None, item: Item) -> Touch:
        at = point.address
        exact = isinstance(at, BacnetAddress) and at.property == item.property and index == item.index
        if not exact or item.value is None:
            return Touch(point, whole=False)
        _require_datatype(point, item, item.value)
        if any(tag.kind != "application" for tag in item.value):
            return Touch(point, whole=False)
        try:
            text = text_of_value(item.object_type, item.property or "", item.index, item.value)
        except FrameError:
            raise FrameError("illegal_value", f"{point.id}: a value that cannot be put in words") from None
        return Touch(point, whole=True, value=text)

    def whole(self, decoded: Decoded, at: BacnetProperty) -> Operation:
        """A request that is one operation, whatever it is about; without an object it is about the device."""
        service, items = decoded.service, decoded.items
        touches: tuple[Touch, ...] = ()
        if service in _SUBSCRIPTIONS or service == "read-range":
            seen = (item if item.property else item._replace(property=_PRESENT_VALUE) for item in items)
            touches = tuple(dict.fromkeys(touch for item in seen for touch in self._looked_at(item)))
        elif service in _TOUCHING:
            touches = tuple(Touch(point, whole=False) for point in self._on(items))
        described = not items or all(item[:2] in self._of_object for item in items)
        if service in _SUBSCRIPTIONS or service == "read-range":
            described = bool(touches)
        return Operation(
            Protocol.BACNET.value,
            action_of(service, at, facts=decoded.facts),
            service,
            at,
            touches,
            raw_values([tag for item in items for tag in item.value or ()]),
            described and service not in _TOUCHING,
            facts=decoded.facts,
        )

    def _on(self, items: Sequence[Item]) -> list[Point]:
        """The points of these objects or properties."""
        found: dict[str, Point] = {}
        for item in items:
            of_object = self._of_object.get(item[:2], ())
            of_property = [point for _, point in self._of_property.get(item[:3], ())]
            found |= {point.id: point for point in (of_object if item.property is None else of_property)}
        return list(found.values())


def _require_datatype(point: Point, item: Item, value: Sequence[Tag]) -> None:
    datatype = datatype_of(item.object_type, item.property or "", item.index)
    if datatype is None or datatype.tag is None:
        return
    commandable = isinstance(point.address, BacnetAddress) and point.address.priority_lowest is not None
    commandable |= item.property == _PRESENT_VALUE and item.object_type in COMMANDABLE
    released = commandable or datatype.optional
    if not datatype.many and len(value) != 1:
        raise FrameError("invalid_datatype", f"{point.id}: not one value")
    for tag in value:
        fits = tag.number == datatype.tag or (tag.number == NULL and released and not datatype.many)
        if tag.kind != "application" or not fits:
            raise FrameError("invalid_datatype", f"{point.id}: not a value of type {datatype.name}")


def raw_values(tags: Sequence[Tag]) -> tuple[str, ...]:
    """Values that no point describes, tag by tag: primitives as text, everything else as octets in hexadecimal.

    Long ones are several. Raises ParameterError if they are too many to be recorded.
    """
    texts = [text[at : at + _LONGEST_RAW_VALUE] for text in map(_raw, tags) for at in _starts(text)]
    if len(texts) > MOST_RAW_VALUES:
        raise ParameterError("too-many-arguments", f"more than {MOST_RAW_VALUES} values")
    return tuple(texts)


def _starts(text: str) -> range:
    return range(0, max(1, len(text)), _LONGEST_RAW_VALUE)


def _raw(tag: Tag) -> str:
    if tag.kind == "application":
        try:
            return text_of(tag)
        except FrameError:
            pass
    return f"0x{encode_tags((tag,)).hex()}"


_PLACES: dict[int, tuple[Device, Places]] = {}


def places_of(device: Device) -> Places:
    """The index of a device, built when it is first asked for."""
    # By identity: hashing a device would look at all of its points. The device is kept, so its id stays its own.
    known = _PLACES.get(id(device))
    if known is not None:
        return known[1]
    if len(_PLACES) >= _MOST_DEVICES:
        del _PLACES[next(iter(_PLACES))]
    places = Places(device.points)
    _PLACES[id(device)] = (device, places)
    return places
