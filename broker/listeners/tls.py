"""The TLS listener: accepts, limits and times connections; what happens on one of them is in `tls_connection`.

Every limit is explicit. Refusals by a connection limit are counted and reported once a second for each source, so that
a flood costs the callee nothing; the others are reported as they happen.
"""

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from broker.errors import BrokerError
from broker.identity.source import source_of
from broker.listeners.tls_connection import RECORD_OCTETS, TlsConnection
from broker.listeners.tls_context import (
    Examine,
    HandshakeObject,
    SelectContext,
    ServerContext,
    certificate_error_alert,
    server_context,
)
from broker.listeners.tls_roles import Consumer

__all__ = ["Consumer", "TlsConnection", "TlsListener", "certificate_error_alert", "server_context"]

CIPHERTEXT_OCTETS: Final = 65_536
_SWEEP_SECONDS: Final = 1.0
_BACKLOG: Final = 1024
_FLOOD_SOURCES: Final = 256
# A dead peer is noticed by the kernel within two minutes, whatever the idle limit is.
_KEEPALIVE: Final = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)) + (
    ((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15))
    if hasattr(socket, "TCP_KEEPIDLE")
    else ()
)


class SharedBuffers(threading.local):
    """Of one event loop, that is, of one thread: receive buffers, since every read is consumed before the next one
    begins, and the connections of which something that has arrived waits for its turn.
    """

    def __init__(self) -> None:
        self.ciphertext = memoryview(bytearray(CIPHERTEXT_OCTETS))
        self.plaintext_octets = bytearray(RECORD_OCTETS)
        self.plaintext = memoryview(self.plaintext_octets)
        self.behind: set[TlsConnection] = set()


_BUFFERS: Final = SharedBuffers()


