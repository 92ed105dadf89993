"""`connect`: a local port for one ordinary Modbus master at a time, tunnelled to a device; reconnects with back-off."""

import argparse
import asyncio
from functools import partial

import aiohttp

from broker.cli.people.client import Client
from broker.cli.people.devices import device_key, path_of, unit_of, with_suggestion
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.local_address import listen_address, listening_failed, told_address
from broker.cli.people.modbus_link import SUBPROTOCOL, ModbusLink
from broker.cli.people.reconnecting import Reconnecting, open_windows
from broker.cli.people.renewal import known_ends, warn_before
from broker.cli.people.screen import Screen
from broker.cli.people.tunnel_events import show_event
from broker.cli.people.tunnel_link import Ending, Tell

DEFAULT_LISTEN = "127.0.0.1:1502"
SECOND_MASTER_WAITS_SECONDS = 2.0
Master = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Serve masters, or BACnet explorers, until Ctrl-C, or until access is refused for good."""
    if arguments.bacnet:
        from broker.cli.people import connect_bacnet

        return await connect_bacnet.connect(arguments, client, screen)
    listen = arguments.listen or DEFAULT_LISTEN
    host, port = listen_address(listen, arguments.allow_remote)
    device = await device_key(client, arguments.device)
    tell = partial(show_event, screen)
    side = ModbusSide(client, tell, device)
    try:
        server = await asyncio.start_server(side.arrived, host, port, backlog=4)
    except OSError as error:
        raise listening_failed(listen, error) from None
    try:
        side.names["listen"] = told_address(server.sockets[0].getsockname())
        await Reconnecting(client, tell).run(side)
    except ProblemError as problem:
        if problem.code == "tunnel_needs_modbus":
            raise _needs_bacnet(device) from None
        raise await with_suggestion(client, problem, device, []) from None
    finally:
        server.close()
        side.dismiss()
    return Exit.DONE


def _needs_bacnet(device: str) -> CommandError:
    site = device.partition("/")[0]
    ways = f"`otb connect {site} --bacnet`, `otb connect {device} --bacnet`"
    hint = f"Use {ways}, or `otb read {device} POINT` and `otb write {device} POINT=VALUE`."
    return CommandError("tunnel_needs_modbus", f"{device} is no Modbus device.", hint)


class ModbusSide:
    """Masters, one at a time: a fresh tunnel for each, so that no reply reaches the wrong one."""

    subprotocol = SUBPROTOCOL

    def __init__(self, client: Client, tell: Tell, device: str) -> None:
        self.path = f"{path_of(device)}/tunnel"
        self.names: Document = {"device": device}
        self._client = client
        self._tell = tell
        self._device = device
        self._waiting: asyncio.Queue[Master] = asyncio.Queue(1)
        self._free = asyncio.Event()
        self._free.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A master has connected: it is next, or told to go if another stays."""
        self._writers.add(writer)
        try:
            async with asyncio.timeout(SECOND_MASTER_WAITS_SECONDS):
                await self._free.wait()
            self._free.clear()
            self._waiting.put_nowait((reader, writer))
        except (TimeoutError, asyncio.QueueFull):
            self._tell({"type": "busy", "text": "Another Modbus master came and was sent away: one at a time."})
            self._dismiss(writer)

    def dismiss(self) -> None:
        """Let every master go."""
        for writer in tuple(self._writers):
            self._dismiss(writer)

    def linked(self, socket: aiohttp.ClientWebSocketResponse) -> ModbusLink:
        """A link on an open tunnel."""
        return ModbusLink(socket, self._tell, device=self._device)

    async def carry(self, link: ModbusLink) -> Ending:
        """Carry one master's traffic until it has left."""
        reader, writer = await self._waiting.get()
        master = told_address(writer.get_extra_info("peername"))
        self._tell({"type": "master", "text": f"A Modbus master has connected from {master}."})
        try:
            await link.outgoing(reader, writer)
        finally:
            self._dismiss(writer)
        return Ending("peer_closed", "The Modbus master has left.", by_master=True)

    async def warn(self, link: ModbusLink) -> None:
        """Warn of another unit than the device's, and before a window or the certificate ends."""
        link.expect_unit(await unit_of(self._client, self._device))
        await warn_before(link, known_ends(self._client.access, await open_windows(self._client, self._device)))

    def left(self) -> None:
        """A tunnel is over: let the next master come."""
        if self._waiting.empty():
            self._free.set()

    async def somebody(self) -> None:
        """Wait until a master is there."""
        master = await self._waiting.get()
        self._waiting.put_nowait(master)

    def _dismiss(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
