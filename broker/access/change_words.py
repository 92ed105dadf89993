"""Gains and losses in words: the same for whoever reviews a change, in the log and in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

from broker.access.changes import Change

MOST_SENTENCES = 50
LONGEST_SENTENCE = 300


@dataclass(frozen=True, slots=True)
class Told:
    """A changed inventory: what took effect, and which gains are held back until somebody approves them.

    The counts are of all, the sentences of as many as fit into one ledger record whole.
    """

    lost: int
    gained: int
    changes: tuple[str, ...]
    gains_waiting: int
    waiting: tuple[str, ...]


def sentence(change: Change) -> str:
    """One change in words; gains begin with +, losses with -."""
    sign, verb = ("+", "gains") if change.gained else ("-", "loses")
    if change.note:
        return f"{sign} {change.who} {verb} access: {change.note}"
    what = f": {', '.join(change.points)}" if change.points else ""
    when = f" in {', '.join(change.windows)}" if change.windows else ""
    how = f" ({'; '.join(change.terms)})" if change.terms else ""
    watched = " under supervision" if change.supervised else ""
    return f"{sign} {change.who} {verb} {change.action} on {change.device}{what}{when}{watched}{how}"


def told(in_force: Sequence[Change], waiting: Sequence[Change]) -> Told:
    """What is said of a reload: at most 50 sentences of 300 characters, what took effect before what waits."""
    changes = _sentences(in_force, MOST_SENTENCES)
    return Told(
        lost=sum(not change.gained for change in in_force),
        gained=sum(change.gained for change in in_force),
        changes=changes,
        gains_waiting=len(waiting),
        waiting=_sentences(waiting, MOST_SENTENCES - len(changes)),
    )


def _sentences(changes: Sequence[Change], most: int) -> tuple[str, ...]:
    return tuple(_cut(sentence(change)) for change in changes[:most])


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SENTENCE else f"{text[: LONGEST_SENTENCE - 1]}…"
