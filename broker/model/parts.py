"""The parts of a seal as people type them: base32 in seven groups of five, each with a check character of its own.

A part is its number and 135 random bits. The check character of a group is a sum over GF(32) with a weight for each
place and a constant for each group: one wrong character, two neighbours exchanged and two groups exchanged are always
found, and it is known in which group, before anything is sent or compared. It says nothing about the other groups.
"""

from dataclasses import dataclass

from broker.errors import PeerError

SECRET_BITS = 135
MOST_PARTS = 16
GROUPS = 7
GROUP = 5
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SYMBOLS = {character: value for value, character in enumerate(ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_WEIGHTS = (2, 4, 8, 16)
_REDUCTION = 0b100101
_LONGEST_TYPED = 200


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was typed properly; `text` is its one spelling, which is what is hashed."""

    number: int
    text: str


def encode_part(number: int, secret: int) -> str:
    """The part as it is printed; `secret` are 135 random bits, `number` is 1 to 16."""
    symbols = [number, *((secret >> shift) & 31 for shift in range(SECRET_BITS - 5, -1, -5))]
    width = GROUP - 1
    groups = [symbols[place : place + width] for place in range(0, len(symbols), width)]
    return "-".join(
        "".join(ALPHABET[symbol] for symbol in (*group, _check(place, group))) for place, group in enumerate(groups)
    )


def decode_part(raw: str) -> Part:
    """The part that was typed, in whatever case and grouping. Raises PeerError `part_malformed`, which says where."""
    typed = "".join(raw[:_LONGEST_TYPED].upper().replace("-", " ").split())
    if len(typed) != GROUPS * GROUP:
        raise PeerError("part_malformed", f"A part has {GROUPS} groups of {GROUP} characters.")
    number = 0
    for place in range(GROUPS):
        symbols = [_SYMBOLS.get(character, -1) for character in typed[place * GROUP : (place + 1) * GROUP]]
        if min(symbols) < 0 or _check(place, symbols[:-1]) != symbols[-1]:
            raise PeerError("part_malformed", f"Group {place + 1} of the part is mistyped.")
        number = number if place else symbols[0]
    if not 1 <= number <= MOST_PARTS:
        raise PeerError("part_malformed", "There is no part of this number.")
    return Part(number, "".join(ALPHABET[_SYMBOLS[character]] for character in typed))


def _check(place: int, symbols: list[int]) -> int:
    found = place + 1
    for weight, symbol in zip(_WEIGHTS, symbols, strict=True):
        found ^= _product(weight, symbol)
    return found


def _product(one: int, other: int) -> int:
    """In GF(32), whose elements are polynomials over GF(2) modulo x^5 + x^2 + 1."""
    product = 0
    for bit in range(5):
        if one >> bit & 1:
            product ^= other << bit
    for bit in range(9, 4, -1):
        if product >> bit & 1:
            product ^= _REDUCTION << (bit - 5)
    return product
