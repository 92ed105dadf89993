"""One UDP port for all BACnet/IP devices that are reached from one local address (ASHRAE 135-2020, Annex J).

Devices are told apart by where a datagram comes from: the source of the datagram and, behind a router, SNET and SADR.
Requests to one device are told apart by invoke id. What comes from anybody else is counted and passed over.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

from broker.engine.ports import Clock
from broker.errors import FrameError
from broker.wire.bacnet.apdu import Apdu, ConfirmedRequest, UnconfirmedRequest, decode_apdu
from broker.wire.bacnet.bvlc import Bvlc, Function, decode_bvlc, encode_bvlc, place_of
from broker.wire.bacnet.npdu import Address, Message, Npdu, decode_npdu, decode_reject, encode_npdu

Place = tuple[str, int]

_STANDARD_PORT = 47808
_PORT_ATTEMPTS = 8
_LARGEST_DATAGRAM = 1 << 16
_DATAGRAMS_PER_TURN = 64
_RECEIVE_BUFFER_OCTETS = 1 << 20
_INVOKE_IDS = 256
_QUARANTINE_SECONDS = 60.0
"""So long a late reply may still come: several times what devices and routers take at most."""
_IP_RECVERR = 11  # ip(7); the socket module has no name for it before Python 3.14
_REPLIES = frozenset((0x20, 0x30, 0x40, 0x50, 0x60, 0x70))  # 20.1.1: what carries an invoke id of ours


class Hearer(Protocol):
    """Who has a request outstanding."""

    def heard(self, apdu: Apdu) -> None:
        """The device says this about the request."""

    def misheard(self) -> None:
        """The device says something about the request that cannot be."""

    def unreachable(self, proven: bool) -> None:
        """The network says that the device cannot be reached; `proven`: nor was it by this request."""


class Whereabouts(NamedTuple):
    """Where a device is: the place its datagrams come from, and its own address if that place is a router."""

    place: Place
    address: Address | None = None


class Peer:
    """One device as the port knows it: who waits for what it says, and which invoke ids may be used with it.

    `requests` is called with what the device asks or tells of its own accord.
    """

    __slots__ = ("_last", "_npci", "_quarantine", "outstanding", "requests", "whereabouts")

    def __init__(self, whereabouts: Whereabouts) -> None:
        self.whereabouts = whereabouts
        self.outstanding: dict[int, Hearer] = {}
        self.requests: Callable[[Peer, ConfirmedRequest | UnconfirmedRequest], None] | None = None
        self._last = secrets.randbelow(_INVOKE_IDS)
        self._quarantine: dict[int, float] = {}
        self._npci = tuple(
            encode_npdu(Npdu(b"", destination=whereabouts.address, expecting_reply=expecting))
            for expecting in (False, True)
        )

    def datagram(self, apdu: bytes, expecting_reply: bool) -> bytes:
        """An APDU as it goes to the device (6.2.2)."""
        return encode_bvlc(Function.ORIGINAL_UNICAST, self._npci[expecting_reply] + apdu)

    def take(self, hearer: Hearer, now: float) -> int | None:
        """An invoke id that no reply can be about but the one to come; None if there is none."""
        for step in range(1, _INVOKE_IDS + 1):
            invoke = (self._last + step) % _INVOKE_IDS
            if invoke not in self.outstanding and self._quarantine.get(invoke, 0.0) <= now:
                self._quarantine.pop(invoke, None)
                self.outstanding[invoke] = hearer
                self._last = invoke
                return invoke
        return None

    def give_back(self, invoke: int, now: float, *, answered: bool) -> None:
        """The request has ended; without an answer, one may still come."""
        del self.outstanding[invoke]
        if not answered:
            self._quarantine[invoke] = now + _QUARANTINE_SECONDS

    def late(self, now: float) -> bool:
        """Whether something may still be said about a request that has ended."""
        return any(until > now for until in self._quarantine.values())


class OwnPlace(NamedTuple):
    """Where devices are asked from: the address in their segment, a port if it must be a certain one, an interface.

    Without an address it is the one that routes to each device; without an interface this machine routes as it does.
    """

    address: str = ""
    port: int = 0
    interface: str = ""


ANYWHERE = OwnPlace()


class BacnetIpPort:
    """The socket, and the peers that are heard through it.

    A BBMD among `bbmds` is heard too; `result` is called with what it says of registrations.
    """

    def __init__(self, clock: Clock, own: OwnPlace = ANYWHERE) -> None:
        self.clock = clock
        self.strangers = 0
        self.bbmds: frozenset[Place] = frozenset()
        self.result: Callable[[Place, bytes], None] | None = None
        self._own = own
        self._peers: dict[Whereabouts, Peer] = {}
        self._users = 0
        self._socket: socket.socket | None = None

    @property
    def address(self) -> Place:
        """Where the port is; nowhere while nobody needs it."""
        return ("", 0) if self._socket is None else self._socket.getsockname()

    def open(self) -> None:
        """One more needs the socket. Raises OSError."""
        if self._socket is None:
            self._socket = _own_socket(self._own)
            asyncio.get_running_loop().add_reader(self._socket, self._readable)
        self._users += 1

    def leave(self) -> None:
        """One less needs the socket; the last one closes it."""
        self._users -= 1
        if not self._users and self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def peer(self, whereabouts: Whereabouts) -> Peer:
        """The device at this place."""
        peer = self._peers.get(whereabouts)
        if peer is None:
            peer = self._peers[whereabouts] = Peer(whereabouts)
        return peer

    def forget(self, place: Place) -> None:
        """Nobody asks the devices at this place any more."""
        gone = [at for at, peer in self._peers.items() if at.place == place and not peer.outstanding]
        for whereabouts in gone:
            del self._peers[whereabouts]

    def send(self, peer: Peer, apdu: bytes, *, expecting_reply: bool) -> bool:
        """Send one datagram; False if it did not leave this host."""
        return self.send_octets(peer.datagram(apdu, expecting_reply), peer.whereabouts.place)

    def send_octets(self, datagram: bytes, place: Place) -> bool:
        """Send one datagram; False if it did not leave this host."""
        for _ in range(2):
            if self._socket is None:
                return False
            try:
                self._socket.sendto(datagram, place)
            except BlockingIOError:
                return False
            except OSError:  # perhaps about something sent earlier: then this one has not been tried yet
                self._take_errors()
            else:
                return True
        return False

    def _readable(self) -> None:
        for _ in range(_DATAGRAMS_PER_TURN):
            if self._socket is None:
                return
            try:
                datagram, place = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except OSError:  # nothing more, or an error that waits to be taken
                self._take_errors()
                return
            self._heard(datagram, place)

    def _heard(self, datagram: bytes, place: Place) -> None:
        try:
            bvlc = decode_bvlc(datagram)
            if bvlc.function != Function.ORIGINAL_UNICAST:
                if place in self.bbmds:
                    self._bbmd_says(bvlc, place)
                return
            npdu = decode_npdu(bvlc.payload)
        except FrameError:
            self.strangers += 1
            return
        if npdu.message is not None:
            self._network_says(npdu, place)
            return
        peer = self._peers.get(Whereabouts(place, npdu.source))
        if peer is None or npdu.destination is not None:
            self.strangers += 1
            return
        self._said(peer, npdu.payload)

    def _bbmd_says(self, bvlc: Bvlc, place: Place) -> None:
        """What became of a registration, or what a device broadcast: news, never a reply. Raises FrameError."""
        if bvlc.function == Function.RESULT and self.result is not None:
            self.result(place, bvlc.payload)
        if bvlc.function != Function.FORWARDED_NPDU:
            return
        npdu = decode_npdu(bvlc.payload)
        peer = self._peers.get(Whereabouts(place_of(bvlc.origin), npdu.source))
        if npdu.message is not None or peer is None:
            self.strangers += 1
            return
        apdu = decode_apdu(npdu.payload)
        if isinstance(apdu, UnconfirmedRequest) and peer.requests is not None:
            peer.requests(peer, apdu)

    def _said(self, peer: Peer, octets: bytes) -> None:
        try:
            apdu = decode_apdu(octets)
        except FrameError:
            about = peer.outstanding.get(octets[1]) if len(octets) > 1 and octets[0] & 0xF0 in _REPLIES else None
            if about is not None:
                about.misheard()
            return
        if isinstance(apdu, ConfirmedRequest | UnconfirmedRequest):
            if peer.requests is not None:
                peer.requests(peer, apdu)
            return
        hearer = peer.outstanding.get(apdu.invoke)
        if hearer is not None:
            hearer.heard(apdu)

    def _network_says(self, npdu: Npdu, place: Place) -> None:
        """A router cannot reach a network (6.4.4); nothing else that routers say matters here."""
        if npdu.message != Message.REJECT:
            return
        try:
            _, network = decode_reject(npdu.payload)
        except FrameError:
            self.strangers += 1
            return
        behind = [
            peer
            for at, peer in self._peers.items()
            if at.place == place and at.address is not None and at.address.network == network
        ]
        waiting = [hearer for peer in behind for hearer in peer.outstanding.values()]
        now = self.clock.monotonic()
        # A rejection does not say which message it is about: with a single one in question there is no doubt.
        proven = len(waiting) == 1 and not any(peer.late(now) for peer in behind)
        for hearer in waiting:
            hearer.unreachable(proven)

    def _take_errors(self) -> None:
        """What the network reported of datagrams sent earlier, each with where it was sent to (ip(7), IP_RECVERR)."""
        while self._socket is not None:
            try:
                _, _, _, place = self._socket.recvmsg(0, 0, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for at, peer in tuple(self._peers.items()):
                if at.place == place:
                    for hearer in tuple(peer.outstanding.values()):
                        hearer.unreachable(False)


def _own_socket(at: OwnPlace) -> socket.socket:
    """A socket on a port of its own: explorers and other stacks on this host expect the standard one for themselves."""
    for _ in range(_PORT_ATTEMPTS):
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            own.setblocking(False)
            own.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_OCTETS)
            if at.interface:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, at.interface.encode())
            own.bind((at.address, at.port))
        except OSError:
            own.close()
            raise
        if at.port or own.getsockname()[1] != _STANDARD_PORT:
            return own
        own.close()
    raise OSError("no port of our own")
