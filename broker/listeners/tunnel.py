"""A Modbus/TCP stream inside a WebSocket: the same inspection as on the Modbus listener, with words beside it.

The HTTP connection is taken over: no task, no HTTP parser and no request stay behind, so an idle tunnel costs little.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from aiohttp import web

from broker.engine.events import Refused
from broker.engine.sessions import Session
from broker.errors import BrokerError, FrameError, LimitError, PeerError
from broker.listeners.websocket import (
    CloseCode,
    FrameDecoder,
    Message,
    Opcode,
    accept_key,
    encode_close,
    encode_frame,
)
from broker.model.place import Device
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason
from broker.model.words import END_REASONS, reason_text

LISTENER = "tunnel"
SUBPROTOCOL = "otb.modbus.v1"
HEARTBEAT_SECONDS = 30.0
RENEWAL_GAP_SECONDS = 1.0
LINGER_SECONDS = 1.0
MAX_UNREAD_NOTICES_OCTETS = 32_768
MAX_UNREAD_OCTETS = 262_144
_GOING_AWAY = frozenset({EndReason.BROKER_STOPPED, EndReason.PEER_CLOSED, EndReason.IDLE})


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


Prove = Callable[[str], Coroutine[Any, Any, Subject]]
"""The subject of this connection's certificate and a fresh raw token. Raises PeerError."""


class Takeover(web.StreamResponse):
    """What a handler returns after it gave the connection away: nothing is sent."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the answer was written by whoever took over."""

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Nothing."""


class TunnelListener:
    """Opens tunnels. `prove` makes the prover for a connection's certificate; `refused` counts proofs that failed."""

    def __init__(
        self,
        gate: TunnelGate,
        prove: Callable[[Any, str], Coroutine[Any, Any, Subject]],
        refused: Callable[[str, str, str], None],
    ) -> None:
        self._gate = gate
        self._prove = prove
        self._refused = refused
        self.tunnels: set[Tunnel] = set()

    async def serve(self, request: web.BaseRequest, subject: Subject, device: Device) -> web.StreamResponse | Refused:
        """Open a session, take the connection over and speak WebSocket on it; or say why not."""
        if request.transport is None:
            raise ConnectionResetError("the caller has left")
        connection = request.transport.get_extra_info("tls_connection")
        tunnel = Tunnel(self, subject.id)
        opened = await self._gate.open(subject, device, LISTENER, connection.peer, tunnel.cut)
        if isinstance(opened, Refused):
            return opened
        if request.transport is None:
            self._gate.close(opened, EndReason.PEER_CLOSED)
            raise ConnectionResetError("the caller has left")
        tunnel.begin(opened, request)
        return Takeover()

    def stream(self, session: Session, tunnel: "Tunnel") -> TunnelStream:
        """The inspection of one tunnel."""
        return self._gate.tunnel(
            session, write=tunnel.write, hold=tunnel.hold, denied=tunnel.denied, close=tunnel.finish
        )

    async def renewed(self, session: Session, connection: Any, raw_token: str) -> Subject:
        """The subject of a fresh token, which must be the session's own. Raises PeerError."""
        try:
            subject = await self._prove(connection, raw_token)
        except PeerError as error:
            self._refused(LISTENER, connection.peer, error.code)
            raise
        if (subject.id, subject.organisation) == (session.subject.id, session.subject.organisation):
            self._gate.renew(session, subject)
        return subject

    def left(self, tunnel: "Tunnel", session: Session, reason: EndReason) -> None:
        """A tunnel is over."""
        self.tunnels.discard(tunnel)
        self._gate.close(session, reason)
