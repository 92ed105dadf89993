"""The parameters of one message, taken one by one as the standard says they come (20.2), and written down again.

What is taken is decoded, and what came in other than its canonical octets is put back in these, so that what is sent on
is made of what was decoded.
"""

from broker.errors import FrameError
from broker.wire.bacnet.encoding import context, encode_tags, signed_octets, unsigned_octets
from broker.wire.bacnet.standard import object_type_word, property_word, word_of
from broker.wire.bacnet.tags import (
    BITS,
    BOOLEAN,
    DATE,
    ENUMERATED,
    INSTANCE_BITS,
    INTEGER,
    LARGEST_INSTANCE,
    OBJECT,
    OCTETS,
    REAL,
    TEXT,
    TIME,
    UNSIGNED,
    Tag,
    decode_tags,
)
from broker.wire.bacnet.values import text_of

LARGEST = 0xFFFFFFFF
_MOST_TAGS = 4096
"""Twice what the longest request for properties has; 64 KiB of single octets would keep everybody else waiting."""
_DEVICE = 8
_UNKNOWN_DEVICE = _DEVICE << INSTANCE_BITS | LARGEST_INSTANCE
_LARGEST_OPEN = 0xFFFF
_OPEN = frozenset(("audit-operation", "error-class", "error-code", "event-state", "life-safety-operation"))
"""Enumerations that vendors may extend (clause 21, note behind each)."""
_ANY = 255
_DATE_LIMITS = ((0, 254), (1, 14), (1, 34), (1, 7))  # 20.2.12
_TIME_LIMITS = ((0, 23), (0, 59), (0, 59), (0, 99))  # 20.2.13


class ParameterError(FrameError):
    """A request that is not as the standard has it; `reject` is the word for a Reject PDU (18.9)."""

    def __init__(self, reject: str, detail: str) -> None:
        super().__init__("malformed", "not a BACnet message", detail)
        self.reject = reject


def out_of_range(detail: str) -> ParameterError:
    """A value that the parameter cannot have."""
    return ParameterError("parameter-out-of-range", detail)


