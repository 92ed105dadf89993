"""Which points of a device an object or property is, indexed once so that no request looks at all of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from broker.errors import FrameError
from broker.model.operation import LEAST_URGENT, BacnetProperty, Operation, Request, Touch, commandable
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import Action
from broker.settings.bacnet_words import COMMANDABLE
from broker.wire.bacnet.action_classes import action_of, maybe_commandable
from broker.wire.bacnet.encoding import encode_tags
from broker.wire.bacnet.items import Decoded, Item, ItemKey
from broker.wire.bacnet.parameters import ParameterError
from broker.wire.bacnet.standard import datatype_of
from broker.wire.bacnet.tags import NULL, Tag
from broker.wire.bacnet.values import RELEASE, text_of, text_of_value
from broker.wire.recent import OfDevices, Recent

MOST_RAW_VALUES = 2048
_MOST_FORMS = 512
_MOST_READS = 1024
_MOST_LOOKS = 1024
_BACNET = Protocol.BACNET.value
_LONGEST_RAW_VALUE = 1000
_PRESENT_VALUE, _PRIORITY_ARRAY = "present-value", "priority-array"
_SUBSCRIPTIONS = frozenset(("subscribe-cov", "subscribe-cov-property", "subscribe-cov-property-multiple"))
_TOUCHING = frozenset(("add-list-element", "remove-list-element", "create-object", "delete-object"))
_WHOLE = attrgetter("whole")

ObjectKey = tuple[str, int | None]
PropertyKey = tuple[str, int | None, str | None]
_FormKey = tuple[str, str, int | None, str | None, int | None, int | None]


class Form(NamedTuple):
    """A write but for its value: the points that it is exactly, and those that it touches in part.

    `action` is its class if it writes points wholly, `other_action` if it does not; `priority` is where it acts.
    """

    service: str
    at: BacnetProperty
    points: tuple[Point, ...]
    parts: tuple[Touch, ...]
    described: bool
    action: Action
    other_action: Action
    priority: int | None


class Places:
    """The points of one device by object and by property; `looks` are reads that were made of it before."""

    __slots__ = ("_confidential", "_forms", "_of_object", "_of_property", "_reads", "looks")

    def __init__(self, points: Iterable[Point]) -> None:
        self.looks: Recent[tuple[ItemKey, ...], Request] = Recent(_MOST_LOOKS)
        self._forms: Recent[_FormKey, Form] = Recent(_MOST_FORMS)
        self._reads: Recent[tuple[object, ...], Operation] = Recent(_MOST_READS)
        self._of_object: defaultdict[ObjectKey, list[Point]] = defaultdict(list)
        self._confidential: defaultdict[ObjectKey, list[Point]] = defaultdict(list)
        self._of_property: defaultdict[PropertyKey, list[tuple[int | None, Point]]] = defaultdict(list)
        for point in points:
            at = point.address
            if isinstance(at, BacnetAddress):
                self._of_object[at.object_type, at.instance].append(point)
                if point.confidential is not None:
                    self._confidential[at.object_type, at.instance].append(point)
                self._of_property[at.object_type, at.instance, at.property].append((at.index, point))

    def read(self, service: str, item: Item) -> Operation:
        """The reading of one property, or of one element of it; the same operation for the same reading."""
        key = (service, *item[:4])
        known = self._reads.get(key)
        if known is None:
            at = BacnetProperty(item.object_type, item.instance, item.property, item.index)
            touches = self._looked_at(item)
            known = Operation(_BACNET, action_of(service, at), service, at, touches, described=bool(touches))
            self._reads.keep(key, known)
        return known

    def _looked_at(self, item: Item) -> tuple[Touch, ...]:
        """The points that a property shows; a priority array shows what a commandable point is.

        What else an object says of itself (its name, units, status) belongs to the point that its present value is.
        """
        exactly = self._of_property.get(item[:3])
        touches = [
            Touch(point, whole=item.index in (None, index))
            for index, point in exactly or ()
            if item.index is None or index in (None, item.index)
        ]
        if exactly is None or item.property == _PRIORITY_ARRAY:
            held = self._of_property.get((item.object_type, item.instance, _PRESENT_VALUE), ())
            touches += [Touch(point, whole=False) for _, point in held]
        return tuple(touches)

    def written(self, service: str, item: Item) -> Operation:
        """The writing of one property, or of one element of it.

        Raises FrameError `invalid_datatype` or `illegal_value` for what a described point cannot be.
        """
        return self.filled(self.form(service, item), item)

    def filled(self, form: Form, item: Item) -> Operation:
        """The writing of an item's value, where it is written in this form; raises as `written` does."""
        touches = form.parts
        for point in form.points:
            touches += (_touch(point, item),)
        described = form.described and all(map(_WHOLE, touches))
        raw = () if described else raw_values(item.value or ())
        action = form.action if described else form.other_action
        return Operation(_BACNET, action, form.service, form.at, touches, raw, described, priority=form.priority)

    def form(self, service: str, item: Item) -> Form:
        """What all writes of one property at one priority have in common, kept because they come again and again."""
        key = (service, *item[:4], item.priority)
        known = self._forms.get(key)
        if known is None:
            known = self._formed(service, item)
            self._forms.keep(key, known)
        return known

    def _formed(self, service: str, item: Item) -> Form:
        at = BacnetProperty(item.object_type, item.instance, item.property, item.index)
        under = self._under(item)
        points = tuple(point for index, point in under if _names(point, item) and index == item.index)
        parts = tuple(Touch(point, whole=False) for _, point in under if point not in points)
        classes = {point.action for point in points}
        priority = _acts_at(item.priority, at, points)
        action = action_of(service, at, priority, classes.pop() if len(classes) == 1 else None)
        other = action_of(service, at, priority)
        return Form(service, at, points, parts, bool(points) and not parts, action, other, priority)

    def _under(self, item: Item) -> list[tuple[int | None, Point]]:
        """The points that a write changes."""
        known = self._of_property.get(item[:3], ())
        # Element 0 is the size of an array: to change it changes all of it (12.1.5.1).
        found = [(i, point) for i, point in known if i is None or item.index in (None, 0, i)]
        if item.property == _PRIORITY_ARRAY:
            found += self._of_property.get((item.object_type, item.instance, _PRESENT_VALUE), ())
        # What is written beside a value that must not be told may tell it, as a default does.
        beside = [point for point in self._confidential.get(item[:2], ()) if all(point is not p for _, p in found)]
        return found + [(None, point) for point in beside if not _names(point, item)]

    def whole(self, decoded: Decoded, at: BacnetProperty) -> Operation:
        """A request that is one operation, whatever it is about; without an object it is about the device."""
        service, items = decoded.service, decoded.items
        touches: tuple[Touch, ...] = ()
        if service in _SUBSCRIPTIONS or service == "read-range":
            seen = (item if item.property else item._replace(property=_PRESENT_VALUE) for item in items)
            touches = tuple(dict.fromkeys(touch for item in seen for touch in self._looked_at(item)))
        elif service in _TOUCHING:
            beside = (point for item in items for point in self._confidential.get(item[:2], ()))
            touches = tuple(Touch(point, whole=False) for point in dict.fromkeys((*self._on(items), *beside)))
        described = not items or all(item[:2] in self._of_object for item in items)
        if service in _SUBSCRIPTIONS or service == "read-range":
            described = bool(touches)
        return Operation(
            _BACNET,
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


def _names(point: Point, item: Item) -> bool:
    return isinstance(point.address, BacnetAddress) and point.address.property == item.property


def _acts_at(named: int | None, at: BacnetProperty, points: Sequence[Point]) -> int | None:
    """The priority at which a write acts; None where there are none, by the inventory or else by the standard."""
    if named is not None:
        return named
    numbered = any(map(commandable, points)) if points else maybe_commandable(at)
    return LEAST_URGENT if numbered else None  # 19.2: what names no priority


def _touch(point: Point, item: Item) -> Touch:
    """The touch of a write to exactly this point; whole if its value can be said in words."""
    value = item.value or ()
    _require_datatype(point, item, value)
    for tag in value:
        if tag.kind != "application":
            return Touch(point, whole=False)
    try:
        text = text_of_value(item.object_type, item.property or "", item.index, value)
    except FrameError:
        raise FrameError("illegal_value", f"{point.id}: a value that cannot be put in words") from None
    if text == RELEASE and value[0].number != NULL:
        raise FrameError("illegal_value", f"{point.id}: a text that means a release")
    return Touch(point, whole=True, value=text)


def _require_datatype(point: Point, item: Item, value: Sequence[Tag]) -> None:
    datatype = datatype_of(item.object_type, item.property or "", item.index)
    if datatype is None or datatype.tag is None:
        return
    if not datatype.many and len(value) != 1:
        raise FrameError("invalid_datatype", f"{point.id}: not one value")
    for tag in value:
        if tag.kind == "application" and tag.number == datatype.tag:
            continue
        null = tag[:2] == ("application", NULL) and not datatype.many
        if not null or not (datatype.optional or _released(point, item)):
            raise FrameError("invalid_datatype", f"{point.id}: not a value of type {datatype.name}")


def _released(point: Point, item: Item) -> bool:
    """Whether null gives a priority back (19.2.1)."""
    return commandable(point) or (item.property == _PRESENT_VALUE and item.object_type in COMMANDABLE)


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


_PLACES = OfDevices(lambda device: Places(device.points))


def places_of(device: Device) -> Places:
    """The index of a device, built when it is first asked for."""
    return _PLACES.of(device)
