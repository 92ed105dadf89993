"""One client's BACnet network, sans I/O: the broker is shown as a router to one virtual network of a site's devices.

    NPDU -> [the router's own messages are answered here] -> APDU -> [segments collected] -> Asked | Told | Malformed
    bare reply -> [cut into segments as this client takes them] -> NPDUs

A bare APDU has no invoke id and no segmentation fields. Nothing of a client's network layer reaches a device: what is
asked is decided, and sent on, as the broker's own message.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from broker.engine.in_force import VirtualNetwork
from broker.errors import FrameError
from broker.model.place import Device
from broker.wire.bacnet.apdu import (
    Abort,
    AbortReason,
    Apdu,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Reject,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    bare,
    decode_apdu,
    dressed,
    encode_apdu,
)
from broker.wire.bacnet.npdu import (
    GLOBAL_NETWORK,
    Address,
    Message,
    NotRouted,
    Npdu,
    decode_networks,
    decode_npdu,
    encode_networks,
    encode_npdu,
    encode_reject,
    npci,
)
from broker.wire.bacnet.segmentation import SegmentLimits, SegmentReceiver, SegmentSender, fits

BROADCAST = b"\xff" * 6
MOST_OUTSTANDING = 512
MOST_OUTSTANDING_OF_STATION = 256
"""As many as there are invoke ids."""
MOST_IN_SEGMENTS = 32
MOST_UNACKNOWLEDGED = 256
TELLING_SECONDS = 6.0
TELLINGS = 3
LIMITS = SegmentLimits(octets=65_536, segments=256)

_ASK_FOR_TABLE = bytes(1)  # 6.4.7: no ports asks for the table, and changes nothing
_ONLY_PORT = 1
_ANSWERS = (SimpleAck, ErrorPdu, Reject)
_CHANGES_ROUTES = frozenset((Message.ESTABLISH, Message.DISCONNECT))


class Station(NamedTuple):
    """Who asks: `mac` on the client's own network, and `beyond`, its address behind a router of theirs."""

    mac: bytes
    beyond: Address | None = None


class Key(NamedTuple):
    """What tells one transaction from another, as the client knows it: whom it asked, and its invoke id."""

    station: Station
    device_mac: bytes
    invoke: int


@dataclass(slots=True)
class Asked:
    """A whole confirmed request; `device` is None if there is none of that address."""

    key: Key
    device: Device | None
    bare: bytes
    max_apdu: int
    max_segments: int | None
    accepts_segments: bool
    given_up: bool = False
    """The client wants no answer any more; its id is taken until what was asked is over."""


@dataclass(slots=True)
class Told:
    """A whole unconfirmed request, to one device or (`to_all`) to all of the site."""

    station: Station
    device: Device | None
    to_all: bool
    bare: bytes


@dataclass(slots=True)
class Malformed:
    """Octets that are not acceptable: nothing passes. `device` is whom they were for, if that is known."""

    code: str
    octets: bytes
    device: Device | None = None


@dataclass(slots=True)
class _Telling:
    """A confirmed notification that the client has not acknowledged: sent so often, and again at `due`."""

    apdu: ConfirmedRequest
    due: float
    times: int = 1


Event = Asked | Told | Malformed
Outgoing = tuple[bytes, bytes]