class Parameters:
    """Takes what comes next, which must be what is expected; `finish` says that nothing else comes.

    `own` is the instance of the device that is asked; it takes the place of the one that stands for an unknown device.
    """

    __slots__ = ("_own", "_position", "_tags", "secret_octets")

    def __init__(self, octets: bytes, own: int | None = None, most: int = _MOST_TAGS) -> None:
        self._tags = [*decode_tags(octets, most)]
        self._own = own
        self._position = 0
        self.secret_octets = b""

    def finish(self) -> bytes:
        """The octets of all that was taken. Raises ParameterError if there is more."""
        if self._position != len(self._tags):
            raise ParameterError("too-many-arguments", "tags behind the last parameter")
        return encode_tags(self._tags)

    @property
    def at_end(self) -> bool:
        """Whether nothing comes any more."""
        return self._position == len(self._tags)

    def comes(self, number: int, kind: str = "context") -> bool:
        """Whether a tag of that number comes next."""
        if self._position == len(self._tags):
            return False
        tag = self._tags[self._position]
        return tag.number == number and tag.kind == kind

    def _take(self, kind: str, number: int) -> bytes:
        if self._position == len(self._tags):
            raise ParameterError("missing-required-parameter", f"{kind} tag {number} is missing")
        tag = self._tags[self._position]
        if tag.number != number or tag.kind != kind:
            raise ParameterError("invalid-tag", f"{tag.kind} tag {tag.number} instead of {kind} tag {number}")
        self._position += 1
        return tag.content

    def _put_back(self, content: bytes) -> None:
        """Write what was just taken with this content."""
        self._tags[self._position - 1] = self._tags[self._position - 1]._replace(content=content)

    def opening(self, number: int) -> None:
        """What follows belongs together."""
        self._take("opening", number)

    def closing(self, number: int) -> None:
        """It ends."""
        self._take("closing", number)

    def _number(self, kind: str, number: int, most: int) -> int:
        content = self._take(kind, number)
        length = len(content)
        value = content[0] if length == 1 else int.from_bytes(content, "big")
        if not 1 <= length <= 8 or value > most:
            raise out_of_range(f"a number of {length} octets, or beyond {most}")
        if length > 1 and content[0] == 0:
            self._put_back(unsigned_octets(value))
        return value

    def unsigned(self, number: int, most: int = LARGEST) -> int:
        """An unsigned number in a context tag."""
        return self._number("context", number, most)

    def plain_unsigned(self, most: int = LARGEST) -> int:
        """An unsigned number."""
        return self._number("application", UNSIGNED, most)

    def optional_unsigned(self, number: int, most: int = LARGEST) -> int | None:
        """An unsigned number in a context tag, if it comes."""
        return self._number("context", number, most) if self.comes(number) else None

    def plain_signed(self) -> int:
        """A signed number of at most 32 bits."""
        content = self._take("application", INTEGER)
        if len(content) > 4:
            raise out_of_range("a signed number of more than four octets")
        value = int.from_bytes(content, "big", signed=True)
        self._put_back(signed_octets(value))
        return value

    def signed(self, number: int) -> int:
        """A signed number of at most 32 bits in a context tag."""
        content = self._take("context", number)
        if not 1 <= len(content) <= 4:
            raise out_of_range("a signed number of no octets, or more than four")
        value = int.from_bytes(content, "big", signed=True)
        self._put_back(signed_octets(value))
        return value

    def boolean(self, number: int) -> bool:
        """A boolean in a context tag: one octet (20.2.3)."""
        content = self._take("context", number)
        if content not in (b"\x00", b"\x01"):
            raise out_of_range("a boolean that is neither true nor false")
        return content == b"\x01"

    def plain_boolean(self) -> bool:
        """A boolean."""
        return self._take("application", BOOLEAN) == b"\x01"

    def real(self, number: int) -> str:
        """A finite number in a context tag, as text."""
        content = self._take("context", number)
        if len(content) != 4:
            raise out_of_range("a real of other than four octets")
        return text_of(Tag("application", REAL, content))

    def enumerated(self, number: int, enumeration: str) -> str:
        """The word of an enumeration in a context tag."""
        return _worded(enumeration, self._number("context", number, LARGEST))

    def plain_enumerated(self, enumeration: str) -> str:
        """The word of an enumeration."""
        return _worded(enumeration, self._number("application", ENUMERATED, LARGEST))

    def object(self, number: int) -> tuple[str, int]:
        """Object type and instance in a context tag."""
        return self._object("context", number)

    def plain_object(self) -> tuple[str, int]:
        """Object type and instance."""
        return self._object("application", OBJECT)

    def _object(self, kind: str, number: int) -> tuple[str, int]:
        content = self._take(kind, number)
        if len(content) != 4:
            raise out_of_range("an object identifier is four octets")
        identifier = int.from_bytes(content, "big")
        if identifier == _UNKNOWN_DEVICE and self._own is not None:
            identifier = _DEVICE << INSTANCE_BITS | self._own  # 12.11.1: whichever device is asked
            self._put_back(identifier.to_bytes(4, "big"))
        return object_type_word(identifier >> INSTANCE_BITS), identifier & LARGEST_INSTANCE

    def property(self, number: int) -> str:
        """The word of a property in a context tag."""
        return property_word(self._number("context", number, LARGEST))

    def text(self, number: int, most: int = 0xFFFF) -> str:
        """Printable text of at most so many characters in a context tag."""
        return self._text("context", number, most)

    def plain_text(self, most: int = 0xFFFF) -> str:
        """Printable text of at most so many characters."""
        return self._text("application", TEXT, most)

    def _text(self, kind: str, number: int, most: int) -> str:
        content = self._take(kind, number)
        if not content:
            raise out_of_range("text without a character set")
        text = text_of(Tag("application", TEXT, content))
        if len(text) > most:
            raise out_of_range(f"text of more than {most} characters")
        return text

    def secret(self, number: int, most: int) -> None:
        """Text that nobody is told: 1 to `most` characters. `secret_octets` are its tag and content."""
        content = self._take("context", number)
        if not 2 <= len(content) <= 1 + 4 * most:
            raise out_of_range("a password of a length that cannot be")
        self.secret_octets = context(number, content)

    def plain_octets(self) -> bytes:
        """Octets."""
        return self._take("application", OCTETS)

    def date(self) -> bytes:
        """A date: year, month, day, day of the week."""
        return self._moment("application", DATE, _DATE_LIMITS)

    def time(self) -> bytes:
        """A time of day: hour, minute, second, hundredths."""
        return self._moment("application", TIME, _TIME_LIMITS)

    def time_in(self, number: int) -> bytes:
        """A time of day in a context tag."""
        return self._moment("context", number, _TIME_LIMITS)

    def _moment(self, kind: str, number: int, limits: tuple[tuple[int, int], ...]) -> bytes:
        content = self._take(kind, number)
        if len(content) != 4 or not all(
            least <= octet <= most or octet == _ANY for octet, (least, most) in zip(content, limits, strict=True)
        ):
            raise out_of_range("a date or time that cannot be")
        return content

    def bits(self, number: int, count: int | None = None) -> str:
        """A bit string in a context tag, of so many bits if that is given."""
        return self._bits("context", number, count)

    def plain_bits(self, count: int | None = None) -> str:
        """A bit string, of so many bits if that is given."""
        return self._bits("application", BITS, count)

    def _bits(self, kind: str, number: int, count: int | None) -> str:
        content = self._take(kind, number)
        if not content:
            raise out_of_range("a bit string without its length")
        bits = text_of(Tag("application", BITS, content))
        if count is not None and len(bits) != count:
            raise out_of_range(f"{len(bits)} bits instead of {count}")
        return bits

    def values(self, number: int) -> tuple[Tag, ...]:
        """All tags between an opening and its closing tag."""
        self._take("opening", number)
        tags, start, depth = self._tags, self._position, 1
        position = start
        while depth:  # every opening tag has its closing one: `decode_tags` saw to it
            kind = tags[position].kind
            if kind == "opening":
                depth += 1
            elif kind == "closing":
                depth -= 1
            position += 1
        self._position = position
        return tuple(tags[start : position - 1])


def _worded(enumeration: str, number: int) -> str:
    word = word_of(enumeration, number)
    if word.isdecimal() and (enumeration not in _OPEN or number > _LARGEST_OPEN):
        raise ParameterError("undefined-enumeration", f"{number} is no {enumeration}")
    return word
