"""What all records have in common: how times and texts stand in them, and what is cut when it is too long."""

import base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import isfinite
from time import gmtime, strftime

from broker.ledger.canonical import canonical
from broker.model.vocabulary import RecordKind

LARGEST_RECORD = 65535

Pairs = tuple[tuple[str, str], ...]
"""Points and their values, or any other names and texts, in order."""
LARGEST_MEMBER = 8192
LONGEST_TEXT = 500

_remembered = (-1, "")


def stamp(time: float) -> str:
    """RFC 3339 in UTC with microseconds, rounded down; the text of the current second is remembered."""
    global _remembered  # noqa: PLW0603 - a memory, not a state
    second, prefix = _remembered
    if second != int(time):
        second = int(time)
        prefix = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
        _remembered = second, prefix
    return "%s%06dZ" % (prefix, (time - second) * 1_000_000)  # noqa: UP031 - the fastest form


def record(kind: RecordKind, time: float, fields: Mapping[str, object]) -> bytes:
    """A record's octets, large members cut if it would be too long. Raises ValueError."""
    members = {"kind": kind.value, "time": stamp(time), **fields}
    encoded = canonical(members)
    if len(encoded) > LARGEST_RECORD:
        encoded = canonical(shortened(members))
    if len(encoded) > LARGEST_RECORD:
        raise ValueError(f"a {kind.value} record of {len(encoded)} octets")
    return encoded


def shortened(members: Mapping[str, object]) -> dict[str, object]:
    """The same with every large member replaced by its size and digest."""
    kept: dict[str, object] = {}
    for name, member in members.items():
        encoded = canonical(member)
        digest = base64.urlsafe_b64encode(sha256(encoded).digest()).rstrip(b"=").decode()
        kept[name] = member if len(encoded) <= LARGEST_MEMBER else {"cut": {"octets": len(encoded), "digest": digest}}
    return kept


def plain(value: object) -> object:
    """Any document of ours in types that a record may hold; floats are epoch seconds and become stamps."""
    if isinstance(value, float):
        return stamp(value) if isfinite(value) else "never"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return value


def texts(values: Sequence[str]) -> list[str]:
    """Texts, each cut."""
    return [text(value) for value in values]


def text(value: str) -> str:
    """A text, cut at the usual limit."""
    return cut(value, LONGEST_TEXT)


def cut(value: str, limit: int) -> str:
    """A text of at most that many characters, without lone surrogates."""
    if not value.isascii():
        value = value.encode(errors="replace").decode()
    return value if len(value) <= limit else value[: limit - 1] + "\u2026"


def optional(**members: str) -> dict[str, str]:
    """Texts by name, without those that are empty."""
    return {name: text(member) for name, member in members.items() if member}
