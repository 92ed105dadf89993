"""HTTP on the TLS layer of our own: aiohttp's request handler, with limits, and refusals that show nothing of us.

It knows nothing of routes: `handle` answers every request, and `left` learns of every connection that is gone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

log = logging.getLogger(__name__)
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
KEEPALIVE_SECONDS = 75.0
HEAD_SECONDS = 15.0
LINGER_SECONDS = 2.0
MAX_LINE = 8190
MAX_HEADERS = 64
READ_OCTETS = 16_384


class HttpConnection(web.RequestHandler):
    """One HTTP connection. A request's head must be complete within a time of its first octet.

    aiohttp has no such limit and no hook for it: `_request_count` and `_current_request` are its own, see the tests.
    """

    __slots__ = ("_head_timer", "_hosted")

    def __init__(self, hosted: "HttpsListener", server: web.Server, **limits: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._hosted = hosted
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take octets; those of an unfinished head start the clock."""
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self._head_done()
        elif data and self._current_request is None and self._head_timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection and tell who has left."""
        self._head_done()
        super().connection_lost(exc)
        self._hosted.left(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read, or a bug of ours, in the API's own form and without the parser's words."""
        if isinstance(exc, ConnectionResetError):
            log.info("a caller left before the answer")
        elif status >= 500:
            log.error("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was already begun")
        response = self._hosted.refuse(status)
        response.force_close()
        return response

    def _wait_for_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._too_slow)

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self.force_close()


class HttpsListener:
    """Makes the protocol for each connection: pass `protocol` to `tls_transport.protocol_established`."""

    def __init__(
        self,
        handle: Handle,
        refuse: Callable[[int], web.StreamResponse],
        left: Callable[[object], None],
        keep_alive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self.refuse = refuse
        self.left = left
        self._server = web.Server(handle)
        self._limits: dict[str, Any] = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": keep_alive_seconds,
            "lingering_time": LINGER_SECONDS,
            "max_field_size": MAX_LINE,
            "max_headers": MAX_HEADERS,
            "max_line_size": MAX_LINE,
            "read_bufsize": READ_OCTETS,
            "tcp_keepalive": False,
        }

    def protocol(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return HttpConnection(self, self._server, **self._limits)

    @property
    def connections(self) -> int:
        """How many HTTP connections there are; tunnels have left them."""
        return len(self._server.connections)

    async def close(self, seconds: float) -> None:
        """Let answers that are being made be given, at most that long, then close every connection."""
        self._server.pre_shutdown()
        await self._server.shutdown(seconds)
