"""WebSocket tunnels: what an ordinary tool says, inspected as on any listener, with words beside it.

What a tunnel carries is its load's affair. The HTTP connection is taken over: no task, no HTTP parser and no request
stay behind, so an idle tunnel costs little.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

import orjson
from aiohttp import web

from broker.engine.events import Refused
from broker.errors import BindingError, FrameError, LimitError, PeerError
from broker.listeners import tunnel_messages
from broker.listeners.bacnet_notices import Failed
from broker.listeners.takeover import Takeover, switching_protocols, take_over, transport_of
from broker.listeners.tunnel_loads import LISTENER, BacnetLoad, ModbusLoad, TunnelGate
from broker.listeners.websocket import (
    CloseCode,
    FrameDecoder,
    Message,
    Opcode,
    encode_close,
    encode_frame,
)
from broker.model.place import Device
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, Reason

HEARTBEAT_SECONDS = 30.0
IDLE_SECONDS = 3600.0
MAX_TUNNELS = 512
RENEWAL_GAP_SECONDS = 1.0
MAX_UNREAD_NOTICES_OCTETS = 32_768
log = logging.getLogger(__name__)


class Load(Protocol):
    """What a tunnel carries, with the sessions that it rests on.

    With `whole_octets` a binary message is one datagram of at most that size, with 0 part of an octet stream.
    """

    subprotocol: str
    whole_octets: int

    @property
    def subject(self) -> Subject:
        """Whose it is."""

    def received(self, payload: bytes) -> None:
        """Octets of the caller. Raises FrameError for what ends the tunnel."""

    def ended(self) -> None:
        """The caller will send nothing more."""

    def renew(self, subject: Subject) -> None:
        """Go on with fresh proofs of the same subject."""

    def lost(self, reason: EndReason) -> None:
        """The tunnel is over, and with it every session."""


Prove = Callable[[Any, str], Coroutine[Any, Any, Subject]]
"""The subject of a connection's certificate and a fresh raw token. Raises PeerError."""
OpenLoad = Callable[["Tunnel", str], Coroutine[Any, Any, Load | Refused]]


