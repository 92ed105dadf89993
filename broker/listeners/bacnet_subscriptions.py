"""COV subscriptions of native clients: held at each device once, and passed on to each client as the policy has it.

    SubscribeCOV of a client -> the broker's own, in that client's session, on the way of one operation -> kept
    notification of the device -> decided for each client that it is for -> told under the client's own process id

Renewals are the broker's own, in the session of a client that is still there. What nobody needs any more is cancelled
at the device at once, but nothing waits for that.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol

from broker.engine.events import Answered, Finding, Refused
from broker.engine.exchange import exchange
from broker.engine.ports import Clock, Ledger, Upstream
from broker.engine.sessions import NEVER, Session
from broker.engine.subscription import Monitored, Subscription, Tally, let_through
from broker.engine.subscriptions import Errand, Subscriptions
from broker.errors import DeviceUnavailableError
from broker.listeners.cov_cancellations import Cancellations, OwnSessions
from broker.listeners.driver import Driver
from broker.listeners.interpreters import Interpreters
from broker.listeners.notification_counts import record_counts
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, Operation, Relayed, Request
from broker.model.place import Device
from broker.model.vocabulary import NO_ANSWER, Reason, Result
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.cov import CovNotification, encode_cov_subscription
from broker.wire.bacnet.cov_reports import reported_properties
from broker.wire.bacnet.property_requests import encode_read_property_multiple
from broker.wire.bacnet.references import reference_of

SERVICES = frozenset(("subscribe-cov", "subscribe-cov-property"))
_READ_MULTIPLE = 14  # clause 21
Done = Callable[[Finding], None]
_PASSING = NO_ANSWER | {Reason.SESSION_PAUSED, Reason.STATE_STALE}
"""Denials that say nothing of what the client may have afterwards: it misses what comes meanwhile, no more."""


class CovClient(Protocol):
    """One station of one stream; equal to itself only."""

    def tell(self, notification: CovNotification) -> None:
        """Send a notification that may go to it."""

    def __hash__(self) -> int:
        """Of the same station of the same stream always the same."""


class CovDesk:
    """All of them, a table for each device that has any. `first_process` is by chance."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        driver: Driver,
        interpreters: Interpreters,
        upstream_of: Callable[[str], Upstream],
        first_process: Callable[[], int],
        own_sessions: OwnSessions,
    ) -> None:
        self.clock = clock
        self.ledger = ledger
        self.driver = driver
        self.interpreters = interpreters
        self.upstream_of = upstream_of
        self.own_sessions = own_sessions
        self._first_process = first_process
        self._tables: dict[str, _DeviceTable] = {}

    def take(self, session: Session, client: CovClient, request: Request, done: Done) -> None:
        """Carry out what a client asks with one of `SERVICES`."""
        table = self._tables.get(session.device_key)
        if table is None:
            table = self._tables[session.device_key] = _DeviceTable(self, session.device, self._first_process())
        operation = request.operations[0]
        if dict(operation.facts).get("cancels"):
            table.cancel(session, client, request, done)
        else:
            table.subscribe(session, client, operation, done)

    def end_session(self, session: Session) -> None:
        """All subscriptions of a session are over."""
        table = self._tables.get(session.device_key)
        if table is not None:
            table.end_session(session)

    def forget(self, device: str, table: "_DeviceTable") -> bool:
        """A device has no subscriptions any more; False if it has a new table by now."""
        if self._tables.get(device) is not table:
            return False
        del self._tables[device]
        return True


