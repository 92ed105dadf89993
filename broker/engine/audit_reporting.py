"""Composes what an audit log in OT is told of an operation: who it really was, and where the evidence of it is."""

from collections.abc import Iterable
from typing import NamedTuple

from broker.engine.commands import RecordDenial
from broker.engine.sessions import Session
from broker.errors import FrameError
from broker.model.operation import Request
from broker.model.place import BacnetAddress
from broker.model.vocabulary import Result
from broker.model.way import BacnetIpWay, BacnetScWay
from broker.wire.bacnet.audit_reports import (
    NO_REPLY,
    NOT_ALLOWED,
    AuditReport,
    Moment,
    Target,
    error_of,
    targets_of,
)
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.values import encode_value

_NOT_CARRIED_OUT = "services/service-request-denied"
_ERRORS = {
    Result.DENIED: NOT_ALLOWED,
    Result.NOT_SENT: _NOT_CARRIED_OUT,
    Result.UNATTEMPTED: _NOT_CARRIED_OUT,
    Result.NO_REPLY: NO_REPLY,
    Result.BAD_REPLY: NO_REPLY,
}


class Fared(NamedTuple):
    """What became of one operation of a request: which it is, its intent's record and how it came out."""

    place: int
    intent: int
    result: str
    code: str = ""
    decision: str = ""


class Teller(NamedTuple):
    """Who tells: the origin of the broker's ledger, the MAC at which the log hears it, and the local time there."""

    origin: str
    source: bytes
    moment: Moment


def denied(command: RecordDenial, recorded: Iterable[tuple[int, int]]) -> list[Fared]:
    """How operations that are denied fared; each is told by its place and the record of its intent."""
    fared = []
    for place, index in recorded:
        decision = command.decisions[place]
        why = (*command.reasons, *(() if decision.allow else decision.reasons))
        fared.append(Fared(place, index, Result.DENIED, " ".join(why), decision.id))
    return fared


def reported(request: Request) -> bool:
    """Whether audit logs are told of such a request: of whatever changes something in a BACnet device."""
    return request.writes and request.operations[0].protocol == "bacnet"


def reports(
    session: Session,
    request: Request,
    fared: tuple[Fared, ...],
    before: tuple[tuple[str, str], ...],
    teller: Teller,
) -> tuple[AuditReport, ...]:
    """One report for each of these operations of a request; `before` are values that were read, by point."""
    way, known = session.device.way, {} if request.conceals else dict(before)
    assert isinstance(way, BacnetIpWay | BacnetScWay)
    targets = targets_of(request)
    return tuple(
        AuditReport(
            teller.moment,
            teller.source,
            _comment(session, each, teller.origin),
            way.instance,
            targets[each.place],
            _before(request, each.place, targets[each.place], known),
            "" if each.result == Result.DONE else _error(each),
        )
        for each in fared
    )


def _comment(session: Session, fared: Fared, origin: str) -> str:
    """Who, on whose behalf, what became of it, and where that is proven: the most telling first, for it may be cut."""
    subject, errand = session.subject, session.errand
    who = f"{subject.id} ({subject.organisation})"
    if errand is not None:
        who = f"broker, undoing for {errand.subject.id} ({errand.subject.organisation})"
    outcome = "" if fared.result == Result.DONE else f"; {fared.result} {fared.code}".rstrip()
    decision = f", decision {fared.decision}" if fared.decision else ""
    grants = f"; grant {', '.join(sorted(session.relied_on)[:2])}" if session.relied_on else ""
    return f"{who}{outcome}; ledger {origin} record {fared.intent}{decision}{grants}"


def _error(fared: Fared) -> str:
    return _ERRORS.get(Result(fared.result)) or error_of(fared.code)


def _before(request: Request, place: int, target: Target, known: dict[str, str]) -> bytes:
    """The octets of the value that was there, where a whole point is written and its value can be said in words."""
    for touch in request.operations[place].touches:
        text, item = known.get(touch.point.id), target.item
        if text is not None and touch.whole and _is(touch.point.address, item) and item.property is not None:
            try:
                return encode_value(item.object_type, item.property, item.index, text)
            except FrameError:
                return b""
    return b""


def _is(address: object, item: Item) -> bool:
    return isinstance(address, BacnetAddress) and (address.property, address.index) == (item.property, item.index)
