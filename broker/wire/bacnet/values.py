"""Values of BACnet properties as text: canonical decimals, `true`/`false`, words, `null`.

What a device reports keeps its words; what a caller wants written becomes exactly what will be sent, or is refused.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from math import isfinite
from struct import Struct

from broker.errors import FrameError
from broker.wire.bacnet.encoding import application, object_octets, signed_octets, unsigned_octets
from broker.wire.bacnet.standard import Datatype, datatype_of, number_of, object_type_word, word_of
from broker.wire.bacnet.tags import (
    BITS,
    BOOLEAN,
    DATE,
    DOUBLE,
    ENUMERATED,
    INTEGER,
    NULL,
    OBJECT,
    OCTETS,
    REAL,
    TEXT,
    TIME,
    UNSIGNED,
    Tag,
    malformed,
    object_of,
)

RELEASE = "null"

_REAL = Struct(">f")
_DOUBLE = Struct(">d")
_NUMBER = re.compile(r"-?[0-9]{1,320}(\.[0-9]{1,1100})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_UTF8 = 0
_CHARACTER_SETS = {_UTF8: "utf-8", 3: "utf-32-be", 4: "utf-16-be", 5: "iso8859-1"}  # 20.2.9
_ANY = 255
_DIGITS_KEPT, _DIGITS_ENOUGH = 6, 9
_LEAST_NORMAL = 2.0**-126
_BINARY_WORDS = {"true": "active", "false": "inactive", "1": "active", "0": "inactive"}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DATE = re.compile(rf"(\*|[0-9]{{4}})-(\*|[0-9]{{2}})-(\*|[0-9]{{2}})(?: ({'|'.join(_DAYS)}|[0-9]+))?", re.ASCII)
_TIME = re.compile(r"(\*|[0-9]{2}):(\*|[0-9]{2}):(\*|[0-9]{2})\.(\*|[0-9]{2})", re.ASCII)
_LEAST_INTEGER, _GREATEST_INTEGER = -(1 << 63), (1 << 63) - 1


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def real_text(octets: bytes) -> str:
    """The shortest decimal that is this 32-bit number. Raises FrameError if it is not a finite number."""
    (number,) = _REAL.unpack(octets)
    _require_finite(number)
    # A decimal of up to 6 digits survives the way through a normal real, so 6 digits show it as it was.
    fewest = 1 if abs(number) < _LEAST_NORMAL else _DIGITS_KEPT
    text = ""
    for digits in range(fewest, _DIGITS_ENOUGH + 1):
        text = f"{number:.{digits}g}"
        if _packs_to(text, octets):
            break
    return _plain(Decimal(text)) if "e" in text or text == "-0" else text


def _require_finite(number: float) -> None:
    if not isfinite(number):
        raise malformed("not a finite number")


def _packs_to(text: str, octets: bytes) -> bool:
    try:
        return _REAL.pack(float(text)) == octets
    except OverflowError:
        return False


def _double_text(octets: bytes) -> str:
    (number,) = _DOUBLE.unpack(octets)
    _require_finite(number)
    return _plain(Decimal(repr(number)))


def _character_text(octets: bytes) -> str:
    codec = _CHARACTER_SETS.get(octets[0])
    if codec is None:
        raise malformed(f"character set {octets[0]}")
    try:
        text = octets[1:].decode(codec)
    except UnicodeDecodeError:
        raise malformed(f"text that is not {codec}") from None
    if not text.isprintable():
        raise malformed("text with unprintable characters")
    return text


def _bit_text(octets: bytes) -> str:
    unused, bits = octets[0], len(octets) * 8 - 8
    if unused > 7 or unused > bits:
        raise malformed("a bit string with more unused bits than there are")
    return f"{int.from_bytes(octets[1:], 'big') >> unused:0{bits - unused}b}" if bits > unused else ""


def _field(number: int, width: int = 2) -> str:
    return "*" if number == _ANY else f"{number:0{width}d}"


def _date_text(octets: bytes) -> str:
    """Year, month and day; the day of the week only where it says something more (20.2.12)."""
    year = "*" if octets[0] == _ANY else str(1900 + octets[0])
    text = f"{year}-{_field(octets[1])}-{_field(octets[2])}"
    day = octets[3]
    if day == _ANY or day == _weekday(octets):
        return text
    return f"{text} {_DAYS[day - 1] if 1 <= day <= len(_DAYS) else day}"


def _weekday(octets: bytes) -> int | None:
    try:
        return date(1900 + octets[0], octets[1], octets[2]).isoweekday() if octets[0] != _ANY else None
    except ValueError:
        return None


def _time_text(octets: bytes) -> str:
    return f"{_field(octets[0])}:{_field(octets[1])}:{_field(octets[2])}.{_field(octets[3])}"


def _object_text(octets: bytes) -> str:
    object_type, instance = object_of(octets)
    return f"{object_type},{instance}"


_TEXTS: dict[int, Callable[[bytes], str]] = {
    NULL: lambda octets: RELEASE,
    BOOLEAN: lambda octets: "true" if octets[0] else "false",
    UNSIGNED: lambda octets: str(int.from_bytes(octets, "big")),
    INTEGER: lambda octets: str(int.from_bytes(octets, "big", signed=True)),
    REAL: real_text,
    DOUBLE: _double_text,
    OCTETS: bytes.hex,
    TEXT: _character_text,
    BITS: _bit_text,
    ENUMERATED: lambda octets: str(int.from_bytes(octets, "big")),
    DATE: _date_text,
    TIME: _time_text,
    OBJECT: _object_text,
}


def text_of(tag: Tag) -> str:
    """A primitive value as text; enumerations and object types by number. Raises FrameError."""
    return _TEXTS[tag.number](tag.content)


def text_of_value(object_type: str, property: str, index: int | None, tags: Sequence[Tag]) -> str:
    """What a property (or one element of it) holds, with the standard's words for enumerations and object types.

    Several values are a JSON list of texts. Raises FrameError for constructed values and those that have no text.
    """
    datatype = datatype_of(object_type, property, index)
    if property == "priority-array" and index is None:
        datatype = datatype_of(object_type, property, 1)
    if len(tags) == 1:
        return _worded(datatype, tags[0])
    return json.dumps([_worded(datatype, tag) for tag in tags], separators=(",", ":"), ensure_ascii=False)


def _worded(datatype: Datatype | None, tag: Tag) -> str:
    if tag.kind != "application":
        raise malformed("a constructed value")
    if tag.number == ENUMERATED and datatype is not None and datatype.tag == ENUMERATED:
        return word_of(datatype.name, int.from_bytes(tag.content, "big"))
    if tag.number == OBJECT:
        object_type, instance = object_of(tag.content)
        return f"{object_type_word(object_type)},{instance}"
    return text_of(tag)


def encode_value(object_type: str, property: str, index: int | None, text: str) -> bytes:
    """The octets that mean exactly this text for a property, or one element of it; `null` releases.

    Raises FrameError `illegal_value` if there are none: another value, or a type that has no text.
    """
    if text == RELEASE:
        return application(NULL, b"")
    datatype = datatype_of(object_type, property, index)
    if datatype is None or datatype.tag is None or datatype.many:
        raise _illegal("a property whose values cannot be written as text")
    try:
        tag = Tag("application", datatype.tag, _CONTENTS[datatype.tag](datatype, text))
        meant = text_of_value(object_type, property, index, (tag,))
    except (ValueError, OverflowError):
        meant = None
    except FrameError as error:
        raise _illegal(error.public) from None
    if meant != text:
        raise _illegal(f"{text[:80]!r} is no value of {object_type} {property}")
    return application(tag.number, tag.content)


def _unsigned_content(datatype: Datatype, text: str) -> bytes:
    number = int(text)
    if not 0 <= number <= datatype.largest:
        raise OverflowError
    return unsigned_octets(number)


def _integer_content(_: Datatype, text: str) -> bytes:
    number = int(text)
    if not _LEAST_INTEGER <= number <= _GREATEST_INTEGER:
        raise OverflowError
    return signed_octets(number)


def _bit_content(_: Datatype, text: str) -> bytes:
    unused = -len(text) % 8
    octets = int(text + "0" * unused, 2).to_bytes((len(text) + unused) // 8, "big") if text else b""
    return bytes((unused,)) + octets


def _octet(field: str) -> int:
    return _ANY if field == "*" else int(field)


def _date_content(_: Datatype, text: str) -> bytes:
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError
    year, month, day, weekday = found.groups()
    last = _ANY if weekday is None else _DAYS.index(weekday) + 1 if weekday in _DAYS else int(weekday)
    return bytes((_ANY if year == "*" else int(year) - 1900, _octet(month), _octet(day), last))


def _time_content(_: Datatype, text: str) -> bytes:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError
    return bytes(map(_octet, found.groups()))


def _object_content(_: Datatype, text: str) -> bytes:
    word, _comma, instance = text.partition(",")
    return object_octets(number_of("object-type", word), int(instance))


_CONTENTS: dict[int, Callable[[Datatype, str], bytes]] = {
    BOOLEAN: lambda _, text: bytes((text == "true",)),
    UNSIGNED: _unsigned_content,
    INTEGER: _integer_content,
    REAL: lambda _, text: _REAL.pack(float(text)),
    DOUBLE: lambda _, text: _DOUBLE.pack(float(text)),
    OCTETS: lambda _, text: bytes.fromhex(text),
    TEXT: lambda _, text: bytes((_UTF8,)) + text.encode(),
    BITS: _bit_content,
    ENUMERATED: lambda datatype, text: unsigned_octets(number_of(datatype.name, text)),
    DATE: _date_content,
    TIME: _time_content,
    OBJECT: _object_content,
}


def text_to_write(object_type: str, property: str, value: str | float | bool | None, index: int | None = None) -> str:
    """The canonical text of what will be sent; `null` releases. Raises FrameError `illegal_value`."""
    if value is None or value == RELEASE:
        return RELEASE
    text = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)
    datatype = datatype_of(object_type, property, index)
    if datatype is not None and datatype.tag == REAL:
        return _number(text, _REAL, real_text)
    if datatype is not None and datatype.tag == DOUBLE:
        return _number(text, _DOUBLE, _double_text)
    if datatype is not None and datatype.name == "binary-pv":
        return _BINARY_WORDS.get(text, text)
    if datatype is not None and datatype.tag == BOOLEAN and text not in ("true", "false"):
        raise _illegal("not true or false")
    if not text or not text.isprintable():
        raise _illegal("not printable text")
    return text


def _number(text: str, layout: Struct, back: Callable[[bytes], str]) -> str:
    """The text of the number nearest to the one asked for, which must agree with it in every digit asked for."""
    if _NUMBER.fullmatch(text) is None:
        raise _illegal("not a finite decimal number")
    asked = Decimal(text)
    try:
        held = Decimal(back(layout.pack(float(asked))))
    except (OverflowError, FrameError):
        raise _illegal("a number larger than the device can hold") from None
    if held != asked:
        raise _illegal(f"a number that the device cannot hold exactly; the nearest is {held:f}")
    return _plain(held)


def _illegal(what: str) -> FrameError:
    return FrameError("illegal_value", what)
