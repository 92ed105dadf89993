"""The way of a request whose answer gives reason to ask more, as ALL does where a device has properties of its own.

request -> its own way -> [the answer names more] -> that request, decided and recorded for itself, on the same way
"""

from collections.abc import Callable, Generator

from broker.engine.commands import Command
from broker.engine.events import Explored, Finding, Further, Listed, Partly
from broker.engine.partial import Narrowed, exchange_each
from broker.engine.sessions import Session
from broker.model.operation import Request

First = Finding | Partly | Listed


def exchange_further(
    session: Session,
    steps: Generator[Command, object, First],
    further: Callable[[First], Request | None],
    narrowed: Narrowed,
) -> Generator[Command, object, Explored]:
    """Go the way of a request, `steps`, and then that of what `further` makes of what was found."""
    first = yield from steps
    request = further(first)
    if request is None:
        return first
    return Further(first, request, (yield from exchange_each(session, request, narrowed)))
