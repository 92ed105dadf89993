"""Devices of one BACnet network as the broker knows them, and what they and the routers between say to it.

Devices are told apart by the place their messages come from and, behind a router, SNET and SADR; requests to one device
by invoke id. What comes from anybody else is counted and passed over.
"""

import secrets
from collections.abc import Callable
from typing import NamedTuple, Protocol

from broker.engine.ports import Clock
from broker.engine.rate import Rate
from broker.errors import FrameError
from broker.wire.bacnet.apdu import Apdu, ConfirmedRequest, UnconfirmedRequest, decode_apdu
from broker.wire.bacnet.npdu import Address, Message, Npdu, decode_npdu, decode_reject, npci

UdpPlace = tuple[str, int]
Place = UdpPlace | bytes
"""Address and port of BACnet/IP, or VMAC of BACnet/SC."""

_INVOKE_IDS = 256
_QUARANTINE_SECONDS = 60.0
"""So long a late reply may still come: several times what devices and routers take at most."""
UNASKED_OCTETS_PER_SECOND = 100_000.0
"""What a device may tell of its own accord, by what it takes to look at it: two thousand notifications."""
UNASKED_OCTETS_AT_ONCE = 200_000.0
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

    `requests` is called with what the device asks or tells of its own accord, as fast as `unasked` admits;
    `announced` is the I-Am by which it was found, until somebody listens. Unless it is `believed` that the device is at
    this place, nothing is sent there.
    """

    __slots__ = ("_last", "_quarantine", "announced", "believed", "outstanding", "requests", "unasked", "whereabouts")

    def __init__(self, whereabouts: Whereabouts) -> None:
        self.whereabouts = whereabouts
        self.announced: UnconfirmedRequest | None = None
        self.believed = True
        self.outstanding: dict[int, Hearer] = {}
        self.requests: Requests | None = None
        self.unasked = Rate(UNASKED_OCTETS_PER_SECOND, UNASKED_OCTETS_AT_ONCE)
        self._last = secrets.randbelow(_INVOKE_IDS)
        self._quarantine: dict[int, float] = {}

    def listen(self, requests: "Requests") -> None:
        """Call `requests` from now on, first with what the device announced before anybody listened."""
        self.requests = requests
        announced, self.announced = self.announced, None
        if announced is not None:
            requests(self, announced)

    def npdu(self, apdu: bytes, expecting_reply: bool) -> bytes:
        """An APDU as it goes to the device (6.2.2)."""
        return npci(self.whereabouts.address, None, expecting_reply) + apdu

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


Requests = Callable[[Peer, ConfirmedRequest | UnconfirmedRequest], None]


class Port(Protocol):
    """What carries the messages of all devices, a UDP port or a connection to a hub."""

    clock: Clock

    def open(self) -> None:
        """One more needs it. Raises OSError."""

    def leave(self) -> None:
        """One less needs it."""

    def own_mac(self, host: str) -> bytes:
        """By what devices on the network of `host` know us."""

    def peer(self, whereabouts: Whereabouts) -> Peer:
        """The device at this place."""

    def send(self, peer: Peer, apdu: bytes, *, expecting_reply: bool) -> bool:
        """Send one APDU; False if it did not leave this host."""


class Peers:
    """The devices of one network."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.strangers = 0
        self._peers: dict[Whereabouts, Peer] = {}
        self._inhabited: set[Place] = set()

    def peer(self, whereabouts: Whereabouts) -> Peer:
        """The device at this place."""
        peer = self._peers.get(whereabouts)
        if peer is None:
            peer = self._peers[whereabouts] = Peer(whereabouts)
            self._inhabited.add(whereabouts.place)
        return peer

    def knows(self, place: Place) -> bool:
        """Whether there is any device at this place."""
        return place in self._inhabited

    def hear(self, octets: bytes, place: Place) -> None:
        """An NPDU from that place."""
        try:
            npdu = decode_npdu(octets)
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

    def overhear(self, octets: bytes, place: Place) -> None:
        """What a device broadcast: news, never a reply."""
        try:
            npdu = decode_npdu(octets)
            peer = self._peers.get(Whereabouts(place, npdu.source))
            apdu = None if npdu.message is not None or peer is None else decode_apdu(npdu.payload)
        except FrameError:
            apdu = None
        if apdu is None or peer is None:
            self.strangers += 1
        elif isinstance(apdu, UnconfirmedRequest):
            self._asked(peer, apdu, len(octets))

    def unreachable(self, place: Place) -> None:
        """Nothing gets to that place now; what was sent before may have."""
        for at, peer in tuple(self._peers.items()):
            if at.place == place:
                for hearer in tuple(peer.outstanding.values()):
                    hearer.unreachable(False)

    def places(self) -> set[Place]:
        """Where there are devices."""
        return set(self._inhabited)

    def _said(self, peer: Peer, octets: bytes) -> None:
        try:
            apdu = decode_apdu(octets)
        except FrameError:
            about = peer.outstanding.get(octets[1]) if len(octets) > 1 and octets[0] & 0xF0 in _REPLIES else None
            if about is not None:
                about.misheard()
            return
        if isinstance(apdu, ConfirmedRequest | UnconfirmedRequest):
            self._asked(peer, apdu, len(octets))
            return
        hearer = peer.outstanding.get(apdu.invoke)
        if hearer is not None:
            hearer.heard(apdu)

    def _asked(self, peer: Peer, apdu: ConfirmedRequest | UnconfirmedRequest, octets: int) -> None:
        """Hand on what a device asks or tells, but no more than leaves the other devices their turn."""
        if peer.requests is not None and peer.unasked.admits(self.clock.monotonic(), octets):
            peer.requests(peer, apdu)

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
