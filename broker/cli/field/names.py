"""Ids from names that devices give: DNS labels, unique, the same at the next look."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

LONGEST = 63
_OTHER = re.compile(r"[^a-z0-9]+")
Key = TypeVar("Key")


def label(name: str) -> str:
    """The name as a DNS label; empty if no letter or digit of it has a place there."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return _OTHER.sub("-", plain).strip("-")[:LONGEST].rstrip("-")


def labels(named: Sequence[tuple[Key, str, str]], known: Mapping[Key, str]) -> dict[Key, str]:
    """An id for each key, from its name; `known` ones stay.

    Each of `named` is key, name and what tells it apart. That is appended where several would have the same id, so that
    the order in which a device lists its objects makes no difference.
    """
    given = {key: known[key] for key, _, _ in named if key in known}
    wanted = {key: label(name) or label(apart) for key, name, apart in named if key not in given}
    counts = Counter(wanted.values())
    taken = set(known.values())
    later = []
    for key, name, apart in named:
        if key in given:
            continue
        if name and counts[wanted[key]] == 1 and wanted[key] not in taken:
            given[key] = wanted[key]
            taken.add(wanted[key])
        else:
            later.append((key, wanted[key], apart))
    for key, name, apart in later:
        given[key] = _free(name, label(apart), taken)
        taken.add(given[key])
    return given


def _free(name: str, apart: str, taken: set[str]) -> str:
    """The name with what tells it apart; with a number if even that is taken."""
    number = 1
    while True:
        ending = apart if number == 1 else f"{apart}-{number}"
        found = ending if name == apart else f"{name[: LONGEST - len(ending) - 1].rstrip('-')}-{ending}"
        if found not in taken:
            return found
        number += 1