class BacnetConversation:
    """Order, ids and segments of one client network. `network` is what stands behind the router as of now.

    `outgoing` is what is to be sent, as (MAC, NPDU); whoever calls takes it away after each call. `wake_at` is when
    `tick` is due (seconds of the caller's clock; None: not at all). `room` is whether one more request may be collected
    from its segments, whatever this network has under way itself.
    """

    def __init__(self, network: Callable[[], VirtualNetwork], room: Callable[[], bool] = lambda: True) -> None:
        self._network = network
        self._room = room
        self._outstanding: dict[Key, Asked] = {}
        self._outstanding_of: Counter[Station] = Counter()
        self._collecting: dict[Key, SegmentReceiver] = {}
        self._sending: dict[Key, SegmentSender] = {}
        self._telling: dict[Key, _Telling] = {}
        self._last_telling = 0
        self.outgoing: deque[Outgoing] = deque()

    @property
    def outstanding(self) -> int:
        """Requests that have no answer yet."""
        return len(self._outstanding)

    @property
    def in_segments(self) -> int:
        """Requests of which octets are kept until they are whole, or answered."""
        return len(self._collecting)

    def receive(self, mac: bytes, octets: bytes, now: float) -> Event | None:
        """Take one NPDU of the client at `mac`; what came of it, if anything has to be decided or recorded."""
        try:
            npdu = decode_npdu(octets)
        except FrameError as error:
            return self._undecoded(mac, error.code, octets)
        network = self._network()
        if npdu.message is not None:
            return self._take_message(mac, npdu, network, octets)
        destination = npdu.destination
        if destination is not None and not _leads_here(network, destination.network):
            self._reject(mac, npdu.source, NotRouted.NO_SUCH_NETWORK, destination.network)
            return None
        # Nothing is routed on from here, so nothing can go in circles: a hop count of 0, as npm's @bacnet-js/client
        # puts into every service but a few, is as good as any (6.2.2 has routers drop it).
        return self._take_apdu(Station(mac, npdu.source), npdu, network, octets, now)

    def _take_apdu(
        self, station: Station, npdu: Npdu, network: VirtualNetwork, octets: bytes, now: float
    ) -> Event | None:
        destination = npdu.destination
        device_mac = network.alone or (b"" if destination is None else destination.mac)
        device = network.devices.get(device_mac) if device_mac else None
        try:
            apdu = decode_apdu(npdu.payload)
        except FrameError as error:
            return Malformed(error.code, octets, device)
        if isinstance(apdu, UnconfirmedRequest):
            return Told(station, device, not device_mac, bare(apdu))
        if isinstance(apdu, ConfirmedRequest):
            if destination is not None and not destination.mac:
                return Malformed("confirmed_broadcast", octets)  # 5.4: a confirmed request has one recipient
            return self._take_request(Key(station, device_mac, apdu.invoke), device, apdu, now)
        self._take_reply(Key(station, device_mac, apdu.invoke), apdu, now)
        return None

    def answer(self, asked: Asked, reply: bytes, now: float) -> None:
        """Send the bare reply to whoever asked, unless it has given up."""
        if self._outstanding.get(asked.key) is not asked:
            return
        self._over(asked.key)
        self._collecting.pop(asked.key, None)
        if not asked.given_up:
            self._reply(asked, reply, now)

    def end(self, device: Device) -> None:
        """Nothing of a device goes to the client any more: neither replies under way nor what is left of them."""
        mac = device.bacnet_address
        for key, asked in self._outstanding.items():
            if key.device_mac == mac and not asked.given_up:
                asked.given_up = True
                self._abort(key, AbortReason.OTHER)
        for known in (self._collecting, self._sending, self._telling):
            for key in [key for key in known if key.device_mac == mac]:
                del known[key]

    def wake_at(self) -> float | None:
        """When `tick` is due; None: nothing is in segments."""
        if not (self._collecting or self._sending or self._telling):
            return None
        waits = [receiver.wake_at for receiver in self._collecting.values()]
        waits += [sender.wake_at for sender in self._sending.values()]
        waits += [telling.due for telling in self._telling.values()]
        return min((due for due in waits if due is not None), default=None)

    def tick(self, now: float) -> None:
        """Repeat or give up what is in segments and waited too long."""
        for key, receiver in tuple(self._collecting.items()):
            receiver.wake(now)
            if receiver.failed is not None:
                del self._collecting[key]
        for key, sender in tuple(self._sending.items()):
            self._send_all(key, sender.wake(now))
            self._forget_sent(key, sender)
        for key, telling in tuple(self._telling.items()):
            if now >= telling.due:
                self._tell_again(key, telling, now)

    def announce(self, station: Station, device: Device, request: bytes) -> None:
        """Send a bare unconfirmed request of a device to one station."""
        self._send(station, device.bacnet_address, request)

    def notify(self, station: Station, device: Device, request: bytes, now: float) -> bool:
        """Send a bare confirmed notification of a device, again if need be; False if too many wait already."""
        mac = device.bacnet_address
        if len(self._telling) >= MOST_UNACKNOWLEDGED:
            return False
        for _ in range(256):
            self._last_telling = (self._last_telling + 1) % 256
            key = Key(station, mac, self._last_telling)
            if key not in self._telling:
                break
        else:
            return False
        apdu = dressed(request, key.invoke)
        assert isinstance(apdu, ConfirmedRequest)
        self._telling[key] = _Telling(apdu, now + TELLING_SECONDS)
        self._send_all(key, (apdu,))
        return True

    def _tell_again(self, key: Key, telling: _Telling, now: float) -> None:
        """A notification changes nothing, so that it may be repeated (5.4.4.3); a client that never says is left."""
        if telling.times >= TELLINGS:
            del self._telling[key]
            return
        telling.times, telling.due = telling.times + 1, now + TELLING_SECONDS
        self._send_all(key, (telling.apdu,))

    def _take_request(
        self, key: Key, device: Device | None, apdu: ConfirmedRequest, now: float
    ) -> Asked | Malformed | None:
        if apdu.segmented:
            return self._collect(key, device, apdu, now)
        known = self._outstanding.get(key)
        if known is not None:  # 5.4.5.3: asked again while it is still under way
            known.given_up |= known.bare != bare(apdu)  # or something else: what comes of the first is no answer to it
            return None
        self._collecting.pop(key, None)
        return self._asked(key, device, apdu)

    def _collect(self, key: Key, device: Device | None, apdu: ConfirmedRequest, now: float) -> Asked | None:
        """One segment of a request; the request itself once it is whole."""
        receiver = self._collecting.get(key)
        if receiver is None:
            if key in self._outstanding:
                return None
            full = len(self._collecting) >= MOST_IN_SEGMENTS or not self._room()
            if full or not self._has_room(key.station):
                self._abort(key, AbortReason.OUT_OF_RESOURCES)
                return None
            receiver = self._collecting[key] = SegmentReceiver(LIMITS)
        was_whole = receiver.whole is not None
        self._send_all(key, receiver.received(apdu, now))
        if receiver.failed is not None:
            del self._collecting[key]
        elif not was_whole and isinstance(receiver.whole, ConfirmedRequest):
            return self._asked(key, device, receiver.whole)
        return None

    def _asked(self, key: Key, device: Device | None, apdu: ConfirmedRequest) -> Asked | None:
        if not self._has_room(key.station):
            self._collecting.pop(key, None)
            self._abort(key, AbortReason.OUT_OF_RESOURCES)
            return None
        asked = Asked(key, device, bare(apdu), apdu.max_apdu, apdu.max_segments, apdu.accepts_segments)
        self._outstanding[key] = asked
        self._outstanding_of[key.station] += 1
        return asked

    def _over(self, key: Key) -> None:
        del self._outstanding[key]
        self._outstanding_of[key.station] -= 1
        if not self._outstanding_of[key.station]:
            del self._outstanding_of[key.station]

    def _has_room(self, station: Station) -> bool:
        room = len(self._outstanding) < MOST_OUTSTANDING
        return room and self._outstanding_of[station] < MOST_OUTSTANDING_OF_STATION

    def _take_reply(self, key: Key, apdu: Apdu, now: float) -> None:
        """What a client says of a transaction of its own; replies to requests that nobody sent it are passed over."""
        sender = self._sending.get(key)
        if isinstance(apdu, _ANSWERS) or (isinstance(apdu, Abort) and apdu.from_server):
            self._telling.pop(key, None)
        elif isinstance(apdu, SegmentAck) and sender is not None:
            self._send_all(key, sender.acknowledged(apdu, now))
            self._forget_sent(key, sender)
        elif isinstance(apdu, Abort) and not apdu.from_server:
            if key in self._outstanding:
                self._outstanding[key].given_up = True
            for known in (self._collecting, self._sending):
                known.pop(key, None)

    def _reply(self, asked: Asked, reply: bytes, now: float) -> None:
        """In one piece if the client's largest APDU takes it, else in segments if it takes these (5.2.1)."""
        message = dressed(reply, asked.key.invoke)
        if not isinstance(message, ComplexAck) or fits(message, asked.max_apdu):
            self._send_all(asked.key, (message,))
        elif not asked.accepts_segments or len(self._sending) >= MOST_IN_SEGMENTS:
            self._abort(asked.key, AbortReason.SEGMENTATION_NOT_SUPPORTED)
        else:
            sender = self._sending[asked.key] = SegmentSender(message, asked.max_apdu, asked.max_segments, LIMITS)
            self._send_all(asked.key, sender.start(now))
            self._forget_sent(asked.key, sender)

    def _forget_sent(self, key: Key, sender: SegmentSender) -> None:
        if sender.done or sender.failed is not None:
            self._sending.pop(key, None)

    def _send_all(self, key: Key, apdus: Iterable[Apdu]) -> None:
        for apdu in apdus:
            waits = isinstance(apdu, ConfirmedRequest) or (isinstance(apdu, ComplexAck) and apdu.segmented)
            self._send(key.station, key.device_mac, encode_apdu(apdu), expecting_reply=waits)

    def _undecoded(self, mac: bytes, code: str, octets: bytes) -> Malformed:
        if code == "unknown_message":
            self._reject(mac, None, NotRouted.UNKNOWN_MESSAGE, 0)
        return Malformed(code, octets)

    def _take_message(self, mac: bytes, npdu: Npdu, network: VirtualNetwork, octets: bytes) -> Malformed | None:
        """The router's own messages (6.4, 6.5): it says which network it leads to, and lets nobody change that."""
        if network.alone:
            return None  # 6.4: for routers; a device passes them over
        if npdu.message == Message.WHO_IS_ROUTER:
            asked = decode_networks(npdu.payload)
            if network.number and (not asked or network.number in asked):
                told = Npdu(encode_networks((network.number,)), message=Message.I_AM_ROUTER)
                self.outgoing.append((BROADCAST, encode_npdu(told)))
            return None
        if npdu.message == Message.INIT_ROUTING:
            if npdu.payload != _ASK_FOR_TABLE:
                return Malformed("routing_change_refused", octets)
            table = bytes((1,)) + encode_networks((network.number,)) + bytes((_ONLY_PORT, 0))
            told = Npdu(table if network.number else bytes(1), npdu.source, message=Message.INIT_ROUTING_ACK)
            self.outgoing.append((mac, encode_npdu(told)))
            return None
        if npdu.message in _CHANGES_ROUTES:
            self._reject(mac, npdu.source, NotRouted.UNKNOWN_MESSAGE, network.number)
            return Malformed("routing_change_refused", octets)
        return None

    def _reject(self, mac: bytes, to: Address | None, reason: NotRouted, network: int) -> None:
        told = Npdu(encode_reject(reason, network), to, message=Message.REJECT)
        self.outgoing.append((mac, encode_npdu(told)))

    def _abort(self, key: Key, reason: AbortReason) -> None:
        self._send_all(key, (Abort(key.invoke, reason, from_server=True),))

    def _send(self, station: Station, device_mac: bytes, apdu: bytes, *, expecting_reply: bool = False) -> None:
        network = self._network()
        source = Address(network.number, device_mac) if device_mac and not network.alone else None
        self.outgoing.append((station.mac, npci(station.beyond, source, expecting_reply) + apdu))


def _leads_here(network: VirtualNetwork, number: int) -> bool:
    return number == GLOBAL_NETWORK or (number == network.number and not network.alone)
