"""Who a TLS connection works with: its consumer above, its listener beside."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Protocol

from broker.listeners.tls_context import HandshakeObject

if TYPE_CHECKING:
    from broker.listeners.tls_connection import TlsConnection


class Consumer(Protocol):
    """What reads the plaintext of one connection; an exception from it is a fault and ends the connection."""

    def received(self, data: memoryview) -> None:
        """Take plaintext; `data` is only valid during the call."""

    def ended(self) -> None:
        """The peer will send no more; writing is still possible for a while."""

    def writable(self) -> None:
        """The write buffer has drained below its mark."""

    def congested(self) -> None:
        """The write buffer is above its mark: produce no more, or the connection is cut."""

    def lost(self, reason: str) -> None:
        """The connection is gone; called once, the last call."""


class Host(Protocol):
    """What a connection needs of its listener; `behind` are the connections that wait for a turn to be read on."""

    behind: "set[TlsConnection]"
    ciphertext: memoryview
    plaintext_octets: bytearray
    plaintext: memoryview
    clock: float
    context: ssl.SSLContext
    write_high_water: int
    write_limit: int
    linger_seconds: float
    loop: asyncio.AbstractEventLoop

    def admit(self, connection: "TlsConnection") -> bool:
        """Count a new connection, or say no."""

    def prepare(self, tls: HandshakeObject) -> None:
        """Hang the listener's hooks on a new handshake."""

    def complete(self, connection: "TlsConnection") -> Consumer | None:
        """Find the consumer of a connection whose handshake is complete; None: refused."""

    def refuse(self, connection: "TlsConnection", code: str, detail: str) -> None:
        """Report a connection that was refused before it had a consumer."""

    def forget(self, connection: "TlsConnection") -> None:
        """Uncount a connection that is gone."""
