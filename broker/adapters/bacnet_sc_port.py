"""One connection to a BACnet/SC hub for all devices behind it (ASHRAE 135-2020, AB.5.2): kept up while it is wanted.

The primary hub is tried first, then the failover hub, whatever ended the connection to the primary one. While the
failover hub serves, the primary one is tried again and again: we leave the failover hub once the primary one has let us
in and kept us for a moment. A hub is believed if its certificate chains to the authority that the settings name, as
AB.7.4 has it.
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

from broker.adapters.bacnet_peers import Peer, Peers, Whereabouts
from broker.adapters.bacnet_sc_places import DevicePlaces, Disputed, Found, Wanted
from broker.engine.ports import Clock
from broker.errors import ConfigError
from broker.wire.bacnet.locating import encode_who_is
from broker.wire.bacnet.npdu import Address, Npdu, encode_npdu
from broker.wire.bacnet.sc_message import BROADCAST, VMAC_OCTETS, ErrorCode
from broker.wire.bacnet.sc_node import Accepted, Arrived, Event, HangUp, HubConnection, NodeTimes, Send
from broker.wire.bacnet.sc_payloads import Connect

HUB_PROTOCOL = "hub.bsc.bacnet.org"  # AB.7.1
MAX_NPDU, MAX_BVLC = 1_497, 1_600
_DIAL_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 60.0
_LASTED_SECONDS = 30.0
"""After so long a connection the next pause is a short one; dialling alone never takes that long."""
_LEAVE_SECONDS = 1.0
_PRIMARY_AGAIN_SECONDS = 60.0
_STEADY_SECONDS = 3.0
"""So long the primary hub has to keep us before we leave the failover hub."""
_REPLIES_SECONDS = 10.0
"""Replies may come through the failover hub for so long after that."""
_LOOK_SECONDS = 1.0
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
        self.disputed: Disputed | None = None
        identity.context()
        self._hubs = hubs
        self._identity = identity
        self._vmac = identity.vmac
        self._link: _Link | None = None
        self._coming: _Link | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._places = DevicePlaces(self._doubt, self._dispute)

    def open(self) -> None:
        """Somebody needs the connection: it is kept up from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def leave(self) -> None:
        """Somebody does not need it just now; it stays, as connections to hubs do."""

    async def close(self) -> None:
        """Leave the hub."""
        self._places.close()
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
        if not peer.believed:
            return False
        return self._link is not None and self._link.send(place, peer.npdu(apdu, expecting_reply))

    async def locate(self, wanted: Wanted) -> bytes:
        """The VMAC at which the device answers, or that of the router before it. Raises OSError if several do."""
        place, i_am = self._places.bound(wanted), None
        if place is None:
            place, i_am = await self._found(wanted)
        peer = self.peer(Whereabouts(place, wanted.address))
        peer.believed = True
        peer.announced = i_am or peer.announced
        return place

    async def _found(self, wanted: Wanted) -> Found:
        if self._link is not None:
            destination = None if wanted.address is None else Address(wanted.address.network, b"")
            who_is = Npdu(encode_who_is(wanted.instance), destination=destination)
            self._link.send(BROADCAST, encode_npdu(who_is))
        return await self._places.search(wanted)

    def _doubt(self, place: bytes, address: Address | None) -> None:
        self.peer(Whereabouts(place, address)).believed = False

    def _dispute(self, instance: int, nodes: tuple[bytes, ...]) -> None:
        log.warning("several BACnet/SC nodes say that they are device %s: %s", instance, [n.hex(":") for n in nodes])
        if self.disputed is not None:
            self.disputed(instance, nodes)

    def arrived(self, origin: bytes, octets: bytes, broadcast: bool) -> None:
        """An NPDU of that node; what it tells everybody is no reply to us."""
        self._places.hear(origin, octets)
        if broadcast:
            self.overhear(octets, origin)
        else:
            self.hear(octets, origin)

    async def _keep(self) -> None:
        """Connected, or on the way to it, until it is cancelled."""
        least = pause = self._identity.times.reconnect_seconds
        async with _session() as session:
            while True:
                if await self._turn_to_hubs(session):
                    pause = least
                await asyncio.sleep(pause)
                pause = min(2 * pause, max(least, _LONGEST_PAUSE_SECONDS))

    async def _turn_to_hubs(self, session: aiohttp.ClientSession) -> bool:
        """One hub after the other, each for as long as it serves; whether one did for long."""
        primary, *others = self._hubs
        longest = await self._serve(session, primary)
        if longest >= _LASTED_SECONDS:
            return True  # AB.5.2: the primary hub is tried again before the failover hub
        for hub in others:
            longest = max(longest, await self._stand_in(session, hub))
        return longest >= _LASTED_SECONDS

    async def _stand_in(self, session: aiohttp.ClientSession, hub: str) -> float:
        """A failover hub serves until it ends, or the primary one is back, and then that one does; for how long."""
        back = asyncio.get_running_loop().create_task(self._go_back(session))
        try:
            served = await self._serve(session, hub, standing_in=True)
            return await back if self._link is not None else served
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    async def _go_back(self, session: aiohttp.ClientSession) -> float:
        """Try the primary hub until it takes over; how long it served then, which has ended again."""
        while True:
            await asyncio.sleep(_PRIMARY_AGAIN_SECONDS)
            served = await self._serve(session, self._hubs[0])
            if self._link is None:
                return served

    async def _serve(self, session: aiohttp.ClientSession, hub: str, *, standing_in: bool = False) -> float:
        """One connection to a hub, from dialling to its end; for how long it was there."""
        own = Connect(self._vmac, self._identity.uuid, MAX_BVLC, MAX_NPDU)
        link = _Link(self, HubConnection(own, self._identity.times), standing_in)
        try:
            socket = await self._dialled(session, hub)
            if socket is not None:
                await self._carry(link, socket, hub)
        except Exception:  # whatever a hub does, all devices behind it need the next connection
            log.exception("the connection to the BACnet/SC hub %s failed", hub)
        began = link.connected_at
        return 0.0 if began is None else asyncio.get_running_loop().time() - began

    async def _dialled(self, session: aiohttp.ClientSession, hub: str) -> aiohttp.ClientWebSocketResponse | None:
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                return await session.ws_connect(
                    hub, ssl=self._identity.context(), protocols=(HUB_PROTOCOL,), max_msg_size=MAX_BVLC, autoping=True
                )
        except (aiohttp.ClientError, ConfigError, OSError, TimeoutError, ValueError) as error:
            log.warning("no connection to the BACnet/SC hub %s: %s", hub, error or type(error).__name__)
            return None

    async def _carry(self, link: "_Link", socket: aiohttp.ClientWebSocketResponse, hub: str) -> None:
        try:
            await link.run(socket)
        except (aiohttp.ClientError, OSError) as error:
            link.why = type(error).__name__
        finally:
            self._lost(link, hub)
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await socket.close()

    def connected(self, link: "_Link") -> None:
        """A hub has let us in."""
        if self._link is None:
            self._link = link
            self._ready.set()
        else:
            self._coming = link
            asyncio.get_running_loop().call_later(_STEADY_SECONDS, self._change_over, link)

    def _change_over(self, link: "_Link") -> None:
        """The primary hub keeps us: use it, and leave the failover hub."""
        if self._coming is link and self._link is not None:
            self._link.retire()
            self._link, self._coming = link, None

    def busy(self) -> bool:
        """Whether anything is outstanding."""
        return any(peer.outstanding for peer in self._peers.values())

    def _lost(self, link: "_Link", hub: str) -> None:
        """What was sent may have arrived."""
        if link.duplicate:
            # AB.1.5.2: a Random-48 VMAC has 2 in the lower half of its first octet
            chosen = secrets.token_bytes(VMAC_OCTETS)
            self._vmac = bytes((chosen[0] & 0xF0 | 0x02, *chosen[1:]))
        log.warning("the connection to the BACnet/SC hub %s is over: %s", hub, link.why)
        if self._coming is link:
            self._coming = None
        if self._link is not link:
            return
        self._link, self._coming = self._coming, None
        if self._link is None:
            self._ready.clear()
        for place in self.places():
            self.unreachable(place)