class TunnelListener:
    """Opens tunnels. `prove(connection, raw_token)` gives the subject of both; `refused` counts proofs that failed."""

    def __init__(
        self,
        gate: TunnelGate,
        prove: Prove,
        refused: Callable[[str, str, str], None],
        *,
        max_tunnels: int = MAX_TUNNELS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.idle_seconds = idle_seconds
        self._max_tunnels = max_tunnels
        self._gate = gate
        self._prove = prove
        self._refused = refused
        self.tunnels: set[Tunnel] = set()
        self._opening = 0

    async def serve(self, request: web.BaseRequest, subject: Subject, device: Device) -> web.StreamResponse | Refused:
        """Open a session with a Modbus device and take the connection over for it; or say why not."""
        return await self._serve(request, partial(ModbusLoad.opened, self._gate, subject, device))

    async def serve_bacnet(
        self, request: web.BaseRequest, subject: Subject, where: str
    ) -> web.StreamResponse | Refused:
        """Open the BACnet network of a site, or a device of it, and take the connection over; or say why not."""
        return await self._serve(request, partial(BacnetLoad.opened, self._gate, subject, where))

    async def _serve(self, request: web.BaseRequest, opened: OpenLoad) -> web.StreamResponse | Refused:
        if len(self.tunnels) + self._opening >= self._max_tunnels:
            return Refused((Reason.BUDGET_EXHAUSTED,))
        self._opening += 1  # a place is taken before anything is waited for
        try:
            return await self._open(request, opened)
        finally:
            self._opening -= 1

    async def _open(self, request: web.BaseRequest, opened: OpenLoad) -> web.StreamResponse | Refused:
        connection = transport_of(request).get_extra_info("tls_connection")
        tunnel = Tunnel(self)
        load = await opened(tunnel, connection.peer)
        if isinstance(load, Refused):
            return load
        try:
            tunnel.begin(load, connection, request)
        except ConnectionError:
            load.lost(EndReason.PEER_CLOSED)
            raise
        return Takeover()

    async def prove(self, owner: Subject, connection: Any, raw_token: str) -> Subject:
        """Fresh proofs of a tunnel's own subject. Raises PeerError, `subjects_differ` for another's."""
        try:
            subject = await self._prove(connection, raw_token)
            if (subject.id, subject.organisation) != (owner.id, owner.organisation):
                raise BindingError("subjects_differ", "The token names another subject.")
        except PeerError as error:
            self._refused(LISTENER, connection.peer, error.code)
            raise
        return subject


class Tunnel(asyncio.Protocol):
    """One tunnel: the protocol of its transport, and what its load calls."""

    __slots__ = (
        "_asked_at",
        "_begun",
        "_congested",
        "_connection",
        "_decoder",
        "_ended",
        "_heard",
        "_held",
        "_listener",
        "_load",
        "_renewal",
        "_renewed_at",
        "_timer",
        "_transport",
    )

    def __init__(self, listener: TunnelListener) -> None:
        self._listener = listener
        self._begun = False
        self._ended = False
        self._heard = True
        self._held = False
        self._congested = False
        self._renewed_at = 0.0
        self._renewal: asyncio.Task[None] | None = None

    def begin(self, load: Load, connection: Any, request: web.BaseRequest) -> None:
        """Answer the handshake and take the transport. Raises ConnectionError if the caller has left."""
        transport = transport_of(request)
        loop = asyncio.get_running_loop()
        self._load = load
        self._connection = connection
        self._transport = transport
        self._decoder = FrameDecoder(load.whole_octets)
        self._asked_at = loop.time()
        early = take_over(request, transport, self)
        transport.write(switching_protocols(request.headers["Sec-WebSocket-Key"], load.subprotocol))
        self._timer = loop.call_later(HEARTBEAT_SECONDS, self._beat)
        self._begun = True
        self._listener.tunnels.add(self)
        if early:
            self.data_received(early)

    # The transport's calls

    def data_received(self, data: bytes) -> None:
        """Take octets of the caller."""
        if self._ended:
            return
        self._heard = True
        try:
            for message in self._decoder.receive(data):
                self._take(message)
        except LimitError:
            self._end(EndReason.LIMIT_EXCEEDED, CloseCode.TOO_BIG)
        except FrameError:
            self._end(EndReason.FRAME_REFUSED, CloseCode.PROTOCOL)

    def eof_received(self) -> bool:
        """Without a closing handshake there is nobody to answer any more."""
        return False

    def pause_writing(self) -> None:
        """The caller does not read: ask nothing more of the device for it."""
        self._congested = True
        self._pace()

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._congested = False
        self._pace()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The caller is gone."""
        self._leave(EndReason.PEER_CLOSED)

    # The load's calls

    def write(self, octets: bytes) -> None:
        """Send part of what the tunnel carries."""
        if not self._ended:
            self._transport.write(encode_frame(Opcode.BINARY, octets))

    def unread_octets(self) -> int:
        """How much the caller has not taken yet."""
        return self._transport.get_write_buffer_size()

    def hold(self, hold: bool) -> None:
        """Stop or go on reading."""
        self._held = hold
        self._pace()

    def tell(self, document: tunnel_messages.Document) -> None:
        """Say something in words."""
        if not self._ended and self._begun:
            self._transport.write(encode_frame(Opcode.TEXT, orjson.dumps(document)))

    def denied(self, refused: Refused, device: str = "", what: str = "") -> None:
        """Say in words what was refused in the tool's own protocol; not to a caller who does not read."""
        if self._reads():
            self.tell(tunnel_messages.denied(refused, device, what))

    def failed(self, failed: Failed, device: str) -> None:
        """Say in words what the tool was told as a fault; not to a caller who does not read."""
        if self._reads():
            self.tell(tunnel_messages.failed(failed, device))

    def warn(self, when: float, why: EndReason) -> None:
        """Access ends soon."""
        self.tell(tunnel_messages.warning(when, why))

    def finish(self, reason: EndReason) -> None:
        """There is nothing more to carry."""
        self._end(reason, CloseCode.NORMAL if reason is EndReason.PEER_CLOSED else CloseCode.POLICY)

    def cut(self, reason: EndReason) -> None:
        """Access has ended: say why, then close."""
        self._end(reason, CloseCode.GOING_AWAY if reason is EndReason.BROKER_STOPPED else CloseCode.POLICY)

    # Within

    def _reads(self) -> bool:
        return self._begun and not self._ended and self.unread_octets() <= MAX_UNREAD_NOTICES_OCTETS

    def _take(self, message: Message) -> None:
        if self._ended:
            return
        if message.opcode is Opcode.BINARY:
            self._asked_at = asyncio.get_running_loop().time()
            self._load.received(message.payload)
        elif message.opcode is Opcode.TEXT:
            self._control(message.payload)
        elif message.opcode is Opcode.PING:
            self._transport.write(encode_frame(Opcode.PONG, message.payload))
        elif message.opcode is Opcode.CLOSE:
            self._load.ended()

    def _control(self, text: bytes) -> None:
        try:
            told = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise FrameError("control_malformed", "a text message is not JSON") from None
        token = told.get("token") if isinstance(told, dict) and told.get("type") == "renew" else None
        if not isinstance(token, str):
            self.tell({"type": "refused", "code": "message_unknown"})
            return
        now = asyncio.get_running_loop().time()
        if self._renewal is not None or now < self._renewed_at + RENEWAL_GAP_SECONDS:
            self.tell({"type": "renew_refused", "code": "too_often"})
            return
        self._renewed_at = now
        self._renewal = asyncio.get_running_loop().create_task(self._renew(token))

    async def _renew(self, raw_token: str) -> None:
        try:
            subject = await self._listener.prove(self._load.subject, self._connection, raw_token)
            if not self._ended:
                self._load.renew(subject)
            self.tell({"type": "renewed"})
        except PeerError as error:
            self.tell({"type": "renew_refused", "code": error.code, "text": error.public})
            if error.code == "subjects_differ":
                self._end(EndReason.DENIED, CloseCode.POLICY)
        except Exception:
            log.exception("a renewal failed", extra={"subject": self._load.subject.id})
            self.tell({"type": "renew_refused", "code": "internal_error"})
        finally:
            self._renewal = None

    def _pace(self) -> None:
        if self._ended:
            return
        if self._held or self._congested:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _beat(self) -> None:
        """Ask whether the caller is there, and end what asked nothing for too long."""
        loop = asyncio.get_running_loop()
        listening = not (self._held or self._congested)
        if loop.time() - self._asked_at >= self._listener.idle_seconds:
            self._end(EndReason.IDLE, CloseCode.NORMAL)
        elif listening and not self._heard:
            self._leave(EndReason.PEER_CLOSED)
            self._transport.abort()
        else:
            self._heard = not listening
            self._transport.write(encode_frame(Opcode.PING, b""))
            self._timer = loop.call_later(HEARTBEAT_SECONDS, self._beat)

    def _end(self, reason: EndReason, code: CloseCode) -> None:
        """Tell the reason and close; before the handshake was answered there is nobody to tell."""
        if self._ended or not self._begun:
            return
        if reason is not EndReason.PEER_CLOSED:
            self.tell(tunnel_messages.ending(reason))
        self._transport.write(encode_close(code, reason.value))
        self._leave(reason)
        self._transport.close()

    def _leave(self, reason: EndReason) -> None:
        if self._ended:
            return
        self._ended = True
        self._timer.cancel()
        self._listener.tunnels.discard(self)
        self._load.lost(reason)
