"""The way of a request of which a part may be denied.

    request -> Decide (each operation) -> [all allowed: as any other request]
            -> [a view, some denied: RecordDenial (those) -> the rest, as a request of its own, on its way]
            -> [anything else: RecordDenial (all), nothing relayed]

What is left of a view is sent anew from its decoded form, so that nothing that was denied is asked of the device. A
view that is too long for the device is asked in halves. A write is never divided: it may have been meant as one.
"""

from collections.abc import Callable, Generator
from dataclasses import replace

from broker.engine.commands import Command, RecordDenial
from broker.engine.events import Answered, Finding, Partly
from broker.engine.exchange import Steps, carry_out, decide, deny
from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.operation import Relayed, Request
from broker.model.vocabulary import Result
from broker.wire.bacnet.refusal import TOO_LONG, joined

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
    return (yield from carry_out_each(session, request, decisions, narrowed))


def carry_out_each(
    session: Session, request: Request, decisions: tuple[Decision, ...], narrowed: Narrowed
) -> Generator[Command, object, Finding | Partly]:
    """The same once it is decided."""
    denied = tuple(place for place, decision in enumerate(decisions) if not decision.allow)
    if not denied:
        if request.writes or len(decisions) == 1:
            return (yield from carry_out(session, request, decisions))
        return (yield from _carry_out_view(session, request, decisions, narrowed))
    if request.writes or len(denied) == len(decisions) or _concerns_persons(decisions):
        return (yield from deny(session, request, decisions))
    return (yield from carry_out_rest(session, request, decisions, denied, narrowed))


def carry_out_rest(
    session: Session,
    request: Request,
    decisions: tuple[Decision, ...],
    denied: Places,
    narrowed: Narrowed,
    answered: Places = (),
) -> Generator[Command, object, Partly]:
    """Record what of a view is denied, and carry out the rest but what is `answered` in another way."""
    if denied:
        yield RecordDenial(session, request, decisions, places=denied)
    left = tuple(place for place in range(len(decisions)) if place not in denied and place not in answered)
    rest = replace(narrowed(request, left), part_of=request.digest)
    finding = yield from _carry_out_view(session, rest, tuple(decisions[place] for place in left), narrowed)
    return Partly(finding, denied, decisions)


def _carry_out_view(session: Session, request: Request, decisions: tuple[Decision, ...], narrowed: Narrowed) -> Steps:
    """As a whole, or in halves if the device says that this is too long for it: nothing was done then."""
    finding = yield from carry_out(session, request, decisions)
    if len(decisions) == 1 or not isinstance(finding, Answered) or finding.relayed.code not in TOO_LONG:
        return finding
    half, halves = len(decisions) // 2, []
    for places in (range(half), range(half, len(decisions))):
        part = replace(narrowed(request, tuple(places)), part_of=request.part_of or request.digest)
        taken = tuple(decisions[place] for place in places)
        finding = yield from _carry_out_view(session, part, taken, narrowed)
        if not isinstance(finding, Answered) or not finding.recorded or finding.relayed.result != Result.DONE:
            return finding
        halves.append((part, finding.relayed))
    return Answered(_whole(halves), decisions)


def _whole(halves: list[tuple[Request, Relayed]]) -> Relayed:
    each = [relayed.of(place) for part, relayed in halves for place in range(len(part.operations))]
    mixed = any(result != Result.DONE for result, _ in each)
    payload = joined([relayed.payload for _, relayed in halves])
    return Relayed(Result.DONE, payload, each=tuple(each) if mixed else ())


def _concerns_persons(decisions: tuple[Decision, ...]) -> bool:
    """Persons arm a request as it was asked; what is left of it they have not seen."""
    return any(decision.armed or decision.lacks for decision in decisions)
