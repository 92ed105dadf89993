"""A tunnel by aiohttp's WebSocket client, in a thread of its own, for tests that wait for its end."""

import asyncio
import json
import threading
import time
from collections.abc import Coroutine
from typing import Any

import aiohttp

from tests.end_to_end.development import Development, Persona, until
from tests.end_to_end.modbus_caller import frame

PROTOCOL = "otb.modbus.v1"


class TunnelCaller:
    """One open tunnel. `told` are the control messages so far; `closed_at` is the monotonic time of its end."""

    def __init__(self, development: Development, who: str | Persona, device: str, token: str | None = "") -> None:
        self.told: list[dict[str, Any]] = []
        self.closed_at = 0.0
        self.close_code = 0
        self._received = b""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        url = f"{development.facts['api']}/v1/devices/{device}/tunnel"
        headers = {} if token is None else {"Authorization": f"Bearer {token or development.token(str(who))}"}
        self._run(self._open(url, headers, development.tls(who)))
        self._listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)

    def __enter__(self) -> "TunnelCaller":
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        self.send(frame(pdu, 7, unit))
        until(lambda: len(self._received) >= 8 and len(self._received) >= 6 + self._received[5])
        end = 6 + self._received[5]
        reply, self._received = self._received[:end], self._received[end:]
        assert reply[:2] == b"\x00\x07"
        return reply[7:]

    def send(self, octets: bytes) -> None:
        self._run(self._socket.send_bytes(octets))

    def control(self, **members: str) -> None:
        self._run(self._socket.send_str(json.dumps(members)))

    def tells(self, kind: str, seconds: float = 5.0) -> dict[str, Any]:
        """The newest control message of that type, waited for."""
        return until(lambda: [told for told in self.told if told["type"] == kind], seconds, f"no {kind}: {self.told}")[
            -1
        ]

    def ended(self, seconds: float = 10.0) -> float:
        """When it was closed."""
        until(lambda: self.closed_at, seconds, "the tunnel is still open")
        return self.closed_at

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self, url: str, headers: dict[str, str], context: Any) -> None:
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        try:
            self._socket = await self._client.ws_connect(url, protocols=[PROTOCOL], headers=headers)
        except BaseException:
            await self._client.close()
            raise
        assert self._socket.protocol == PROTOCOL

    async def _listen(self) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self._received += message.data
            elif message.type is aiohttp.WSMsgType.TEXT:
                self.told.append(json.loads(message.data))
        self.close_code = self._socket.close_code or 0
        self.closed_at = time.monotonic()
