"""What the API and the tunnel may ask of the broker: admission, operations, permissions, evidence."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.access.standing import concerns
from broker.authz.question import SessionFacts
from broker.engine.events import Finding, Refused
from broker.engine.exchange import exchange, exchange_whole
from broker.engine.ports import Clock, Ledger
from broker.engine.sessions import Session
from broker.errors import LedgerUnavailableError
from broker.ledger import records
from broker.listeners.approvals import Approvals
from broker.listeners.bacnet_floor import BacnetFloor
from broker.listeners.bacnet_notices import Failed
from broker.listeners.bacnet_outside import Outside
from broker.listeners.bacnet_shares import SubjectShares
from broker.listeners.bacnet_stream import BacnetStream
from broker.listeners.bacnet_subscriptions import CovDesk
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.driver import Driver
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.interpreters import Interpreters
from broker.listeners.modbus_stream import ModbusStream
from broker.listeners.session_register import SessionRegister
from broker.listeners.supervision import Supervision
from broker.model.decision import Decision
from broker.model.operation import Request
from broker.model.place import Device, Grant, Inventory, Organisation
from broker.model.schedule import CalendarState, Interval
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason
from broker.wire.bacnet.device_said import LiveDevices

MAX_SESSIONS_PER_CONNECTION = 256


@dataclass(slots=True)
class Parts:
    """The parts of a running broker that a gate leads to."""

    clock: Clock
    ledger: Ledger
    desk: DecisionDesk
    driver: Driver
    register: SessionRegister
    interpreters: Interpreters
    frame_refusals: FrameRefusals
    supervision: Supervision
    cov: CovDesk
    live: LiveDevices


class Gate:
    """One per broker; the API knows it only as a Protocol of its own."""

    def __init__(
        self,
        parts: Parts,
        ledger_view: Any,
        readiness: Callable[[], Mapping[str, tuple[bool, str]]],
        locks: Any,
        leaves: Any,
        break_glass: Any,
        people: Any = None,
        requests: Any = None,
    ) -> None:
        self._parts = parts
        self.ledger_view = ledger_view
        self.readiness = readiness
        self.locks = locks
        self.leaves = leaves
        self.people = people
        self.requests = requests
        self.break_glass = break_glass
        self.policies: Any = None
        self.proposals: Any = None
        self._admitted: dict[object, dict[tuple[str, ...], Session]] = {}
        self._shares = SubjectShares()

    @property
    def supervision(self) -> Supervision:
        """Live control of sessions."""
        return self._parts.supervision

    @property
    def approvals(self) -> Approvals:
        """Operations that wait for persons."""
        return self._parts.desk.approvals

    @property
    def inventory(self) -> Inventory:
        """The inventory in force."""
        return self._parts.desk.in_force.inventory

    def calendar_state(self, device: Device, organisation: str) -> CalendarState:
        """What is open, frozen and next."""
        return self._parts.desk.in_force.calendar_state(device, organisation, self._parts.clock.now())

    def calendar_at(self, device: Device, organisation: str, moment: float) -> CalendarState:
        """What is open, frozen and next at a moment."""
        return self._parts.desk.in_force.calendar_state(device, organisation, moment)

    def occurrence(self, window: str, device: Device, organisation: str, moment: float) -> Interval | None:
        """When a window is open for a device and organisation at a moment, or next."""
        return self._parts.desk.in_force.occurrence(window, device, organisation, moment)

    def organisation(self, identifier: str) -> Organisation | None:
        """The organisation of that id."""
        return self._parts.desk.in_force.organisation_of(identifier)

    def given(self, grant: str) -> bool:
        """Whether a grant of that id is given beside the inventory's."""
        return self._parts.desk.given.grant(grant) is not None

    def visible_devices(self, subject: Subject) -> tuple[Device, ...]:
        """The devices for which the subject holds a grant, its window open or not, or an emergency, or may ask for
        one.
        """
        return tuple(device for device in self.inventory.devices if self._may_know_of(subject, device))

    def _may_know_of(self, subject: Subject, device: Device) -> bool:
        organisation = self._parts.desk.in_force.organisation(subject)
        may_ask = organisation is not None and organisation.allowed is not None and organisation.may_ask_for(device)
        return may_ask or self._has_grants(subject, device)

    def grants_of(self, subject: Subject) -> tuple[Grant, ...]:
        """The grants that a subject has or will have, whose end is not past; locked ones give nothing."""
        desk, now = self._parts.desk, self._parts.clock.now()
        standing = (grant for grant in self.inventory.grants if concerns(grant, subject))
        return tuple(
            grant
            for grant in (*standing, *desk.given.of(subject))
            if (grant.not_after is None or now < grant.not_after) and grant.id not in desk.locks.grants
        )

    async def admit(
        self, subject: Subject, device: Device, listener: str, peer: str, connection: object
    ) -> Session | Refused:
        """The open session of this connection, subject, proofs, emergency and device, or a new one, or the refusal."""
        emergency = self._parts.desk.emergencies.name_of(subject, device.site, self._parts.clock.now())
        key = (subject.id, device.key, listener, emergency, *(proof.fingerprint for proof in subject.proofs))
        mine = self._admitted.setdefault(connection, {})
        known = mine.get(key)
        if known is not None and known.ended is None:
            return known
        if len(mine) >= MAX_SESSIONS_PER_CONNECTION:
            self._forget(mine)
        result = await self.open(subject, device, listener, peer, lambda reason: None)
        if isinstance(result, Session):
            if connection in self._admitted:
                mine[key] = result
            else:
                self._parts.register.close(result, EndReason.PEER_CLOSED)
        return result

    async def open(
        self, subject: Subject, device: Device, listener: str, peer: str, cut: Callable[[EndReason], None]
    ) -> Session | Refused:
        """A session of its own (tunnels); `cut` is called once if it must end."""
        opened: asyncio.Future[Session | Refused] = asyncio.get_running_loop().create_future()
        self._parts.register.open(subject, device, listener, peer, cut, opened.set_result)
        try:
            return await asyncio.shield(opened)
        except asyncio.CancelledError:
            opened.add_done_callback(self._close_unclaimed)
            raise

    def close(self, session: Session, reason: EndReason) -> None:
        """End a session that `open` gave."""
        self._parts.register.close(session, reason)

    def leave(self, connection: object) -> None:
        """The connection is gone, and its sessions with it."""
        for session in self._admitted.pop(connection, {}).values():
            self._parts.register.left(session)

    async def read(self, session: Session, request: Request) -> Finding:
        """Carry out one request."""
        finding: Finding = await self._run(session, exchange(session, request))
        return finding

    async def write(self, session: Session, requests: tuple[Request, ...]) -> tuple[Finding, ...]:
        """Decide all, then carry out in order; goes on and is recorded even if the caller stops waiting."""
        findings: tuple[Finding, ...] = await self._run(session, exchange_whole(session, requests))
        return findings

    async def permitted(self, subject: Subject, permission: str, resource: dict[str, Any], peer: str = "") -> Decision:
        """Decide an action that touches no device."""
        decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        facts = SessionFacts(id="", listener="https", peer=peer, started=self._parts.clock.now(), mfa_at=None)
        self._parts.desk.admin(subject, permission, resource, facts, decided.set_result)
        return await asyncio.shield(decided)

    def record_view(self, subject: Subject, what: str) -> None:
        """Record that somebody looked at evidence. Raises LedgerUnavailableError: no record, no view."""
        self._parts.ledger.append(records.evidence_viewed(self._parts.clock.now(), subject=subject.id, what=what))
        self._parts.ledger.settle(False, _ignore)

    def record_act(self, subject: Subject, permission: str, resource: dict[str, Any], outcome: str) -> None:
        """Record an administrator's act. Raises LedgerUnavailableError: no record, no act."""
        now = self._parts.clock.now()
        told = records.administered(now, by=subject.id, permission=permission, resource=resource, outcome=outcome)
        self._parts.ledger.append(told)
        self._parts.ledger.settle(False, _ignore)

    def sessions(self) -> tuple[Session, ...]:
        """All that are open."""
        return self._parts.register.sessions()

    def renew(self, session: Session, subject: Subject) -> None:
        """Let a session go on with fresh proofs of the same subject; the policy is asked again."""
        self._parts.register.renew(session, subject)

    def tunnel(
        self,
        session: Session,
        *,
        write: Callable[[bytes], None],
        hold: Callable[[bool], None],
        denied: Callable[[Refused], None],
        close: Callable[[EndReason], None],
    ) -> ModbusStream:
        """The stream of a tunnel whose session is open."""
        device = session.device
        stream = ModbusStream(
            self._parts.driver,
            self._parts.interpreters,
            self._parts.frame_refusals,
            device_of=lambda unit: device if unit in (device.unit_id, 0, 255) else None,
            admit=lambda _, opened: opened(session),
            write=write,
            hold=hold,
            close=close,
            denied=denied,
        )
        stream.enter(session)
        return stream

    def bacnet(
        self,
        subject: Subject,
        where: str,
        listener: str,
        peer: str,
        *,
        write: Callable[[bytes, bytes], None],
        close: Callable[[EndReason], None],
        denied: Callable[[Device | None, Refused, str], None],
        failed: Callable[[Device | None, Failed], None],
        ended: Callable[[Device, EndReason], None],
        warned: Callable[[Device, float, EndReason], None],
    ) -> BacnetStream:
        """The stream of one client side of a site's BACnet network, or of a device (`site/device`) alone.

        Nothing is open before its `start`.
        """
        outside = Outside(write=write, close=close, denied=denied, failed=failed, ended=ended, warned=warned)
        return BacnetStream(self.bacnet_floor, subject, where, listener, peer, outside)

    def emergency_of(self, subject: Subject, site: str) -> str:
        """The emergency in which a subject acts at a site, "" for none."""
        return self._parts.desk.emergencies.name_of(subject, site, self._parts.clock.now())

    @property
    def bacnet_floor(self) -> BacnetFloor:
        """What every native BACnet client shares."""
        parts = self._parts
        return BacnetFloor(
            parts.driver,
            parts.register,
            parts.interpreters,
            parts.frame_refusals,
            parts.cov,
            lambda: parts.desk.in_force,
            self._has_grants,
            self._points_granted,
            self._may_know_of,
            self._shares,
            parts.live,
        )

    def _has_grants(self, subject: Subject, device: Device) -> bool:
        desk, now = self._parts.desk, self._parts.clock.now()
        return bool(desk.situation(subject, device, now).grants or desk.emergencies.name_of(subject, device.site, now))

    def _points_granted(self, subject: Subject, device: Device) -> frozenset[str] | None:
        grants = self._parts.desk.situation(subject, device, self._parts.clock.now()).grants
        if self.emergency_of(subject, device.site) or any(not grant.points for grant in grants):
            return None
        return frozenset(point for grant in grants for point in grant.points)

    def _close_unclaimed(self, opened: "asyncio.Future[Session | Refused]") -> None:
        """The one who asked for a session has given up before it was there."""
        result = opened.result()
        if isinstance(result, Session):
            self._parts.register.close(result, EndReason.PEER_CLOSED)

    def _forget(self, sessions: dict[tuple[str, ...], Session]) -> None:
        for session in sessions.values():
            self._parts.register.close(session, EndReason.IDLE)
        sessions.clear()

    async def _run(self, session: Session, steps: Any) -> Any:
        """Shielded: an exchange is finished and recorded whoever still waits for it."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._parts.driver.run(session, steps, done.set_result)
        return await asyncio.shield(done)


def _ignore(error: LedgerUnavailableError | None) -> None:
    """A failed ledger has already been latched; there is nothing more to do about it here."""
