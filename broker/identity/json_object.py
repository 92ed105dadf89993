"""Strict JSON objects from strangers: UTF-8, no key twice, no NaN or infinity, no unbounded nesting."""

import json
import math
from typing import NoReturn

JsonObject = dict[str, object]


def decode_json_object(raw_json: bytes) -> JsonObject:
    """Read one JSON object. Raises ValueError for anything else, duplicate keys at any depth included."""
    try:
        value = json.loads(
            raw_json.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def strings(value: object, most: int, longest: int) -> tuple[str, ...] | None:
    """The items of a list of at most `most` printable strings of 1 to `longest` characters; None if it is not one."""
    if not isinstance(value, list) or len(value) > most:
        return None
    return tuple(value) if all(is_text(item, longest) for item in value) else None


def is_text(value: object, longest: int) -> bool:
    """Whether it is a string of 1 to `longest` printable characters."""
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def _unique(pairs: list[tuple[str, object]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice")
    return members


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
