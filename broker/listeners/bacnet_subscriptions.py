"""COV subscriptions of native clients: held at each device once, and passed on to each client as the policy has it.

    SubscribeCOV of a client -> the broker's own, in that client's session, on the way of one operation -> kept
    SubscribeCOVPropertyMultiple -> one of these for each property, all or none (`engine/subscribing`)
    notification of the device -> decided for each client that it is for -> told under the client's own process id

Renewals are the broker's own, in the session of a client that is still there. What nobody needs any more is cancelled
at the device at once, but nothing waits for that.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Protocol

from broker.engine.events import Answered, Finding, Refused
from broker.engine.exchange import exchange
from broker.engine.ports import Clock, Ledger, Upstream
from broker.engine.sessions import NEVER, Session
from broker.engine.subscribing import Found, all_in_one, subscribe_each
from broker.engine.subscription import Monitored, Subscription, Tally, let_through
from broker.engine.subscriptions import Errand, Subscriptions
from broker.errors import DeviceUnavailableError
from broker.listeners.cov_cancellations import Cancellations, OwnSessions
from broker.listeners.cov_requests import MULTIPLE, asked_by, context_of, place_of, subscription_of
from broker.listeners.driver import Driver
from broker.listeners.interpreters import Interpreters
from broker.listeners.notification_counts import record_counts
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Relayed, Request
from broker.model.place import Device
from broker.model.vocabulary import NO_ANSWER, Reason, Result
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.cov import CovNotification

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
        elif operation.service == MULTIPLE:
            table.subscribe_several(session, client, request, done)
        else:
            table.subscribe(session, client, request, done)

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

    def subscribe(self, session: Session, client: CovClient, request: Request, done: Done) -> None:
        fresh = self._wanted(session, client, request.operations[0])
        refused = self._obstacle(fresh)
        if refused is not None:
            done(refused)
            return
        errand, tally = self._table.subscribe(fresh)
        self._count([tally])
        self._ask(session, errand, partial(self._subscribed, fresh, done))

    def subscribe_several(self, session: Session, client: CovClient, request: Request, done: Done) -> None:
        """All of them or none; what the client had keeps its place until all are there."""
        wanted: list[Subscription] = []
        errands: list[Errand] = []
        for operation in request.operations:
            fresh = self._wanted(session, client, operation)
            refused = self._obstacle(fresh)
            if refused is not None:
                self._none_of(wanted, errands)
                done(refused)
                return
            wanted.append(fresh)
            errands.append(self._table.reserve(fresh))
        interpreters = self._desk.interpreters
        parts = tuple(replace(asked_by(interpreters, session, each), part_of=request.digest) for each in errands)
        came = partial(self._several_asked, request, wanted, errands, done)
        self._desk.driver.run(session, subscribe_each(session, request, parts), came)

    def _wanted(self, session: Session, client: CovClient, operation: Operation) -> Subscription:
        return subscription_of(self._desk.interpreters, session, client, operation, self._desk.clock.now())

    def _obstacle(self, fresh: Subscription) -> Refused | None:
        """Why it cannot be subscribed; else notifications are listened to from now on."""
        session = fresh.session
        if not self._table.has_room(session, fresh.client, fresh.process, fresh.monitored, fresh.form):
            return Refused((Reason.SUBSCRIPTIONS_EXHAUSTED,))
        try:
            self._desk.upstream_of(session.device_key).notifications(self._heard)
        except (DeviceUnavailableError, OSError):
            return Refused((Reason.DEVICE_DOWN,))
        session.last_words = partial(self.end_session, session)
        return None

    def _several_asked(
        self, request: Request, wanted: list[Subscription], errands: list[Errand], done: Done, found: Found
    ) -> None:
        finding = all_in_one(request, found)
        if not (isinstance(finding, Answered) and finding.done and isinstance(found, tuple)):
            self._none_of(wanted, errands, found)
            done(finding)
            return
        for fresh, errand, decision in zip(wanted, errands, finding.decisions, strict=True):
            self._came_of(errand, finding)
            if not fresh.over:
                fresh.decision = decision.index
                self._count([self._table.enter(fresh, self._desk.clock.now())])
        self._table.prolong(wanted[-1])
        done(finding)
        self._let_go(wanted)

    def _let_go(self, wanted: list[Subscription]) -> None:
        """All are there: what the device has told of them meanwhile may be told."""
        for fresh in wanted:
            fresh.held_back = False
            if fresh.waiting:
                self._decide(fresh)
        self._look_later()

    def _none_of(self, wanted: list[Subscription], errands: list[Errand], found: Found = ()) -> None:
        """Nothing is subscribed; what the device has taken up already is cancelled."""
        findings = found if isinstance(found, tuple) else ()
        for errand, finding in zip_longest(errands, findings):
            self._came_of(errand, finding or Refused(()))
        now = self._desk.clock.now()
        self._count([self._table.end(fresh, now) for fresh in wanted])
        self._look_later()

    def cancel(self, session: Session, client: CovClient, request: Request, done: Done) -> None:
        """A client cancels; the device is told if nobody else needs it, and whatever it says, the client's is over."""
        if request.operations[0].service == MULTIPLE:
            targets = self._of_several(session, client, request)
        else:
            targets = [(*context_of(request.operations[0]), None)]
        for process, monitored, form in targets:
            errand, tally = self._table.cancel(session, client, process, monitored, self._desk.clock.now(), form)
            self._count([tally])
            if errand is not None:
                self._ask(session, errand, lambda finding: None)
        acknowledged = Relayed(Result.DONE, bytes((Kind.SIMPLE_ACK, request.payload[1])))
        done(Answered(acknowledged, ()))
        self._look_later()

    def _of_several(
        self, session: Session, client: CovClient, request: Request
    ) -> list[tuple[int, Monitored, bool | None]]:
        """What of a client's is cancelled, of both forms if none is named, and all of it if no property is (13.16)."""
        facts = dict(request.operations[0].facts)
        process, form = int(facts["process-identifier"]), facts.get("confirmed")
        named = {operation.address for operation in request.operations}
        return [
            (process, one.monitored, one.form)
            for one in self._table.of_several(session, client, process)
            if form in (None, str(one.confirmed).lower()) and (_names_none(named) or place_of(one.monitored) in named)
        ]

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
        request = asked_by(self._desk.interpreters, session, errand)
        self._desk.driver.run(session, exchange(session, request), partial(self._ran, errand, done))

    def _ran(self, errand: Errand, done: Done, finding: Finding) -> None:
        self._came_of(errand, finding)
        done(finding)
        self._look_later()

    def _came_of(self, errand: Errand, finding: Finding) -> None:
        now = self._desk.clock.now()
        if isinstance(finding, Answered) and finding.done:
            self._table.kept(errand, now)
        else:
            tried = isinstance(finding, Answered) and finding.relayed.result != Result.NOT_SENT
            self._table.failed(errand, now, tried=tried)

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
                multiple=subscription.multiple,
            )
            client.tell(told)  # type: ignore[attr-defined]

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


def _names_none(named: set[ModbusRange | BacnetProperty]) -> bool:
    """Whether a cancellation names no property: it is about the device then."""
    return any(isinstance(at, BacnetProperty) and at.property is None for at in named)