class _Link:
    """One WebSocket to a hub."""

    def __init__(self, port: BacnetScPort, connection: HubConnection, standing_in: bool) -> None:
        self.why = "closed"
        self.duplicate = False
        self.connected_at: float | None = None
        self._until: float | None = None
        self._standing_in = standing_in
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

    def retire(self) -> None:
        """Another connection has taken over: end once no reply is waited for, and soon in any case."""
        self._until = asyncio.get_running_loop().time()

    async def run(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Speak with the hub until one of us has enough of it."""
        if socket.protocol != HUB_PROTOCOL:
            self.why = "subprotocol"
            return
        loop = asyncio.get_running_loop()
        writer = loop.create_task(self._write(socket))
        try:
            self._perform(self._connection.begin(loop.time()))
            while not self._over and not self._retired(loop.time()):
                await self._turn(socket)
            self._perform(self._connection.disconnect())
            await self._drain(socket)
        finally:
            writer.cancel()

    def _retired(self, now: float) -> bool:
        return self._until is not None and (not self._port.busy() or now >= self._until + _REPLIES_SECONDS)

    async def _turn(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        loop = asyncio.get_running_loop()
        due = min(self._connection.due, loop.time() + _LOOK_SECONDS) if self._standing_in else self._connection.due
        try:
            message = await socket.receive(max(0.001, due - loop.time()))
        except TimeoutError:
            self._perform(self._connection.tick(loop.time()))
            return
        if message.type is aiohttp.WSMsgType.BINARY:
            self._perform(self._connection.receive(message.data, loop.time()))
        else:  # the hub has closed; or says something that is not binary, and AB.7.5.3 has it closed for that
            self._over = True
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.close(code=aiohttp.WSCloseCode.UNSUPPORTED_DATA)

    def _perform(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Send):
                if self._outgoing.full():
                    self._over, self.why = True, "slow_hub"
                    return
                self._outgoing.put_nowait(event.octets)
            elif isinstance(event, Arrived):
                self._port.arrived(event.origin, event.npdu, event.broadcast)
            elif isinstance(event, Accepted):
                self.connected_at = asyncio.get_running_loop().time()
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
