"""RTU frames with checksum in a TCP stream, as serial device servers carry them."""

import asyncio
from typing import cast

from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.lane import Link
from broker.adapters.modbus_line import RtuLink

_SILENCE_SECONDS = 0.02
"""A device server passes octets on in bursts, so its line counts as silent later than the serial line behind it."""


class RtuOverTcpLink(RtuLink, asyncio.Protocol):
    """One connection to a serial device server; after a timeout it is kept and drained, because a late reply would come
    through a new connection just the same.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint, _SILENCE_SECONDS)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)
        self.started()

    def data_received(self, data: bytes) -> None:
        """Octets came in."""
        self.received(data)

    def eof_received(self) -> bool:
        """The device server closes."""
        self.lost_line("connection_lost")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whomever."""
        self.lost_line("connection_lost")

    def write(self, octets: bytes) -> None:
        """Hand the octets to the connection."""
        assert self._transport is not None
        self._transport.write(octets)

    def disconnect(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def rtu_over_tcp_opener(host: str, port: int) -> OpenLink:
    """What opens connections to this place."""

    async def open_link(endpoint: Endpoint) -> Link:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(lambda: RtuOverTcpLink(endpoint), host, port)
        return link

    return open_link
