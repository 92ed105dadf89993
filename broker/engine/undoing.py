"""The way of one debt: look at its place, and write only if the value in it is still the debtor's own.

    debt -> exchange (read) -> [somebody else's value: kept] -> MarkUndoing -> exchange (write) -> what became of it

Each step is an operation of its own in a session of the broker's own, decided, recorded and relayed like any other. A
write that may have been sent is never tried again.
"""

from collections.abc import Generator
from dataclasses import replace

from broker.engine.commands import Command, MarkUndoing
from broker.engine.events import Answered, Finding
from broker.engine.exchange import exchange
from broker.engine.sessions import Session
from broker.errors import FrameError, LimitError
from broker.model.leave import RELEASED, Debt, Undone
from broker.model.operation import Request
from broker.model.place import OnLeave
from broker.model.vocabulary import Reason, Result
from broker.wire.meaning import compose_look, compose_undo, values_of

End = tuple[Undone | None, str]
"""What became of a debt and why; None: nothing was sent, so it may be tried again."""
Undo = Generator[Command, object, End]


def undo(session: Session, debt: Debt) -> Undo:
    """Undo one debt in a session of the broker's own."""
    assert session.errand is not None
    session.errand = replace(session.errand, debt=debt)
    point = next((point for point in session.device.points if point.id == debt.point), None)
    if point is None:
        return Undone.FAILED, Reason.POINT_UNKNOWN
    try:
        look = compose_look(session.device, point, debt.priority)
        write = compose_undo(session.device, point, _value(debt), debt.priority)
    except (FrameError, LimitError) as error:
        return Undone.FAILED, error.code
    return (yield from _undo(session, debt, look, write))


def _undo(session: Session, debt: Debt, look: Request, write: Request) -> Undo:
    finding = yield from exchange(session, look)
    if not _done(finding):
        return None, _why(finding)
    assert isinstance(finding, Answered)
    found = dict(values_of(session.device, look, finding.relayed.payload)).get(debt.point)
    if found is None:
        return None, Result.BAD_REPLY
    if found == (_value(debt) or RELEASED):
        return Undone.UNDONE, "was so already"
    if found not in debt.own:
        return Undone.KEPT, "somebody has written since"
    if debt.undoing:
        return Undone.UNKNOWN, "it may have been undone, and written again since"
    marked = yield MarkUndoing(debt, True)
    if marked is not True:
        return None, "could not be noted"
    finding = yield from exchange(session, write)
    if not isinstance(finding, Answered) or finding.relayed.result == Result.NOT_SENT:
        yield MarkUndoing(debt, False)
        return None, _why(finding)
    if _done(finding):
        return Undone.UNDONE, ""
    refused = finding.recorded and finding.relayed.result == Result.DEVICE_REFUSED
    return Undone.FAILED if refused else Undone.UNKNOWN, _why(finding)


def _value(debt: Debt) -> str | None:
    return debt.before if debt.undo is OnLeave.RESTORE else None


def _done(finding: Finding) -> bool:
    return isinstance(finding, Answered) and finding.recorded and finding.relayed.result == Result.DONE


def _why(finding: Finding) -> str:
    """In the words of reasons, results and devices."""
    if not isinstance(finding, Answered):
        return ", ".join(finding.reasons)
    if not finding.recorded:
        return Reason.LEDGER_CLOSED
    return finding.relayed.code or str(finding.relayed.result)
