"""What may be printed: text without control characters, JSON in plain ASCII, numbers digit for digit."""

import json
from collections.abc import Iterator
from decimal import Decimal


def escape(text: object) -> str:
    """The text with everything escaped that could move a cursor, change a colour or turn writing round."""
    plain = text if isinstance(text, str) else str(text)
    if plain.isprintable():
        return plain
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def decode_document(text: str | bytes) -> object:
    """A JSON text with its numbers as they were written. Raises ValueError."""
    try:
        return json.loads(text, parse_float=Decimal)
    except RecursionError:
        raise ValueError("nested too deep") from None


def encode_document(document: object, *, indented: bool = True) -> str:
    """JSON in ASCII; Decimal becomes a number, digit for digit."""
    return "".join(_pieces(document, "\n" if indented else ""))


def _pieces(value: object, newline: str) -> Iterator[str]:
    if isinstance(value, Decimal):
        yield format(value, "f")
    elif isinstance(value, dict):
        members = [(json.dumps(str(name)) + ": ", member) for name, member in value.items()]
        yield from _enclosed("{}", members, newline)
    elif isinstance(value, list | tuple):
        yield from _enclosed("[]", [("", member) for member in value], newline)
    else:
        yield json.dumps(value)


def _enclosed(brackets: str, members: list[tuple[str, object]], newline: str) -> Iterator[str]:
    if not members:
        yield brackets
        return
    inner = newline + "  " if newline else ""
    yield brackets[0]
    for place, (name, member) in enumerate(members):
        yield ("," if newline else ", ") * (place > 0) + inner + name
        yield from _pieces(member, inner)
    yield newline + brackets[1]


def number_text(value: object) -> str:
    """A value as people read it: true, false, none, numbers digit for digit, texts as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return "-" if value is None else str(value)
