"""A local BACnet/IP port as a BBMD (ASHRAE 135-2020, Annex J), sans I/O: what its clients send, and what reaches them.

A client on this machine cannot broadcast to anybody, so it registers as a foreign device, or just asks: whoever was
heard lately gets what is for all. Clients do not reach each other through it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from broker.errors import FrameError
from broker.wire.bacnet.bvlc import (
    Bvlc,
    Function,
    ResultCode,
    decode_bvlc,
    decode_register,
    encode_bvlc,
    encode_forwarded,
    encode_result,
    mac_of,
    place_of,
)
from broker.wire.bacnet.weight import WEIGHT_OF_QUESTIONS_TO_ALL, weight_of

MOST_CLIENTS = 32
HEARD_SECONDS = 600.0
SILENT_SECONDS = 60.0
GRACE_SECONDS: Final = 30.0  # J.5.2.3
LONGEST_LEFT_SECONDS: Final = 65_535
LOOK_SECONDS = 0.1
DATAGRAMS_PER_SECOND = 6000.0
ALL_CLIENTS: Final = b"\xff" * 6
ONLY_THIS_HOST: Final = b"\xff" * 4
"""Broadcast distribution mask of an entry that is reached by unicast (J.4.3)."""
Place = tuple[str, int]
_UNICAST: Final = bytes((Function.ORIGINAL_UNICAST,))
_FROM_ANYBODY = frozenset({Function.ORIGINAL_UNICAST, Function.ORIGINAL_BROADCAST, Function.FORWARDED_NPDU})
"""Some clients ask in a Forwarded-NPDU whom they know from one; who sent it is meant, whatever origin it names."""


@dataclass(slots=True)
class Heard:
    """What one datagram of a client came to.

    `npdu` is for the tunnel, from the client at `mac`; `answer` goes back. `news` is what is worth a line, `dropped`
    why nothing came of it.
    """

    mac: bytes = b""
    npdu: bytes | None = None
    answer: bytes | None = None
    news: str = ""
    dropped: str = ""


@dataclass(slots=True)
class _Client:
    """A place that was heard; `expires` is there while it is registered (seconds of the caller's clock)."""

    heard: float
    room: float
    ttl: int = 0
    expires: float | None = None


@dataclass(slots=True)
class Bbmd:
    """`own` is where it can be reached."""

    own: Place
    _clients: dict[Place, _Client] = field(default_factory=dict)
    _looked: float = -LOOK_SECONDS

    def receive(self, datagram: bytes, place: Place, now: float) -> Heard:
        """Take one datagram from a place."""
        self._forget(now)
        client, news = self._clients.get(place), ""
        if client is not None and not self._admits(client, _weight(datagram), now):
            return Heard(dropped="too_fast")
        try:
            message = decode_bvlc(datagram)
        except FrameError:
            return Heard(dropped="malformed")
        if client is None:
            if not self._make_room(now):
                refused = message.function == Function.REGISTER_FOREIGN_DEVICE
                answer = encode_result(ResultCode.REGISTER_REFUSED) if refused else None
                return Heard(answer=answer, dropped="too_many_clients")
            client = self._clients[place] = _Client(now, DATAGRAMS_PER_SECOND - _weight(datagram))
            news = f"A BACnet client speaks from {place[0]}:{place[1]}."
        heard = self._take(message, place, client, now)
        heard.news = heard.news or news
        return heard

    def send(self, mac: bytes, npdu: bytes, now: float) -> Iterator[tuple[bytes, Place]]:
        """The datagrams by which an NPDU of the tunnel reaches the client at `mac`, or all."""
        self._forget(now)
        unicast = encode_bvlc(Function.ORIGINAL_UNICAST, npdu)
        if mac != ALL_CLIENTS:
            place = place_of(mac)
            if place in self._clients:
                yield unicast, place
            return
        forwarded = encode_forwarded(mac_of(*self.own), npdu)
        for place, client in self._clients.items():
            yield (unicast if client.expires is None else forwarded), place

    @property
    def clients(self) -> tuple[Place, ...]:
        """Those that were heard lately."""
        return tuple(self._clients)

    def _take(self, message: Bvlc, place: Place, client: _Client, now: float) -> Heard:
        function = message.function
        if function in _FROM_ANYBODY:
            return Heard(mac_of(*place), message.payload)
        if function == Function.DISTRIBUTE_BROADCAST:
            if client.expires is None:  # J.4.5: of registered foreign devices only
                return Heard(answer=encode_result(ResultCode.DISTRIBUTE_REFUSED))
            return Heard(mac_of(*place), message.payload)
        if function == Function.REGISTER_FOREIGN_DEVICE:
            return self._register(client, place, decode_register(message.payload), now)
        if function == Function.DELETE_FDT_ENTRY:
            return self._delete(message.payload, place)
        if function == Function.READ_FDT:
            return Heard(answer=encode_bvlc(Function.READ_FDT_ACK, self._table(now)))
        if function == Function.READ_BDT:
            return Heard(answer=encode_bvlc(Function.READ_BDT_ACK, mac_of(*self.own) + ONLY_THIS_HOST))
        if function == Function.WRITE_BDT:  # J.2.2: nobody makes this port send anywhere else
            return Heard(answer=encode_result(ResultCode.WRITE_BDT_REFUSED))
        return Heard(dropped="not_for_clients")

    def _register(self, client: _Client, place: Place, ttl: int, now: float) -> Heard:
        again = client.expires is not None
        client.ttl, client.expires = ttl, now + ttl + GRACE_SECONDS
        told = "" if again else f"The BACnet client at {place[0]}:{place[1]} has registered as a foreign device."
        return Heard(answer=encode_result(ResultCode.SUCCESS), news=told)

    def _delete(self, entry: bytes, place: Place) -> Heard:
        """J.5.2.2. One machine does not sign off another's clients."""
        named = place_of(entry)
        client = self._clients.get(named)
        if named[0] != place[0] or client is None or client.expires is None:
            return Heard(answer=encode_result(ResultCode.DELETE_FDT_ENTRY_REFUSED))
        client.expires = None
        return Heard(answer=encode_result(ResultCode.SUCCESS))

    def _table(self, now: float) -> bytes:
        """J.2.8: address, time to live, and what is left of it with the grace."""
        return b"".join(
            mac_of(*place)
            + client.ttl.to_bytes(2, "big")
            + min(LONGEST_LEFT_SECONDS, int(client.expires - now)).to_bytes(2, "big")
            for place, client in self._clients.items()
            if client.expires is not None
        )

    def _admits(self, client: _Client, weight: float, now: float) -> bool:
        client.room = min(DATAGRAMS_PER_SECOND, client.room + (now - client.heard) * DATAGRAMS_PER_SECOND)
        client.heard = now
        if client.room < weight:
            return False
        client.room -= weight
        return True

    def _make_room(self, now: float) -> bool:
        """Whether one more may come, if need be for one that is not registered and has been silent for a while."""
        if len(self._clients) < MOST_CLIENTS:
            return True
        idle = [(client.heard, place) for place, client in self._clients.items() if client.expires is None]
        idle = [entry for entry in idle if now >= entry[0] + SILENT_SECONDS]
        if idle:
            del self._clients[min(idle)[1]]
        return bool(idle)

    def _forget(self, now: float) -> None:
        """Let go what is over; a datagram a millisecond does not look at every client each time."""
        if self._looked <= now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        for place, client in tuple(self._clients.items()):
            if client.expires is not None and now >= client.expires:
                client.expires = None
            if client.expires is None and now >= client.heard + HEARD_SECONDS:
                del self._clients[place]


def _weight(datagram: bytes) -> float:
    """What anybody but a unicast carries is a question to all, or a matter of this port."""
    return weight_of(datagram[4:]) if datagram[1:2] == _UNICAST else WEIGHT_OF_QUESTIONS_TO_ALL
