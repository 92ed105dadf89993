"""What the API needs of the rest of the broker, named by role; wiring passes the real parts."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from aiohttp import web

from broker.api.evidence_ports import LedgerView
from broker.api.people_ports import People
from broker.api.proposal_ports import Policies, Proposals
from broker.api.request_ports import RequestBook
from broker.engine.events import Finding, Refused, Seen
from broker.engine.sessions import Session
from broker.model.approval import Approval, Approver
from broker.model.decision import Decision
from broker.model.emergency import Emergency, NotOpened, SigningRefusal
from broker.model.leave import Debt, Leave
from broker.model.lock import Lock, LockKind, LockTaken
from broker.model.operation import Request
from broker.model.place import Device, Grant, Inventory, Organisation
from broker.model.schedule import CalendarState, Interval
from broker.model.subject import Subject
from broker.model.trust import Requirement
from broker.model.vocabulary import EndReason


class Pause(Protocol):
    """Who paused a session, since when (epoch seconds), and why."""

    @property
    def by(self) -> str:
        """Who."""

    @property
    def since(self) -> float:
        """When."""

    @property
    def why(self) -> str:
        """What was given as the reason."""


class Outlook(Protocol):
    """What a session rests on now, what will end it, how busy it is, and whether it is paused."""

    @property
    def grants(self) -> tuple[str, ...]:
        """The grants that hold now."""

    @property
    def ends(self) -> tuple[float, EndReason] | None:
        """When and why it will end as things stand."""

    @property
    def per_second(self) -> float:
        """Requests a second lately."""

    @property
    def paused(self) -> Pause | None:
        """The pause in force."""

    @property
    def supervised(self) -> bool:
        """Whether any of the grants asks for supervision."""


class Watcher(Protocol):
    """A live view of one session or of all; `supervises` while it counts as a supervisor's."""

    ended: EndReason | None
    supervises: bool

    @property
    def keeps_up(self) -> bool:
        """Whether it takes what it is told."""

    async def take(self, most: int, seconds: float) -> tuple[list[Seen], int]:
        """The oldest events, and how many were lost after them; nothing if none came for so long, or it has ended."""


class Supervision(Protocol):
    """Live control of sessions. What acts raises LedgerUnavailableError: no record, no act."""

    def session(self, identifier: str) -> Session | None:
        """The open session of that id."""

    def outlook(self, session: Session) -> Outlook:
        """A session as it stands."""

    def ends_soon(self, session: Session) -> tuple[float, EndReason] | None:
        """When and why its access ends, if that is within a quarter of an hour."""

    def pause(self, session: Session, by: Subject, why: str) -> None:
        """Refuse its operations without cutting; nothing if it is paused already."""

    def resume(self, session: Session, by: Subject, why: str) -> None:
        """Let it go on; nothing if it is not paused."""

    def end(self, session: Session, by: Subject, why: str) -> None:
        """Cut it."""

    def watch(self, subject: Subject, session: Session | None, site: str = "") -> Watcher | None:
        """A live view, to be given back with `leave`; None if there are too many."""

    def supervise(self, watcher: Any, able: bool) -> None:
        """Whether somebody who watches counts as a supervisor from here on."""

    def leave(self, watcher: Any, what: str, reason: EndReason) -> None:
        """Somebody watches no more; recorded if it was `what` that began on record."""

    def standing(self, subject: Subject) -> Subject | EndReason:
        """A watcher as its proofs hold now, or why they no longer do."""

    def revisions(self) -> tuple[str, str]:
        """What decisions rest on now: the revisions of policy and inventory."""


class LockBook(Protocol):
    """The locks."""

    def locks(self) -> tuple[Lock, ...]:
        """Those that hold, the oldest first."""

    async def set(
        self,
        kind: LockKind,
        target: str,
        *,
        message: str,
        by: str,
        seconds: float | None = None,
        isolation: bool = False,
    ) -> LockTaken:
        """Let a lock take effect; `seconds` None: until it is lifted."""

    async def lift(self, lock: Lock, by: str) -> bool:
        """Lift a lock; False if somebody has before. Raises StateUnavailableError or LedgerUnavailableError."""


class Logouts(Protocol):
    """Takes what token issuers tell of logouts."""

    async def take(self, raw_token: str) -> None:
        """Let a logout take effect. Raises TokenError, or StateUnavailableError if it holds on this broker alone."""


class Approvals(Protocol):
    """Operations that wait for persons. What acts raises LedgerUnavailableError: no record, no act."""

    def all(self) -> tuple[Approval, ...]:
        """Those that wait, are armed or were lately refused, the oldest first."""

    def get(self, identifier: str) -> Approval | None:
        """The approval of that id, None if there never was one or it is over."""

    def proven_anew(self, approval: Approval, subject: Subject) -> bool:
        """Whether the subject has proven itself to its issuer since this was asked for, minutes ago at most."""

    def arm(self, approval: Approval, by: Approver, why: str = "", *, without_old: bool = False) -> Approval | None:
        """A person meets one obligation; None if it is over, was refused or does not need that, or is not seen."""

    def refuse(self, approval: Approval, by: Subject, why: str = "") -> Approval | None:
        """A second person refuses; None if it is over or refused already."""

    async def wait(self, identifiers: Iterable[str], seconds: float) -> bool:
        """Until none of them waits any more, at most that long; whether it came to that."""


