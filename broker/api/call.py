"""One call of the API on its way: who calls, what is asked, and what a handler needs to answer it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aiohttp import web

from broker.api.idempotency import IdempotencyStore
from broker.api.ports import Gate, Tunnels
from broker.api.problems import Problem, refusal
from broker.api.under_way import UnderWay
from broker.engine.events import Refused
from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.place import Device
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import EndReason, Reason

LISTENER = "https"
ALWAYS = {"Cache-Control": "no-store", "Server": "otbroker", "X-Content-Type-Options": "nosniff"}
"""Headers of every answer."""
BEGUN, DONE = "begun", "done"
"""How an `administered` act stands: let begin, and done; if it failed, the code of its problem."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may ask of the API; times in seconds."""

    body_octets: int = 65_536
    body_seconds: float = 10.0
    stranger_seconds: float = 4.0
    """For the body of a call whose caller nothing else proves: he holds one of few places meanwhile."""
    read_seconds: float = 30.0
    write_seconds: float = 60.0
    call_seconds: float = 90.0
    calls_of_subject: int = 32
    evidence_readers: int = 2
    """How many calls read the ledger's files at the same time."""


@dataclass(slots=True)
class Shared:
    """What all calls share."""

    gate: Gate
    tunnels: Tunnels
    idempotency: IdempotencyStore
    limits: Limits
    readers: asyncio.Semaphore
    under_way: UnderWay
    description: bytes


@dataclass(slots=True)
class Call:
    """A call whose caller is proven and whose parts are valid; `body` and `query` are of the route's models.

    `administers` is the permission whose use is recorded as `administered`, "" if its acts have records of their own.
    `ends` is when and why the access of its session ends, if that is soon.
    """

    shared: Shared
    request: web.BaseRequest
    subject: Subject
    peer: str
    parameters: dict[str, str]
    administers: str = ""
    query: Any = None
    body: Any = None
    body_octets: bytes = b""
    ends: tuple[float, EndReason] | None = None
    viewed: bool = False
    begun: dict[str, Any] | None = None

    @property
    def gate(self) -> Gate:
        """The broker behind its listeners."""
        return self.shared.gate

    @property
    def path(self) -> str:
        """The path without query, as it was sent."""
        return path_of(self.request)

    @property
    def wait_seconds(self) -> float:
        """How long the caller lets the call wait for a person, at most as long as any other call may take."""
        return min(getattr(self.body, "wait_seconds", 0), self.shared.limits.call_seconds)

    def device(self) -> Device:
        """The device that the path names. Raises Problem, the same whether it is hidden or not there."""
        key = f"{self.parameters['site']}/{self.parameters['device']}"
        for device in self.gate.visible_devices(self.subject):
            if device.key == key:
                return device
        raise Problem("device_unknown")

    def site(self) -> str:
        """The site that the path names. Raises Problem, the same whether it is hidden or not there."""
        site = self.parameters["site"]
        if not any(device.site == site for device in self.gate.visible_devices(self.subject)):
            raise Problem("site_unknown")
        return site

    async def session(self, device: Device) -> Session:
        """The session of this caller with a device. Raises Problem if it is refused."""
        if self.request.transport is None:
            raise ConnectionResetError("the caller has left")
        admitted = await self.gate.admit(self.subject, device, LISTENER, self.peer, self.request.protocol)
        if isinstance(admitted, Refused):
            raise refusal(admitted.reasons, admitted.decisions)
        self.ends = self.gate.supervision.ends_soon(admitted)
        return admitted

    async def permission(self, permission: str, resource: dict[str, Any]) -> Decision:
        """What the policy says to an action that touches no device."""
        return await self.gate.permitted(self.subject, permission, resource, self.peer)

    async def require(self, permission: str, resource: dict[str, Any]) -> None:
        """Go on only with a permission. Raises Problem."""
        decision = await self.permission(permission, resource)
        if not decision.allow:
            problem = refusal(decision.reasons, (decision,))
            raise replace(problem, code="permission_denied") if problem.code == "denied" else problem
        if permission == self.administers:
            self.gate.record_act(self.subject, permission, resource, BEGUN)
            self.begun = resource

    def require_person(self, other_than: str = "") -> None:
        """Whatever the policy says, this takes a person, and another than that one. Raises Problem."""
        if self.subject.kind is not SubjectKind.PERSON or self.subject.id == other_than:
            raise Problem("permission_denied", reasons=(Reason.SECOND_PERSON_NEEDED,))

    async def sites(self, permission: str, kind: str, sites: Iterable[str]) -> frozenset[str] | None:
        """Of these sites those whose things of that kind the caller may do this with; None: all, of no site too.

        One decision each, and none more once everything is permitted.
        """
        if (await self.permission(permission, {"kind": kind})).allow:
            return None
        named = sorted(set(sites) - {""})
        return frozenset([s for s in named if (await self.permission(permission, {"kind": kind, "site": s})).allow])

    def view(self, what: str) -> None:
        """Record that the caller looks at evidence; nothing is shown before. Raises LedgerUnavailableError."""
        self.gate.record_view(self.subject, what)
        self.viewed = True

    def ended(self, outcome: str) -> None:
        """Record how an act came out that has begun. Raises LedgerUnavailableError."""
        if self.begun is not None:
            self.gate.record_act(self.subject, self.administers, self.begun, outcome)

    async def aside(self, look: Callable[[], T]) -> T:
        """Read files in a worker thread, a few calls at a time: the event loop waits for no disk."""
        async with self.shared.readers:
            return await asyncio.to_thread(look)

    def read_deadline(self) -> float:
        """Until when (monotonic) a read may go on asking."""
        return time.monotonic() + self.shared.limits.read_seconds


def path_of(request: web.BaseRequest) -> str:
    """The path of a request as it was sent, nothing decoded, nothing normalised, without query."""
    return request.raw_path.partition("?")[0]
