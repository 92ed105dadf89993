"""One TLS connection on memory buffers: alerts reach the peer, writes are batched, an idle peer costs little.

asyncio's and uvloop's own TLS close the socket before a fatal alert has left, and keep large buffers per connection.
"""

import asyncio
import contextlib
import ssl
from typing import Final, cast

from broker.errors import BrokerError
from broker.listeners.tls_context import ALERT_ACCESS_DENIED, HandshakeObject
from broker.listeners.tls_facts import handshake_code, intermediates, loss_reason, words
from broker.listeners.tls_roles import Consumer, Host

# After a handshake the hooks of its context are not wanted any more: they would run for every record.
_QUIET: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_QUIET.verify_mode = ssl.CERT_REQUIRED

_SHAKING: Final = 0
_OPEN: Final = 1
_CLOSING: Final = 2
_GONE: Final = 3

RECORD_OCTETS: Final = 16_384
MAXIMUM_BARREN_OCTETS: Final = 98_304  # in a row without plaintext: a handshake with a legal chain fits well
MAXIMUM_INTERMEDIATES: Final = 8
TURN_OCTETS: Final = 2_048  # in one turn of the loop, of all connections that are behind together
_READ_COST: Final = 64  # small reads cost as much as large ones
_LEAST_OCTETS: Final = 64  # however many are behind


