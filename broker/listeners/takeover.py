"""Takes a connection away from aiohttp: no task, no parser and no request stay behind."""

import asyncio
from typing import Any, cast

from aiohttp import web

from broker.listeners.websocket import accept_key


class Takeover(web.StreamResponse):
    """What a handler returns after it gave the connection away: nothing is sent."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the answer was written by whoever took over."""

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Nothing."""


class _Early:
    """Gathers what the caller sent behind its handshake, in the place where aiohttp puts a WebSocket's reader."""

    def __init__(self) -> None:
        self.octets = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take octets."""
        self.octets += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more comes this way."""


def take_over(request: web.BaseRequest, transport: asyncio.Transport, protocol: asyncio.Protocol) -> bytes:
    """Put a protocol in the place of aiohttp's, which is told that its connection is gone; what had come already."""
    early = _Early()
    http = request.protocol
    http.set_parser(cast(Any, early))
    transport.set_protocol(protocol)
    http.transport = None
    http.connection_lost(None)
    return early.octets


def transport_of(request: web.BaseRequest) -> asyncio.Transport:
    """The transport of a caller who is still there. Raises ConnectionResetError."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the caller has left")
    return transport


def switching_protocols(key: str, subprotocol: str) -> bytes:
    """The answer to a proper WebSocket handshake (RFC 6455, 4.2.2)."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    ).encode()
