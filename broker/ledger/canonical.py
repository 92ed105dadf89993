"""Canonical JSON (RFC 8785) for the values that a record may hold: text, whole numbers, truth, null, lists, objects."""

import orjson

LARGEST_INTEGER = 2**53 - 1
DEEPEST = 64
# Below U+D800 the order of UTF-8 octets is the order of UTF-16 code units that RFC 8785, 3.2.3 asks for.
FIRST_UNORDERED = "\ud800"


def canonical(value: object) -> bytes:
    """The canonical octets of a value.

    Raises ValueError for floats (write 64-bit and scaled values as decimal strings), integers beyond 2^53 - 1, keys
    with characters from U+D800 on, lone surrogates, nesting deeper than 64, and any other type.
    """
    _check(value, DEEPEST)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
    except TypeError as error:
        raise ValueError(f"not canonical: {error}") from None


def _check(value: object, depth: int) -> None:
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int):
        if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            raise ValueError("not canonical: integer beyond 2^53 - 1")
    elif depth == 0:
        raise ValueError(f"not canonical: nested deeper than {DEEPEST}")
    elif isinstance(value, dict):
        _check_object(value, depth)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth - 1)
    else:
        raise ValueError(f"not canonical: {type(value).__name__}")


def _check_object(value: dict[object, object], depth: int) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            raise ValueError(f"not canonical: key of type {type(key).__name__}")
        if not key.isascii() and max(key) >= FIRST_UNORDERED:
            raise ValueError("not canonical: key with a character from U+D800 on")
        _check(item, depth - 1)
