"""Tells people what the ledger records and which parts fail: from records to notices to the channels of the settings.

What was recorded and not yet delivered when the broker ended, however it ended, is found again in the ledger at the
next start: whoever kills the broker silences no alarm.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from broker.adapters.notice_email import EmailChannel, MailServer
from broker.adapters.notice_outbox import Channel, ChannelState, NotDeliveredError, Outbox, Patience
from broker.adapters.notice_positions import NoticePositions
from broker.adapters.notice_webhook import WebhookChannel
from broker.adapters.signed_post import SignedPost
from broker.engine.ports import Clock
from broker.ledger.notices import broker_notice, notice_of
from broker.model.notice import BrokerNotice, Notice, Severity
from broker.settings.notifying import NoticeChannel, WebhookSection

log = logging.getLogger(__name__)
# How much of the ledger is looked through at a start, and how many notices come of it.
LOOKED_BACK = 500_000
MOST_FOUND = 1_000
LOOK_SECONDS = 1.0
KEEP_SECONDS = 1.0
Readiness = Callable[[], Mapping[str, tuple[bool, str]]]


class RecordSource(Protocol):
    """The ledger as notices need it; `records` is called from worker threads."""

    @property
    def size(self) -> int:
        """How many records there are."""

    @property
    def minimum(self) -> int:
        """The first record that is still there."""

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """Records [start, stop). Raises IntegrityError for pruned ones."""


def channel_of(settings: NoticeChannel, clock: Clock) -> Channel:
    """The channel that the settings describe. Raises ConfigError."""
    if isinstance(settings, WebhookSection):
        post = SignedPost(settings.url, Path(settings.secret_file), settings.ca_file)
        return WebhookChannel(settings.name, post, clock.now)
    server = MailServer(
        settings.host, settings.port, settings.tls, settings.ca_file, settings.user, settings.password_file
    )
    return EmailChannel(settings.name, server, settings.sender, settings.recipients)


class Notices:
    """One per broker; without channels it does nothing."""

    def __init__(
        self,
        settings: tuple[NoticeChannel, ...],
        ledger: RecordSource,
        clock: Clock,
        chance: Callable[[str], str],
        origin: str,
        positions: NoticePositions,
        readiness: Readiness,
        informational: frozenset[str],
        patience: Patience | None = None,
    ) -> None:
        """`informational` are the parts of readiness that only warn."""
        self._ledger = ledger
        self._clock = clock
        self._chance = chance
        self._origin = origin
        self._positions = positions
        self._readiness = readiness
        self._informational = informational
        self._outboxes = [Outbox(channel_of(part, clock), part.wanted, clock.now, patience) for part in settings]
        self._seen = 0
        self._begun = False
        self._kept: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._told: dict[str, bool] = {}
        self._last: dict[str, bool] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for outbox in self._outboxes:
            outbox.changed = self._changed.set

    @property
    def states(self) -> list[ChannelState]:
        """How it goes with each channel."""
        return [outbox.state for outbox in self._outboxes]

    @property
    def waiting(self) -> dict[str, int]:
        """How many notices wait, by channel."""
        return {outbox.state.name: outbox.waiting for outbox in self._outboxes}

    @property
    def readiness(self) -> tuple[bool, str]:
        """Whether every channel takes what it is given, and which does not."""
        failing = ", ".join(state.name for state in self.states if state.failing)
        return not failing, f"failing: {failing}" if failing else "sent"

    async def start(self) -> None:
        """Begin, after the ledger was opened and before anything is appended. Raises ConfigError."""
        if not self._outboxes:
            return
        self._seen = self._ledger.size
        self._kept = await asyncio.to_thread(self._positions.read)
        since = {outbox.state.name: self._kept.get(outbox.state.name, self._seen) for outbox in self._outboxes}
        # Where a new channel begins is kept before anything is recorded: a kill before its first notice loses none.
        await self._write(since)
        self._tasks.append(asyncio.create_task(self._begin(since, self._seen)))
        self._tasks.append(asyncio.create_task(self._look_at_parts()))

    def recorded(self, index: int, record: bytes) -> None:
        """A record was appended. Called on the event loop, after and apart from the appending."""
        if self._outboxes:
            notice = notice_of(self._origin, index, record)
            self._seen = max(self._seen, index + 1)
            if notice is not None:
                self._offer(notice)

    async def close(self) -> None:
        """Try once more to deliver what waits, and keep how far it came."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(outbox.close() for outbox in self._outboxes))
        if self._tasks:
            await self._keep()
        self._tasks.clear()

    def _offer(self, notice: Notice) -> None:
        for outbox in self._outboxes:
            outbox.offer(notice)
        self._changed.set()

    async def _begin(self, since: dict[str, int], upto: int) -> None:
        """First what the last run left, then what comes."""
        found = await asyncio.to_thread(self._left_behind, min(since.values()), upto)
        for outbox in self._outboxes:
            outbox.precede(n for n in found if (n.index or 0) >= since[outbox.state.name])
            self._tasks.append(asyncio.create_task(outbox.run()))
        self._begun = True
        self._tasks.append(asyncio.create_task(self._keep_positions()))

    def _left_behind(self, start: int, upto: int) -> list[Notice]:
        """The newest notices of records [start, upto), as many as a queue holds."""
        found: list[Notice] = []
        start = max(start, upto - LOOKED_BACK, self._ledger.minimum)
        try:
            for index, record in enumerate(self._ledger.records(start, upto), start):
                notice = notice_of(self._origin, index, record)
                if notice is not None:
                    found.append(notice)
                    del found[:-MOST_FOUND]
        except Exception:
            # Whatever is wrong with the past, what comes must be told.
            log.exception("what was left to tell cannot be read from the ledger")
        return found

    async def _keep_positions(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._keep()
            await asyncio.sleep(KEEP_SECONDS)

    async def _keep(self) -> None:
        positions = {outbox.state.name: outbox.next_index(self._seen) for outbox in self._outboxes}
        # Before what the last run left is in the queues, only its positions are right.
        if self._begun:
            await self._write(positions)

    async def _write(self, positions: dict[str, int]) -> None:
        if positions == self._kept:
            return
        try:
            await asyncio.to_thread(self._positions.write, positions)
        except OSError as error:
            log.error("how far notices were sent cannot be kept, they may be sent again: %s", error)
            return
        self._kept = positions

    async def _look_at_parts(self) -> None:
        """Tell of a part that fails, or no longer does, once it has been so at two looks."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                parts = self._readiness()
            except Exception:
                log.exception("the parts of the broker could not be looked at")
                continue
            for part, (good, detail) in parts.items():
                if good is self._last.get(part, True) and good is not self._told.get(part, True):
                    self._tell_of_part(part, good, detail)
            self._last = {part: good for part, (good, _) in parts.items()}

    def _tell_of_part(self, part: str, good: bool, detail: str) -> None:
        self._told[part] = good
        severity = Severity.WARNING if good or part in self._informational else Severity.ALARM
        kind = BrokerNotice.PART_RECOVERED if good else BrokerNotice.PART_FAILED
        details = {"part": part, "detail": detail}
        self._offer(broker_notice(kind, severity, self._clock.now(), self._origin, self._chance("ntc"), details))


async def try_channels(
    settings: tuple[NoticeChannel, ...], clock: Clock, chance: Callable[[str], str], origin: str, seconds: float
) -> list[tuple[str, str, bool, str]]:
    """A notice through every channel, once: name, place, whether it was taken, what came back. Raises ConfigError."""
    notice = broker_notice(
        BrokerNotice.TEST, Severity.INFO, clock.now(), origin, chance("ntc"), {"sent_by": "otbroker notify test"}
    )
    channels = [channel_of(part, clock) for part in settings]
    return list(await asyncio.gather(*(_try(channel, notice, seconds) for channel in channels)))


async def _try(channel: Channel, notice: Notice, seconds: float) -> tuple[str, str, bool, str]:
    try:
        async with asyncio.timeout(seconds):
            said, taken = await channel.send([notice], 0), True
    except TimeoutError:
        said, taken = "no answer in time", False
    except NotDeliveredError as error:
        said, taken = str(error), False
    finally:
        await channel.close()
    return channel.name, channel.place, taken, said
