"""What BACnet devices have said of themselves: names of their objects, and what they take. It counts for an hour.

Only replies to what was asked, decided and recorded teach anything, and a device's own I-Am. Nothing learned says who
may see or do what: that is decided for each subject as if nothing had been learned. The inventory's word comes first.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Request
from broker.model.place import Device
from broker.model.way import BacnetIpWay, BacnetScWay, BacnetWay, Segmentation
from broker.wire.bacnet.apdu import LARGEST_MAX_APDU, Kind
from broker.wire.bacnet.locating import IAm, decode_i_am
from broker.wire.bacnet.references import words_of
from broker.wire.bacnet.replies import Reported, decode_read_property_ack, decode_read_property_multiple_ack
from broker.wire.bacnet.tags import ENUMERATED, TEXT, UNSIGNED, Tag
from broker.wire.bacnet.values import text_of

LASTS_SECONDS = 3600.0
MOST_NAMES = 1000
SEGMENTATIONS = (Segmentation.BOTH, Segmentation.TRANSMIT, Segmentation.RECEIVE, Segmentation.NONE)
"""21, BACnetSegmentation, by number."""
LEAST_MAX_APDU = 50  # 20.1.2.5
_LONGEST_NAME = 255
_READ, _READ_MULTIPLE = 12, 14  # 21, BACnetConfirmedServiceChoice
_NAME = "object-name"
_TAKES = {"max-apdu-length-accepted": UNSIGNED, "segmentation-supported": ENUMERATED, "vendor-identifier": UNSIGNED}
_TEACHING = frozenset((_NAME, *_TAKES))

ObjectId = tuple[str, int]


class _Told(NamedTuple):
    number: int
    until: float


class DeviceSaid:
    """What one device has said; times are seconds of the caller's clock.

    `asked_until` is for whoever asks a device of its own accord: until then, not again.
    """

    __slots__ = ("_completed", "_completed_until", "_names", "_objects", "_takes", "asked_until", "way")

    def __init__(self, way: BacnetWay) -> None:
        self.way = way
        self.asked_until = 0.0
        self._completed, self._completed_until = way, 0.0
        self._takes: dict[str, _Told] = {}
        self._names: dict[ObjectId, tuple[str, float]] = {}
        self._objects: dict[str, ObjectId] = {}

    def completed(self, now: float) -> BacnetWay:
        """The way to it, with what the inventory leaves out as far as the device has said it."""
        if not self._takes:
            return self.way
        if now >= self._completed_until:
            self._completed = self._complete(now)
            ends = [told.until for told in self._takes.values() if now < told.until]
            self._completed_until = min(ends, default=float("inf"))
        return self._completed

    def _complete(self, now: float) -> BacnetWay:
        max_apdu, segmentation = self._told("max-apdu-length-accepted", now), self._told("segmentation-supported", now)
        way = self.way
        if way.max_apdu is None and max_apdu is not None:
            way = replace(way, max_apdu=max_apdu)
        if way.segmentation is None and segmentation is not None:
            way = replace(way, segmentation=SEGMENTATIONS[segmentation])
        return way

    def vendor_identifier(self, now: float) -> int | None:
        """Its vendor's number."""
        return self._told("vendor-identifier", now)

    def lacks_any(self, now: float) -> bool:
        """Whether it has not said all that an I-Am says."""
        return any(self._told(word, now) is None for word in _TAKES)

    def name_of(self, which: ObjectId, now: float) -> str:
        """Name of an object, "" if that is not known."""
        name, until = self._names.get(which, ("", 0.0))
        return name if now < until else ""

    def object_named(self, name: str, now: float) -> ObjectId | None:
        """The object of that name."""
        which = self._objects.get(name)
        return which if which is not None and self.name_of(which, now) == name else None

    def learn(self, request: Request, reply: bytes, now: float) -> None:
        """Take from an accepted bare reply what there is to learn."""
        if not any(_teaches(operation.address) for operation in request.operations):
            return  # as nearly every request
        if reply[:1] != bytes((Kind.COMPLEX_ACK,)) or reply[1] not in (_READ, _READ_MULTIPLE):
            return
        for reported in _reported(reply):
            self._take(reported, now)

    def learn_i_am(self, bare: bytes, now: float) -> bool:
        """Take what a bare request of the device says if it is its own I-Am; whether it is one. Raises FrameError."""
        told = decode_i_am(bare)
        if told is None or told.instance != self.way.instance:
            return False
        self._announced(told, now)
        return True

    def _announced(self, told: IAm, now: float) -> None:
        for word, number in zip(_TAKES, told[1:], strict=True):
            self._take_number(word, number, now)

    def _told(self, word: str, now: float) -> int | None:
        told = self._takes.get(word)
        return told.number if told is not None and now < told.until else None

    def _take(self, reported: Reported, now: float) -> None:
        kind, instance, word, index = words_of(reported.reference)
        if len(reported.values) != 1 or index is not None or reported.values[0].kind != "application":
            return
        (tag,) = reported.values
        if word == _NAME and tag.number == TEXT:
            self._take_name((kind, instance), _name(tag), now)
        elif _TAKES.get(word) == tag.number and (kind, instance) == ("device", self.way.instance):
            self._take_number(word, int.from_bytes(tag.content, "big"), now)

    def _take_number(self, word: str, number: int, now: float) -> None:
        if word == "max-apdu-length-accepted":
            number = min(number, LARGEST_MAX_APDU)
            possible = number >= LEAST_MAX_APDU
        elif word == "segmentation-supported":
            possible = number < len(SEGMENTATIONS)
        else:
            possible = number <= 0xFFFF
        if possible:
            self._takes[word] = _Told(number, now + LASTS_SECONDS)
            self._completed_until = 0.0

    def _take_name(self, which: ObjectId, name: str, now: float) -> None:
        self._forget(which)
        if not name:
            return
        if len(self._names) >= MOST_NAMES:
            self._forget(next(iter(self._names)))
        self._names[which] = (name, now + LASTS_SECONDS)
        self._objects[name] = which

    def _forget(self, which: ObjectId) -> None:
        name, _ = self._names.pop(which, ("", 0.0))
        if self._objects.get(name) == which:
            del self._objects[name]


class LiveDevices:
    """What each device of the inventory has said."""

    def __init__(self) -> None:
        self._known: dict[str, DeviceSaid] = {}

    def of(self, device: Device) -> DeviceSaid | None:
        """What this one has said; None if it does not speak BACnet. Of a device that has moved nothing is known."""
        way = device.way
        if not isinstance(way, BacnetIpWay | BacnetScWay):
            return None
        known = self._known.get(device.key)
        if known is None or known.way != way:
            known = self._known[device.key] = DeviceSaid(way)
        return known

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all other devices."""
        kept = set(keys)
        self._known = {key: said for key, said in self._known.items() if key in kept}


def _teaches(at: object) -> bool:
    return isinstance(at, BacnetProperty) and at.property in _TEACHING


def _reported(reply: bytes) -> tuple[Reported, ...]:
    try:
        if reply[1] == _READ:
            return (decode_read_property_ack(reply[2:]),)
        return decode_read_property_multiple_ack(reply[2:])
    except FrameError:
        return ()


def _name(tag: Tag) -> str:
    """A name that can be told on; "" for any other."""
    try:
        name = text_of(tag)
    except FrameError:
        return ""
    return name if len(name) <= _LONGEST_NAME else ""
