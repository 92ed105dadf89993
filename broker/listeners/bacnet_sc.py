"""The hub of BACnet/SC (ASHRAE 135-2020, Annex AB): mutual TLS 1.3, a WebSocket, and behind it one client's stream.

It is a hub of one node, the broker's own router: whoever connects reaches the devices of one site through it, as far
as access goes, and no other spoke.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from broker.engine.events import Refused as Denied
from broker.engine.rate import Rate, Rates
from broker.engine.sessions import Session
from broker.errors import CertificateError, FrameError, LimitError
from broker.listeners.authentication import Authenticator
from broker.listeners.bacnet_shares import DATAGRAMS_PER_SECOND
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.takeover import switching_protocols
from broker.listeners.tls import Consumer, TlsConnection
from broker.listeners.upgrade import Upgrade, UpgradeReader, refusal
from broker.listeners.websocket import CloseCode, FrameDecoder, Message, Opcode, encode_close, encode_frame
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason
from broker.wire.bacnet.sc_message import BROADCAST
from broker.wire.bacnet.sc_spoke import MAX_BVLC, Arrived, Event, HangUp, Hub, Refused, Send, Spoke, Spokes, Wanted
from broker.wire.bacnet.weight import weight_of_sc

LISTENER = "bacnet_sc"
HUB_PROTOCOL = "hub.bsc.bacnet.org"  # AB.7.1
DIRECT_PROTOCOL = "dc.bsc.bacnet.org"
UPGRADE_LATE, SUBPROTOCOL_MISSING, SC_TEXT = "upgrade_late", "subprotocol_missing", "sc_text"
_CODES = {
    EndReason.PEER_CLOSED: CloseCode.NORMAL,
    EndReason.TAKEN_OVER: CloseCode.NORMAL,
    EndReason.BROKER_STOPPED: CloseCode.GOING_AWAY,
    EndReason.FRAME_REFUSED: CloseCode.PROTOCOL,
    EndReason.LIMIT_EXCEEDED: CloseCode.TOO_BIG,
}


class Stream(Protocol):
    """What inspects the NPDUs of one spoke; how fast its messages may come is `rate`."""

    rate: Rates

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Those that are open."""

    def start(self, opened: Callable[[Denied | None], None]) -> None:
        """See whether there is any access; `opened` gets None, or why there is none."""

    def received(self, mac: bytes, npdu: bytes) -> None:
        """One NPDU of the spoke at that VMAC."""

    def lost(self, reason: EndReason = ..., detail: str = ...) -> None:
        """The spoke is gone."""


OpenStream = Callable[[Subject, str, str, Callable[[bytes, bytes], None], Callable[[EndReason], None]], Stream]
"""A stream for a subject at a site, from a peer; it reaches the spoke by `write(vmac, npdu)` and `close(reason)`."""


@dataclass(slots=True)
class Floor:
    """What every spoke of one listener shares. `site_of` says which site a TLS server name stands for."""

    authenticator: Authenticator
    open_stream: OpenStream
    frame_refusals: FrameRefusals
    refused: Callable[[str, str], None]
    site_of: Callable[[str | None], str]
    hub: Hub
    upgrade_seconds: float = 10.0
    spokes: Spokes = field(default_factory=Spokes)
    callers: dict[Spoke, "ScCaller"] = field(default_factory=dict)


