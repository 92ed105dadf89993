"""COV subscriptions of one device, sans I/O: what each client has subscribed, and what the broker holds for them.

The broker subscribes at the device once for what many clients have subscribed, under process identifiers of its own,
for a few minutes at a time (ASHRAE 135-2020, 13.1). A client's own lifetime is kept here. Each notification is decided
for each client that it is for, and only counted: a value may change many times a second.

    subscribe -> `Errand` (subscribe at the device, in that client's session) -> kept | failed
    due       -> `Errand`s (renew in the session of a client that is still there; cancel for one who cancels)
    receivers -> offer -> let_through -> take -> passed or withheld -> Tally, at the latest every quarter of an hour
"""

from collections import deque
from collections.abc import Generator, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from broker.engine.commands import Command
from broker.engine.events import Refused
from broker.engine.inquiry import recheck
from broker.engine.sessions import NEVER, Session
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, Request

DEVICE_LIFETIME_SECONDS = 300
RENEW_BEFORE_SECONDS = 120.0
"""Early enough for several attempts; a device that forgets is asked again before clients miss anything for long."""
RETRY_SECONDS = 15.0
TALLY_SECONDS = 900.0
MOST_OF_SESSION = 1000
MOST_OF_DEVICE = 4000
MOST_WAITING = 64
_LAST_PROCESS = 0xFFFFFFFF  # 13.14: Unsigned32
_Key = tuple[Session, Hashable, int, "Monitored"]


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
    `waiting` are notifications in their order, the first of them being decided.
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

    def offer(self, notification: object) -> bool:
        """Keep a notification until those before it are decided, so that none overtakes another: whether there are
        none, and this one is to be decided at once. Without room the oldest that waits is withheld, since what came
        later says what is there now.
        """
        self.waiting.append(notification)
        if len(self.waiting) > MOST_WAITING:
            del self.waiting[1]
            self.withheld += 1
        return len(self.waiting) == 1

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


class Errand(NamedTuple):
    """What is to be asked of the device, in the session of `behalf` and decided and recorded there like anything else.

    `lifetime_seconds` None: cancel.
    """

    process: int
    monitored: Monitored
    behalf: Subscription
    confirmed: bool = False
    lifetime_seconds: int | None = None


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


@dataclass(slots=True, eq=False)
class _Held:
    """What the broker has subscribed at the device, or is about to; `until` when the device forgets it.

    Without clients it is remembered until then, and taken up again by who comes next.
    """

    process: int
    monitored: Monitored
    clients: list[Subscription] = field(default_factory=list)
    confirmed: bool = False
    until: float = 0.0
    ask_at: float = NEVER