class TlsConnection(asyncio.BufferedProtocol):
    """A server's side of one TLS connection over a stream transport of asyncio or uvloop.

    `peer` is "address:port"; `leaf` and `intermediates` are the certificates the peer presented (DER), of which OpenSSL
    has verified a path from the leaf; `version` is "TLSv1.2" or "TLSv1.3"; `heard` is the listener's clock at the last
    octet; `stalled` is for the listener's sweep.
    """

    __slots__ = (
        "_barren", "_consumer", "_corked", "_eof", "_flush_due", "_host", "_incoming", "_linger", "_outgoing",
        "_paused", "_pending", "_reason", "_state", "_tls", "_transport", "_unsent_finished", "congested", "ended",
        "heard", "intermediates", "leaf", "peer", "sni", "source", "stalled", "version",
    )  # fmt: skip

    def __init__(self, host: Host) -> None:
        self._host = host
        self._state = _SHAKING
        self._consumer: Consumer | None = None
        self._pending: list[bytes] = []
        self._barren = 0
        self._reason = ""
        self._linger: asyncio.TimerHandle | None = None
        self._corked = self._eof = self._flush_due = self._paused = self._unsent_finished = False
        self.congested = self.ended = False
        self.heard = host.clock
        self.stalled: tuple[float, int] | None = None
        self.peer = self.source = self.version = ""
        self.sni: str | None = None
        self.leaf: bytes | None = None
        self.intermediates: tuple[bytes, ...] = ()

    @property
    def tls(self) -> ssl.SSLObject:
        """The TLS state, for reading facts only."""
        return self._tls

    @property
    def context(self) -> ssl.SSLContext:
        """The listener's context."""
        return self._host.context

    @property
    def transport(self) -> asyncio.Transport:
        """The stream below, for reading facts only."""
        return self._transport

    @property
    def is_open(self) -> bool:
        """Whether the handshake is complete and neither side has closed in both directions."""
        return self._state == _OPEN

    @property
    def write_buffer_size(self) -> int:
        """Octets not yet taken by the operating system."""
        waiting = sum(map(len, self._pending))
        return waiting if self._state == _GONE else waiting + self._transport.get_write_buffer_size()

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, or hang up at once if the listener is full."""
        self._transport = cast(asyncio.Transport, transport)
        host = self._host
        address = transport.get_extra_info("peername")
        if address:
            self.source = address[0]
            self.peer = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
        if not address or not host.admit(self):
            self._state = _CLOSING
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=host.write_high_water)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = cast(HandshakeObject, host.context.wrap_bio(self._incoming, self._outgoing, server_side=True))
        host.prepare(self._tls)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """The buffer that all connections of the loop share."""
        return self._host.ciphertext

    def buffer_updated(self, count: int) -> None:
        """Take `count` octets of ciphertext."""
        state = self._state
        if state > _OPEN:
            return
        host = self._host
        self._incoming.write(host.ciphertext[:count])
        self._barren += count
        self.heard = host.clock
        if state == _OPEN:
            self._read()
        else:
            self._shake_hands()
        if self._barren > MAXIMUM_BARREN_OCTETS and self._state <= _OPEN:
            self._fail("tls_barren", "too many octets without plaintext")

    def eof_received(self) -> bool:
        """Half-close: the consumer may still answer what it has."""
        self._eof = True
        if self._state == _OPEN:
            self._peer_ended()
            return self._state == _OPEN
        if self._state == _SHAKING:
            self._fail("handshake_abandoned", "the peer left during the handshake")
        return False

    def pause_writing(self) -> None:
        """The transport's buffer is above its mark."""
        self.congested = True
        if self._consumer is not None:
            self._consumer.congested()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self.congested = False
        self.stalled = None
        if self._consumer is not None and self._state == _OPEN:
            self._consumer.writable()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the consumer, or report the refusal, and let go of everything."""
        if self._state <= _OPEN and self._consumer is None:
            lost = "handshake_fault" if loss_reason(error) == "fault" else "handshake_abandoned"
            self._host.refuse(self, lost, "the connection was lost during the handshake")
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self._state = _GONE
        self._pending.clear()
        self._host.forget(self)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.lost(self._reason or loss_reason(error))

    # The consumer's calls

    def write(self, data: bytes) -> None:
        """Send plaintext, together with everything else that is written in this turn of the loop."""
        if self._state != _OPEN or not data:
            return
        self._pending.append(data)
        if not self._corked and not self._flush_due:
            self._flush_due = True
            self._host.loop.call_soon(self._flush_later)

    def write_now(self, data: bytes) -> None:
        """Send plaintext at once: for replies that come one at a time. Those to one read still go together."""
        if self._state != _OPEN:
            return
        self._pending.append(data)
        if not self._corked:
            self.flush()

    def flush(self) -> None:
        """Hand what was written to the transport now rather than at the end of the turn."""
        if self._state != _OPEN:
            return
        pending = self._pending
        if pending:
            data = pending[0] if len(pending) == 1 else b"".join(pending)
            pending.clear()
            try:
                sent = self._tls.write(data)
                if sent < len(data):
                    self._encrypt_rest(memoryview(data)[sent:])
            except ssl.SSLError as error:
                self._fail("tls_fault", words(error))
                return
        self._send()

    def pause_reading(self) -> None:
        """Take no more from the peer until `resume_reading`."""
        self._paused = True
        if self._state == _OPEN and not self._eof:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from the peer again, first what had already arrived."""
        if not self._paused:
            return
        self._paused = False
        if self._state == _OPEN:
            self._host.loop.call_soon(self._read_on)

    def close(self, *, alert: int | None = None, reason: str = "closed") -> None:
        """Send what is pending and say goodbye, wait at most the linger time for the peer's end, then be gone.

        `alert` is sent as a fatal alert only where OpenSSL's state allows it: during `established` in TLS 1.2, when our
        Finished is not yet sent and alerts are still plain. Anywhere else the peer sees an orderly close_notify; in
        TLS 1.3 a certificate is refused with an alert by the listener's `examine`, within the handshake.
        """
        if self._state != _OPEN:
            return
        if alert is not None and self._unsent_finished:
            self._pending.clear()
            self._outgoing.read()
            self._outgoing.write(bytes((21, 3, 3, 0, 2, 2, alert)))
        else:
            self.flush()
            if self._state != _OPEN:
                return
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        self._reason = self._reason or reason
        self._hang_up()

    def abort(self, reason: str = "aborted") -> None:
        """Drop the connection at once."""
        if self._state < _GONE:
            if self._state == _SHAKING:
                self._host.refuse(self, reason, "cut by the listener")
            self._state = _CLOSING
            self._reason = self._reason or reason
            self._transport.abort()

    # Within

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return
        except ssl.SSLError as error:
            refusal = self._tls.refusal
            code, detail = (refusal.code, refusal.detail) if refusal else (handshake_code(error), words(error))
            self._fail(code, detail)
            return
        if self._note_facts():
            self._open()

    def _note_facts(self) -> bool:
        """Keep what the handshake proved; False if that is not acceptable after all."""
        tls = self._tls
        if tls.refusal or tls.session_reused:
            refusal = tls.refusal or BrokerError("session_resumed", "")
            self._fail(refusal.code, refusal.detail)
            return False
        self.version = tls.version() or ""
        self.sni = tls.sni
        self.leaf = tls.getpeercert(True)
        self.intermediates = intermediates(tls) if self.leaf else ()
        tls.context = _QUIET
        tls.examine = tls.select = None
        return True

    def _open(self) -> None:
        self._state = _OPEN
        self._unsent_finished = self.version == "TLSv1.2"
        self._corked = True
        if len(self.intermediates) > MAXIMUM_INTERMEDIATES:
            self._host.refuse(self, "chain_too_long", "more certificates than are looked at")
            consumer = None
        else:
            consumer = self._host.complete(self)
        if consumer is None:
            self.close(alert=ALERT_ACCESS_DENIED)
            return
        self._consumer = consumer
        self._unsent_finished = False
        self._read()

    def _read(self) -> None:
        """Decrypt and hand over what is due in one turn, then send all that was written meanwhile.

        Of a record as well: the largest holds more than a thousand of the smallest messages.
        """
        incoming, host = self._incoming, self._host
        left = max(_LEAST_OCTETS, TURN_OCTETS // (1 + len(host.behind))) if host.behind else TURN_OCTETS
        read, received = self._tls.read, self._consumer.received  # type: ignore[union-attr]
        self._corked = True
        try:
            while self._state == _OPEN and not self._paused:
                count: int = read(left, host.plaintext_octets)  # type: ignore[assignment]
                if not count:
                    self._peer_ended()
                    break
                self._barren = 0
                received(host.plaintext[:count])
                # OpenSSL keeps nothing back when the buffer takes a whole record: spare the want-read exception.
                if count < left and not incoming.pending:
                    break
                left -= count + _READ_COST
                if left <= 0:
                    self._read_later()
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._peer_ended()
        except ssl.SSLError as error:
            self._fail("tls_fault", words(error))
            return
        finally:
            self._corked = False
        if self._pending or self._outgoing.pending:
            self.flush()

    def _read_later(self) -> None:
        """Let the others of the loop come first: whoever sends without pause would keep them all waiting."""
        if self._paused or self._state != _OPEN:
            return
        self._host.behind.add(self)
        if not self._eof:
            self._transport.pause_reading()
        self._host.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._host.behind.discard(self)
        if self._paused or self._state != _OPEN:
            return
        if not self._eof:
            self._transport.resume_reading()
        self._read()

    def _peer_ended(self) -> None:
        if not self.ended:
            self.ended = True
            self._reason = self._reason or "peer_closed"
            self._consumer.ended()  # type: ignore[union-attr]

    def _flush_later(self) -> None:
        self._flush_due = False
        self.flush()

    def _encrypt_rest(self, rest: memoryview) -> None:
        while rest:
            rest = rest[self._tls.write(rest) :]

    def _send(self) -> None:
        records = self._outgoing.read()
        if not records:
            return
        was_congested = self.congested
        self._transport.write(records)
        # One large answer may pass the limit, answers upon answers that nobody reads may not.
        if was_congested and self._transport.get_write_buffer_size() > self._host.write_limit:
            self.abort("slow_reader")

    def _fail(self, code: str, detail: str) -> None:
        """Send the alert that OpenSSL has prepared, if any, and close."""
        if self._consumer is None:
            self._host.refuse(self, code, detail)
        self._reason = self._reason or code
        self._hang_up()

    def _hang_up(self) -> None:
        """Close our side and drain the peer's: an early close would reset the connection and lose the last record."""
        self._state = _CLOSING
        self._pending.clear()
        transport = self._transport
        self._send()
        if transport.is_closing():
            return
        self._linger = self._host.loop.call_later(self._host.linger_seconds, transport.abort)
        if self._eof:
            transport.close()
            return
        if self._paused:
            transport.resume_reading()
        try:
            transport.write_eof()
        except OSError:
            transport.abort()
