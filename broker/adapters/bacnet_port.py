"""One UDP port for all BACnet/IP devices that are reached from one local address (ASHRAE 135-2020, Annex J)."""

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from typing import NamedTuple

from broker.adapters.bacnet_peers import Peer, Peers, UdpPlace
from broker.engine.ports import Clock
from broker.engine.rate import Rate
from broker.errors import FrameError
from broker.wire.bacnet.bvlc import Bvlc, Function, decode_bvlc, encode_bvlc, place_of

_STANDARD_PORT = 47808
_PORT_ATTEMPTS = 8
_LARGEST_DATAGRAM = 1 << 16
_DATAGRAMS_PER_TURN = 64
_OCTETS_PER_TURN = 8_192
"""Looking at an octet may take as long as at a datagram of the usual ones: a tag may be one."""
DATAGRAMS_PER_SECOND = 20_000.0
"""From one place: several times what its devices say when they are asked as fast as can be."""
_RECEIVE_BUFFER_OCTETS = 1 << 20
_NOWHERE = "0.0.0.0"
_IP_RECVERR = 11  # ip(7); the socket module has no name for it before Python 3.14


class OwnPlace(NamedTuple):
    """Where devices are asked from: the address in their segment, a port if it must be a certain one, an interface.

    Without an address it is the one that routes to each device; without an interface this machine routes as it does.
    """

    address: str = ""
    port: int = 0
    interface: str = ""


ANYWHERE = OwnPlace()


class BacnetIpPort(Peers):
    """The socket, and the peers that are heard through it.

    A BBMD among `bbmds` is heard too; `result` is called with what it says of registrations.
    """

    def __init__(self, clock: Clock, own: OwnPlace = ANYWHERE) -> None:
        super().__init__(clock)
        self.bbmds: frozenset[UdpPlace] = frozenset()
        self.result: Callable[[UdpPlace, bytes], None] | None = None
        self._own = own
        self._rates: dict[UdpPlace, Rate] = {}
        self._users = 0
        self._socket: socket.socket | None = None
        self._watch: select.epoll

    @property
    def address(self) -> UdpPlace:
        """Where the port is; nowhere while nobody needs it."""
        return ("", 0) if self._socket is None else self._socket.getsockname()

    def open(self) -> None:
        """One more needs the socket. Raises OSError."""
        if self._socket is None:
            self._socket = _own_socket(self._own)
            self._watch = _watching(self._socket)
            asyncio.get_running_loop().add_reader(self._watch, self._readable)
        self._users += 1

    def leave(self) -> None:
        """One less needs the socket; the last one closes it."""
        self._users -= 1
        if not self._users and self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._watch)
            self._watch.close()
            self._socket.close()
            self._socket = None

    def own_mac(self, host: str) -> bytes:
        """Address and port in six octets (J.1.2); without an address of its own, the one that routes to `host`."""
        address, port = self.address
        address = (self._own.address or address).replace(_NOWHERE, "") or _routed_from(host)
        return socket.inet_aton(address) + (port or self._own.port).to_bytes(2, "big")

    def send(self, peer: Peer, apdu: bytes, *, expecting_reply: bool) -> bool:
        """Send one datagram; False if it did not leave this host."""
        place = peer.whereabouts.place
        assert isinstance(place, tuple)
        return self.send_octets(encode_bvlc(Function.ORIGINAL_UNICAST, peer.npdu(apdu, expecting_reply)), place)

    def send_octets(self, datagram: bytes, place: UdpPlace) -> bool:
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
        octets = 0
        for taken in range(_DATAGRAMS_PER_TURN):
            if self._socket is None or octets > _OCTETS_PER_TURN:
                return
            try:
                datagram, place = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except BlockingIOError:  # nothing more; if there was nothing at all, it was an error that woke us
                if not taken:
                    self._take_errors()
                return
            except OSError:
                self._take_errors()
                return
            if self._admits(place):
                octets += len(datagram)
                self._heard(datagram, place)

    def _admits(self, place: UdpPlace) -> bool:
        """Whether more may be taken from there; of strangers nothing is looked at."""
        rate = self._rates.get(place)
        if rate is None:
            if place not in self.bbmds and not self.knows(place):
                self.strangers += 1
                return False
            rate = self._rates[place] = Rate(DATAGRAMS_PER_SECOND)
        return rate.admits(self.clock.monotonic())

    def _heard(self, datagram: bytes, place: UdpPlace) -> None:
        try:
            bvlc = decode_bvlc(datagram)
        except FrameError:
            self.strangers += 1
            return
        if bvlc.function == Function.ORIGINAL_UNICAST:
            self.hear(bvlc.payload, place)
        elif place in self.bbmds:
            self._bbmd_says(bvlc, place)

    def _bbmd_says(self, bvlc: Bvlc, place: UdpPlace) -> None:
        """What became of a registration, or what a device broadcast."""
        if bvlc.function == Function.RESULT and self.result is not None:
            self.result(place, bvlc.payload)
        elif bvlc.function == Function.FORWARDED_NPDU:
            self.overhear(bvlc.payload, place_of(bvlc.origin))

    def _take_errors(self) -> None:
        """What the network reported of datagrams sent earlier, each with where it was sent to (ip(7), IP_RECVERR)."""
        while self._socket is not None:
            try:
                _, _, _, place = self._socket.recvmsg(0, 0, socket.MSG_ERRQUEUE)
            except OSError:
                return
            self.unreachable(place)


def _watching(own: socket.socket) -> select.epoll:
    """What the event loop watches in the socket's stead: libuv never looks again at a descriptor with an error.

    It is readable whenever the socket is, or has an error to tell (epoll(7)), and has no errors of its own.
    """
    watch = select.epoll()
    watch.register(own, select.EPOLLIN)
    return watch


def _routed_from(host: str) -> str:
    """The address from which datagrams go to an address; of a name nothing is known without asking for it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        socket.inet_aton(host)
        probe.connect((host, _STANDARD_PORT))  # of UDP: nothing is sent
        return str(probe.getsockname()[0])
    return _NOWHERE


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
