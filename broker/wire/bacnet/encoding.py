"""Tags to octets (ASHRAE 135-2020, 20.2), each in its shortest form; nothing here can fail on what was decoded."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TypeVar

from broker.wire.bacnet.tags import BOOLEAN, ENUMERATED, INSTANCE_BITS, OBJECT, UNSIGNED, Tag

_Entry = TypeVar("_Entry")
_CONTEXT = 0x08
_EXTENDED_NUMBER = 0xF
_EXTENDED_LENGTH = 5
_OPENING = 6
_CLOSING = 7
_TWO_OCTETS = 254
_FOUR_OCTETS = 255
_SHORT = tuple(bytes((octet,)) for octet in range(0x100))
_HEADERS = {
    (kind, number, length): _SHORT[number << 4 | bits | length]
    for kind, bits in (("application", 0), ("context", _CONTEXT))
    for number in range(_EXTENDED_NUMBER)
    for length in range(_EXTENDED_LENGTH)
    if (kind, number) != ("application", BOOLEAN)
} | {
    (kind, number, 0): _SHORT[number << 4 | _CONTEXT | bits]
    for kind, bits in (("opening", _OPENING), ("closing", _CLOSING))
    for number in range(_EXTENDED_NUMBER)
}
"""Initial octets of tags by kind, number and octets of content, where that is all that stands before the content."""


def opening(number: int) -> bytes:
    """An opening tag (20.2.1.3.2)."""
    return _header(number, _CONTEXT | _OPENING)


def closing(number: int) -> bytes:
    """A closing tag."""
    return _header(number, _CONTEXT | _CLOSING)


def _header(number: int, rest: int) -> bytes:
    if number < _EXTENDED_NUMBER:
        return bytes((number << 4 | rest,))
    return bytes((_EXTENDED_NUMBER << 4 | rest, number))  # 20.2.1.2


def context(number: int, content: bytes) -> bytes:
    """A context tag with its content."""
    return _tagged(number, _CONTEXT, content)


def application(number: int, content: bytes) -> bytes:
    """An application tag with its content; a boolean's value is its only octet, as in `Tag`."""
    if number == BOOLEAN:  # 20.2.3: the length field is the value
        return bytes((number << 4 | content[0],))
    return _tagged(number, 0, content)


def _tagged(number: int, kind: int, content: bytes) -> bytes:
    length = len(content)
    if length < _EXTENDED_LENGTH and number < _EXTENDED_NUMBER:
        return _SHORT[number << 4 | kind | length] + content
    if length < _EXTENDED_LENGTH:
        return _header(number, kind | length) + content
    header = _header(number, kind | _EXTENDED_LENGTH)
    if length < _TWO_OCTETS:
        return header + bytes((length,)) + content
    if length <= 0xFFFF:
        return header + bytes((_TWO_OCTETS,)) + length.to_bytes(2, "big") + content
    return header + bytes((_FOUR_OCTETS,)) + length.to_bytes(4, "big") + content


def encode_tags(tags: Iterable[Tag]) -> bytes:
    """Decoded tags as octets again."""
    parts = []
    for tag in tags:
        kind, number, content = tag
        header = _HEADERS.get((kind, number, len(content)))
        parts.append(_octets(tag) if header is None else header + content)
    return b"".join(parts)


def _octets(tag: Tag) -> bytes:
    if tag.kind == "application":
        return application(tag.number, tag.content)
    if tag.kind == "context":
        return context(tag.number, tag.content)
    return opening(tag.number) if tag.kind == "opening" else closing(tag.number)


def unsigned_octets(number: int) -> bytes:
    """An unsigned number in as few octets as it needs (20.2.4)."""
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def signed_octets(number: int) -> bytes:
    """A signed number in as few octets as it needs (20.2.5)."""
    magnitude = number if number >= 0 else ~number
    return number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def object_octets(object_type: int, instance: int) -> bytes:
    """An object identifier (20.2.14)."""
    return (object_type << INSTANCE_BITS | instance).to_bytes(4, "big")


def context_unsigned(number: int, value: int) -> bytes:
    """An unsigned number or enumeration in a context tag."""
    return context(number, unsigned_octets(value))


def context_object(number: int, object_type: int, instance: int) -> bytes:
    """An object identifier in a context tag."""
    return context(number, object_octets(object_type, instance))


def context_property(number: int, identifier: int, index: int | None) -> bytes:
    """A property identifier and, in the context tag behind it, its array index if it has one."""
    octets = context_unsigned(number, identifier)
    return octets if index is None else octets + context_unsigned(number + 1, index)


def under_objects(
    entries: Iterable[_Entry], at: Callable[[_Entry], tuple[int, int]], encode: Callable[[_Entry], bytes]
) -> bytes:
    """Entries as octets, neighbours of one object together under its identifier (15.7, 15.10)."""
    return b"".join(
        context_object(0, *identifier) + opening(1) + b"".join(map(encode, of_object)) + closing(1)
        for identifier, of_object in groupby(entries, at)
    )


def application_unsigned(value: int) -> bytes:
    """An unsigned number."""
    return application(UNSIGNED, unsigned_octets(value))


def application_enumerated(value: int) -> bytes:
    """An enumeration."""
    return application(ENUMERATED, unsigned_octets(value))


def application_object(object_type: int, instance: int) -> bytes:
    """An object identifier."""
    return application(OBJECT, object_octets(object_type, instance))