class TlsListener:
    """Serves TLS on one address and hands complete connections to `established`.

    `established` is called after a complete handshake (in TLS 1.3 the client's certificate and Finished included). It
    returns the connection's consumer; None after having closed it; or it raises BrokerError, which refuses.
    `examine(leaf, intermediates)` (DER), if given, is called within a TLS 1.3 handshake with certificates that are not
    yet verified and whose key is not yet proven; if it raises BrokerError, OpenSSL refuses with unknown_ca or
    bad_certificate. It only serves the alert: `established` must check again.
    `select_context(name)` may choose another context for a server name (None: keep it; it must ask for client
    certificates as this one does), or raise BrokerError: unrecognized_name.
    `refused(peer, code, detail)`: for connection limits `peer` is the address alone and `detail` has the count.

    `context` may be replaced at any time (new anchors); handshakes from then on use it.
    """

    def __init__(
        self,
        context: ServerContext,
        *,
        established: Callable[[TlsConnection], Consumer | None],
        refused: Callable[[str, str, str], None],
        handshake_seconds: float = 10.0,
        max_connections: int = 4096,
        max_handshakes: int = 256,
        max_connections_per_peer: int = 1024,
        write_high_water: int = 65_536,
        write_limit: int = 1_048_576,
        idle_seconds: float = 600.0,
        half_closed_seconds: float = 30.0,
        stalled_seconds: float = 30.0,
        linger_seconds: float = 1.0,
        select_context: SelectContext | None = None,
        examine: Examine | None = None,
    ) -> None:
        self.context: ssl.SSLContext = context
        self.write_high_water = write_high_water
        self.write_limit = write_limit
        self.linger_seconds = linger_seconds
        self.clock = 0.0
        self.behind = _BUFFERS.behind
        self.ciphertext = _BUFFERS.ciphertext
        self.plaintext = _BUFFERS.plaintext
        self.plaintext_octets = _BUFFERS.plaintext_octets
        self.accepted = 0
        self.refusals: Counter[str] = Counter()
        self._established = established
        self._refused = refused
        self._handshake_seconds = handshake_seconds
        self._max_connections = max_connections
        self._max_handshakes = max_handshakes
        self._max_connections_per_peer = max_connections_per_peer
        self._idle_seconds = idle_seconds
        self._half_closed_seconds = min(half_closed_seconds, idle_seconds)
        self._stalled_seconds = stalled_seconds
        self._select_context = select_context
        self._examine = examine
        self._connections: set[TlsConnection] = set()
        self._handshakes: dict[TlsConnection, float] = {}
        self._sources: Counter[str] = Counter()
        self._floods: Counter[tuple[str, str]] = Counter()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_due = 0.0

    @property
    def connections(self) -> int:
        """Connections that are not gone, unfinished handshakes and lingering ones included."""
        return len(self._connections)

    @property
    def handshakes(self) -> int:
        """Handshakes under way."""
        return len(self._handshakes)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen on a literal address; the address and port that were bound. Raises OSError."""
        self.loop = asyncio.get_running_loop()
        self.ciphertext, self.plaintext = _BUFFERS.ciphertext, _BUFFERS.plaintext
        self.plaintext_octets = _BUFFERS.plaintext_octets
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        for option in _KEEPALIVE:
            bound.setsockopt(*option)
        bound.setblocking(False)
        address = bound.getsockname()
        self._server = await self.loop.create_server(self._protocol, sock=bound, backlog=_BACKLOG)
        if self._timer is None:
            self._tick()
        return address[0], address[1]

    async def stop(self) -> None:
        """Accept no more; connections go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await asyncio.sleep(0)

    def close_all(self) -> None:
        """Close every connection in order, unfinished handshakes at once."""
        for connection in tuple(self._connections):
            if connection in self._handshakes:
                connection.abort("listener_closed")
            else:
                connection.close()

    # The connections' calls (`tls_roles.Host`)

    def admit(self, connection: TlsConnection) -> bool:
        """Count a new connection within the limits; the oldest unfinished handshake makes room for a new one."""
        source = connection.source = source_of(connection.source)
        if len(self._connections) >= self._max_connections:
            return self._turn_away(source, "too_many_connections")
        if self._sources[source] >= self._max_connections_per_peer:
            return self._turn_away(source, "too_many_connections_of_peer")
        if len(self._handshakes) >= self._max_handshakes:
            next(iter(self._handshakes)).abort("too_many_handshakes")
        self.accepted += 1
        self._sources[source] += 1
        self._connections.add(connection)
        self._handshakes[connection] = self.loop.time() + self._handshake_seconds
        return True

    def prepare(self, tls: HandshakeObject) -> None:
        """Hang the hooks on a new handshake."""
        tls.select = self._select_context
        tls.examine = self._examine

    def complete(self, connection: TlsConnection) -> Consumer | None:
        """Ask `established` for the consumer."""
        self._handshakes.pop(connection, None)
        try:
            return self._established(connection)
        except BrokerError as error:
            self.refuse(connection, error.code, error.detail)
            connection.close(alert=certificate_error_alert(error.code))
            return None

    def refuse(self, connection: TlsConnection, code: str, detail: str) -> None:
        """Count and report a refusal."""
        self._handshakes.pop(connection, None)
        self.refusals[code] += 1
        self._refused(connection.peer, code, detail)

    def forget(self, connection: TlsConnection) -> None:
        """Uncount a connection that is gone."""
        self.behind.discard(connection)
        self._handshakes.pop(connection, None)
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._sources[connection.source] -= 1
        if not self._sources[connection.source]:
            del self._sources[connection.source]

    # Within

    def _protocol(self) -> TlsConnection:
        return TlsConnection(self)

    def _turn_away(self, source: str, code: str) -> bool:
        self.refusals[code] += 1
        known = len(self._floods) < _FLOOD_SOURCES or (source, code) in self._floods
        self._floods[source if known else "others", code] += 1
        return False

    def _tick(self) -> None:
        self.clock = now = self.loop.time()
        self._expire_handshakes(now)
        if now >= self._sweep_due:
            self._sweep_due = now + _SWEEP_SECONDS
            self._report_floods()
            for connection in tuple(self._connections):
                self._sweep(connection, now)
        if self._server is None and not self._connections:
            self._timer = None
            return
        self._timer = self.loop.call_later(min(_SWEEP_SECONDS, self._handshake_seconds / 4), self._tick)

    def _expire_handshakes(self, now: float) -> None:
        """The dictionary is in the order of deadlines."""
        while self._handshakes:
            connection, deadline = next(iter(self._handshakes.items()))
            if deadline > now:
                return
            self._handshakes.pop(connection)
            connection.abort("handshake_late")

    def _report_floods(self) -> None:
        floods, self._floods = self._floods, Counter()
        for (source, code), count in floods.items():
            self._refused(source, code, f"{count} connections")

    def _sweep(self, connection: TlsConnection, now: float) -> None:
        """Close what is silent for too long, drop what does not read."""
        if not connection.is_open:
            return
        if connection.congested and self._is_stalled(connection, now):
            connection.abort("slow_reader")
            return
        silence = now - connection.heard
        if silence > (self._half_closed_seconds if connection.ended else self._idle_seconds):
            connection.close(reason="idle")

    def _is_stalled(self, connection: TlsConnection, now: float) -> bool:
        waiting = connection.write_buffer_size
        stalled = connection.stalled
        if stalled is None or waiting < stalled[1]:
            connection.stalled = (now, waiting)
            return False
        return now - stalled[0] > self._stalled_seconds
