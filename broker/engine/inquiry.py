"""The way of a question that the broker answers itself, from its inventory or from what a device has told before.

    question -> Decide (each operation) -> [denied: RecordDenial or CountDenial] -> LastLook -> may be answered

Nothing is relayed, so nothing is intended: the decision is the record of it.
"""

from collections.abc import Generator

from broker.engine.commands import Command, CountDenial, LastLook, RecordDenial
from broker.engine.events import Refused
from broker.engine.exchange import decide
from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.operation import Request
from broker.model.vocabulary import Reason

Inquiry = Generator[Command, object, tuple[Decision, ...] | Refused]
"""The decisions by which it may be answered."""


def inquire(session: Session, request: Request) -> Inquiry:
    """Whether a question about this device may be answered; a denial is recorded as that of any other request."""
    found = yield from recheck(session, request)
    if isinstance(found, Refused):
        yield RecordDenial(session, request, found.decisions, () if found.denied_places else found.reasons)
    return found


def inquire_at_large(session: Session, request: Request) -> Inquiry:
    """The same of a question that was put to nobody in particular: a denial is only counted, for otherwise one question
    would use up what may be recorded of its asker.
    """
    found = yield from recheck(session, request)
    if isinstance(found, Refused):
        yield CountDenial(session)
    return found


def recheck(session: Session, request: Request) -> Inquiry:
    """Whether what is there for the session may go to it now: cheap under a lease. Nothing is recorded but decisions;
    who asks this counts what was withheld. What is obliged of a relay cannot be met without one.
    """
    decisions = yield from decide(session, request)
    refused = Refused((), decisions)
    if denied := refused.denied_places:
        reasons = dict.fromkeys(reason for place in denied for reason in decisions[place].reasons)
        return Refused(tuple(reasons), decisions)
    for decision in decisions:
        if decision.obligations or decision.spends:
            return Refused((Reason.OBLIGATION_UNMET,), decisions)
    changed = yield LastLook(session, decisions)
    return Refused((str(changed),), decisions) if changed else decisions
