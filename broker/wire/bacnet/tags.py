"""BACnet tags, strictly (ASHRAE 135-2020, 20.2.1): every octet belongs to a tag, every opening tag is closed."""

from typing import NamedTuple

from broker.errors import FrameError

NULL, BOOLEAN, UNSIGNED, INTEGER, REAL, DOUBLE, OCTETS, TEXT, BITS, ENUMERATED, DATE, TIME, OBJECT = range(13)
INSTANCE_BITS = 22
LARGEST_INSTANCE = (1 << INSTANCE_BITS) - 1
_CONTEXT = 0x08
_EXTENDED_NUMBER = 0xF
_EXTENDED_LENGTH = 5
_OPENING = 6
_CLOSING = 7
_TWO_OCTETS = 254
_RESERVED = 255
_DEEPEST = 16
MOST_TAGS = 32_768
"""More fit no reply that is taken. A request has far fewer: a tag may be a single octet, and each takes its time."""
_MOST_OCTETS = {UNSIGNED: 8, INTEGER: 8, ENUMERATED: 4}  # no datatype of the standard is longer
_tuple = tuple.__new__  # what Tag(...) comes to in half of its time, and most of what is decoded is tags
_FIXED_OCTETS = {NULL: 0, REAL: 4, DOUBLE: 8, DATE: 4, TIME: 4, OBJECT: 4}


class Tag(NamedTuple):
    """One tag: `kind` is "application", "context", "opening" or "closing"; a boolean's value is its only octet."""

    kind: str
    number: int
    content: bytes


def _short(initial: int) -> tuple[str, int, int]:
    """Kind, number and octets of content of a tag of which the initial octet says all that; "" if it does not."""
    number, length = initial >> 4, initial & 7
    if number == _EXTENDED_NUMBER:
        return "", 0, 0
    if initial & _CONTEXT:
        by_length = {_EXTENDED_LENGTH: ("", 0, 0), _OPENING: ("opening", number, 0), _CLOSING: ("closing", number, 0)}
        return by_length.get(length, ("context", number, length))
    fits = number <= OBJECT and number != BOOLEAN and length == _FIXED_OCTETS.get(number, length)
    whole = fits and length < _EXTENDED_LENGTH and (length or number in (NULL, OCTETS))
    return ("application", number, length) if whole else ("", 0, 0)


_SHORT = tuple(map(_short, range(0x100)))
"""By initial octet; nearly all tags are so short, and what is not in here is looked at more closely."""


def object_of(content: bytes) -> tuple[int, int]:
    """Object type and instance in the four octets of an object identifier (20.2.14)."""
    identifier = int.from_bytes(content, "big")
    return identifier >> INSTANCE_BITS, identifier & LARGEST_INSTANCE


def malformed(detail: str) -> FrameError:
    """Octets that are not BACnet as the standard has it."""
    return FrameError("malformed", "not BACnet as the standard has it", detail)


def decode_tags(octets: bytes, most: int = MOST_TAGS) -> tuple[Tag, ...]:
    """All tags in these octets. Raises FrameError, also if there are more than `most`."""
    tags: list[Tag] = []
    open_numbers: list[int] = []
    position, end = 0, len(octets)
    while position < end:
        if len(tags) == most:
            raise malformed(f"more than {most} tags")
        kind, number, length = _SHORT[octets[position]]
        behind = position + 1 + length
        if kind and behind <= end:
            tags.append(_tuple(Tag, (kind, number, octets[position + 1 : behind])))
            position = behind
        else:
            tag, position = _tag(octets, position)
            kind, number, _ = tag
            tags.append(tag)
        if kind == "opening":
            open_numbers.append(number)
            if len(open_numbers) > _DEEPEST:
                raise malformed("nested too deep")
        elif kind == "closing" and (not open_numbers or open_numbers.pop() != number):
            raise malformed("a closing tag without its opening")
    if open_numbers:
        raise malformed("an opening tag without its closing")
    return tuple(tags)


def _tag(octets: bytes, position: int) -> tuple[Tag, int]:
    initial = octets[position]
    number, position = _number(octets, position)
    length = initial & 7
    if not initial & _CONTEXT:
        return _application(octets, position, number, length)
    if length == _OPENING:
        return Tag("opening", number, b""), position
    if length == _CLOSING:
        return Tag("closing", number, b""), position
    length, position = _length(octets, position, length)
    return Tag("context", number, octets[position : position + length]), position + length


def _application(octets: bytes, position: int, number: int, length: int) -> tuple[Tag, int]:
    if number > OBJECT or length in (_OPENING, _CLOSING):
        raise malformed(f"application tag {number}")
    if number == BOOLEAN:  # 20.2.3: the length field is the value
        if length > 1:
            raise malformed("a boolean that is neither true nor false")
        return Tag("application", number, bytes((length,))), position
    length, position = _length(octets, position, length)
    if (
        length != _FIXED_OCTETS.get(number, length)
        or length > _MOST_OCTETS.get(number, length)
        or (not length and number not in (NULL, OCTETS))
    ):
        raise malformed(f"application tag {number} of {length} octets")
    return Tag("application", number, octets[position : position + length]), position + length


def _number(octets: bytes, position: int) -> tuple[int, int]:
    """Tag number and where it ends (20.2.1.2)."""
    number = octets[position] >> 4
    if number != _EXTENDED_NUMBER:
        return number, position + 1
    if position + 1 >= len(octets) or octets[position + 1] in (_RESERVED, *range(_EXTENDED_NUMBER)):
        raise malformed("an extended tag number")
    return octets[position + 1], position + 2


def _length(octets: bytes, position: int, length: int) -> tuple[int, int]:
    """Content length and where the content starts; the content must be there (20.2.1.3)."""
    if length == _EXTENDED_LENGTH:
        length, position = _extended_length(octets, position)
    if position + length > len(octets):
        raise malformed("cut short")
    return length, position


def _extended_length(octets: bytes, position: int) -> tuple[int, int]:
    if position >= len(octets):
        raise malformed("cut short")
    first = octets[position]
    if first < _EXTENDED_LENGTH or first == _RESERVED:
        raise malformed("an extended length")  # 20.2.1.3.2; four-octet lengths fit no datagram
    if first < _TWO_OCTETS:
        return first, position + 1
    if position + 3 > len(octets):
        raise malformed("cut short")
    length = int.from_bytes(octets[position + 1 : position + 3], "big")
    if length < _TWO_OCTETS:
        raise malformed("an extended length that needs one octet")  # 20.2.1.3.1
    return length, position + 3
