"""Looks at the clock five times a second: what has run out ends, a step of the clock is recorded and ends sessions."""

import asyncio
import logging

from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.identity_refusals import IdentityRefusals
from broker.listeners.session_register import SessionRegister
from broker.model.approval import ApprovalEnd
from broker.model.vocabulary import EndReason

log = logging.getLogger(__name__)
TICK_SECONDS = 0.2
STEP_SECONDS = 1.0
FLUSH_SECONDS = 1.0
BEHIND = "the clock is earlier than the last record"


class Watch:
    """One per broker, on the event loop; a stalled loop is caught up with at its next turn."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        desk: DecisionDesk,
        register: SessionRegister,
        identity_refusals: IdentityRefusals,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._desk = desk
        self._register = register
        self._identity_refusals = identity_refusals
        self._seen = clock.now(), clock.monotonic()
        self._latest = self._seen[0]
        self._flushed = self._seen[1]
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._turn)

    def stop(self) -> None:
        """Look no more; what was counted is recorded."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()

    def flush(self) -> None:
        """Record what was only counted since the last time."""
        self._identity_refusals.flush()
        drained = self._desk.quota.drain()
        try:
            for subject, (count, first, last) in drained.items():
                self._ledger.append(
                    records.denials_suppressed(self._clock.now(), subject=subject, count=count, first=first, last=last)
                )
        except LedgerUnavailableError:
            self._desk.quota.put_back(drained)

    def _turn(self) -> None:
        self.start()
        now, monotonic = self._clock.now(), self._clock.monotonic()
        step = (now - self._seen[0]) - (monotonic - self._seen[1])
        self._seen = now, monotonic
        if abs(step) >= STEP_SECONDS:
            self._stepped(now, step)
        if now < self._latest:
            self._register.shut_for.add(BEHIND)
        else:
            self._latest = now
            self._register.shut_for.discard(BEHIND)
        self._register.tick(now)
        self._desk.approvals.sweep(self._desk.locks)
        if monotonic - self._flushed >= FLUSH_SECONDS:
            self._flushed = monotonic
            self.flush()

    def _stepped(self, now: float, step: float) -> None:
        log.warning("the clock stepped by %.3f s; all sessions end", step)
        try:
            self._ledger.append(records.clock_stepped(now, step_seconds=step))
        except LedgerUnavailableError:
            log.error("the step of the clock was not recorded: the ledger is closed")
        self._desk.epoch += 1
        self._desk.approvals.end_all(ApprovalEnd.CLOCK_STEPPED)
        self._register.end_all(EndReason.CLOCK_STEPPED)
