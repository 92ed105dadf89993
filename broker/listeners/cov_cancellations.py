"""Cancels at a device what nobody subscribes to any more: by the broker's own right, in a session of its own.

    orphans -> [a session of the broker's own, decided as a leave is] -> each cancelled on the way of one operation

Nobody waits for it. What cannot be cancelled (a freeze, a lock, a device that does not answer) the device forgets by
itself within `DEVICE_LIFETIME_SECONDS`; that it was tried, and what came of it, is on record.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from broker.engine.events import Answered, Finding, Refused
from broker.engine.sessions import Session
from broker.engine.subscription import Subscription
from broker.engine.subscriptions import Errand
from broker.model.leave import SUBSCRIPTION_OVER
from broker.model.place import Device
from broker.model.subject import Subject
from broker.model.vocabulary import Result

LONGEST_SECONDS = 60.0
"""For one session: a device that is slow forgets the rest sooner than it could be asked."""
APART_SECONDS = 1.0
Ask = Callable[[Session, Errand, Callable[[Finding], None]], None]


class OwnSessions(Protocol):
    """Gives sessions of the broker's own, in which it undoes something."""

    def open_own(self, device: Device, subject: Subject, why: str, opened: Callable[[Session | Refused], None]) -> None:
        """Ask for one because of a subject whose access ended."""

    def close_own(self, session: Session) -> None:
        """It is done, or given up."""


class Cancellations:
    """Those at one device, one after the other. `ask` puts one to the device, `given_up` gets those that are not."""

    def __init__(
        self, device: Device, sessions: OwnSessions, ask: Ask, given_up: Callable[[Iterable[Errand]], None]
    ) -> None:
        self._device = device
        self._sessions = sessions
        self._ask = ask
        self._given_up = given_up
        self._waiting: deque[Errand] = deque()
        self._session: Session | None = None
        self._opening = False
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def add(self, errands: Iterable[Errand]) -> None:
        """Have these cancelled; never before this returns."""
        self._waiting.extend(errands)
        if self._waiting and self._session is None and not self._opening:
            self._opening = True
            self._loop.call_at(max(self._loop.time(), self._not_before), self._open)

    def _open(self) -> None:
        self._not_before = self._loop.time() + APART_SECONDS
        last = self._waiting[0].behalf
        self._sessions.open_own(self._device, last.session.subject, _why(last), self._opened)

    def _opened(self, result: Session | Refused) -> None:
        self._opening = False
        if isinstance(result, Refused):
            self._give_up()
            return
        self._session = result
        self._timer = self._loop.call_later(LONGEST_SECONDS, self._give_up)
        self._next(result)

    def _next(self, session: Session) -> None:
        if session is not self._session:
            return
        if session.ended is not None or not self._waiting:
            self._give_up()
            return
        errand = self._waiting.popleft()
        assert session.errand is not None
        last = errand.behalf
        session.errand = replace(session.errand, subject=last.session.subject, why=_why(last))
        self._ask(session, errand, lambda finding: self._asked(session, finding))

    def _asked(self, session: Session, finding: Finding) -> None:
        """A device that does not answer this is not asked for the rest."""
        if isinstance(finding, Answered) and finding.relayed.result == Result.NO_REPLY:
            self._give_up()
        else:
            self._loop.call_soon(self._next, session)

    def _give_up(self) -> None:
        """Leave what still waits to the device, and the session."""
        left, self._waiting = self._waiting, deque()
        session, self._session = self._session, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if session is not None:
            self._sessions.close_own(session)
        self._given_up(left)


def _why(last: Subscription) -> str:
    """Why a subscription is not needed any more: its session's end, or that it is over while that goes on."""
    ended = last.session.ended
    return SUBSCRIPTION_OVER if ended is None else ended.value
