"""What tunnels carry: the Modbus/TCP stream of one device, or the BACnet network of one site."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from broker.engine.events import Refused
from broker.engine.rate import Rates
from broker.engine.sessions import Session
from broker.errors import FrameError
from broker.listeners import tunnel_messages
from broker.listeners.bacnet_notices import Failed
from broker.listeners.bacnet_shares import DATAGRAMS_PER_SECOND
from broker.listeners.tunnel_messages import Document
from broker.model.place import Device
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, Reason
from broker.wire.bacnet.tunnelled import ALL_CLIENTS, LONGEST_MESSAGE, decode_datagrams, encode_datagram
from broker.wire.bacnet.weight import weight_of

LISTENER = "tunnel"
MODBUS_SUBPROTOCOL = "otb.modbus.v1"
BACNET_SUBPROTOCOL = "otb.bacnet.v1"
MAX_UNREAD_OCTETS = 262_144
TOLD_GAP_SECONDS = 1.0
DATAGRAMS_AT_ONCE = 16


class ModbusStream(Protocol):
    """What inspects the octets of one device's tunnel."""

    def received(self, data: bytes | memoryview) -> None:
        """Octets of the caller."""

    def ended(self) -> None:
        """The caller will send nothing more."""

    def lost(self) -> None:
        """The caller is gone."""


class BacnetStream(Protocol):
    """What inspects the NPDUs of one client side, with a session for each device that it asks for; how fast they may
    come is `rate`.
    """

    rate: Rates

    def start(self, opened: Callable[[Refused | None], None]) -> None:
        """Open a first session; `opened` gets None, or why there is none."""

    def received(self, mac: bytes, npdu: bytes) -> None:
        """One NPDU of the client at that address."""

    def renew(self, subject: Subject) -> None:
        """Go on with fresh proofs of the same subject."""

    def lost(self, reason: EndReason) -> None:
        """The client side is gone: its sessions end."""


class TunnelGate(Protocol):
    """What tunnels need of the broker."""

    async def open(
        self, subject: Subject, device: Device, listener: str, peer: str, cut: Callable[[EndReason], None]
    ) -> Session | Refused:
        """A session, or the refusal; `cut` is called once if it must end."""

    def close(self, session: Session, reason: EndReason) -> None:
        """End a session from the listener's side."""

    def renew(self, session: Session, subject: Subject) -> None:
        """Let a session go on with fresh proofs of the same subject."""

    def tunnel(
        self,
        session: Session,
        *,
        write: Callable[[bytes], None],
        hold: Callable[[bool], None],
        denied: Callable[[Refused], None],
        close: Callable[[EndReason], None],
    ) -> ModbusStream:
        """The stream of an open session."""

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
        """The stream of a client side; `ended` tells of the end of one session while others go on."""

    def emergency_of(self, subject: Subject, site: str) -> str:
        """The emergency in which the subject acts at the site, "" for none."""


class Tunnel(Protocol):
    """What carries a load to its caller."""

    def write(self, octets: bytes) -> None:
        """Send part of a stream, or one datagram."""

    def unread_octets(self) -> int:
        """How much the caller has not taken yet."""

    def hold(self, hold: bool) -> None:
        """Stop or go on reading."""

    def tell(self, document: Document) -> None:
        """Say something in words."""

    def denied(self, refused: Refused, device: str = "", what: str = "") -> None:
        """Say in words what was refused."""

    def failed(self, failed: Failed, device: str) -> None:
        """Say in words what was allowed and came to nothing, or nobody knows what."""

    def warn(self, when: float, why: EndReason) -> None:
        """Access ends soon."""

    def finish(self, reason: EndReason) -> None:
        """There is nothing more to carry."""

    def cut(self, reason: EndReason) -> None:
        """Access has ended."""


class ModbusLoad:
    """One session with one device."""

    __slots__ = ("_gate", "_session", "_stream")
    subprotocol = MODBUS_SUBPROTOCOL
    whole_octets = 0

    def __init__(self, gate: TunnelGate, session: Session, tunnel: Tunnel) -> None:
        self._gate = gate
        self._session = session
        self._stream = gate.tunnel(
            session, write=tunnel.write, hold=tunnel.hold, denied=tunnel.denied, close=tunnel.finish
        )
        session.warn = tunnel.warn

    @classmethod
    async def opened(
        cls, gate: TunnelGate, subject: Subject, device: Device, tunnel: Tunnel, peer: str
    ) -> Self | Refused:
        """With its session open, or why it is not."""
        session = await gate.open(subject, device, LISTENER, peer, tunnel.cut)
        if isinstance(session, Refused):
            return session
        return cls(gate, session, tunnel) if session.ended is None else Refused((Reason.SESSION_ENDED,))

    @property
    def subject(self) -> Subject:
        """Whose it is."""
        return self._session.subject

    def received(self, payload: bytes) -> None:
        """Part of the stream."""
        self._stream.received(payload)

    def ended(self) -> None:
        """What was asked is still answered."""
        self._stream.ended()

    def renew(self, subject: Subject) -> None:
        """Go on with fresh proofs."""
        if self._session.ended is None:
            self._gate.renew(self._session, subject)

    def lost(self, reason: EndReason) -> None:
        """End the session."""
        self._stream.lost()
        self._gate.close(self._session, reason)


