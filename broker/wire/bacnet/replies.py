"""The acknowledgements of property services, strictly (ASHRAE 135-2020, 15.5 and 15.7), and back to octets."""

from collections.abc import Iterable
from typing import NamedTuple

from broker.wire.bacnet.encoding import (
    application_enumerated,
    closing,
    context_object,
    context_property,
    encode_tags,
    opening,
    under_objects,
)
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.tags import ENUMERATED, Tag, decode_tags, malformed, object_of


class Reported(NamedTuple):
    """What a device says of one property: the tags of what it holds, or an error class and code."""

    reference: Reference
    values: tuple[Tag, ...] = ()
    error: tuple[int, int] | None = None


class _Reader:
    """Takes tags one by one, each of which must be the one expected."""

    def __init__(self, tags: tuple[Tag, ...]) -> None:
        self._tags = tags
        self._position = 0

    def at_end(self) -> bool:
        return self._position == len(self._tags)

    def is_next(self, kind: str, number: int) -> bool:
        return not self.at_end() and self._tags[self._position][:2] == (kind, number)

    def take(self, kind: str, number: int) -> bytes:
        if not self.is_next(kind, number):
            raise malformed(f"{kind} tag {number} is missing")
        content = self._tags[self._position].content
        self._position += 1
        return content

    def unsigned(self, number: int, most_octets: int = 4) -> int:
        content = self.take("context", number)
        if not 1 <= len(content) <= most_octets:
            raise malformed(f"a number of {len(content)} octets")
        return int.from_bytes(content, "big")

    def index(self, number: int) -> int | None:
        return self.unsigned(number) if self.is_next("context", number) else None

    def object_identifier(self, number: int) -> tuple[int, int]:
        content = self.take("context", number)
        if len(content) != 4:
            raise malformed("an object identifier is four octets")
        return object_of(content)

    def values(self, number: int) -> tuple[Tag, ...]:
        """The tags between an opening and its closing tag."""
        self.take("opening", number)
        start, depth = self._position, 1
        while depth:  # every opening tag has its closing one: `decode_tags` saw to it
            kind = self._tags[self._position].kind
            depth += (kind == "opening") - (kind == "closing")
            self._position += 1
        return self._tags[start : self._position - 1]

    def enumerated(self) -> int:
        content = self.take("application", ENUMERATED)
        if len(content) > 4:
            raise malformed("an enumeration of more than four octets")
        return int.from_bytes(content, "big")

    def property(self, number: int) -> int:
        """A property identifier: those beyond 4194303 are the standard's again (clause 21)."""
        return self.unsigned(number)


def decode_read_property_ack(octets: bytes) -> Reported:
    """What ReadProperty brought. Raises FrameError."""
    reader = _Reader(decode_tags(octets))
    object_type, instance = reader.object_identifier(0)
    reference = Reference(object_type, instance, reader.property(1), reader.index(2))
    values = reader.values(3)
    if not reader.at_end():
        raise malformed("tags behind the reply")
    return Reported(reference, values)


def decode_read_property_multiple_ack(octets: bytes) -> tuple[Reported, ...]:
    """What ReadPropertyMultiple brought, in the device's order. Raises FrameError."""
    reader = _Reader(decode_tags(octets))
    reported: list[Reported] = []
    while not reader.at_end():
        object_type, instance = reader.object_identifier(0)
        reader.take("opening", 1)
        while not reader.is_next("closing", 1):
            reference = Reference(object_type, instance, reader.property(2), reader.index(3))
            reported.append(_result(reader, reference))
        reader.take("closing", 1)
    return tuple(reported)


def _result(reader: _Reader, reference: Reference) -> Reported:
    if not reader.is_next("opening", 5):
        return Reported(reference, reader.values(4))
    reader.take("opening", 5)
    error = (reader.enumerated(), reader.enumerated())
    reader.take("closing", 5)
    return Reported(reference, error=error)


def encode_read_property_ack(reported: Reported) -> bytes:
    """The acknowledgement of ReadProperty (15.5); an error is not told in one."""
    at = reported.reference
    return context_object(0, at.object_type, at.instance) + _named(1, at) + _held(3, reported)


def encode_read_property_multiple_ack(reported: Iterable[Reported]) -> bytes:
    """The acknowledgement of ReadPropertyMultiple (15.7); neighbours of one object stand under it together."""
    return under_objects(
        reported, lambda each: each.reference[:2], lambda each: _named(2, each.reference) + _outcome(each)
    )


def _named(number: int, at: Reference) -> bytes:
    return context_property(number, at.property, at.array_index)


def _held(number: int, reported: Reported) -> bytes:
    return opening(number) + encode_tags(reported.values) + closing(number)


def _outcome(reported: Reported) -> bytes:
    if reported.error is None:
        return _held(4, reported)
    return opening(5) + b"".join(map(application_enumerated, reported.error)) + closing(5)
