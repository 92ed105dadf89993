"""The list of a device's objects, for whoever may not read all of it.

    request -> Decide -> [allowed: as any other view] -> [denied because a grant names points: Decide (each point)]
            -> the points that may be looked at; nothing is relayed

An explorer asks for the list first, and for nothing without it. Each point is decided as a read of it would be.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from broker.engine.commands import Command
from broker.engine.events import Finding, Refused
from broker.engine.exchange import carry_out, decide, deny
from broker.engine.inquiry import recheck
from broker.engine.sessions import Session
from broker.model.operation import Request
from broker.model.place import Point
from broker.model.vocabulary import Reason

_OF_POINTS = frozenset({Reason.POINT_NOT_DESCRIBED, Reason.POINT_NOT_GRANTED})
"""Denials that say that a grant is for points."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The points of a device that may be looked at, where its own list may not."""

    points: tuple[Point, ...]


def list_objects(
    session: Session, request: Request, reads: Iterable[tuple[Point, Request]]
) -> Generator[Command, object, Finding | Seen]:
    """Carry out the read of the list if it is allowed; else what of `reads` is. A denial is recorded if nothing is."""
    decisions = yield from decide(session, request)
    denials = Refused((), decisions)
    if not denials.denied_places:
        return (yield from carry_out(session, request, decisions))
    if not _OF_POINTS.issuperset(reason for place in denials.denied_places for reason in decisions[place].reasons):
        return (yield from deny(session, request, decisions))
    seen = []
    for point, read in reads:
        found = yield from recheck(session, read)
        if not isinstance(found, Refused):
            seen.append(point)
    return Seen(tuple(seen)) if seen else (yield from deny(session, request, decisions))
