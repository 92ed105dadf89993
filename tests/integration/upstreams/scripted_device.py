"""A Modbus/TCP device that answers what a test tells it to, and notes every frame it was sent."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.end_to_end.modbus_caller import frame

_WRITES = (5, 6, 15, 16, 21, 22, 23)


class Seen(NamedTuple):
    transaction: int
    unit: int
    pdu: bytes
    connection: int
    at: float


def good_reply(pdu: bytes) -> bytes:
    """What a device without faults answers: registers that hold 0x1234, echoes."""
    if pdu[0] in (3, 4):
        count = int.from_bytes(pdu[3:5], "big")
        return bytes((pdu[0], 2 * count)) + b"\x12\x34" * count
    return pdu[:5]


Script = Callable[[asyncio.StreamWriter, Seen], Awaitable[None]]


async def honest(writer: asyncio.StreamWriter, seen: Seen) -> None:
    writer.write(frame(good_reply(seen.pdu), seen.transaction, seen.unit))


@dataclass
class ScriptedDevice:
    """`script` is called for each request; `connections` counts those accepted, `open` those there now."""

    script: Script = honest
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def writes_seen(self) -> int:
        return sum(seen.pdu[0] in _WRITES for seen in self.seen)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        number = self.connections
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await reader.readexactly(7)
                body = await reader.readexactly(int.from_bytes(header[4:6], "big") - 1)
                at = time.monotonic()
                seen = Seen(int.from_bytes(header[:2], "big"), header[6], body, number, at)
                self.seen.append(seen)
                self.arrived.set()
                await self.script(writer, seen)
        self.open -= 1
        self.closed.set()
        writer.close()


@asynccontextmanager
async def scripted(script: Script = honest) -> AsyncIterator[ScriptedDevice]:
    device = ScriptedDevice(script)
    server = await asyncio.start_server(device.serve, "127.0.0.1", 0)
    device.port = server.sockets[0].getsockname()[1]
    try:
        yield device
    finally:
        server.close()
        for writer in device.writers:
            writer.close()
