"""What the answers of a device mean, judged strictly: a value of the wrong type is trouble, never a guess."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from bacpypes3.basetypes import ServicesSupported

from broker.adapters.field_reader import Answer
from broker.errors import FrameError
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.standard import word_of
from broker.wire.bacnet.tags import BITS, DOUBLE, ENUMERATED, INTEGER, OBJECT, REAL, TEXT, UNSIGNED, Tag, object_of
from broker.wire.bacnet.values import text_of

LONGEST_TEXT = 500
MOST_STATES = 1024
ABSENT = "property/unknown-property"
NOT_SENT = "was not answered"
_CHARACTER_SETS = {0: "utf-8", 3: "utf-32-be", 4: "utf-16-be", 5: "iso-8859-1"}  # 20.2.9
_BEYOND_LIMITS = Decimal(10) ** 15
_FINEST = -18
_SERVICES = {number: word for word, number in ServicesSupported._bitstring_names.items()}

Tell = Callable[[str], None]
"""Takes a line of progress for whoever waits."""


class Said:
    """What a device says of one of its objects; `trouble` fills with what cannot be used."""

    def __init__(self, object_type: int, instance: int, answers: Mapping[Reference, Answer]) -> None:
        self._object = (object_type, instance)
        self._answers = answers
        self.trouble: list[str] = []

    def answer(self, property: int, index: int | None = None) -> Answer:
        """As it came."""
        return self._answers.get(Reference(*self._object, property, index), ABSENT)

    def text(self, property: int, name: str) -> str:
        """A character string."""
        tag = self._one(property, name, TEXT)
        return "" if tag is None else self._text(tag, name)

    def texts(self, property: int, name: str) -> tuple[str, ...]:
        """An array of character strings."""
        tags = self._tags(property, name)
        if any(not _is(tag, TEXT) for tag in tags) or len(tags) > MOST_STATES:
            self.trouble.append(f"{name} is no list of texts")
            return ()
        return tuple(self._text(tag, name) for tag in tags)

    def unsigned(self, property: int, name: str, index: int | None = None) -> int | None:
        """A number from 0."""
        tag = self._one(property, name, UNSIGNED, index=index)
        return None if tag is None else int.from_bytes(tag.content, "big")

    def number(self, property: int, name: str) -> Decimal | None:
        """A limit; None also for what is beyond all measure, by which devices say that there is none."""
        tag = self._one(property, name, REAL, DOUBLE, UNSIGNED, INTEGER)
        if tag is None:
            return None
        try:
            number = Decimal(text_of(tag))
        except FrameError:
            return None  # infinite, or no number
        exponent = number.as_tuple().exponent
        fine = isinstance(exponent, int) and exponent >= _FINEST
        return number if abs(number) < _BEYOND_LIMITS and fine else None

    def unit(self, property: int, name: str) -> str:
        """An engineering unit in the standard's words."""
        tag = self._one(property, name, ENUMERATED)
        return "" if tag is None else word_of("engineering-units", int.from_bytes(tag.content, "big"))

    def services(self, property: int, name: str) -> tuple[str, ...]:
        """The services that a device carries out, in the standard's words."""
        tag = self._one(property, name, BITS)
        if tag is None:
            return ()
        try:
            bits = text_of(tag)
        except FrameError:
            self.trouble.append(f"{name} is no bit string")
            return ()
        return tuple(_SERVICES.get(place, str(place)) for place, bit in enumerate(bits[:64]) if bit == "1")

    def _text(self, tag: Tag, name: str) -> str:
        coding = _CHARACTER_SETS.get(tag.content[0])
        if coding is None:
            self.trouble.append(f"{name} is in an unknown character set")
            return ""
        return tag.content[1:].decode(coding, "replace")[:LONGEST_TEXT]

    def _one(self, property: int, name: str, *numbers: int, index: int | None = None) -> Tag | None:
        tags = self._tags(property, name, index)
        if not tags:
            return None
        if len(tags) > 1 or not any(_is(tags[0], number) for number in numbers):
            self.trouble.append(f"{name} is of the wrong type")
            return None
        return tags[0]

    def _tags(self, property: int, name: str, index: int | None = None) -> tuple[Tag, ...]:
        answer = self.answer(property, index)
        if isinstance(answer, str):
            if answer != ABSENT:
                self.trouble.append(f"{name}: {answer}")
            return ()
        return answer


def identifiers(answer: Answer) -> list[tuple[int, int]] | None:
    """The objects that an array of object identifiers, or an element of one, names; None if it is something else."""
    if isinstance(answer, str) or any(not _is(tag, OBJECT) for tag in answer):
        return None
    return [object_of(tag.content) for tag in answer]


def _is(tag: Tag, number: int) -> bool:
    return tag.kind == "application" and tag.number == number
