"""`connect SITE --bacnet`: a local BACnet/IP port for ordinary explorers, tunnelled to the BACnet network of a site.

`connect SITE/DEVICE --bacnet`: the same to one device, for tools that know nothing of routers.
"""

import argparse
import asyncio
import ipaddress
import socket
import time
from collections import Counter
from functools import partial

import aiohttp

from broker.cli.people.bacnet_link import SUBPROTOCOL, BacnetLink
from broker.cli.people.bbmd import Bbmd, Heard, Place
from broker.cli.people.client import Client
from broker.cli.people.devices import path_of, site_path, with_site_suggestion, with_suggestion
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.local_address import listen_address, listening_failed
from broker.cli.people.reconnecting import Reconnecting, open_windows
from broker.cli.people.renewal import known_ends, warn_before
from broker.cli.people.screen import Screen
from broker.cli.people.tunnel_events import show_event
from broker.cli.people.tunnel_link import Ending, Tell
from broker.wire.bacnet.tunnelled import LONGEST_MESSAGE, encode_datagram

DEFAULT_LISTEN = "127.0.0.1:47809"
LARGEST_DATAGRAM_OCTETS = 2048
"""Longer than any of BACnet/IP: what is longer still is cut by some systems and an error on others, and never taken."""
UNREAD_OCTETS = 1_048_576
TURN = 32
MOST_FAILURES_IN_A_ROW = 1000
TOLD_SECONDS = 10.0
NO_TUNNEL = "no_tunnel"
_DROPPED = {
    NO_TUNNEL: "The tunnel is not open; what BACnet clients send meanwhile is dropped.",
    "malformed": "Datagrams that are not proper BACnet/IP were dropped.",
    "too_fast": "A BACnet client sends too fast; what is too much is dropped.",
    "too_many_clients": "More BACnet clients came than there may be; the last ones are not heard.",
    "not_for_clients": "Messages that are not for a client to send were dropped.",
}


async def connect(arguments: argparse.Namespace, client: Client, screen: Screen) -> Exit:
    """Serve explorers until Ctrl-C, or until access is refused for good."""
    where, site = arguments.device, arguments.device.partition("/")[0]
    path = path_of(where) if "/" in where else site_path(where)
    tell = partial(show_event, screen)
    with _local_port(arguments.listen or DEFAULT_LISTEN, arguments.allow_remote) as port:
        side = BacnetSide(client, tell, where, f"{path}/bacnet", port)
        running = [asyncio.ensure_future(work) for work in (Reconnecting(client, tell).run(side), side.listen())]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for work in running:
                if work.done():
                    work.result()
        except ProblemError as problem:
            if problem.code == "tunnel_needs_bacnet":
                raise _needs_modbus(where) from None
            if problem.code == "device_unknown":
                raise await with_suggestion(client, problem, where, []) from None
            raise await with_site_suggestion(client, problem, site) from None
        finally:
            for work in running:
                work.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    return Exit.DONE


def _needs_modbus(device: str) -> CommandError:
    hint = f"Use `otb connect {device}`, or `otb read {device} POINT` and `otb write {device} POINT=VALUE`."
    return CommandError("tunnel_needs_bacnet", f"{device} is no BACnet device.", hint)


def _local_port(listen: str, allow_remote: bool) -> socket.socket:
    """A bound UDP socket. Raises CommandError."""
    host, port = listen_address(listen, allow_remote)
    address = ipaddress.ip_address(host)
    if address.version != 4 or address.is_unspecified:
        hint = "Give one IPv4 address of this machine: a BACnet/IP port tells its clients where it is."
        raise CommandError("usage", f"{host} cannot be the address of a BACnet/IP port.", hint, Exit.USAGE)
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        if exclusive is not None:  # Windows lets another program take the port over without it.
            opened.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_OCTETS)
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        raise listening_failed(listen, error) from None
    return opened


