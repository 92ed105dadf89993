"""Whatever a BACnet/SC hub does, the connection to it is kept up, and no hub is dialled in a tight loop."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from broker.adapters import bacnet_sc_port
from broker.adapters.bacnet_peers import Whereabouts
from broker.adapters.bacnet_sc_port import BacnetScPort
from broker.adapters.clock import SystemClock
from broker.listeners.takeover import switching_protocols
from broker.listeners.upgrade import UpgradeReader
from broker.listeners.websocket import FrameDecoder, Opcode, encode_frame
from broker.wire.bacnet.sc import decode_sc, encode_npdu_message, encode_sc
from broker.wire.bacnet.sc_message import Function, ScMessage
from broker.wire.bacnet.sc_payloads import Connect, encode_connect
from tests.contract.sc_field import field_pki, identity
from tests.integration.bacnet_sc.hub_stage import HUB

PKI = field_pki()
Story = Callable[[asyncio.StreamWriter], Awaitable[None]]


class RoughHub:
    """Lets the broker in, and then does what the test says with the connection."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.accepted: list[float] = []
        self.arrival = asyncio.Event()
        self.failures: list[dict[str, object]] = []
        self.connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections[writer] = asyncio.current_task()
        upgrade = UpgradeReader().receive(await reader.readuntil(b"\r\n\r\n"))
        assert upgrade is not None
        writer.write(switching_protocols(upgrade.key, bacnet_sc_port.HUB_PROTOCOL))
        decoder = FrameDecoder(bacnet_sc_port.MAX_BVLC)
        while not (messages := decoder.receive(await reader.read(4096))):
            pass
        accept = encode_connect(Connect(HUB.vmac, HUB.uuid, 1600, 1497))
        self.accepted.append(asyncio.get_running_loop().time())
        say(writer, encode_sc(ScMessage(Function.CONNECT_ACCEPT, decode_sc(messages[0].payload).id, accept)))
        self.arrival.set()
        with contextlib.suppress(OSError):
            await self.story(writer)
        writer.close()

    async def close(self) -> None:
        for writer in self.connections:
            writer.transport.abort()
        await asyncio.gather(*(task for task in self.connections.values() if task), return_exceptions=True)

    async def until(self, connections: int) -> None:
        async with asyncio.timeout(20):
            while len(self.accepted) < connections:
                self.arrival.clear()
                await self.arrival.wait()


def say(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(encode_frame(Opcode.BINARY, message))


@asynccontextmanager
async def rough_hub(
    story: Story, kind: type[BacnetScPort] = BacnetScPort, made: type[RoughHub] = RoughHub, **times: float
) -> AsyncIterator[tuple[RoughHub, BacnetScPort]]:
    """A hub and the broker's connection to it; no callback may have failed by the end."""
    hub = made(story)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PKI.server.certificate, PKI.server.key)
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    place.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(hub.serve, sock=place, ssl=context)
    own = kind(SystemClock(), (f"wss://localhost:{place.getsockname()[1]}/",), identity(PKI, **times))
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: hub.failures.append(context))
    own.open()
    try:
        yield hub, own
    finally:
        async with asyncio.timeout(20):
            await own.close()
            await hub.close()
        server.close()
        await asyncio.sleep(0)
        assert not hub.failures, hub.failures


async def leave_in_one_go(writer: asyncio.StreamWriter) -> None:
    """The broker reads the request and the end together; nobody is there for its acknowledgement."""
    say(writer, encode_sc(ScMessage(Function.DISCONNECT_REQUEST, 9)))


async def drop(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def never_read(writer: asyncio.StreamWriter) -> None:
    """What arrives is left where it is once the reader's buffer is full."""
    await writer.wait_closed()


def test_a_hub_that_says_goodbye_and_is_gone_is_connected_to_again() -> None:
    async def play() -> None:
        async with rough_hub(leave_in_one_go) as (hub, _):
            await hub.until(2)

    asyncio.run(play())


def test_a_hub_that_does_not_read_is_given_up_and_connected_to_again() -> None:
    async def play() -> None:
        async with rough_hub(never_read, heartbeat_seconds=0.5) as (hub, port):
            await port.ready()
            peer = port.peer(Whereabouts(HUB.vmac))
            while len(hub.accepted) < 2:
                while len(hub.accepted) < 2 and port.send(peer, bytes(1400), expecting_reply=False):
                    await asyncio.sleep(0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(hub.arrival.wait(), 0.05)
                hub.arrival.clear()

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await play()

    asyncio.run(bounded())


def test_a_fault_of_our_own_with_what_a_hub_sends_ends_one_connection_only() -> None:
    class Faulty(BacnetScPort):
        def arrived(self, origin: bytes, octets: bytes, broadcast: bool) -> None:
            raise RuntimeError("a fault")

    async def send_something(writer: asyncio.StreamWriter) -> None:
        say(writer, encode_npdu_message(7, bytes.fromhex("01001008"), origin=HUB.vmac))
        await writer.wait_closed()

    async def play() -> None:
        async with rough_hub(send_something, Faulty) as (hub, _):
            await hub.until(2)

    asyncio.run(play())


def test_a_hub_that_lets_us_in_and_drops_us_is_dialled_more_and_more_slowly() -> None:
    async def play() -> None:
        async with rough_hub(drop) as (hub, _):
            await hub.until(3)
            first, second = (later - earlier for earlier, later in pairwise(hub.accepted[:3]))
            assert first >= 0.5
            assert second >= 1.0

    asyncio.run(play())


def test_after_a_connection_that_lasted_the_pause_is_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bacnet_sc_port, "_LASTED_SECONDS", 0.0)

    async def play() -> None:
        async with rough_hub(drop, reconnect_seconds=0.01) as (hub, _):
            await hub.until(15)  # pauses that grew would take minutes

    asyncio.run(play())


def test_the_least_pause_is_that_of_the_settings() -> None:
    async def play() -> None:
        async with rough_hub(drop, reconnect_seconds=2.0) as (hub, _):
            await hub.until(2)
            first, second = hub.accepted[:2]
            assert second - first >= 2.0

    asyncio.run(play())


def test_a_hub_that_speaks_in_text_is_left_with_the_code_for_that() -> None:
    closed: list[bytes] = []

    class Listening(RoughHub):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.reader = reader
            await super().serve(reader, writer)

    async def play() -> None:
        async def text(writer: asyncio.StreamWriter) -> None:
            writer.write(encode_frame(Opcode.TEXT, b"hello"))
            octets = b""
            with contextlib.suppress(OSError):
                while more := await hub.reader.read(4096):  # type: ignore[attr-defined]
                    octets += more
            decoder = FrameDecoder(bacnet_sc_port.MAX_BVLC)
            closed.extend(m.payload for m in decoder.receive(octets) if m.opcode is Opcode.CLOSE)

        async with rough_hub(text, made=Listening) as (hub, _):
            await hub.until(2)
            assert [int.from_bytes(each[:2], "big") for each in closed] == [1003]

    asyncio.run(play())