class BacnetLoad:
    """The BACnet network of a site, or a device of it alone, as one subject sees it.

    It carries datagrams of a client's address and an NPDU, both ways. What comes for clients in one turn of the loop
    goes in one message. As with any datagrams, what comes too fast or is not read is dropped. A tunnel that was opened
    in an emergency ends with it: that alone may have stood for a token.
    """

    __slots__ = (
        "_dropped",
        "_emergency",
        "_gate",
        "_gathered",
        "_loop",
        "_octets",
        "_over",
        "_site",
        "_stream",
        "_told_at",
        "_tunnel",
        "_waiting",
        "_working",
        "subject",
    )
    subprotocol = BACNET_SUBPROTOCOL
    whole_octets = LONGEST_MESSAGE

    def __init__(self, gate: TunnelGate, subject: Subject, where: str, tunnel: Tunnel, peer: str) -> None:
        self._gate = gate
        self._site = where.partition("/")[0]
        self._tunnel = tunnel
        self.subject = subject
        self._emergency = gate.emergency_of(subject, self._site)
        self._over: EndReason | None = None
        self._dropped = 0
        self._told_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._working = False
        self._gathered: list[bytes] = []
        self._octets = 0
        self._stream = gate.bacnet(
            subject,
            where,
            LISTENER,
            peer,
            write=self._write,
            close=self._cut,
            denied=lambda device, refused, what: tunnel.denied(refused, device.key if device else "", what),
            failed=lambda device, failed: tunnel.failed(failed, device.key if device else ""),
            ended=lambda device, reason: tunnel.tell(tunnel_messages.ending(reason, device.key)),
            warned=lambda device, when, why: tunnel.tell(tunnel_messages.warning(when, why, device.key)),
        )

    @classmethod
    async def opened(cls, gate: TunnelGate, subject: Subject, where: str, tunnel: Tunnel, peer: str) -> Self | Refused:
        """With a first session open, or why there is none."""
        load = cls(gate, subject, where, tunnel, peer)
        started: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
        load._stream.start(lambda refused: None if started.done() else started.set_result(refused))
        try:
            refused = await started
        except asyncio.CancelledError:
            load.lost(EndReason.PEER_CLOSED)
            raise
        if refused is None and load._over is not None:
            refused = Refused((Reason.SESSION_ENDED,))
        if refused is None:
            return load
        load.lost(EndReason.DENIED)
        return refused

    def received(self, payload: bytes) -> None:
        """The datagrams of one message. Raises FrameError."""
        datagrams = decode_datagrams(payload)
        if any(mac == ALL_CLIENTS for mac, _ in datagrams):
            raise FrameError("datagram_malformed", "a datagram that no single client sent")
        if self._emergency and self._gate.emergency_of(self.subject, self._site) != self._emergency:
            self._cut(EndReason.GRANT_ENDED)
            return
        admits, now = self._stream.rate.admits, self._loop.time()
        for datagram in datagrams:
            if admits(now, weight_of(datagram[1])):
                self._waiting.append(datagram)
            else:
                self._drop()
        if not self._working:
            self._work()

    def _work(self) -> None:
        """Some of what has come; a message full of datagrams must not keep the others of the loop waiting."""
        for _ in range(min(len(self._waiting), DATAGRAMS_AT_ONCE)):
            self._stream.received(*self._waiting.popleft())
        if bool(self._waiting) is not self._working:
            self._working = not self._working
            self._tunnel.hold(self._working)
        if self._working:
            self._loop.call_soon(self._work)

    def ended(self) -> None:
        """The client side has left; nobody is there for an answer."""
        self._tunnel.finish(EndReason.PEER_CLOSED)

    def renew(self, subject: Subject) -> None:
        """Go on with fresh proofs in every session."""
        self.subject = subject
        self._stream.renew(subject)

    def lost(self, reason: EndReason) -> None:
        """End the sessions."""
        self._waiting.clear()
        self._stream.lost(reason)

    def _write(self, mac: bytes, npdu: bytes) -> None:
        datagram = encode_datagram(mac, npdu)
        if self._octets + len(datagram) > LONGEST_MESSAGE:
            self._send_gathered()
        if not self._gathered:
            self._loop.call_soon(self._send_gathered)
        self._gathered.append(datagram)
        self._octets += len(datagram)

    def _send_gathered(self) -> None:
        gathered, self._gathered, self._octets = self._gathered, [], 0
        if gathered and self._tunnel.unread_octets() <= MAX_UNREAD_OCTETS:
            self._tunnel.write(b"".join(gathered))

    def _cut(self, reason: EndReason) -> None:
        self._over = reason
        self._send_gathered()
        self._tunnel.cut(reason)

    def _drop(self) -> None:
        """Count what came too fast, and say so now and then."""
        self._dropped += 1
        now = self._loop.time()
        if now >= self._told_at + TOLD_GAP_SECONDS:
            text = f"{self._dropped} datagrams came faster than {DATAGRAMS_PER_SECOND:.0f} a second and were dropped."
            self._tunnel.tell({"type": "dropped", "count": self._dropped, "text": text})
            self._told_at, self._dropped = now, 0
