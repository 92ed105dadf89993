"""One client's COV subscription, sans I/O: what it waits for, what of it may be told, and what is counted of it."""

from collections import deque
from collections.abc import Generator, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.engine.commands import Command
from broker.engine.events import Refused
from broker.engine.inquiry import recheck
from broker.engine.sessions import NEVER, Session
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, Request

MOST_WAITING = 64


@dataclass(frozen=True, slots=True)
class Monitored:
    """What is subscribed. `property` None: the object, and what it reports of itself (13.14); `increment` as asked."""

    object_type: str
    instance: int
    property: str | None = None
    index: int | None = None
    increment: str | None = None


@dataclass(slots=True, eq=False)
class Subscription:
    """One client's. `view` reads what is monitored: it is decided anew for each notification.

    `process` is the client's own; `ends` (epoch seconds) is `NEVER` if it holds as long as the session. `decision` is
    the index of the last decision that allowed (-1: none has yet), `since` from when `passed` and `withheld` count.
    `waiting` are notifications in their order, the first of them being decided. `multiple`: it is one of several that
    were subscribed at once, and is told so. `held_back`: nothing is told until all of those are there.
    """

    session: Session
    client: Hashable
    process: int
    monitored: Monitored
    view: Request
    decision: int
    since: float
    confirmed: bool = False
    ends: float = NEVER
    passed: int = 0
    withheld: int = 0
    waiting: deque[object] = field(default_factory=deque)
    over: bool = False
    multiple: bool = False
    held_back: bool = False

    @property
    def form(self) -> bool | None:
        """What tells contexts of a client with the same process from each other: None is that of 13.14 and 13.15; one
        for each form of notification is that of 13.16.
        """
        return self.confirmed if self.multiple else None

    def offer(self, notification: object) -> bool:
        """Keep a notification until those before it are decided, so that none overtakes another: whether there are
        none, and this one is to be decided at once. Without room the oldest that waits is withheld, since what came
        later says what is there now.
        """
        self.waiting.append(notification)
        if len(self.waiting) > MOST_WAITING:
            del self.waiting[1]
            self.withheld += 1
        return len(self.waiting) == 1 and not self.held_back

    def take(self) -> tuple[object, bool]:
        """The notification that was decided now (None if it is over), and whether the next is to be decided."""
        notification = self.waiting.popleft() if self.waiting else None
        return notification, bool(self.waiting)

    def shows(self, name: str, index: int | None) -> bool:
        """Whether a value in a notification is of what is decided for it; no other may be passed on."""
        places = (operation.address for operation in self.view.operations)
        found = [at for at in places if isinstance(at, BacnetProperty) and at.property == name]
        return any(at.index is None or at.index == index for at in found)

    def remaining(self, now: float) -> int:
        """The time remaining, in whole seconds as a client is told; 0 is without end (13.6)."""
        return 0 if self.ends == NEVER else max(1, int(self.ends - now))


class Tally(NamedTuple):
    """What is recorded of the notifications of one subscription between two moments (epoch seconds)."""

    session: str
    decision: int
    device: str
    monitored: Monitored
    passed: int
    withheld: int
    since: float
    until: float


def let_through(subscription: Subscription) -> Generator[Command, object, tuple[Decision, ...] | Refused]:
    """Whether a notification may go to the client, and count it. What the policy denies now ends the subscription; one
    that is over meanwhile gets nothing.
    """
    found = yield from recheck(subscription.session, subscription.view)
    if subscription.over:
        return found if isinstance(found, Refused) else Refused((), found)
    if isinstance(found, Refused):
        subscription.withheld += 1
    else:
        subscription.passed += 1
        subscription.decision = found[0].index
    return found


def tally_of(subscription: Subscription, now: float) -> Tally | None:
    """What was counted until now, and begin anew; None if nothing was."""
    counted = subscription.passed, subscription.withheld
    since, subscription.since = subscription.since, now
    until = max(since, now)  # a clock being disciplined may slip
    subscription.passed = subscription.withheld = 0
    if counted == (0, 0):
        return None
    session = subscription.session
    return Tally(session.id, subscription.decision, session.device_key, subscription.monitored, *counted, since, until)
