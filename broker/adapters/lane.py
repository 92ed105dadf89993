"""The way to one device: its queue, its pace, and what of it is under way."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from broker.adapters.bacnet_notices import BacnetNotices, Told
from broker.model.operation import Relayed, Request
from broker.model.place import Device
from broker.model.vocabulary import Reason, Result

if TYPE_CHECKING:
    from broker.adapters.endpoint import Endpoint
    from broker.adapters.field_network import FieldNetwork

Answer = Callable[[Relayed], None]
StillAllowed = Callable[[], str]
DEVICE_DOWN = Relayed(Result.NOT_SENT, code=Reason.DEVICE_DOWN)


def lost(request: Request, code: str, view: Result = Result.NO_REPLY) -> Relayed:
    """What became of a request that was sent and not properly answered: a write may have been carried out."""
    return Relayed(Result.UNKNOWN if request.writes else view, code=code)


class Job:
    """A request on its way through one lane; `expires` is when waiting any longer is pointless (monotonic seconds)."""

    __slots__ = ("expires", "lane", "relayed", "request", "still_allowed")

    def __init__(self, lane: "Lane", request: Request, relayed: Answer, still_allowed: StillAllowed | None) -> None:
        self.lane = lane
        self.request = request
        self.relayed = relayed
        self.still_allowed = still_allowed
        self.expires = 0.0


class Link(Protocol):
    """One connection; it has at most one request outstanding."""

    job: Job | None

    def send(self, job: Job) -> None:
        """Put the request on the wire; end in `Endpoint.answered` or `Endpoint.broken`, never before this returns."""

    def abort(self, code: str) -> None:
        """Disconnect at once; an outstanding request ends as lost with this code."""


class Pace:
    """Keeps requests apart: `interval` between two sendings, `gap` between a reply and the next sending (seconds)."""

    __slots__ = ("gap", "interval", "ready_at")

    def __init__(self, operations_per_second: float, gap: float) -> None:
        self.interval = 1.0 / operations_per_second if operations_per_second > 0 else 0.0
        self.gap = gap
        self.ready_at = 0.0

    def changed(self, operations_per_second: float, gap: float, now: float) -> "Pace":
        """Another pace from now on; nobody waits longer for its first turn than that one makes anybody wait."""
        pace = Pace(operations_per_second, gap)
        pace.ready_at = min(self.ready_at, now + max(pace.interval, gap))
        return pace

    @property
    def free(self) -> bool:
        """Whether it never holds anything back."""
        return not self.interval and not self.gap

    def sent(self, now: float) -> None:
        """A request goes out now."""
        self.ready_at = max(self.ready_at, now + self.interval)

    def answered(self, now: float) -> None:
        """A request has ended now."""
        self.ready_at = max(self.ready_at, now + self.gap)


class Lane:
    """The way to one device: implements `Upstream`."""

    __slots__ = (
        *("budget", "closed", "device", "direct", "endpoint", "in_flight", "network", "notices", "pace", "queue"),
        *("timeout", "unit"),
    )

    def __init__(
        self,
        device: Device,
        endpoint: "Endpoint",
        notices: BacnetNotices | None = None,
        network: "FieldNetwork | None" = None,
    ) -> None:
        self.device = device
        self.endpoint = endpoint
        self.network = network
        self.budget = device.budget
        self.unit = device.upstream_unit_id
        self.timeout = device.budget.response_timeout_seconds
        self.pace = Pace(device.budget.operations_per_second, device.budget.gap_seconds)
        self.queue: deque[Job] = deque()
        self.in_flight = 0
        self.notices = notices
        self.direct = False
        self.closed = False

    def relay(self, request: Request, relayed: Answer, still_allowed: StillAllowed | None = None) -> None:
        """Send once, and at once if the endpoint is idle.

        `still_allowed` is asked when a request that had to wait is about to be sent: "" or the `Reason` word of its
        NOT_SENT.
        """
        job = Job(self, request, relayed, still_allowed)  # a dead link may give back even what is sent at once
        endpoint = self.endpoint
        if self.direct and endpoint.free and not endpoint.queued:
            self.in_flight += 1
            endpoint.operations += 1
            endpoint.free.pop().send(job)
            return
        endpoint.admit(job)

    def notifications(self, told: Told | None) -> None:
        """Call `told` with each notification of a change that the device sends, or (None) not any more.

        It says whether it is about what was subscribed; a confirmed one is then acknowledged.
        """
        if self.notices is not None:
            self.notices.listen(told)

    def own_mac(self) -> bytes:
        """The MAC by which a BACnet device hears the broker on its network, zero as far as that is not known."""
        way = self.device.way
        return b"" if self.notices is None else self.notices.port.own_mac(getattr(way, "host", ""))

    def longest_apdu(self) -> int:
        """Octets that a BACnet device takes at a time, as far as the inventory or the device itself has said."""
        now = self.endpoint.clock.monotonic()
        return 0 if self.notices is None else self.notices.said.completed(now).longest_apdu

    async def close(self) -> None:
        """Fail what is queued (`NOT_SENT`), end what is in flight (`UNKNOWN` or `NO_REPLY`) and disconnect."""
        self.endpoint.remove(self)
