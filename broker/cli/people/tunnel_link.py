"""One open tunnel to the broker: control messages in words, fresh tokens, and why it ended."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from broker.cli.people.exits import Document
from broker.cli.people.safe_text import decode_document

Tell = Callable[[Document], None]


@dataclass(slots=True)
class Ending:
    """Why a tunnel is over. `by_master`: the program on this side went away."""

    reason: str
    text: str = ""
    by_master: bool = False


@dataclass(slots=True)
class TunnelLink:
    """An open tunnel; `tell` is called with every event. What its binary messages are is for those that follow it."""

    socket: aiohttp.ClientWebSocketResponse
    tell: Tell
    denials: int = 0
    renewed: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: Ending | None = None

    async def incoming(self) -> Ending:
        """Pass on what the broker sends until the tunnel is over; the true reason."""
        while True:
            try:
                message = await self.socket.receive()
            except TimeoutError:
                return self._ending or Ending("connection_lost", "The broker has fallen silent.")
            if message.type is aiohttp.WSMsgType.BINARY:
                await self.take(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._control(message.data)
            else:
                return self._ending or _closed(self.socket)

    async def take(self, octets: bytes) -> None:
        """Pass on one binary message."""
        raise NotImplementedError

    def counts(self) -> Document:
        """What passed."""
        raise NotImplementedError

    async def renew(self, raw_token: str) -> None:
        """Send a fresh token."""
        with suppress(ConnectionError):
            await self.socket.send_str(_renewal(raw_token))

    async def close(self) -> None:
        """Say goodbye and leave."""
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            await self.socket.close()

    def denied(self, told: Document) -> None:
        """The broker denied something."""
        self.denials += 1
        self.tell(told)

    def failed(self, told: Document) -> None:
        """What the broker allowed came to nothing, or nobody knows what."""
        self.tell(told)

    def _control(self, text: str) -> None:
        try:
            told = decode_document(text)
        except ValueError:
            return
        if not isinstance(told, dict):
            return
        kind = told.get("type")
        if kind in {"denied", "failed"}:
            (self.denied if kind == "denied" else self.failed)(told)
            return
        if kind == "ending" and "device" not in told:
            self._ending = Ending(str(told.get("reason", "")), str(told.get("text", "")))
        elif kind == "renewed":
            self.renewed.set()
        self.tell(told)


def _closed(socket: aiohttp.ClientWebSocketResponse) -> Ending:
    """The end of a tunnel whose reason was not told."""
    code = socket.close_code
    if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
        return Ending("connection_lost", "The connection to the broker was lost.")
    return Ending("closed", f"The broker closed the tunnel (WebSocket code {code}).")


def _renewal(raw_token: str) -> str:
    import json

    return json.dumps({"type": "renew", "token": raw_token})