class LeaveBook(Protocol):
    """What is undone when somebody's access ends."""

    @property
    def unsettled(self) -> tuple[Leave, ...]:
        """Leaves of which something could not be undone, until somebody takes note; the oldest first."""

    def debts(self) -> tuple[tuple[Debt, str], ...]:
        """What is owed now, each with what it waits for."""

    async def acknowledge(self, leave: Leave, by: str, why: str) -> None:
        """Somebody has taken note. Raises LedgerUnavailableError: no record, no act."""


class BreakGlassBook(Protocol):
    """Emergencies."""

    elsewhere: tuple[Emergency, ...]
    """What was last seen of those that other brokers opened."""

    @property
    def emergencies(self) -> tuple[Emergency, ...]:
        """Those that were opened at this broker."""

    def now(self) -> float:
        """The moment, in epoch seconds."""

    def holds(self, subject: Subject, site: str) -> bool:
        """Whether a subject holds an emergency, at a site or ("") anywhere."""

    async def open(
        self, subject: Subject, site: str, why: str, minutes: int | None, raw_parts: Sequence[str], peer: str
    ) -> Emergency | NotOpened:
        """Open one. Raises UnavailableError: then nothing holds."""

    async def close(self, emergency: Emergency, by: str) -> None:
        """End one early. Raises StateUnavailableError for one of another broker that cannot be told."""

    async def sign(self, emergency: Emergency, by: str, comment: str) -> Emergency | SigningRefusal:
        """Sign the review of one of this broker. Raises UnavailableError: no record, no signature."""


class Gate(Protocol):
    """The broker behind its listeners."""

    @property
    def leaves(self) -> LeaveBook:
        """What is undone when somebody's access ends."""

    @property
    def inventory(self) -> Inventory:
        """The inventory in force."""

    @property
    def supervision(self) -> Supervision:
        """Live control of sessions."""

    @property
    def approvals(self) -> Approvals:
        """Operations that wait for persons."""

    @property
    def ledger_view(self) -> LedgerView:
        """The evidence."""

    @property
    def locks(self) -> LockBook:
        """The locks."""

    @property
    def people(self) -> People | None:
        """Vendors as people, if this broker knows any."""

    @property
    def requests(self) -> RequestBook:
        """The access requests."""

    def given(self, grant: str) -> bool:
        """Whether a grant of that id is given beside the inventory's."""

    def organisation(self, identifier: str) -> Organisation | None:
        """The organisation of that id."""

    def calendar_at(self, device: Device, organisation: str, moment: float) -> CalendarState:
        """What is open, frozen and next at a moment."""

    def occurrence(self, window: str, device: Device, organisation: str, moment: float) -> Interval | None:
        """When a window is open for a device and organisation at a moment, or next."""

    @property
    def break_glass(self) -> BreakGlassBook:
        """Emergencies."""

    @property
    def policies(self) -> Policies:
        """The policy in force, the one that waits, and those before."""

    @property
    def proposals(self) -> Proposals:
        """Acts that more than one person must want."""

    def calendar_state(self, device: Device, organisation: str) -> CalendarState:
        """What is open, frozen and next."""

    def visible_devices(self, subject: Subject) -> tuple[Device, ...]:
        """The devices that this subject may know of."""

    def grants_of(self, subject: Subject) -> tuple[Grant, ...]:
        """The grants that a subject has or will have, whose end is not past."""

    async def admit(
        self, subject: Subject, device: Device, listener: str, peer: str, connection: object
    ) -> Session | Refused:
        """The open session of this connection, subject and device, or a new one, or the refusal."""

    async def read(self, session: Session, request: Request) -> Finding:
        """Carry out one request."""

    async def write(self, session: Session, requests: tuple[Request, ...]) -> tuple[Finding, ...]:
        """Decide all before any is relayed, then carry out in order; a failed one keeps back all after it.

        A finding for each request: `Refused(())` for those that were kept back. Finished and recorded whoever waits.
        """

    async def permitted(self, subject: Subject, permission: str, resource: dict[str, Any], peer: str = "") -> Decision:
        """Decide, and record, an action that touches no device."""

    def record_view(self, subject: Subject, what: str) -> None:
        """Record that somebody looks at evidence. Raises LedgerUnavailableError: no record, no view."""

    def record_act(self, subject: Subject, permission: str, resource: dict[str, Any], outcome: str) -> None:
        """Record an administrator's act that has no record of its own.

        Raises LedgerUnavailableError: no record, no act.
        """

    def sessions(self) -> tuple[Session, ...]:
        """All that are open."""


class Authenticator(Protocol):
    """Proves subjects."""

    def certificate_subject(self, leaf: bytes, intermediates: tuple[bytes, ...]) -> Subject:
        """The subject of a client certificate. Raises CertificateError."""

    async def authenticate(
        self,
        requirement: Requirement,
        leaf: bytes | None,
        intermediates: tuple[bytes, ...],
        raw_token: str | None,
    ) -> Subject:
        """The subject proven by what was presented. Raises CertificateError, TokenError, BindingError."""


class Tunnels(Protocol):
    """Takes a connection over for a tunnel."""

    async def serve(self, request: web.BaseRequest, subject: Subject, device: Device) -> web.StreamResponse | Refused:
        """Open a session and take the connection over, or say why not. The handshake has been checked."""

    async def serve_bacnet(
        self, request: web.BaseRequest, subject: Subject, where: str
    ) -> web.StreamResponse | Refused:
        """The same for the BACnet network of a site, or for a device (`site/device`) as on a network of its own."""


IdentityRefused = Callable[[str, str, str], None]
"""Count a refusal before a subject was proven: listener, peer, code."""
