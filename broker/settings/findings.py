"""What is wrong at a path of a document, in words that name what would be right; `cli` turns paths into lines."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong at `path` (keys and list places from the top of the document).

    `at_key` points to the key itself instead of its value; a warning keeps nothing from loading.
    """

    path: Path
    message: str
    hint: str = ""
    warning: bool = False
    at_key: bool = False

    def under(self, path: Path) -> "Finding":
        """The same finding, with its path continued from `path`."""
        return Finding(path + self.path, self.message, self.hint, self.warning, self.at_key)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, or with all of them if they are few; empty if neither helps."""
    names = sorted(set(known))
    spelled = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{spelled[near[0]]}'?"
    if 0 < len(names) <= 12:
        return "known are: " + ", ".join(names)
    return ""
