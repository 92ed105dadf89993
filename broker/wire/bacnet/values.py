"""Values of BACnet properties as text: canonical decimals, `true`/`false`, words, `null`.

What a device reports keeps its words; what a caller wants written becomes exactly what will be sent, or is refused.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from struct import Struct

from broker.errors import FrameError
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
)

RELEASE = "null"

_REAL = Struct(">f")
_DOUBLE = Struct(">d")
_NUMBER = re.compile(r"-?[0-9]{1,320}(\.[0-9]{1,1100})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_UTF8 = 0  # 20.2.9: character set ANSI X3.4/UTF-8
_ANY = 255
_REAL_OBJECTS = frozenset(("analog-input", "analog-output", "analog-value", "loop", "lighting-output"))
_REAL_PROPERTIES = frozenset(
    ("present-value", "relinquish-default", "high-limit", "low-limit", "deadband", "cov-increment", "setpoint")
)
_BINARY_OBJECTS = frozenset(("binary-input", "binary-output", "binary-value"))
_BINARY_WORDS = {"true": "active", "false": "inactive", "1": "active", "0": "inactive"}
_BOOLEAN_PROPERTIES = frozenset(("out-of-service", "event-detection-enable", "reliability-evaluation-inhibit"))


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def real_text(octets: bytes) -> str:
    """The shortest decimal that is this 32-bit number. Raises FrameError if it is not a finite number."""
    (number,) = _REAL.unpack(octets)
    _require_finite(number)
    texts = (f"{number:.{digits}g}" for digits in range(1, 10))
    return next(_plain(Decimal(text)) for text in texts if _packs_to(text, octets))


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
    if octets[0] != _UTF8:
        raise malformed(f"character set {octets[0]}")
    try:
        text = octets[1:].decode()
    except UnicodeDecodeError:
        raise malformed("text that is not UTF-8") from None
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
    year = "*" if octets[0] == _ANY else str(1900 + octets[0])
    return f"{year}-{_field(octets[1])}-{_field(octets[2])}"


def _time_text(octets: bytes) -> str:
    return f"{_field(octets[0])}:{_field(octets[1])}:{_field(octets[2])}.{_field(octets[3])}"


def _object_text(octets: bytes) -> str:
    identifier = int.from_bytes(octets, "big")
    return f"{identifier >> 22},{identifier & 0x3FFFFF}"


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


def text_to_write(object_type: str, property: str, value: str | float | bool | None) -> str:
    """The canonical text of what will be sent; `null` releases. Raises FrameError `illegal_value`."""
    if value is None or value == RELEASE:
        return RELEASE
    text = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)
    if object_type in _REAL_OBJECTS and property in _REAL_PROPERTIES:
        return _number(text, _REAL, real_text)
    if object_type == "large-analog-value" and property in _REAL_PROPERTIES:
        return _number(text, _DOUBLE, _double_text)
    if object_type in _BINARY_OBJECTS and property in ("present-value", "relinquish-default"):
        return _BINARY_WORDS.get(text, text)
    if property in _BOOLEAN_PROPERTIES and text not in ("true", "false"):
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
