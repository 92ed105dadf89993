"""A Modbus/TCP stream inside a WebSocket: the same inspection as on the Modbus listener, with words beside it.

The HTTP connection is taken over: no task, no HTTP parser and no request stay behind, so an idle tunnel costs little.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from aiohttp import web

from broker.engine.events import Refused
from broker.engine.sessions import Session
from broker.errors import BindingError, FrameError, LimitError, PeerError
from broker.listeners.takeover import Takeover, switching_protocols, take_over, transport_of
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
from broker.model.words import END_REASONS, reason_text, what_to_do

LISTENER = "tunnel"
SUBPROTOCOL = "otb.modbus.v1"
HEARTBEAT_SECONDS = 30.0
IDLE_SECONDS = 3600.0
MAX_TUNNELS = 512
RENEWAL_GAP_SECONDS = 1.0
MAX_UNREAD_NOTICES_OCTETS = 32_768
log = logging.getLogger(__name__)


class TunnelStream(Protocol):
    """What inspects the octets of one tunnel."""

    def received(self, data: bytes | memoryview) -> None:
        """Octets of the caller."""

    def ended(self) -> None:
        """The caller will send nothing more."""

    def lost(self) -> None:
        """The caller is gone."""


class TunnelGate(Protocol):
    """What a tunnel needs of the broker."""

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
    ) -> TunnelStream:
        """The stream of an open session."""


Prove = Callable[[Any, str], Coroutine[Any, Any, Subject]]
"""The subject of a connection's certificate and a fresh raw token. Raises PeerError."""


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

    async def serve(self, request: web.BaseRequest, subject: Subject, device: Device) -> web.StreamResponse | Refused:
        """Open a session, take the connection over and speak WebSocket on it; or say why not."""
        if len(self.tunnels) >= self._max_tunnels:
            return Refused((Reason.BUDGET_EXHAUSTED,))
        connection = transport_of(request).get_extra_info("tls_connection")
        tunnel = Tunnel(self)
        opened = await self._gate.open(subject, device, LISTENER, connection.peer, tunnel.cut)
        if isinstance(opened, Refused):
            return opened
        if opened.ended is not None:
            return Refused((Reason.SESSION_ENDED,))
        try:
            tunnel.begin(opened, connection, request)
        except ConnectionError:
            self._gate.close(opened, EndReason.PEER_CLOSED)
            raise
        return Takeover()

    def entered(self, tunnel: "Tunnel", session: Session) -> TunnelStream:
        """A tunnel has begun: the inspection of its octets."""
        self.tunnels.add(tunnel)
        return self._gate.tunnel(
            session, write=tunnel.write, hold=tunnel.hold, denied=tunnel.denied, close=tunnel.finish
        )

    async def renew(self, session: Session, connection: Any, raw_token: str) -> None:
        """Take fresh proofs of the session's own subject. Raises PeerError, `subjects_differ` for another's."""
        try:
            subject = await self._prove(connection, raw_token)
            if (subject.id, subject.organisation) != (session.subject.id, session.subject.organisation):
                raise BindingError("subjects_differ", "The token names another subject.")
        except PeerError as error:
            self._refused(LISTENER, connection.peer, error.code)
            raise
        if session.ended is None:
            self._gate.renew(session, subject)

    def left(self, tunnel: "Tunnel", session: Session, reason: EndReason) -> None:
        """A tunnel is over."""
        self.tunnels.discard(tunnel)
        self._gate.close(session, reason)


