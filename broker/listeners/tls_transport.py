"""Runs an ordinary asyncio protocol (aiohttp's request handler) on the TLS layer of our own."""

import asyncio
from collections.abc import Callable
from typing import Any

from broker.listeners.tls_connection import TlsConnection
from broker.listeners.tls_roles import Consumer


class TlsTransport(asyncio.Transport):
    """The transport that the protocol sees, and the consumer that the connection sees.

    Differences to asyncio's own: `close` says goodbye and lingers for a second at most before `connection_lost`, and
    `get_extra_info("tls_connection")` gives the connection with its certificates. `loop.sendfile` is not supported.
    """

    __slots__ = ("_connection", "_protocol", "_reading")

    def __init__(self, connection: TlsConnection, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._connection = connection
        self._protocol = protocol
        self._reading = True

    # The connection's calls

    def received(self, data: memoryview) -> None:
        """Hand plaintext on; asyncio's protocols may keep it, so it is copied."""
        self._protocol.data_received(bytes(data))

    def ended(self) -> None:
        """As asyncio does: unless the protocol wants to go on writing, close."""
        if not self._protocol.eof_received():
            self.close()

    def writable(self) -> None:
        """Let the protocol write again."""
        self._protocol.resume_writing()

    def congested(self) -> None:
        """Ask the protocol to stop writing."""
        self._protocol.pause_writing()

    def lost(self, reason: str) -> None:
        """Tell the protocol, with an error if the connection did not end in order."""
        in_order = reason in ("peer_closed", "closed", "idle", "aborted")
        self._protocol.connection_lost(None if in_order else ConnectionAbortedError(reason))

    # The protocol's calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The names that asyncio's TLS transport knows, and `tls_connection`."""
        if name == "tls_connection":
            return self._connection
        if name in ("ssl_object", "sslcontext", "peercert"):
            return self._tls_info(name, default)
        return self._connection.transport.get_extra_info(name, default)

    def _tls_info(self, name: str, default: Any) -> Any:
        if name == "sslcontext":
            return self._connection.context
        if not self._connection.is_open:
            return default
        tls = self._connection.tls
        return tls if name == "ssl_object" else tls.getpeercert()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol."""
        self._protocol = protocol  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that is served."""
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send plaintext at the end of this turn of the loop."""
        self._connection.write(data if type(data) is bytes else bytes(data))

    def can_write_eof(self) -> bool:
        """No: closing is for both directions, as with asyncio's TLS."""
        return False

    def close(self) -> None:
        """Send what is pending and close."""
        self._connection.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._connection.abort()

    def is_closing(self) -> bool:
        """Whether it is closing or gone."""
        return not self._connection.is_open

    def is_reading(self) -> bool:
        """Whether the protocol takes data."""
        return self._reading and self._connection.is_open

    def pause_reading(self) -> None:
        """Take no more from the peer for now."""
        self._reading = False
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Take from the peer again."""
        self._reading = True
        self._connection.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Marks for `pause_writing` and `resume_writing`, in octets of ciphertext."""
        self._connection.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The marks (low, high)."""
        return self._connection.transport.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Octets not yet taken by the operating system."""
        return self._connection.write_buffer_size


def protocol_consumer(connection: TlsConnection, protocol: asyncio.Protocol) -> Consumer:
    """Serve a connection by an asyncio protocol; to be called within `established`."""
    transport = TlsTransport(connection, protocol)
    protocol.connection_made(transport)
    return transport


def protocol_established(factory: Callable[[], asyncio.Protocol]) -> Callable[[TlsConnection], Consumer]:
    """An `established` for `TlsListener`: a new protocol for each connection (aiohttp: `AppRunner.server`)."""
    return lambda connection: protocol_consumer(connection, factory())
