"""Views that the broker carries out of its own accord, in the session of somebody to whom all of it is allowed.

    request -> Decide -> [denied, or obliged: nothing] -> as any other view

Nobody asked for it, so a denial is not recorded. What is carried out is: no recorded intent, no relay.
"""

from collections.abc import Generator, Iterable

from broker.engine.commands import Command
from broker.engine.events import Refused
from broker.engine.exchange import carry_out
from broker.engine.inquiry import recheck
from broker.engine.sessions import Session
from broker.model.operation import Request
from broker.model.vocabulary import Result

_ANSWERS = frozenset((Result.DONE, Result.DEVICE_REFUSED))


def look_at_itself(session: Session, requests: Iterable[Request]) -> Generator[Command, object, bool]:
    """Carry out these views as far as they are allowed, while the device answers; whether any was."""
    asked = False
    for request in requests:
        decisions = yield from recheck(session, request)
        if isinstance(decisions, Refused):
            continue
        found = yield from carry_out(session, request, decisions)
        if isinstance(found, Refused):
            break
        asked = True
        if found.relayed.result not in _ANSWERS:
            break
    return asked