class Subscriptions:
    """Those of one device. `first_process` is by chance, so that what an earlier run left there is nobody's."""

    def __init__(
        self, first_process: int, most_of_session: int = MOST_OF_SESSION, most_of_device: int = MOST_OF_DEVICE
    ) -> None:
        self._next_process = first_process
        self._most_of_session = most_of_session
        self._most_of_device = most_of_device
        self._clients: dict[_Key, Subscription] = {}
        self._of_session: dict[Session, set[Subscription]] = {}
        self._held: dict[Monitored, _Held] = {}
        self._processes: dict[int, _Held] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def has_room(self, session: Session, client: Hashable, process: int, monitored: Monitored) -> bool:
        """Whether this may be subscribed; a renewal of the same needs no room."""
        if monitored not in self._held and len(self._held) >= self._most_of_device:
            return False
        if _key_of(session, client, process, monitored) in self._clients:
            return True
        of_session = len(self._of_session.get(session, ()))
        return of_session < self._most_of_session and len(self._clients) < self._most_of_device

    def subscribe(self, fresh: Subscription) -> tuple[Errand, Tally | None]:
        """Take up or renew a client's subscription, for which there is room: what is now to be asked of the device.

        The device is asked each time, since a client waits for what is there now (13.14). What was counted for one
        of the same context is told.
        """
        held = self._held.get(fresh.monitored) or self._hold(fresh.monitored)
        held.clients.append(fresh)
        known = self._clients.get(_key(fresh))
        tally = None if known is None else self._drop(known, fresh.since)
        self._clients[_key(fresh)] = fresh
        self._of_session.setdefault(fresh.session, set()).add(fresh)
        return self._asking(held, fresh, fresh.since), tally

    def kept(self, errand: Errand, now: float) -> None:
        """The device has acknowledged."""
        held = self._processes.get(errand.process)
        if held is None:
            return
        if errand.lifetime_seconds is None:
            held.until = 0.0
            self._forget(held, now)
            return
        held.until = now + errand.lifetime_seconds
        held.ask_at = held.until - min(RENEW_BEFORE_SECONDS, errand.lifetime_seconds / 2)

    def failed(self, errand: Errand, now: float) -> None:
        """It has not, or was not asked: renewals are tried again. What a client asked for first is for `end`."""
        held = self._processes.get(errand.process)
        if held is not None and errand.lifetime_seconds is not None:
            held.ask_at = now + RETRY_SECONDS

    def cancel(
        self, session: Session, client: Hashable, process: int, monitored: Monitored, now: float
    ) -> tuple[Errand | None, Tally | None]:
        """A client cancels: what is to be asked of the device, if nobody else needs it, and what was counted. To cancel
        what is not there is no error (13.14).
        """
        known = self._clients.get(_key_of(session, client, process, monitored))
        if known is None:
            return None, None
        held = self._held[known.monitored]
        tally = self._drop(known, now)
        return (None if held.clients else Errand(held.process, held.monitored, known)), tally

    def end(self, subscription: Subscription, now: float) -> Tally | None:
        """It is over, and the device is left to forget it if it was the last; what was counted."""
        return self._drop(subscription, now) if self._clients.get(_key(subscription)) is subscription else None

    def end_session(self, session: Session, now: float, client: Hashable = None) -> tuple[Tally, ...]:
        """All of a session are over, or all of one client in it."""
        ended = [one for one in self._of_session.get(session, ()) if client is None or one.client == client]
        return _told(self._drop(one, now) for one in ended)

    def expire(self, now: float) -> tuple[Tally, ...]:
        """Those whose time is over are over; what was counted for them, and for those counted for long enough."""
        over = [self._drop(one, now) for one in tuple(self._clients.values()) if now >= one.ends]
        for held in tuple(self._held.values()):
            self._forget(held, now)
        long = (one for one in self._clients.values() if now >= one.since + TALLY_SECONDS)
        return _told((*over, *(_tally(one, now) for one in long)))

    def due(self, now: float) -> tuple[Errand, ...]:
        """What is to be asked of the device now to keep what clients have; each is asked for once until it is told what
        came of it, or a while has passed.
        """
        errands = []
        for held in self._held.values():
            behalf = next((one for one in reversed(held.clients) if not one.session.barred), None)
            if now < held.ask_at:
                continue
            held.ask_at = now + RETRY_SECONDS
            if behalf is not None:
                errands.append(self._asking(held, behalf, now))
        return tuple(errands)

    def wake_at(self) -> float:
        """When `due` or `expire` have something to say next (epoch seconds)."""
        asks = (held.ask_at if held.clients else held.until for held in self._held.values())
        ends = (min(one.ends, one.since + TALLY_SECONDS) for one in self._clients.values())
        return min((*asks, *ends), default=NEVER)

    def receivers(self, process: int, object_type: str, instance: int, now: float) -> tuple[Subscription, ...]:
        """Whom a notification of the device is for; nobody if it is about what was not subscribed under that number."""
        held = self._processes.get(process)
        if held is None or (held.monitored.object_type, held.monitored.instance) != (object_type, instance):
            return ()
        return tuple(one for one in held.clients if now < one.ends and one.session.ended is None)

    def _asking(self, held: _Held, behalf: Subscription, now: float) -> Errand:
        held.confirmed = any(one.confirmed for one in held.clients)
        held.ask_at = now + RETRY_SECONDS
        return Errand(held.process, held.monitored, behalf, held.confirmed, DEVICE_LIFETIME_SECONDS)

    def _hold(self, monitored: Monitored) -> _Held:
        while self._next_process in self._processes or not 0 < self._next_process <= _LAST_PROCESS:
            self._next_process = self._next_process % _LAST_PROCESS + 1
        held = self._held[monitored] = self._processes[self._next_process] = _Held(self._next_process, monitored)
        self._next_process += 1
        return held

    def _drop(self, subscription: Subscription, now: float) -> Tally | None:
        del self._clients[_key(subscription)]
        of_session = self._of_session[subscription.session]
        of_session.discard(subscription)
        if not of_session:
            del self._of_session[subscription.session]
        subscription.over = True
        subscription.withheld += len(subscription.waiting)
        subscription.waiting.clear()
        held = self._held[subscription.monitored]
        held.clients.remove(subscription)
        self._forget(held, now)
        return _tally(subscription, now)

    def _forget(self, held: _Held, now: float) -> None:
        if not held.clients and now >= held.until:
            del self._held[held.monitored], self._processes[held.process]


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


def _key(subscription: Subscription) -> _Key:
    return _key_of(subscription.session, subscription.client, subscription.process, subscription.monitored)


def _key_of(session: Session, client: Hashable, process: int, monitored: Monitored) -> _Key:
    """What tells one subscription of a client from another (13.14, 13.15): the increment does not."""
    return session, client, process, replace(monitored, increment=None)


def _tally(subscription: Subscription, now: float) -> Tally | None:
    """What was counted until now, and begin anew; None if nothing was."""
    counted = subscription.passed, subscription.withheld
    since, subscription.since = subscription.since, now
    until = max(since, now)  # a clock being disciplined may slip
    subscription.passed = subscription.withheld = 0
    if counted == (0, 0):
        return None
    session = subscription.session
    return Tally(session.id, subscription.decision, session.device_key, subscription.monitored, *counted, since, until)


def _told(tallies: Iterable[Tally | None]) -> tuple[Tally, ...]:
    return tuple(tally for tally in tallies if tally is not None)
