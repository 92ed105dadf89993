"""The way of one debt: look at its place, and write only if the value in it is still the debtor's own.

    debt -> MarkUndoing -> Decide -> RecordIntents (write) -> exchange (look) -> [not the debtor's own: not sent] ->
    LastLook -> Relay (write) -> RecordOutcomes -> what became of it

Marked first and looked at last: the disk, the policy and the ledger are waited for before the look, so that between it
and the write there is nothing but the device. The last look refuses as well if anybody has written there through the
broker meanwhile. Both steps are operations in a session of the broker's own, decided, recorded and relayed like any
other. A write that may have been sent is never tried again.
"""

from collections.abc import Generator
from dataclasses import replace

from broker.engine.commands import (
    Command,
    LastLook,
    MarkUndoing,
    RecordDenial,
    RecordIntents,
    RecordOutcomes,
    Relay,
)
from broker.engine.events import Answered, Finding, Refused
from broker.engine.exchange import decide, deny, exchange
from broker.engine.sessions import Session
from broker.errors import FrameError, LimitError
from broker.model.decision import Decision
from broker.model.leave import RELEASED, Debt, Undone
from broker.model.operation import Relayed, Request
from broker.model.place import OnLeave
from broker.model.vocabulary import Reason, Result
from broker.wire.meaning import compose_look, compose_undo, values_of

End = tuple[Undone | None, str]
"""What became of a debt and why; None: nothing was sent, so it may be tried again."""
Undo = Generator[Command, object, End]
_NOT_NOTED: End = (None, "could not be noted")


def undo(session: Session, debt: Debt) -> Undo:
    """Undo one debt in a session of the broker's own."""
    assert session.errand is not None
    session.errand = replace(session.errand, debt=debt)
    if debt.since:
        return Undone.KEPT, debt.kept_because
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
    if debt.undoing or debt.crossed:
        found = yield from _look(session, debt, look)
        return found or (Undone.UNKNOWN, debt.doubtful_because or "it may have been undone, and written again since")
    sent, end = False, _NOT_NOTED
    if (yield MarkUndoing(debt, True)) is True:
        sent, end = yield from _write(session, debt, look, write)
    if not sent:
        yield MarkUndoing(debt, False)
    return end


def _look(session: Session, debt: Debt, look: Request) -> Generator[Command, object, End | None]:
    """What there is to say without writing; None: the place holds the debtor's own."""
    finding = yield from exchange(session, look)
    if not _done(finding):
        return None, _why(finding)
    assert isinstance(finding, Answered)
    found = dict(values_of(session.device, look, finding.relayed.payload)).get(debt.point)
    if found is None:
        return None, Result.BAD_REPLY
    if found == (_value(debt) or RELEASED):
        return Undone.UNDONE, "was so already"
    return None if found in debt.own else (Undone.KEPT, "somebody has written since")


def _write(session: Session, debt: Debt, look: Request, write: Request) -> Generator[Command, object, tuple[bool, End]]:
    """Whether it may have been sent, and the end. What takes time comes before the look, so that nothing has to be
    waited for between that and the write but the device itself.
    """
    decisions = yield from decide(session, write)
    if refused := (yield from _refused(session, write, decisions)):
        return False, (None, _why(refused))
    first = yield RecordIntents(session, write, decisions, ())
    if not isinstance(first, int):
        return False, (None, str(first))
    found = yield from _look(session, debt, look)
    if found is not None:
        code = Reason.NOTHING_OWED if found[0] else found[1].partition(",")[0]
        yield RecordOutcomes(session, write, first, Relayed(Result.NOT_SENT, code=code), ())
        return False, found
    changed = yield LastLook(session, decisions)
    relayed = Relayed(Result.NOT_SENT, code=str(changed)) if changed else (yield Relay(session, write, decisions))
    assert isinstance(relayed, Relayed)
    recorded = yield RecordOutcomes(session, write, first, relayed, ())
    return relayed.result != Result.NOT_SENT, _end(Answered(relayed, decisions, recorded is True))


def _refused(
    session: Session, write: Request, decisions: tuple[Decision, ...]
) -> Generator[Command, object, Refused | None]:
    """The broker itself can meet no obligation: it owes nothing, and nobody arms its writes."""
    if any(not decision.allow for decision in decisions):
        return (yield from deny(session, write, decisions))
    if any(decision.obligations or decision.spends for decision in decisions):
        yield RecordDenial(session, write, decisions, (Reason.OBLIGATION_UNMET,))
        return Refused((Reason.OBLIGATION_UNMET,), decisions)
    return None


def _end(finding: Answered) -> End:
    if finding.relayed.result == Result.NOT_SENT:
        return None, _why(finding)
    if _done(finding):
        return Undone.UNDONE, ""
    refused = finding.recorded and finding.relayed.result == Result.DEVICE_REFUSED
    return Undone.FAILED if refused else Undone.UNKNOWN, _why(finding)


def _value(debt: Debt) -> str | None:
    return debt.before if debt.undo is OnLeave.RESTORE else None


def _done(finding: Finding) -> bool:
    return isinstance(finding, Answered) and finding.done


def _why(finding: Finding) -> str:
    """In the words of reasons, results and devices."""
    if not isinstance(finding, Answered):
        return ", ".join(finding.reasons)
    if not finding.recorded:
        return Reason.LEDGER_CLOSED
    return finding.relayed.code or str(finding.relayed.result)
