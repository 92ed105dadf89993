"""A BACnet/SC hub that plays the devices behind it as a test says."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from broker.adapters.bacnet_sc_port import HUB_PROTOCOL, MAX_BVLC
from broker.listeners.takeover import switching_protocols
from broker.listeners.upgrade import UpgradeReader
from broker.listeners.websocket import FrameDecoder, Opcode, encode_frame
from broker.wire.bacnet.npdu import Npdu, decode_npdu, encode_npdu
from broker.wire.bacnet.sc import decode_sc, encode_npdu_message, encode_sc
from broker.wire.bacnet.sc_message import BROADCAST, Function, ScMessage
from broker.wire.bacnet.sc_payloads import Connect, encode_connect
from tests.contract.sc_field import field_pki
from tests.integration.bacnet_sc.hub_stage import HUB

PKI = field_pki()
TEMPERATURE_21 = bytes.fromhex("0c0c0000000119553e4441a800003f")
WHO_IS = 8


def i_am(instance: int, max_apdu: int = 1476) -> bytes:
    taken = b"\x22" + max_apdu.to_bytes(2, "big")
    return bytes.fromhex("1000c4") + (8 << 22 | instance).to_bytes(4, "big") + taken + bytes.fromhex("910021ff")


class ScNetwork:
    """`answer(network, destination, npdu)` is called with what the broker sends; `say` speaks for a node."""

    def __init__(self, answer: Callable[["ScNetwork", bytes, Npdu], None]) -> None:
        self.answer = answer
        self.connected = 0
        self.heard: list[tuple[bytes, Npdu]] = []
        self.changed = asyncio.Event()
        self.port = 0
        self.letting_in = True
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the broker."""
        upgrade = UpgradeReader().receive(await reader.readuntil(b"\r\n\r\n"))
        assert upgrade is not None
        writer.write(switching_protocols(upgrade.key, HUB_PROTOCOL))
        decoder = FrameDecoder(MAX_BVLC)
        self._writers.append(writer)
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(OSError):
            while octets := await reader.read(4096):
                for message in decoder.receive(octets):
                    if message.opcode is Opcode.BINARY:
                        self._take(writer, decode_sc(message.payload))

    def _take(self, writer: asyncio.StreamWriter, message: ScMessage) -> None:
        if message.function == Function.CONNECT_REQUEST:
            self.connected += 1
            accept = encode_connect(Connect(HUB.vmac, HUB.uuid, 1600, 1497))
            self._put(writer, encode_sc(ScMessage(Function.CONNECT_ACCEPT, message.id, accept)))
            if not self.letting_in:
                writer.transport.abort()
        elif message.function == Function.ENCAPSULATED_NPDU:
            npdu = decode_npdu(message.payload)
            self.heard.append((message.destination, npdu))
            self.answer(self, message.destination, npdu)
        self.changed.set()

    @staticmethod
    def _put(writer: asyncio.StreamWriter, octets: bytes) -> None:
        writer.write(encode_frame(Opcode.BINARY, octets))

    def say(self, origin: bytes, npdu: Npdu, *, to_all: bool = False) -> None:
        """A node says something to the broker alone, or to all."""
        destination = BROADCAST if to_all else b""
        for writer in self._writers:
            if not writer.is_closing():
                message = encode_npdu_message(7, encode_npdu(npdu), origin=origin, destination=destination)
                self._put(writer, message)

    def drop(self) -> None:
        """Every connection is over, without a word."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def close(self) -> None:
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def reads(npdu: Npdu) -> bool:
    return npdu.payload[0] & 0xF0 == 0


def temperature(npdu: Npdu) -> Npdu:
    """The answer to a read of the temperature."""
    return Npdu(bytes((0x30, npdu.payload[2])) + TEMPERATURE_21)


@asynccontextmanager
async def sc_network(answer: Callable[[ScNetwork, bytes, Npdu], None]) -> AsyncIterator[ScNetwork]:
    """A hub that listens."""
    network = ScNetwork(answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PKI.server.certificate, PKI.server.key)
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0, ssl=context)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        await network.close()
        server.close()


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())
