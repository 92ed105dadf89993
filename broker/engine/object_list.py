"""The list of a device's objects, for whoever may not read all of it.

    request -> Decide (each operation) -> [the list allowed: as any other view]
            -> [denied because a grant names points: Decide (each point)] -> the points that may be looked at

An explorer asks for the list first, and for nothing without it, often with other properties of the device in one
request: these go their own way. Each point is decided as a read of it would be, and for the list nothing is relayed.
"""

from collections.abc import Generator, Iterable

from broker.engine.commands import Command, RecordDenial
from broker.engine.events import Finding, Listed, Partly, Refused
from broker.engine.exchange import decide
from broker.engine.inquiry import recheck
from broker.engine.partial import Narrowed, Places, carry_out_each, carry_out_rest
from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.operation import Request
from broker.model.place import Point
from broker.model.vocabulary import Reason

_OF_POINTS = frozenset({Reason.POINT_NOT_DESCRIBED, Reason.POINT_NOT_GRANTED})
"""Denials that say that a grant is for points."""


def list_objects(
    session: Session, request: Request, asked: Places, reads: Iterable[tuple[Point, Request]], narrowed: Narrowed
) -> Generator[Command, object, Finding | Partly | Listed]:
    """Carry out a view that asks for the list at the places `asked`; where only the points of a grant bar the way to
    it, what of `reads` is allowed stands in its place. If nothing is, the list is denied as anything else.
    """
    decisions = yield from decide(session, request)
    places = tuple(place for place in asked if _barred_by_points(decisions[place]))
    points = (yield from _seen(session, reads)) if places else ()
    if not points or any(decision.armed or decision.lacks for decision in decisions):
        return (yield from carry_out_each(session, request, decisions, narrowed))
    denied = tuple(place for place, each in enumerate(decisions) if not each.allow and place not in places)
    if len(places) + len(denied) < len(decisions):
        finding = yield from carry_out_rest(session, request, decisions, denied, narrowed, places)
        return Listed(points, places, finding)
    if denied:
        yield RecordDenial(session, request, decisions, places=denied)
    reasons = dict.fromkeys(reason for place in denied for reason in decisions[place].reasons)
    return Listed(points, places, Refused(tuple(reasons), decisions) if denied else None)


def _barred_by_points(decision: Decision) -> bool:
    return not decision.allow and _OF_POINTS.issuperset(decision.reasons)


def _seen(session: Session, reads: Iterable[tuple[Point, Request]]) -> Generator[Command, object, tuple[Point, ...]]:
    """The points that may be looked at now."""
    seen = []
    for point, read in reads:
        found = yield from recheck(session, read)
        if not isinstance(found, Refused):
            seen.append(point)
    return tuple(seen)
