"""JSON in and out, exactly: numbers stay decimal, nothing doubtful is accepted.

RFC 8259 leaves duplicate names, non-finite numbers, precision and depth to implementations; two readers that differ in
them are a way round every check. Here they are errors.
"""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

import orjson

from broker.errors import FrameError

MAX_DEPTH = 8
MAX_NUMBER_CHARACTERS = 40
MAX_EXPONENT = 40
# Possessive, closing quote optional: a string is passed over once, however it ends, so the scan stays linear.
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class JsonError(FrameError):
    """A body that is not acceptable JSON; `line` and `column` count from 1, None where no place is known."""

    def __init__(self, public: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__("json_invalid", public)
        self.line = line
        self.column = column


def decode_json(octets: bytes) -> Any:
    """The value of a JSON text, numbers as int or Decimal. Raises JsonError."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError(f"octet {error.start} is not UTF-8") from None
    _check_depth(text)
    try:
        value = json.loads(
            text, parse_int=_whole, parse_float=_decimal, parse_constant=_constant, object_pairs_hook=_object
        )
        if "\\u" in text:
            orjson.loads(octets)  # knows a lone surrogate from a character
        return value
    except orjson.JSONDecodeError as error:
        raise JsonError("an escape in a string is not a character", error.lineno, error.colno) from None
    except json.JSONDecodeError as error:
        raise JsonError(error.msg, error.lineno, error.colno) from None


def json_octets(document: Any) -> bytes:
    """A document as JSON; Decimal becomes a number, digit for digit."""
    return orjson.dumps(document, default=_fragment)


def decimal_text(number: int | Decimal) -> str:
    """A number in plain decimal digits, without exponent or needless zeros."""
    text = format(Decimal(number), "f") if number else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _check_depth(text: str) -> None:
    depth = 0
    for found in _STRUCTURE.finditer(text):
        sign = found.group()
        if sign in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                line = text.count("\n", 0, found.start()) + 1
                column = found.start() - text.rfind("\n", 0, found.start())
                raise JsonError(f"nested deeper than {MAX_DEPTH}", line, column)
        elif sign in "]}":
            depth -= 1


def _whole(literal: str) -> int:
    if len(literal) > MAX_NUMBER_CHARACTERS:
        raise JsonError("a number has too many digits")
    return int(literal)


def _decimal(literal: str) -> Decimal:
    if len(literal) > MAX_NUMBER_CHARACTERS:
        raise JsonError("a number has too many digits")
    number = Decimal(literal)
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise JsonError("a number is too large or too small")
    return number


def _constant(literal: str) -> NoReturn:
    raise JsonError(f"{literal} is not a JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"{_shown(twice)} is given twice")
    return members


def _shown(name: str) -> str:
    """A name of the caller's, safe to show: control characters escaped, not too long."""
    return json.dumps(name[:64])
