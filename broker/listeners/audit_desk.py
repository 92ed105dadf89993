"""Tells the audit logs in OT who did what, once that is on record here: never in the way of an operation.

    outcome or denial recorded -> composed, into the outbox of the site -> one confirmed notification at a time, on the
    way that all requests to the device of the log share -> told, or (after a few attempts) lost; both are counted

The ledger is the evidence; a log that cannot be told is an alarm and closes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial

from broker.engine.audit_outbox import NEVER, AuditOutbox
from broker.engine.audit_reporting import Fared, Teller, reported, reports
from broker.engine.in_force import InForce
from broker.engine.ports import Clock, Ledger, Upstream
from broker.engine.sessions import Session
from broker.errors import DeviceUnavailableError, LedgerUnavailableError
from broker.ledger import records
from broker.model.operation import Relayed, Request
from broker.model.place import Device
from broker.model.vocabulary import Result
from broker.settings.bacnet_place_checks import LEAST_AUDITED_APDU
from broker.wire.bacnet.audit_reports import Moment, encode_audit_notification, encode_report, fitting
from broker.wire.bacnet.items import digest_of

log = logging.getLogger(__name__)
COUNT_SECONDS = 60.0
LAST_ATTEMPT_SECONDS = 2.0
STOPPED = "broker_stopped"
NO_LOG = "no_audit_log"
FAULT = "fault"
Pairs = tuple[tuple[str, str], ...]


class AuditDesk:
    """One per broker. `origin` is the name of its ledger; `in_force` knows the logs of the sites."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        in_force: Callable[[], InForce],
        upstream_of: Callable[[str], Upstream],
        origin: str,
    ) -> None:
        self.outboxes: dict[str, AuditOutbox] = {}
        self._clock = clock
        self._ledger = ledger
        self._in_force = in_force
        self._upstream_of = upstream_of
        self._origin = origin
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._counting: dict[str, asyncio.TimerHandle] = {}
        self._idle = asyncio.Event()
        self._stopped = False

    def wants(self, session: Session, request: Request) -> bool:
        """Whether somebody is to be told of such a request."""
        return reported(request) and self._in_force().audit_log(session.device.site) is not None

    def tell(self, session: Session, request: Request, fared: Iterable[Fared], before: Pairs = ()) -> None:
        """Operations came out so, or were denied; that is on record. Returns at once, whatever happens."""
        site, told = session.device.site, tuple(fared)
        if not self._stopped:
            # Composing takes longer than recording, and whoever asked has his reply first.
            asyncio.get_running_loop().call_soon(self._compose, session, request, told, before)
            return
        self._outbox(site).lose(len(told), STOPPED, self._clock.monotonic())
        self._count(site)

    def _compose(self, session: Session, request: Request, told: tuple[Fared, ...], before: Pairs) -> None:
        site = session.device.site
        device, outbox, now = self._in_force().audit_log(site), self._outbox(site), self._clock.monotonic()
        if device is None:
            outbox.lose(len(told), NO_LOG, now)
            self._look_later(site)
            return
        try:
            upstream = self._upstream_of(device.key)
            teller, longest = Teller(self._origin, upstream.own_mac(), _moment(self._clock.now())), _longest(upstream)
            for each, report in zip(told, reports(session, request, told, before, teller), strict=True):
                outbox.offer(encode_report(report, longest), now, denial=each.result == Result.DENIED)
        except Exception:  # no fault here may cost anybody the operation, or its record
            log.exception("an audit log cannot be told of an operation", extra={"session": session.id})
            outbox.lose(len(told), FAULT, now)
        self._look_later(site)

    async def stop(self) -> None:
        """Tell what waits, for a moment, unless a log is down; the rest is lost and counted."""
        await asyncio.sleep(0)  # what is to be told is composed
        if self._busy:
            self._idle.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_ATTEMPT_SECONDS):
                    await self._idle.wait()
        self._stopped = True
        for timer in (*self._timers.values(), *self._counting.values()):
            timer.cancel()
        for site, outbox in self.outboxes.items():
            outbox.give_up(STOPPED, self._clock.monotonic())
            self._count(site)

    @property
    def _busy(self) -> bool:
        now = self._clock.monotonic()
        return any(outbox.busy(now) for outbox in self.outboxes.values())

    def _outbox(self, site: str) -> AuditOutbox:
        found = self.outboxes.get(site)
        if found is None:
            found = self.outboxes[site] = AuditOutbox()
        return found

    def _look_later(self, site: str) -> None:
        """Through the event loop: what is told of one turn goes in one message, and nothing waits for it."""
        loop, due = asyncio.get_running_loop(), self.outboxes[site].due_at
        if site in self._timers:
            self._timers.pop(site).cancel()
        if due != NEVER:
            self._timers[site] = loop.call_later(max(0.0, due - self._clock.monotonic()), self._look, site)
        if site not in self._counting:
            self._counting[site] = loop.call_later(COUNT_SECONDS, self._count, site)

    def _look(self, site: str) -> None:
        """Send what is due."""
        self._timers.pop(site, None)
        outbox, device, now = self.outboxes[site], self._in_force().audit_log(site), self._clock.monotonic()
        if device is None:
            outbox.give_up(NO_LOG, now)
        elif self._send(outbox, device, partial(self._answered, site), now):
            return
        self._settled(site)

    def _send(self, outbox: AuditOutbox, device: Device, answered: Callable[[Relayed], None], now: float) -> bool:
        """Whether there was something to be sent; a timer may go off a moment early."""
        try:
            upstream = self._upstream_of(device.key)
        except DeviceUnavailableError as error:
            taken = outbox.take(partial(fitting, max_apdu=0), now)
            if taken:
                answered(Relayed(Result.NOT_SENT, code=error.code))
            return bool(taken)
        taken = outbox.take(partial(fitting, max_apdu=_longest(upstream)), now)
        if taken:
            upstream.relay(_notification(taken), answered)
        return bool(taken)

    def _answered(self, site: str, relayed: Relayed) -> None:
        outbox, now = self.outboxes[site], self._clock.monotonic()
        if relayed.result == Result.DONE:
            outbox.delivered(now)
        else:
            # What the log refused it will refuse again; what it aborted or did not hear of may yet get there.
            final = relayed.result == Result.DEVICE_REFUSED and not relayed.code.startswith("abort-")
            outbox.failed(relayed.code or relayed.result, now, final=final)
        self._settled(site)

    def _settled(self, site: str) -> None:
        if not self._stopped:
            self._look_later(site)
        if not self._busy:
            self._idle.set()

    def _count(self, site: str) -> None:
        """Put on record how many a log was told of, and how many not."""
        self._counting.pop(site, None)
        counted, device = self.outboxes[site].count(self._clock.monotonic()), self._in_force().audit_log(site)
        if counted is None:
            return
        now, told, lost, why = self._clock.now(), counted.told, counted.lost, counted.why
        if lost:
            log.warning("the audit log of %s was not told of %d operations: %s", site, lost, why)
        where = {"site": site, "device": device.key if device else ""}
        record = records.audit_log_counted(now, **where, told=told, lost=lost, why=why, since=now - counted.seconds)
        try:
            self._ledger.append(record)
            self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            log.error("counts of audit notifications were not recorded: the ledger is closed")


def _longest(upstream: Upstream) -> int:
    """Octets of one message to a log; what takes fewer than are needed may still take them in segments."""
    return max(upstream.longest_apdu(), LEAST_AUDITED_APDU)


def _notification(taken: Iterable[bytes]) -> Request:
    """No operation of anybody: what it is about has been recorded.

    As something that changes nothing at the plant it is repeated under its invoke id within its time (5.4.5.3).
    """
    payload = encode_audit_notification(taken)
    return Request((), payload, digest_of(payload))


def _moment(now: float) -> Moment:
    """Local time, as BACnet has it (20.2.12)."""
    at = datetime.fromtimestamp(now)
    return at.year, at.month, at.day, at.isoweekday(), at.hour, at.minute, at.second, at.microsecond // 10_000