class BacnetSide:
    """The explorers in front of the tunnel: heard all the time, whether there is a tunnel or not.

    `where` is what they reach: a site, or a device (`SITE/DEVICE`).
    """

    subprotocol = SUBPROTOCOL

    def __init__(self, client: Client, tell: Tell, where: str, path: str, port: socket.socket) -> None:
        host, number = port.getsockname()
        self.path = path
        kind = "device" if "/" in where else "site"
        self.names: Document = {kind: where, "listen": f"{host}:{number}"}
        self._client = client
        self._tell = tell
        self._where = where
        self._port = port
        self._bbmd = Bbmd((host, number))
        self._link: BacnetLink | None = None
        self._wanted = asyncio.Event()
        self._told: dict[str, float] = {}
        self._dropped: Counter[str] = Counter()

    def linked(self, socket: aiohttp.ClientWebSocketResponse) -> BacnetLink:
        """A link on an open tunnel."""
        return BacnetLink(socket, self._tell, deliver=self._deliver)

    async def carry(self, link: BacnetLink) -> Ending:
        """Let what clients say pass; there is no end to that on this side."""
        self._link = link
        self._told.pop(NO_TUNNEL, None)
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def warn(self, link: BacnetLink) -> None:
        """Warn before a window there or the certificate ends."""
        windows = await open_windows(self._client, self._where if "/" in self._where else f"{self._where}/")
        await warn_before(link, known_ends(self._client.access, windows))

    def left(self) -> None:
        """Drop what comes until there is another tunnel."""
        self._link = None
        self._wanted.clear()

    async def somebody(self) -> None:
        """Wait until a client asks for something."""
        await self._wanted.wait()

    async def listen(self) -> None:
        """Take what clients send. Raises CommandError if the port is of no use any more."""
        loop, failures, turn = asyncio.get_running_loop(), 0, 0
        while failures < MOST_FAILURES_IN_A_ROW:
            try:
                datagram, place = await loop.sock_recvfrom(self._port, LARGEST_DATAGRAM_OCTETS)
            except OSError:
                # Windows says here that a client to which something was sent has closed its port.
                failures += 1
                continue
            failures, turn = 0, (turn + 1) % TURN
            await self._pass_on(self._come(datagram, place))
            if not turn:
                await asyncio.sleep(0)  # What is there already is given without a pause: let others have a turn.
        raise CommandError("listen_failed", "The local port can no longer be read.", "Start `otb connect` again.")

    def _come(self, datagram: bytes, place: Place) -> list[bytes]:
        """What this datagram, and those that have come behind it by now, bring for the tunnel: one message of it."""
        passed: list[bytes] = []
        room = LONGEST_MESSAGE - LARGEST_DATAGRAM_OCTETS
        while True:
            heard = self._bbmd.receive(datagram, place, time.monotonic())
            self._show(heard, place)
            if heard.npdu is not None:
                passed.append(encode_datagram(heard.mac, heard.npdu))
            room -= len(datagram)
            if room < 0:
                return passed
            try:
                datagram, place = self._port.recvfrom(LARGEST_DATAGRAM_OCTETS)
            except OSError:  # nothing more, or news of a client that has closed its port
                return passed

    def _show(self, heard: Heard, place: Place) -> None:
        """Answer and tell what a datagram gives rise to."""
        if heard.news:
            self._tell({"type": "client", "text": heard.news})
        if heard.answer is not None:
            self._send(heard.answer, place)
        if heard.dropped:
            self._drop(heard.dropped)

    async def _pass_on(self, datagrams: list[bytes]) -> None:
        if not datagrams:
            return
        self._wanted.set()
        link = self._link
        if link is None:
            self._drop(NO_TUNNEL, len(datagrams))
            return
        try:
            await link.send(datagrams)
        except (aiohttp.ClientError, ConnectionError):
            self._drop(NO_TUNNEL, len(datagrams))

    def _deliver(self, mac: bytes, npdu: bytes) -> None:
        for datagram, place in self._bbmd.send(mac, npdu, time.monotonic()):
            self._send(datagram, place)

    def _send(self, datagram: bytes, place: Place) -> None:
        try:
            self._port.sendto(datagram, place)
        except OSError:
            return  # A datagram may be lost; its client asks again.

    def _drop(self, cause: str, count: int = 1) -> None:
        """Count it; say so at once, and then once in a while."""
        self._dropped[cause] += count
        now = time.monotonic()
        if now < self._told.get(cause, 0.0):
            return
        self._told[cause] = now + TOLD_SECONDS
        self._tell({"type": "dropped", "code": cause, "count": self._dropped[cause], "text": _DROPPED[cause]})
