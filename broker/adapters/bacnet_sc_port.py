"""One connection to a BACnet/SC hub for all devices behind it (ASHRAE 135-2020, AB.5.2): kept up while it is wanted.

The primary hub is tried first, then the failover hub. From the failover hub the way leads back as soon as nothing is
outstanding. A hub is believed if its certificate chains to the authority that the settings name, as AB.7.4 has it.
"""

import asyncio
import contextlib
import logging
import secrets
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Never

import aiohttp

from broker.adapters.bacnet_peers import Peer, Peers, Place
from broker.engine.ports import Clock
from broker.errors import ConfigError, FrameError
from broker.wire.bacnet.locating import decode_i_am, encode_who_is
from broker.wire.bacnet.npdu import Address, Npdu, decode_npdu, encode_npdu
from broker.wire.bacnet.sc_message import BROADCAST, VMAC_OCTETS, ErrorCode
from broker.wire.bacnet.sc_node import Accepted, Arrived, Event, HangUp, HubConnection, NodeTimes, Send
from broker.wire.bacnet.sc_payloads import Connect

HUB_PROTOCOL = "hub.bsc.bacnet.org"  # AB.7.1
MAX_NPDU, MAX_BVLC = 1_497, 1_600
_DIAL_SECONDS = 10.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 60.0
_LASTED_SECONDS = 30.0
"""After so long a connection the next pause is a short one; dialling alone never takes that long."""
_LEAVE_SECONDS = 1.0
_PRIMARY_AGAIN_SECONDS = 60.0
_MOST_OUTGOING = 1_024
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScIdentity:
    """What the broker is as a node: its device UUID, its VMAC while nobody else has it, and its operational
    certificate.
    """

    uuid: bytes
    vmac: bytes
    certificate: Path
    key: Path
    authority: Path
    times: NodeTimes = field(default_factory=NodeTimes)

    def context(self) -> ssl.SSLContext:
        """TLS 1.3, mutual, and nobody believed but the one authority (AB.7.4). Raises ConfigError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # AB.7.4: BACnet/SC certificates need not name their host
        try:
            context.load_verify_locations(self.authority)
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            detail = f"{self.certificate}, {self.key}, {self.authority}: {error}"
            raise ConfigError("tls_files", "The certificate for BACnet/SC hubs cannot be used.", detail) from None
        return context


def _no_password() -> Never:
    raise ssl.SSLError("the key is encrypted")


class BacnetScPort(Peers):
    """The connection, and the devices that are heard through it."""

    def __init__(self, clock: Clock, hubs: tuple[str, ...], identity: ScIdentity) -> None:
        """Raises ConfigError for a certificate that cannot be used; later it is read anew for each connection."""
        super().__init__(clock)
        identity.context()
        self._hubs = hubs
        self._identity = identity
        self._vmac = identity.vmac
        self._link: _Link | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sought: dict[tuple[int, Address | None], asyncio.Future[Place]] = {}

    def open(self) -> None:
        """Somebody needs the connection: it is kept up from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def leave(self) -> None:
        """Somebody does not need it just now; it stays, as connections to hubs do."""

    async def close(self) -> None:
        """Leave the hub."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def ready(self) -> None:
        """Wait for the connection."""
        self.open()
        await self._ready.wait()

    def own_mac(self, host: str) -> bytes:
        """Our VMAC, the same for all devices."""
        return self._vmac

    def send(self, peer: Peer, apdu: bytes, *, expecting_reply: bool) -> bool:
        """Send one APDU; False if it did not leave this host."""
        place = peer.whereabouts.place
        assert isinstance(place, bytes)
        return self._link is not None and self._link.send(place, peer.npdu(apdu, expecting_reply))

    async def locate(self, instance: int, address: Address | None) -> Place:
        """The VMAC at which the device of that instance answers; with an address, that of the router before it."""
        found = self._sought.setdefault((instance, address), asyncio.get_running_loop().create_future())
        if self._link is not None:
            destination = None if address is None else Address(address.network, b"")
            who_is = Npdu(encode_who_is(instance), destination=destination)
            self._link.send(BROADCAST, encode_npdu(who_is))
        return await asyncio.shield(found)

    def arrived(self, origin: bytes, octets: bytes) -> None:
        """An NPDU of that node."""
        if self._sought:
            self._look_for_i_am(origin, octets)
        self.hear(octets, origin)

    def _look_for_i_am(self, origin: bytes, octets: bytes) -> None:
        try:
            npdu = decode_npdu(octets)
            instance = decode_i_am(npdu.payload) if npdu.message is None else None
        except FrameError:
            return
        found = self._sought.pop((instance, npdu.source), None) if instance is not None else None
        if found is not None and not found.done():
            found.set_result(origin)

    async def _keep(self) -> None:
        """Connected, or on the way to it, until it is cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        async with _session() as session:
            while True:
                if await self._turn_to_hubs(session):
                    pause = _FIRST_PAUSE_SECONDS
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _turn_to_hubs(self, session: aiohttp.ClientSession) -> bool:
        """One hub after the other until one lets us in; whether that lasted."""
        loop = asyncio.get_running_loop()
        for hub in self._hubs:
            began = loop.time()
            try:
                if await self._serve(session, hub):
                    return loop.time() - began >= _LASTED_SECONDS
            except Exception:  # whatever a hub does, all devices behind it need the next connection
                log.exception("the connection to the BACnet/SC hub %s failed", hub)
        return False

    async def _serve(self, session: aiohttp.ClientSession, hub: str) -> bool:
        """One connection to a hub, from dialling to its end; whether it was ever there."""
        own = Connect(self._vmac, self._identity.uuid, MAX_BVLC, MAX_NPDU)
        link = _Link(self, HubConnection(own, self._identity.times))
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                socket = await session.ws_connect(
                    hub, ssl=self._identity.context(), protocols=(HUB_PROTOCOL,), max_msg_size=MAX_BVLC, autoping=True
                )
        except (aiohttp.ClientError, ConfigError, OSError, TimeoutError, ValueError) as error:
            log.warning("no connection to the BACnet/SC hub %s: %s", hub, error or type(error).__name__)
            return False
        try:
            await link.run(socket, self._patience(hub))
        except (aiohttp.ClientError, OSError) as error:
            link.why = type(error).__name__
        finally:
            self._lost(link, hub)
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await socket.close()
        return link.was_connected

    def _patience(self, hub: str) -> float | None:
        """How long a failover hub serves before the primary one is tried again."""
        return None if hub == self._hubs[0] else _PRIMARY_AGAIN_SECONDS

    def connected(self, link: "_Link") -> None:
        """A hub has let us in."""
        self._link = link
        self._ready.set()

    def busy(self) -> bool:
        """Whether anything is outstanding."""
        return any(peer.outstanding for peer in self._peers.values())

    def _lost(self, link: "_Link", hub: str) -> None:
        """What was sent may have arrived."""
        if self._link is link:
            self._link = None
            self._ready.clear()
            log.warning("the connection to the BACnet/SC hub %s is over: %s", hub, link.why)
        if link.duplicate:
            # AB.1.5.2: a Random-48 VMAC has 2 in the lower half of its first octet
            chosen = secrets.token_bytes(VMAC_OCTETS)
            self._vmac = bytes((chosen[0] & 0xF0 | 0x02, *chosen[1:]))
        for place in self.places():
            self.unreachable(place)


