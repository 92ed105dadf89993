"""Modbus/TCP Security (specification v36): mutual TLS, a device by own address, name or unit id, every request
decided.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.engine.events import Refused
from broker.engine.in_force import InForce
from broker.engine.sessions import Session
from broker.errors import CertificateError
from broker.listeners.authentication import Authenticator
from broker.listeners.driver import Driver
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.interpreters import Interpreters
from broker.listeners.modbus_stream import BACKLOG_OCTETS, DIRECT_UNITS, ModbusStream
from broker.listeners.session_register import SessionRegister
from broker.listeners.tls import Consumer, TlsConnection
from broker.model.place import Device
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason

LISTENER = "modbus_tls"


@dataclass(slots=True)
class Floor:
    """What every caller of this listener shares."""

    driver: Driver
    register: SessionRegister
    authenticator: Authenticator
    interpreters: Interpreters
    frame_refusals: FrameRefusals
    in_force: Callable[[], InForce]
    own_device: str = ""
    unit_ids: dict[int, str] = field(default_factory=dict)
    backlog_octets: int = BACKLOG_OCTETS
    sessionless_seconds: float = 30.0
    idle_seconds: float = 3600.0


class ModbusTlsCaller:
    """One connection: a `Consumer` of its plaintext."""

    __slots__ = (
        "_congested",
        "_connection",
        "_device",
        "_floor",
        "_gone",
        "_held",
        "_last_heard",
        "_sessions",
        "_stream",
        "_subject",
        "_timer",
    )

    def __init__(self, floor: Floor, connection: TlsConnection, subject: Subject) -> None:
        self._floor = floor
        self._connection = connection
        self._subject = subject
        self._device = self._only_device()
        self._sessions: list[Session] = []
        self._gone: EndReason | None = None
        self._held = False
        self._congested = False
        loop = asyncio.get_running_loop()
        self._last_heard = loop.time()
        self._timer = loop.call_later(floor.sessionless_seconds, self._look_idle)
        self._stream = ModbusStream(
            floor.driver,
            floor.interpreters,
            floor.frame_refusals,
            device_of=self._device_of,
            admit=self._admit,
            write=connection.write_now,
            hold=self._hold,
            close=self._close,
            backlog_octets=floor.backlog_octets,
        )

    def start(self) -> None:
        """Open the session if it is clear which device is meant."""
        if self._device:
            device = self._floor.in_force().device(self._device)
            if device is not None:
                self._stream.start(device)

    def received(self, data: memoryview) -> None:
        """Plaintext of the caller."""
        self._last_heard = self._connection.heard
        self._stream.received(data)

    def ended(self) -> None:
        """Half-close: pending replies are still sent."""
        self._stream.ended()

    def congested(self) -> None:
        """The caller does not read its replies: ask nothing more of the device for it."""
        self._congested = True
        self._pace()

    def writable(self) -> None:
        """The caller reads again."""
        self._congested = False
        self._pace()

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        limit = reason in {"slow_reader", "limit"}
        self._leave(EndReason.LIMIT_EXCEEDED if limit else EndReason.PEER_CLOSED, reason)

    def _only_device(self) -> str:
        """The one device that the address or the name leads to, "" if the unit id chooses among several."""
        if self._floor.own_device:
            return self._floor.own_device
        name = (self._connection.sni or "").lower().rstrip(".")
        return self._floor.in_force().named(name) if name else ""

    def _device_of(self, unit: int) -> Device | None:
        in_force = self._floor.in_force()
        if self._device:
            device = in_force.device(self._device)
            return device if device and (unit == device.unit_id or unit in DIRECT_UNITS) else None
        return in_force.device(self._floor.unit_ids.get(unit, ""))

    def _admit(self, device: Device, opened: Callable[[Session | Refused], None]) -> None:
        def entered(result: Session | Refused) -> None:
            if isinstance(result, Session):
                self._sessions.append(result)
                if self._gone is not None:
                    self._floor.register.close(result, self._gone)
            opened(result)

        self._floor.register.open(self._subject, device, LISTENER, self._connection.peer, self._cut, entered)

    def _hold(self, hold: bool) -> None:
        if hold is not self._held:
            self._held = hold
            self._pace()

    def _pace(self) -> None:
        if self._held or self._congested:
            self._connection.pause_reading()
        else:
            self._connection.resume_reading()

    def _cut(self, _: EndReason) -> None:
        """One session was ended: nothing more is asked on any, and the connection goes. What ended that one may be
        about to end others with the same reason or one of their own, so the rest are told theirs a turn later.
        """
        self._stream.lost()
        asyncio.get_running_loop().call_soon(self._leave, EndReason.CONNECTION_CLOSED)
        self._connection.close()

    def _close(self, reason: EndReason) -> None:
        self._leave(reason)
        self._connection.close()

    def _leave(self, reason: EndReason, detail: str = "") -> None:
        if self._gone is not None:
            return
        self._gone = reason
        self._timer.cancel()
        self._stream.lost()
        for session in self._sessions:
            self._floor.register.close(session, reason, detail)

    def _look_idle(self) -> None:
        """Close a connection that has no session, or asked nothing for too long."""
        loop = asyncio.get_running_loop()
        idle = loop.time() - self._last_heard
        if not self._sessions:
            self._close(EndReason.DENIED)
        elif idle >= self._floor.idle_seconds:
            self._close(EndReason.IDLE)
        else:
            self._timer = loop.call_later(self._floor.idle_seconds - idle, self._look_idle)


def established(floor: Floor, connection: TlsConnection) -> Consumer:
    """After the handshake: our own certificate and CRL check, then the caller. Raises CertificateError."""
    if connection.leaf is None:
        raise CertificateError("certificate_missing", "A client certificate is required (R-07).")
    subject = floor.authenticator.certificate_subject(connection.leaf, connection.intermediates)
    caller = ModbusTlsCaller(floor, connection, subject)
    caller.start()
    return caller
