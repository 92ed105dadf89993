"""The way of a request of which a part may be denied.

    request -> Decide (each operation) -> [all allowed: as any other request]
            -> [a view, some denied: RecordDenial (those) -> the rest, as a request of its own, on its way]
            -> [anything else: RecordDenial (all), nothing relayed]

What is left of a view is sent anew from its decoded form, so that nothing that was denied is asked of the device. A
write is never narrowed: it may have been meant as one.
"""

from collections.abc import Callable, Generator
from dataclasses import replace

from broker.engine.commands import Command, RecordDenial
from broker.engine.events import Finding, Partly
from broker.engine.exchange import carry_out, decide, deny
from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.operation import Request

Places = tuple[int, ...]
Narrowed = Callable[[Request, Places], Request]
"""Makes the request that asks for these operations of another one, in their order."""


def exchange_each(
    session: Session, request: Request, narrowed: Narrowed
) -> Generator[Command, object, Finding | Partly]:
    """Decide each operation of a request, and carry out those that are allowed if it is a view; all or none of a
    write. What waits for a person waits whole.
    """
    decisions = yield from decide(session, request)
    denied = tuple(place for place, decision in enumerate(decisions) if not decision.allow)
    if not denied:
        return (yield from carry_out(session, request, decisions))
    if request.writes or len(denied) == len(decisions) or _concerns_persons(decisions):
        return (yield from deny(session, request, decisions))
    return (yield from _carry_out_rest(session, request, decisions, denied, narrowed))


def _carry_out_rest(
    session: Session, request: Request, decisions: tuple[Decision, ...], denied: Places, narrowed: Narrowed
) -> Generator[Command, object, Partly]:
    yield RecordDenial(session, request, decisions, places=denied)
    left = tuple(place for place, decision in enumerate(decisions) if decision.allow)
    rest = replace(narrowed(request, left), part_of=request.digest)
    finding = yield from carry_out(session, rest, tuple(decisions[place] for place in left))
    return Partly(finding, denied, decisions)


def _concerns_persons(decisions: tuple[Decision, ...]) -> bool:
    """Persons arm a request as it was asked; what is left of it they have not seen."""
    return any(decision.armed or decision.lacks for decision in decisions)
