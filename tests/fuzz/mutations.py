"""What a message may suffer: each takes valid octets and gives others, drawn from a `Random`."""

from collections.abc import Callable
from random import Random

_TELLING = (0x00, 0x01, 0x07, 0x08, 0x0F, 0x1E, 0x1F, 0x3E, 0x3F, 0x7F, 0x80, 0xFE, 0xFF)
"""Limits of lengths and counts, opening and closing tags, longer tag numbers and lengths."""
_LONGEST = 4096

Mutation = Callable[[Random, bytes, bytes], bytes]


def _place(random: Random, octets: bytes) -> int:
    return random.randrange(len(octets) + 1)


def _flip(random: Random, octets: bytes, other: bytes) -> bytes:
    at = random.randrange(len(octets))
    return octets[:at] + bytes((octets[at] ^ 1 << random.randrange(8),)) + octets[at + 1 :]


def _telling(random: Random, octets: bytes, other: bytes) -> bytes:
    at = random.randrange(len(octets))
    return octets[:at] + bytes((random.choice(_TELLING),)) + octets[at + 1 :]


def _nudge(random: Random, octets: bytes, other: bytes) -> bytes:
    at = random.randrange(len(octets))
    return octets[:at] + bytes(((octets[at] + random.choice((-2, -1, 1, 2))) % 256,)) + octets[at + 1 :]


def _cut(random: Random, octets: bytes, other: bytes) -> bytes:
    return octets[: _place(random, octets)]


def _without(random: Random, octets: bytes, other: bytes) -> bytes:
    at = _place(random, octets)
    return octets[:at] + octets[at + random.choice((1, 1, 2, 4, 9)) :]


def _insert(random: Random, octets: bytes, other: bytes) -> bytes:
    at = _place(random, octets)
    return octets[:at] + random.randbytes(random.choice((1, 1, 2, 4, 9))) + octets[at:]


def _repeat(random: Random, octets: bytes, other: bytes) -> bytes:
    start, end = sorted((_place(random, octets), _place(random, octets)))
    return octets[:end] + octets[start:end] * random.choice((1, 1, 2, 30)) + octets[end:]


def _splice(random: Random, octets: bytes, other: bytes) -> bytes:
    return octets[: _place(random, octets)] + other[_place(random, other) :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _telling, _nudge, _cut, _without, _insert, _repeat, _splice)


def mutated(random: Random, octets: bytes, other: bytes) -> bytes:
    """These octets after one to four mutations; `other` is another valid message to splice with."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        if not octets:
            return random.randbytes(random.randrange(8))
        octets = random.choice(MUTATIONS)(random, octets, other)[:_LONGEST]
    return octets