class Tunnel(asyncio.Protocol):
    """One tunnel: the protocol of its transport, and what its stream and its session call."""

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
        "_renewal",
        "_renewed_at",
        "_session",
        "_stream",
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

    def begin(self, session: Session, connection: Any, request: web.BaseRequest) -> None:
        """Answer the handshake and take the transport. Raises ConnectionError if the caller has left."""
        transport = transport_of(request)
        loop = asyncio.get_running_loop()
        self._session = session
        self._connection = connection
        self._transport = transport
        self._decoder = FrameDecoder()
        self._asked_at = loop.time()
        early = take_over(request, transport, self)
        transport.write(switching_protocols(request.headers["Sec-WebSocket-Key"], SUBPROTOCOL))
        self._timer = loop.call_later(HEARTBEAT_SECONDS, self._beat)
        self._begun = True
        self._stream = self._listener.entered(self, session)
        session.warn = self._warn
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

    # The stream's calls

    def write(self, octets: bytes) -> None:
        """Send part of the Modbus/TCP stream."""
        if not self._ended:
            self._transport.write(encode_frame(Opcode.BINARY, octets))

    def hold(self, hold: bool) -> None:
        """Stop or go on reading."""
        self._held = hold
        self._pace()

    def denied(self, refused: Refused) -> None:
        """Say in words what the stream says as an exception; not to a caller who does not read."""
        if self._ended or self._transport.get_write_buffer_size() > MAX_UNREAD_NOTICES_OCTETS:
            return
        decision = next((d for d in refused.decisions if not d.allow), None)
        window = decision.next_window if decision else None
        self._tell(
            {
                "type": "denied",
                "reasons": [{"code": str(word), "text": reason_text(word)} for word in refused.reasons],
                "what_to_do": what_to_do(refused.reasons),
                "decision_id": decision.id if decision and decision.id else None,
                "approval": refused.approval or None,
                "next_window": {"id": window[0], "opens": _stamp(window[1]), "closes": _stamp(window[2])}
                if window
                else None,
            }
        )

    def finish(self, reason: EndReason) -> None:
        """The stream is over."""
        self._end(reason, CloseCode.NORMAL if reason is EndReason.PEER_CLOSED else CloseCode.POLICY)

    # The session's call

    def cut(self, reason: EndReason) -> None:
        """The session must end: say why, then close."""
        self._end(reason, CloseCode.GOING_AWAY if reason is EndReason.BROKER_STOPPED else CloseCode.POLICY)

    # Within

    def _take(self, message: Message) -> None:
        if self._ended:
            return
        if message.opcode is Opcode.BINARY:
            self._asked_at = asyncio.get_running_loop().time()
            self._stream.received(message.payload)
        elif message.opcode is Opcode.TEXT:
            self._control(message.payload)
        elif message.opcode is Opcode.PING:
            self._transport.write(encode_frame(Opcode.PONG, message.payload))
        elif message.opcode is Opcode.CLOSE:
            self._stream.ended()

    def _control(self, text: bytes) -> None:
        try:
            told = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise FrameError("control_malformed", "a text message is not JSON") from None
        token = told.get("token") if isinstance(told, dict) and told.get("type") == "renew" else None
        if not isinstance(token, str):
            self._tell({"type": "refused", "code": "message_unknown"})
            return
        now = asyncio.get_running_loop().time()
        if self._renewal is not None or now < self._renewed_at + RENEWAL_GAP_SECONDS:
            self._tell({"type": "renew_refused", "code": "too_often"})
            return
        self._renewed_at = now
        self._renewal = asyncio.get_running_loop().create_task(self._renew(token))

    async def _renew(self, raw_token: str) -> None:
        try:
            await self._listener.renew(self._session, self._connection, raw_token)
            self._tell({"type": "renewed"})
        except PeerError as error:
            self._tell({"type": "renew_refused", "code": error.code, "text": error.public})
            if error.code == "subjects_differ":
                self._end(EndReason.DENIED, CloseCode.POLICY)
        except Exception:
            log.exception("a renewal failed", extra={"session": self._session.id})
            self._tell({"type": "renew_refused", "code": "internal_error"})
        finally:
            self._renewal = None

    def _tell(self, document: dict[str, Any]) -> None:
        if not self._ended:
            self._transport.write(encode_frame(Opcode.TEXT, orjson.dumps(document)))

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

    def _warn(self, when: float, why: EndReason) -> None:
        """Access ends soon; the caller may ask for more in time."""
        left, words = max(0, int(when - time.time())), END_REASONS[why]
        text = f"Access ends at {_stamp(when)}. {words.what_to_do}"
        told = {"type": "warning", "reason": why.value, "text": text, "at": _stamp(when), "seconds": left}
        self._tell(told)

    def _end(self, reason: EndReason, code: CloseCode) -> None:
        """Tell the reason and close; before the handshake was answered there is nobody to tell."""
        if self._ended or not self._begun:
            return
        words = END_REASONS[reason]
        if reason is not EndReason.PEER_CLOSED:
            at = _stamp(time.time())
            told = {"type": "ending", "reason": reason.value, "text": words.text, "what_to_do": words.what_to_do}
            self._tell(told | {"at": at})
        self._transport.write(encode_close(code, reason.value))
        self._leave(reason)
        self._transport.close()

    def _leave(self, reason: EndReason) -> None:
        if self._ended:
            return
        self._ended = True
        self._timer.cancel()
        self._stream.lost()
        self._listener.left(self, self._session, reason)


def _stamp(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