class ScCaller:
    """One connection: a `Consumer` of its plaintext."""

    __slots__ = (
        "_connection",
        "_decoder",
        "_floor",
        "_gone",
        "_loop",
        "_rate",
        "_reader",
        "_reason",
        "_spoke",
        "_stream",
        "_subject",
        "_timer",
    )

    def __init__(self, floor: Floor, connection: TlsConnection, subject: Subject) -> None:
        self._floor = floor
        self._connection = connection
        self._subject = subject
        self._loop = asyncio.get_running_loop()
        self._reader: UpgradeReader | None = UpgradeReader()
        self._decoder = FrameDecoder(MAX_BVLC)
        self._spoke: Spoke | None = None
        self._stream: Stream | None = None
        self._rate: Rate | Rates = Rate(DATAGRAMS_PER_SECOND)
        self._reason: EndReason | None = None
        self._gone = False
        self._timer = self._loop.call_later(floor.upgrade_seconds, self._woken)

    # The connection's calls

    def received(self, data: memoryview) -> None:
        """Plaintext of the spoke."""
        octets = bytes(data)
        if self._reader is not None:
            octets = self._upgrade(self._reader, octets)
        if octets and not self._gone:
            self._take_frames(octets)

    def ended(self) -> None:
        """Without a closing handshake there is nobody to answer any more."""
        self._hang_up(EndReason.PEER_CLOSED)

    def congested(self) -> None:
        """The spoke does not read: take nothing more from it."""
        self._connection.pause_reading()

    def writable(self) -> None:
        """The spoke reads again."""
        self._connection.resume_reading()

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        limit = reason in {"slow_reader", "limit"}
        self._leave(EndReason.LIMIT_EXCEEDED if limit else EndReason.PEER_CLOSED, reason)

    # The stream's calls

    def write(self, mac: bytes, npdu: bytes) -> None:
        """Send an NPDU of the router to the spoke."""
        spoke = self._spoke
        if spoke is not None and mac in (BROADCAST, spoke.peer.vmac):
            self._perform(spoke.send(npdu, broadcast=mac == BROADCAST))

    def close(self, reason: EndReason) -> None:
        """Access has ended: disconnect in order, but soon."""
        self._reason = self._reason or reason
        if self._stream is not None:
            self._stream.lost(reason)
        if self._spoke is None:
            self._hang_up(reason)
            return
        self._perform(self._spoke.disconnect(self._loop.time()))
        self._arm()

    # Within

    def _upgrade(self, reader: UpgradeReader, octets: bytes) -> bytes:
        """Read the opening handshake; what came behind it."""
        try:
            upgrade = reader.receive(octets)
        except FrameError as error:
            self._refuse(error.code)
            return b""
        if upgrade is None:
            return b""
        protocol = self._protocol(upgrade)
        if not protocol:
            self._refuse(SUBPROTOCOL_MISSING)
            return b""
        self._reader = None
        self._connection.write_now(switching_protocols(upgrade.key, protocol))
        now, subject = self._loop.time(), f"{self._subject.organisation} {self._subject.id}"
        direct = protocol == DIRECT_PROTOCOL
        self._spoke = Spoke(self._floor.hub, self._floor.spokes, subject, now, direct=direct)
        self._floor.callers[self._spoke] = self
        self._arm()
        return upgrade.rest

    def _protocol(self, upgrade: Upgrade) -> str:
        """What is spoken (AB.7.1): direct connections only where they are accepted."""
        spoken = (HUB_PROTOCOL, DIRECT_PROTOCOL) if self._floor.hub.direct_uris else (HUB_PROTOCOL,)
        return next((protocol for protocol in upgrade.subprotocols if protocol in spoken), "")

    def _refuse(self, code: str) -> None:
        self._floor.refused(self._connection.peer, code)
        self._connection.write_now(refusal())
        self._leave(EndReason.FRAME_REFUSED)
        self._connection.close()

    def _take_frames(self, octets: bytes) -> None:
        try:
            for message in self._decoder.receive(octets):
                if self._gone:
                    return
                self._take(message)
        except LimitError as error:
            self._frame_refused(error.code)
            self._hang_up(EndReason.LIMIT_EXCEEDED)
        except FrameError as error:
            self._frame_refused(error.code)
            self._hang_up(EndReason.FRAME_REFUSED)

    def _take(self, message: Message) -> None:
        assert self._spoke is not None
        if message.opcode is Opcode.BINARY:
            now = self._loop.time()
            if self._rate.admits(now, weight_of_sc(message.payload)):
                self._perform(self._spoke.receive(message.payload, now))
        elif message.opcode is Opcode.PING:
            self._connection.write_now(encode_frame(Opcode.PONG, message.payload))
        elif message.opcode is Opcode.CLOSE:
            self._hang_up(EndReason.PEER_CLOSED)
        elif message.opcode is Opcode.TEXT:
            self._frame_refused(SC_TEXT)
            self._hang_up(EndReason.FRAME_REFUSED, CloseCode.UNSUPPORTED)  # AB.7.5.3: 1003 for what is not binary

    def _perform(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Send):
                self._connection.write_now(encode_frame(Opcode.BINARY, event.octets))
            elif isinstance(event, Arrived):
                self._arrived(event.npdu)
            elif isinstance(event, Wanted):
                self._wanted()
            elif isinstance(event, Refused):
                # Whom it was for is not looked at, and so it may be a request with a password in it.
                self._floor.frame_refusals.pdu(self._any_session(), None, event.code, event.octets, secret=True)
            elif isinstance(event, HangUp):
                self._hang_up(event.reason)

    def _arrived(self, npdu: bytes) -> None:
        assert self._spoke is not None
        if self._stream is not None:
            self._stream.received(self._spoke.peer.vmac, npdu)

    def _wanted(self) -> None:
        site = self._floor.site_of(self._connection.sni)
        self._stream = self._floor.open_stream(self._subject, site, self._connection.peer, self.write, self.close)
        self._rate = self._stream.rate
        self._stream.start(self._opened)

    def _opened(self, denied: Denied | None) -> None:
        spoke = self._spoke
        if spoke is None or self._gone:
            return
        if denied is not None:
            self._perform(spoke.refuse())
            return
        events, older = spoke.accept(self._loop.time())
        self._perform(events)
        if older is not None:
            self._floor.callers[older].close(EndReason.TAKEN_OVER)

    def _arm(self) -> None:
        """Be there when the spoke's time has come; an earlier call than needed does nothing but ask again."""
        if self._gone or self._spoke is None:
            return
        if self._timer.cancelled() or self._timer.when() > self._spoke.due:
            self._timer.cancel()
            self._timer = self._loop.call_at(self._spoke.due, self._woken)

    def _woken(self) -> None:
        if self._spoke is None:
            self._refuse(UPGRADE_LATE)
            return
        self._perform(self._spoke.tick(self._loop.time()))
        if not self._gone:
            self._timer = self._loop.call_at(self._spoke.due, self._woken)

    def _frame_refused(self, code: str) -> None:
        self._floor.frame_refusals.stream(self._any_session(), code)

    def _any_session(self) -> Session | None:
        return next(iter(self._stream.sessions), None) if self._stream is not None else None

    def _hang_up(self, reason: EndReason, code: CloseCode | None = None) -> None:
        """Close, with the first reason that there was."""
        if self._gone:
            return
        reason = self._reason or reason
        if self._spoke is not None:
            code = code or _CODES.get(reason, CloseCode.POLICY)
            self._connection.write_now(encode_close(code, reason.value))
        self._leave(reason)
        self._connection.close()

    def _leave(self, reason: EndReason, detail: str = "") -> None:
        if self._gone:
            return
        self._gone = True
        self._timer.cancel()
        if self._spoke is not None:
            self._spoke.lost()
            self._floor.callers.pop(self._spoke, None)
        if self._stream is not None:
            self._stream.lost(self._reason or reason, detail)


def established(floor: Floor, connection: TlsConnection) -> Consumer:
    """After the handshake: our own certificate and CRL check, then the caller. Raises CertificateError."""
    if connection.leaf is None:
        raise CertificateError("certificate_missing", "A client certificate is required (AB.7.4).")
    subject = floor.authenticator.certificate_subject(connection.leaf, connection.intermediates)
    return ScCaller(floor, connection, subject)