class _DeviceTable:
    """The subscriptions at one device, and the hour at which they have to be looked at."""

    def __init__(self, desk: CovDesk, device: Device, first_process: int) -> None:
        self._desk = desk
        self._device = device
        self._table = Subscriptions(first_process)
        self._cancellations = Cancellations(device, desk.own_sessions, self._ask, self._given_up)
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def subscribe(self, session: Session, client: CovClient, operation: Operation, done: Done) -> None:
        now, facts = self._desk.clock.now(), dict(operation.facts)
        process, monitored = _context(operation)
        if not self._table.has_room(session, client, process, monitored):
            done(Refused((Reason.SUBSCRIPTIONS_EXHAUSTED,)))
            return
        try:
            self._desk.upstream_of(session.device_key).notifications(self._heard)
        except (DeviceUnavailableError, OSError):
            done(Refused((Reason.DEVICE_DOWN,)))
            return
        lifetime = facts.get("lifetime", "")
        fresh = Subscription(
            session,
            client,
            process,
            monitored,
            self._view(session.device, monitored),
            decision=-1,
            since=now,
            confirmed=facts.get("confirmed") == "true",
            ends=now + int(lifetime) if lifetime.isdigit() else NEVER,
        )
        errand, tally = self._table.subscribe(fresh)
        self._count([tally])
        session.last_words = partial(self.end_session, session)
        self._ask(session, errand, partial(self._subscribed, fresh, done))

    def cancel(self, session: Session, client: CovClient, request: Request, done: Done) -> None:
        """A client cancels; the device is told if nobody else needs it, and whatever it says, the client's is over."""
        process, monitored = _context(request.operations[0])
        errand, tally = self._table.cancel(session, client, process, monitored, self._desk.clock.now())
        self._count([tally])
        if errand is not None:
            self._ask(session, errand, lambda finding: None)
        acknowledged = Relayed(Result.DONE, bytes((Kind.SIMPLE_ACK, request.payload[1])))
        done(Answered(acknowledged, ()))

    def end_session(self, session: Session) -> None:
        self._count(self._table.end_session(session, self._desk.clock.now()))
        self._look_later()

    def _subscribed(self, fresh: Subscription, done: Done, finding: Finding) -> None:
        if isinstance(finding, Answered) and finding.done:
            fresh.decision = finding.decisions[0].index
        else:
            self._count([self._table.end(fresh, self._desk.clock.now())])
        done(finding)

    def _ask(self, session: Session, errand: Errand, done: Done) -> None:
        """Ask the device, as an operation of that session."""
        at = errand.monitored
        bare = encode_cov_subscription(
            errand.process,
            BacnetProperty(at.object_type, at.instance, at.property, at.index),
            confirmed=errand.confirmed,
            lifetime_seconds=errand.lifetime_seconds,
            increment=at.increment,
        )
        request = self._desk.interpreters.bacnet(session.device).interpret(bare)
        self._desk.driver.run(session, exchange(session, request), partial(self._ran, errand, done))

    def _ran(self, errand: Errand, done: Done, finding: Finding) -> None:
        now = self._desk.clock.now()
        if isinstance(finding, Answered) and finding.done:
            self._table.kept(errand, now)
        else:
            tried = isinstance(finding, Answered) and finding.relayed.result != Result.NOT_SENT
            self._table.failed(errand, now, tried=tried)
        done(finding)
        self._look_later()

    def _given_up(self, errands: Iterable[Errand]) -> None:
        """The device is left to forget these."""
        for errand in errands:
            self._table.failed(errand, self._desk.clock.now(), tried=False)
        self._look_later()

    def _heard(self, notification: CovNotification) -> bool:
        """Whether a notification of the device is about what was subscribed."""
        now = self._desk.clock.now()
        receivers = self._table.receivers(notification.process, notification.object_type, notification.instance, now)
        for subscription in receivers:
            if subscription.offer(notification):
                self._decide(subscription)
        return bool(receivers)

    def _decide(self, subscription: Subscription) -> None:
        """Whether the first that waits for the client may go to it; the others come after it, in their order."""
        passed = partial(self._decided, subscription)
        self._desk.driver.run(subscription.session, let_through(subscription), passed)

    def _decided(self, subscription: Subscription, found: Refused | tuple[Decision, ...]) -> None:
        notification, more = subscription.take()
        if isinstance(found, Refused):
            if found.denied_places and _PASSING.isdisjoint(found.reasons):
                self._count([self._table.end(subscription, self._desk.clock.now())])
                self._look_later()
                return
        elif isinstance(notification, CovNotification):
            self._tell(subscription, notification)
        if more:
            self._decide(subscription)

    def _tell(self, subscription: Subscription, notification: CovNotification) -> None:
        now = self._desk.clock.now()
        items = tuple(item for item in notification.items if subscription.shows(item.property or "", item.index))
        if items:
            client = subscription.client
            told = notification._replace(
                process=subscription.process,
                remaining_seconds=subscription.remaining(now),
                items=items,
                confirmed=subscription.confirmed,
            )
            client.tell(told)  # type: ignore[attr-defined]

    def _view(self, device: Device, monitored: Monitored) -> Request:
        """The read of what a notification tells."""
        places = [
            BacnetProperty(monitored.object_type, monitored.instance, name, index)
            for name, index in reported_properties(monitored.object_type, monitored.property, monitored.index)
        ]
        octets = encode_read_property_multiple([reference_of(place) for place in places])
        return self._desk.interpreters.bacnet(device).interpret(
            bytes((Kind.CONFIRMED_REQUEST, _READ_MULTIPLE)) + octets
        )

    def _look_later(self) -> None:
        """Have cancelled what nobody needs any more, and be there when something is due."""
        self._cancellations.add(self._table.orphans(self._desk.clock.now()))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._table.wake_at()
        if due == NEVER:
            self._leave()
            return
        self._timer = self._loop.call_later(max(0.0, due - self._desk.clock.now()), self._look)

    def _leave(self) -> None:
        """Nothing is subscribed, and nothing more will be heard."""
        if self._desk.forget(self._device.key, self):
            with suppress(DeviceUnavailableError):
                self._desk.upstream_of(self._device.key).notifications(None)

    def _look(self) -> None:
        """What has run out is over, and what the clients still need is renewed."""
        self._timer = None
        now = self._desk.clock.now()
        self._count(self._table.expire(now))
        for errand in self._table.due(now):
            self._ask(errand.behalf.session, errand, lambda finding: None)
        self._look_later()

    def _count(self, tallies: Iterable[Tally | None]) -> None:
        counted = [tally for tally in tallies if tally is not None]
        if counted:
            record_counts(self._desk.ledger, self._desk.clock.now(), counted)


def _context(operation: Operation) -> tuple[int, Monitored]:
    """The client's process id, and what it monitors (13.14.1.1)."""
    facts, at = dict(operation.facts), operation.address
    assert isinstance(at, BacnetProperty)
    assert at.instance is not None
    increment = facts.get("cov-increment")
    return int(facts["process-identifier"]), Monitored(at.object_type, at.instance, at.property, at.index, increment)
