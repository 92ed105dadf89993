"""One place that devices are reached at (`host:port` or a serial line), shared by all devices behind it.

    Lane (a device: queue, pace)  ->  Endpoint (links, back-off)  ->  Link (a connection with one request outstanding)

A request is handed to a link once. Before that it may wait, within its device's queue and a few seconds; afterwards
nothing sends it again, whatever happens. The endpoint bears what the inventory states for it, else as much as the most
capable device behind it; each device is further held to its own budget, so a slow one does not slow its neighbours.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from broker.adapters.bacnet_notices import BacnetNotices
from broker.adapters.field_network import FieldNetwork, shared_budget
from broker.adapters.lane import DEVICE_DOWN, Job, Lane, Link, Pace
from broker.engine.ports import Clock
from broker.model.operation import Relayed
from broker.model.place import Budget, Device
from broker.model.vocabulary import Reason, Result

_FIRST_BACK_OFF_SECONDS = 0.5
_LONGEST_BACK_OFF_SECONDS = 10.0
_EXHAUSTED = Relayed(Result.NOT_SENT, code=Reason.BUDGET_EXHAUSTED)

OpenLink = Callable[["Endpoint"], Awaitable[Link]]


class Endpoint:
    """The links to one place, and who may use them next."""

    def __init__(self, address: str, open_link: OpenLink, clock: Clock, least_gap_seconds: float = 0.0) -> None:
        self.address = address
        self.clock = clock
        self.limit = Budget()
        self.lanes: list[Lane] = []
        self.links: set[Link] = set()
        self.free: list[Link] = []
        self.queued = 0
        self.operations = 0
        self.faults = 0
        self.timeouts = 0
        self.down_until = 0.0
        self._open_link = open_link
        self._least_gap = least_gap_seconds
        self._turn: deque[Lane] = deque()
        self._pace = Pace(0.0, 0.0)
        self._stated: Budget | None = None
        self._surplus = False
        self._opening: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._wake: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Requests handed to a link and not ended yet."""
        return sum(lane.in_flight for lane in self.lanes)

    @property
    def down(self) -> bool:
        """Whether requests fail at once because the place could not be reached a moment ago."""
        return not self.links and self.clock.monotonic() < self.down_until

    def add(self, device: Device, notices: BacnetNotices | None = None, network: FieldNetwork | None = None) -> Lane:
        """A lane for one more device behind this endpoint, on that network behind a router there."""
        lane = Lane(device, self, notices, network)
        self.lanes.append(lane)
        if network is not None:
            network.add(lane)
        self._settle_limits()
        return lane

    def remove(self, lane: Lane) -> None:
        """End the lane and all that is under way in it; the last one takes the endpoint's links along."""
        if lane.closed:
            return
        lane.closed, lane.direct = True, False
        lane.notifications(None)
        while lane.queue:
            self._refuse(self._take(lane), DEVICE_DOWN)
        for link in [link for link in self.links if link.job is not None and link.job.lane is lane]:
            link.abort("closed")
        self.lanes.remove(lane)
        if lane.network is not None:
            lane.network.remove(lane)
        self._settle_limits()
        if not self.lanes:
            self._disconnect()

    def _disconnect(self) -> None:
        for task in self._opening:
            task.cancel()
        for link in tuple(self.links):
            link.abort("closed")
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def bear(self, budget: Budget | None) -> None:
        """Hold the place as a whole to this budget from now on; None: to what its devices' budgets say."""
        if budget != self._stated:
            self._stated = budget
            self._settle_limits()
            self.pump()

    def _settle_limits(self) -> None:
        limit = self._stated or shared_budget([lane.budget for lane in self.lanes] or [Budget()])
        self.limit = replace(limit, gap_seconds=max(self._least_gap, limit.gap_seconds))
        now = self.clock.monotonic()
        self._pace = self._pace.changed(self.limit.operations_per_second, self.limit.gap_seconds, now)
        self._settle_directness()

    def _settle_directness(self) -> None:
        """Which lanes need not queue: nothing is paced, and every link that there is may serve them."""
        self._surplus = len(self.links) > self.limit.connections
        unpaced = self._pace.free and not self._surplus
        for lane in self.lanes:
            bears_all = lane.budget.connections >= self.limit.connections and lane.network is None
            lane.direct = unpaced and lane.pace.free and bears_all and not lane.closed

    def _close_surplus(self) -> None:
        """Of links beyond a limit that was lowered, close those that are free; the others when their reply is in."""
        surplus = self.free[: max(0, len(self.links) - self.limit.connections)]
        del self.free[: len(surplus)]
        self.links.difference_update(surplus)
        self._settle_directness()
        for link in surplus:
            link.abort("closed")

    def admit(self, job: Job) -> None:
        """Queue a request that cannot be sent at once, or refuse it."""
        lane = job.lane
        if lane.closed or self.down:
            self._refuse(job, DEVICE_DOWN)
        elif len(lane.queue) >= max(1, lane.budget.queue):
            self._refuse(job, _EXHAUSTED)
        else:
            self._expire_later(job)
            if not lane.queue:
                self._turn.append(lane)
            lane.queue.append(job)
            self.queued += 1
            self.pump()

    def _expire_later(self, job: Job) -> None:
        budget = job.lane.budget
        job.expires = self.clock.monotonic() + budget.connect_timeout_seconds + budget.response_timeout_seconds

    def opened(self, link: Link) -> None:
        """A link is there."""
        self.down_until = 0.0
        self.links.add(link)
        self.free.append(link)
        self._surplus = len(self.links) > self.limit.connections
        self.pump()

    def answered(self, link: Link, job: Job, relayed: Relayed, ready: bool = True) -> None:
        """A request has ended; `ready` is False if the link must come to rest before the next (see `rested`)."""
        lane = job.lane
        lane.in_flight -= 1
        if ready:
            self.free.append(link)
        self._failures = 0
        if not lane.direct:
            now = self.clock.monotonic()
            lane.pace.answered(now)
            self._pace.answered(now)
            if lane.network is not None:
                lane.network.over(now)
        if self.queued or self._surplus:
            self.pump()
        job.relayed(relayed)

    def returned(self, link: Link, job: Job) -> None:
        """The link was closed before an octet of the request was handed to it: another link may send it."""
        lane = job.lane
        lane.in_flight -= 1
        self.operations -= 1
        if lane.network is not None:
            lane.network.over(self.clock.monotonic())
        self._expire_later(job)
        if not lane.queue:
            self._turn.appendleft(lane)
        lane.queue.appendleft(job)
        self.queued += 1
        self.broken(link, None, None)

    def rested(self, link: Link) -> None:
        """A link that had to come to rest can be used again."""
        self.free.append(link)
        self.pump()

    def unrest(self, link: Link) -> None:
        """A link that is not busy cannot be used before it has `rested`."""
        if link in self.free:
            self.free.remove(link)

    def broken(self, link: Link, job: Job | None, relayed: Relayed | None) -> None:
        """A link is gone, and with it the request that was outstanding."""
        self.links.discard(link)
        self.unrest(link)
        if job is not None:
            job.lane.in_flight -= 1
            now = self.clock.monotonic()
            job.lane.pace.answered(now)
            self._pace.answered(now)
            if job.lane.network is not None:
                job.lane.network.over(now)
        self.pump()
        if job is not None and relayed is not None:
            job.relayed(relayed)

    def pump(self) -> None:
        """Send what is queued, as far as links and paces allow."""
        if self._surplus:
            self._close_surplus()
        while self.queued:
            if not self.free:
                self._open_more()
                return
            now = self.clock.monotonic()
            lane, ready_at = self._next_lane(now)
            if lane is None:
                self._wake_at(ready_at, now)
                return
            self._send(self._take(lane), now)

    def _send(self, job: Job, now: float) -> None:
        word = job.still_allowed() if job.still_allowed is not None else ""
        if word or now > job.expires:
            self._refuse(job, Relayed(Result.NOT_SENT, code=word) if word else _EXHAUSTED)
            return
        job.lane.in_flight += 1
        job.lane.pace.sent(now)
        self._pace.sent(now)
        if job.lane.network is not None:
            job.lane.network.begun(now)
        self.operations += 1
        self.free.pop().send(job)

    def _next_lane(self, now: float) -> tuple[Lane | None, float]:
        """The lane whose turn it is, or None and when one may be ready at the earliest (infinity: after a reply)."""
        if self._pace.ready_at > now:
            return None, self._pace.ready_at
        earliest = float("inf")
        for lane in tuple(self._turn):
            if lane.in_flight >= lane.budget.connections:
                continue
            ready_at = lane.pace.ready_at
            if lane.network is not None:
                ready_at = max(ready_at, lane.network.ready_at())
            if ready_at <= now:
                self._turn.remove(lane)
                self._turn.append(lane)
                return lane, now
            earliest = min(earliest, ready_at)
        return None, earliest

    def _take(self, lane: Lane) -> Job:
        job = lane.queue.popleft()
        self.queued -= 1
        if not lane.queue:
            self._turn.remove(lane)
        return job

    def _wake_at(self, due: float, now: float) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if due != float("inf"):
            self._wake = asyncio.get_running_loop().call_later(due - now, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self.pump()

    def _open_more(self) -> None:
        if self.clock.monotonic() < self.down_until:
            if not self.links:
                self._refuse_queued()
            return
        opening = len(self._opening)
        wanted = min(self.limit.connections - len(self.links) - opening, self.queued - opening)
        for _ in range(wanted):
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self.limit.connect_timeout_seconds):
                link = await self._open_link(self)
        except (OSError, TimeoutError):
            self._opening.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            self.back_off()
            if not self.links:
                self._refuse_queued()
            return
        self._opening.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        if self.lanes:
            self.opened(link)
        else:
            link.abort("closed")

    def back_off(self) -> None:
        """Nobody is there: fail at once for a while, longer each time until somebody answers."""
        delay = min(_LONGEST_BACK_OFF_SECONDS, _FIRST_BACK_OFF_SECONDS * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self.down_until = self.clock.monotonic() + delay

    def _refuse_queued(self) -> None:
        for lane in tuple(self._turn):
            while lane.queue:
                self._refuse(self._take(lane), DEVICE_DOWN)

    def _refuse(self, job: Job, relayed: Relayed) -> None:
        """Answer without having sent anything; through the event loop, so never before `relay` has returned."""
        asyncio.get_running_loop().call_soon(job.relayed, relayed)
