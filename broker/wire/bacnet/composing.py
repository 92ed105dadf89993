"""The answer to ReadPropertyMultiple, put together of what was denied, what the device told, and what the broker adds.

    asked:   analog-value,1 ALL · device,7 object-list
    sent:    analog-value,1 (each property of the standard, and property-list)
    further: analog-value,1 512                        <- a property of the vendor's that its list names
    answer:  all of these that may be read · the list as the broker made it (`object_list`)

ALL and OPTIONAL stand for what the standard gives an object and for what the device says that it has besides (12.1.1.4:
Property_List): each of these is then asked for, and decided, by itself.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from broker.errors import FrameError
from broker.model.place import Device
from broker.wire.bacnet.interpreter import CONFIRMED, READ_MULTIPLE, decode, expanded, reference_to
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.property_requests import encode_read_property_multiple
from broker.wire.bacnet.property_services import MOST_READ
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.refusal import COMPLEX_ACK, READ_DENIED
from broker.wire.bacnet.replies import (
    Reported,
    decode_read_property_multiple_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.standard import (
    ALL,
    PROPERTY_LIST,
    REQUIRED,
    WILDCARDS,
    error_numbers,
    number_of,
    properties_meant,
)
from broker.wire.bacnet.tags import ENUMERATED, Tag

_QUESTION, _ANSWER = bytes((CONFIRMED, READ_MULTIPLE)), bytes((COMPLEX_ACK, READ_MULTIPLE))
_UNKNOWN_PROPERTY = error_numbers("property/unknown-property")
_UNKNOWN_OBJECT = error_numbers("object/unknown-object")
_NOT_THERE = (_UNKNOWN_PROPERTY, _UNKNOWN_OBJECT)
_OF_LIST = number_of("property-identifier", PROPERTY_LIST)
_NEVER_LISTED = frozenset((_OF_LIST, *(number_of("property-identifier", word) for word in WILDCARDS)))
_NONE: Mapping[int, Reported] = {}


class _Asked(NamedTuple):
    """One property or wildcard as the caller asked for it, with what was found for each property it stands for, and
    what of these was denied here.
    """

    item: Item
    found: list[Reported]
    denied: list[Reported]

    @property
    def wild(self) -> bool:
        """Whether it stands for many."""
        return self.item.property in WILDCARDS


class Pieces(NamedTuple):
    """What an answer is made of: the places of operations that were denied, the bare reply to those that were relayed
    (empty: none was), what the broker made itself by place, and what further properties hold; and which of those that
    were denied were decided too `late`.
    """

    denied: Collection[int] = ()
    relayed: bytes = _ANSWER
    made: Mapping[int, Reported] = _NONE
    further: Sequence[Reported] = ()
    late: Collection[int] = ()

    @property
    def hidden(self) -> set[int]:
        """The places of what a wildcard does not tell of: whoever may not read it need not know that it is there."""
        return {*self.denied}.difference(self.late)


def composed_reply(bare: bytes, device: Device, pieces: Pieces) -> bytes:
    """The answer to a request, made of the reply to the part of it that was relayed.

    What a wildcard stands for and the device does not have, or the caller may not read, is left out (15.7.3.1.2); the
    rest comes in the caller's order. What was decided too late is told as denied, or it would seem not to be there.
    """
    if bare[:2] != _QUESTION or pieces.relayed[:2] != _ANSWER:
        return pieces.relayed
    items = decode(device, bare).items
    if not (pieces.denied or pieces.made or any(item.property in WILDCARDS for item in items)):
        return pieces.relayed  # it was judged to be about exactly these
    results = [result for each in _filled(items, pieces) for result in _told(each, pieces.further)]
    return _ANSWER + encode_read_property_multiple_ack(results)


def further_read(bare: bytes, device: Device, pieces: Pieces) -> bytes | None:
    """The bare request for what the device says that its objects have beyond the standard, as far as ALL or OPTIONAL
    asks for it; at most so many properties as one request may ask for. None: there is nothing further.
    """
    if bare[:2] != _QUESTION or pieces.relayed[:2] != _ANSWER:
        return None
    items = decode(device, bare).items
    if not any(item.property in WILDCARDS for item in items):
        return None
    references = dict.fromkeys(more for asked in _filled(items, pieces) for more in _beyond(asked))
    if not references:
        return None
    return _QUESTION + encode_read_property_multiple([*references][:MOST_READ])


def results_of(bare: bytes, device: Device, pieces: Pieces) -> tuple[Reported, ...]:
    """What of the properties that such a request names may be told."""
    if pieces.relayed[:2] != _ANSWER:
        return ()
    asked = _filled(decode(device, bare).items, pieces)
    hidden = pieces.hidden
    return tuple(each.found[0] for place, each in enumerate(asked) if place not in hidden)


def _filled(items: Sequence[Item], pieces: Pieces) -> list[_Asked]:
    reported = iter(decode_read_property_multiple_ack(pieces.relayed[2:]))
    asked: list[_Asked] = []
    place, hidden = 0, pieces.hidden
    for item in items:
        each = _Asked(item, [], [])
        for meant, _ in expanded((item,)):
            found = _found(meant, place, pieces, reported)
            (each.denied if each.wild and place in hidden else each.found).append(found)
            place += 1
        asked.append(each)
    return asked


def _found(meant: Item, place: int, pieces: Pieces, reported: Iterator[Reported]) -> Reported:
    if place in pieces.made:
        return pieces.made[place]
    found = Reported(reference_to(meant), error=READ_DENIED) if place in pieces.denied else next(reported, None)
    if found is None:
        raise FrameError("reply_mismatch", "fewer properties than were asked for")
    return found


def _told(asked: _Asked, further: Sequence[Reported]) -> list[Reported]:
    """What of the results the caller is told."""
    if not asked.wild:
        return asked.found
    there = _there(asked)
    meant = [each for each in asked.found if each.reference.property in there]
    named = {*_beyond(asked)}
    more = [each for each in further if each.reference in named]
    kept = [each for each in (*meant, *more) if each.error not in _NOT_THERE]
    if kept:
        return kept
    errors = {each.error for each in (*meant, *asked.denied)}
    error = next((e for e in (READ_DENIED, _UNKNOWN_OBJECT, _UNKNOWN_PROPERTY) if e in errors), _UNKNOWN_PROPERTY)
    return [Reported(reference_to(asked.item), error=error)]


def _there(asked: _Asked) -> set[int]:
    """The properties that the object has, or may have if it lists none: some answer for more than they list."""
    listed = {number for _, number in _listed(asked)}
    if listed:
        return listed | _numbers(asked, REQUIRED)
    return {found.reference.property for found in asked.found} - {_OF_LIST}


def _beyond(asked: _Asked) -> list[Reference]:
    """What the object has beyond the standard, if ALL or OPTIONAL was asked for: Property_List was read with it."""
    if not asked.wild:
        return []
    known = _numbers(asked, ALL)
    return [found.reference._replace(property=number) for found, number in _listed(asked) if number not in known]


def _listed(asked: _Asked) -> list[tuple[Reported, int]]:
    """What the object's Property_List names, as far as it was read."""
    lists = [found for found in asked.found if found.reference.property == _OF_LIST]
    told = [(found, _property(tag)) for found in lists for tag in found.values]
    return [(found, number) for found, number in told if number is not None]


def _numbers(asked: _Asked, wildcard: str) -> set[int]:
    """What the standard gives an object of that type."""
    return {number_of("property-identifier", word) for word in properties_meant(asked.item.object_type, wildcard)}


def _property(tag: Tag) -> int | None:
    if tag[:2] != ("application", ENUMERATED) or not 1 <= len(tag.content) <= 4:
        return None
    number = int.from_bytes(tag.content, "big")
    # A list that names what stands for many, or itself, would have no end.
    return None if number in _NEVER_LISTED else number