class _Link:
    """One WebSocket to a hub."""

    def __init__(self, port: BacnetScPort, connection: HubConnection) -> None:
        self.why = "closed"
        self.duplicate = False
        self.was_connected = False
        self._port = port
        self._connection = connection
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(_MOST_OUTGOING)
        self._over = False

    def send(self, destination: bytes, npdu: bytes) -> bool:
        """Send an NPDU; False if it cannot leave."""
        events = self._connection.send(destination, npdu)
        room = not self._outgoing.full()
        if room:
            self._perform(events)
        return bool(events) and room

    async def run(self, socket: aiohttp.ClientWebSocketResponse, patience: float | None) -> None:
        """Speak with the hub until one of us has enough of it."""
        if socket.protocol != HUB_PROTOCOL:
            self.why = "subprotocol"
            return
        loop = asyncio.get_running_loop()
        until = None if patience is None else loop.time() + patience
        writer = loop.create_task(self._write(socket))
        try:
            self._perform(self._connection.begin(loop.time()))
            while not self._over and not (until is not None and loop.time() >= until and not self._port.busy()):
                await self._turn(socket, until)
            self._perform(self._connection.disconnect())
            await self._drain(socket)
        finally:
            writer.cancel()

    async def _turn(self, socket: aiohttp.ClientWebSocketResponse, until: float | None) -> None:
        loop = asyncio.get_running_loop()
        due = self._connection.due if until is None else min(self._connection.due, max(until, loop.time() + 1))
        try:
            message = await socket.receive(max(0.001, due - loop.time()))
        except TimeoutError:
            self._perform(self._connection.tick(loop.time()))
            return
        if message.type is aiohttp.WSMsgType.BINARY:
            self._perform(self._connection.receive(message.data, loop.time()))
        else:  # AB.7.5.3: nothing else is spoken; or the hub has closed
            self._over = True

    def _perform(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Send):
                if self._outgoing.full():
                    self._over, self.why = True, "slow_hub"
                    return
                self._outgoing.put_nowait(event.octets)
            elif isinstance(event, Arrived):
                self._port.arrived(event.origin, event.npdu)
            elif isinstance(event, Accepted):
                self.was_connected = True
                self._port.connected(self)
            elif isinstance(event, HangUp):
                self._over = True
                self.why = event.why
                self.duplicate = event.nak is not None and event.nak.code == ErrorCode.NODE_DUPLICATE_VMAC

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):  # the reading side is told that it is over
            while True:
                await socket.send_bytes(await self._outgoing.get())

    async def _drain(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Say what there still is to say, to a hub that may have gone or may not read."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                while not self._outgoing.empty() and not socket.closed:
                    await socket.send_bytes(self._outgoing.get_nowait())


def _session() -> aiohttp.ClientSession:
    """A hub that sends us elsewhere is not followed: the certificate is for the hubs that the inventory names."""

    async def refuse(*_: object) -> None:
        raise aiohttp.ClientConnectionError("the hub redirects")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_DIAL_SECONDS)
    return aiohttp.ClientSession(trace_configs=[trace], timeout=timeout, auto_decompress=False)
