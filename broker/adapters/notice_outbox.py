"""Notices on their way: a bounded queue for each channel, tried again and again, and never in anybody's way.

A channel that is down costs nothing but its own queue. What does not fit in gives way, the oldest of what matters least
first, and is counted; what the receiver does not want for good is given up; everything else is sent at least once, and
kept over a restart by the position in the ledger that `next_index` names.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import stamina

from broker.model.notice import Notice, Severity, Wanted

log = logging.getLogger(__name__)
MOST_WAITING = 1000
ATTEMPTS = 5
ROUND_SECONDS = 45.0
ATTEMPT_SECONDS = 15.0
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 15.0
PAUSE_SECONDS = 60.0
OLDEST_SECONDS = 86_400.0
LAST_ATTEMPT_SECONDS = 3.0


class NotDeliveredError(Exception):
    """A channel did not take notices; `final`: there is no use in trying again."""

    def __init__(self, detail: str, *, final: bool = False) -> None:
        super().__init__(detail)
        self.final = final


class Channel(Protocol):
    """One way to people. A message holds at most `most` notices, and the next follows `pause_seconds` later."""

    name: str
    place: str
    most: int
    pause_seconds: float

    async def send(self, notices: Sequence[Notice], lost: int) -> str:
        """Deliver one message; what the receiver said. `lost` notices could not be kept. Raises NotDeliveredError."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How attempts follow each other: some in a round, then a pause or a new alarm, until a notice is too old."""

    attempts: int = ATTEMPTS
    round_seconds: float = ROUND_SECONDS
    attempt_seconds: float = ATTEMPT_SECONDS
    first_retry_seconds: float = FIRST_RETRY_SECONDS
    pause_seconds: float = PAUSE_SECONDS


@dataclass(slots=True)
class ChannelState:
    """How it goes with one channel; `failing` says since how many attempts, `error` why."""

    name: str
    place: str
    sent: int = 0
    lost: int = 0
    failing: int = 0
    error: str = ""


class Outbox:
    """What waits for one channel. `offer` never waits and never fails; `run` delivers until it is cancelled."""

    def __init__(
        self, channel: Channel, wanted: Wanted, now: Callable[[], float], patience: Patience | None = None
    ) -> None:
        self.state = ChannelState(channel.name, channel.place)
        self._channel = channel
        self._wanted = wanted
        self._now = now
        self._patience = patience or Patience()
        self._waiting: dict[str, Notice] = {}
        self._untold = 0
        self._something = asyncio.Event()
        self._alarm = asyncio.Event()
        self.changed: Callable[[], None] = lambda: None

    @property
    def waiting(self) -> int:
        """How many notices wait."""
        return len(self._waiting)

    def next_index(self, upto: int) -> int:
        """The first record that is not dealt with here, if all before `upto` have been offered."""
        return min((n.index for n in self._waiting.values() if n.index is not None), default=upto)

    def offer(self, notice: Notice) -> None:
        """Send it if this channel takes such notices."""
        if notice in self._wanted and notice.id not in self._waiting:
            self._waiting[notice.id] = notice
            if len(self._waiting) > MOST_WAITING:
                # min() takes the first of equals, which is the oldest.
                self._lose(min(self._waiting.values(), key=lambda waiting: waiting.severity), "too many wait")
            self._something.set()
            if notice.severity is Severity.ALARM:
                self._alarm.set()

    def precede(self, notices: Iterable[Notice]) -> None:
        """Notices that are older than all that wait."""
        later, self._waiting = self._waiting, {}
        for notice in (*notices, *later.values()):
            self.offer(notice)

    async def run(self) -> None:
        """Deliver."""
        while True:
            await self._something.wait()
            if self._waiting:
                self._alarm.clear()
                if await self._whatever_happens():
                    await asyncio.sleep(self._channel.pause_seconds)
                else:
                    await self._pause()
            if not self._waiting:
                self._something.clear()

    async def _pause(self) -> None:
        """Leave a receiver that is down alone for a while, or until an alarm comes; one came if it did in the round."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.pause_seconds):
                await self._alarm.wait()

    async def close(self) -> None:
        """Try once more, for a moment, to deliver what waits; the rest is found again at the next start."""
        try:
            async with asyncio.timeout(LAST_ATTEMPT_SECONDS):
                while self._waiting:
                    await self._attempt()
        except (TimeoutError, NotDeliveredError):
            log.info("%d notices for %s wait for the next start", len(self._waiting), self._channel.name)
        await self._channel.close()

    async def _whatever_happens(self) -> bool:
        """A round; a fault of ours is one more way of not being delivered, for no fault may end the alarms."""
        try:
            return await self._round()
        except Exception as fault:
            log.exception("a channel failed")
            self._failed(f"a fault: {type(fault).__name__}")
            return False

    async def _round(self) -> bool:
        """A few attempts, later and later; whether one succeeded or nothing is left to try."""
        self._forget_old()
        patience = self._patience
        try:
            async for attempt in stamina.retry_context(
                on=_worth_another,
                attempts=patience.attempts,
                timeout=patience.round_seconds,
                wait_initial=patience.first_retry_seconds,
                wait_max=LONGEST_RETRY_SECONDS,
                wait_jitter=patience.first_retry_seconds,
            ):
                with attempt:
                    await self._attempt()
        except NotDeliveredError:
            return False
        return True

    async def _attempt(self) -> None:
        notices = list(self._waiting.values())[: self._channel.most]
        if not notices:
            return
        lost = self._untold
        try:
            async with asyncio.timeout(self._patience.attempt_seconds):
                await self._channel.send(notices, lost)
        except TimeoutError:
            self._failed("no answer in time")
            raise NotDeliveredError("no answer in time") from None
        except NotDeliveredError as error:
            self._failed(str(error))
            if not error.final:
                raise
            for notice in notices:
                self._lose(notice, str(error))
        else:
            self._delivered(notices, lost)

    def _delivered(self, notices: Sequence[Notice], lost: int) -> None:
        if self.state.failing:
            log.info("notices reach %s again", self._channel.name)
        for notice in notices:
            self._waiting.pop(notice.id, None)
        self._untold -= lost
        self.state.sent += len(notices)
        self.state.failing, self.state.error = 0, ""
        self.changed()

    def _failed(self, detail: str) -> None:
        if not self.state.failing:
            log.warning("notices do not reach %s: %s", self._channel.name, detail)
        self.state.failing += 1
        self.state.error = detail

    def _lose(self, notice: Notice, why: str) -> None:
        if self._waiting.pop(notice.id, None) is not None:
            self.state.lost += 1
            self._untold += 1
            log.warning("a notice (%s, record %s) is lost to %s: %s", notice.kind, notice.index, self.state.name, why)
            self.changed()

    def _forget_old(self) -> None:
        oldest = self._now() - OLDEST_SECONDS
        for notice in [waiting for waiting in self._waiting.values() if waiting.time < oldest]:
            self._lose(notice, "it is a day old")


def _worth_another(error: Exception) -> bool:
    return isinstance(error, NotDeliveredError) and not error.final
