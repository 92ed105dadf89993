"""A node's side of its connection to a BACnet/SC hub (ASHRAE 135-2020, AB.5.2, AB.6.2.2), without socket and clock."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from broker.wire.bacnet.sc import decode_sc, encode_sc, not_understood
from broker.wire.bacnet.sc_message import BROADCAST, NO_VMAC, ErrorCode, Function, Nak, ScFrameError, ScMessage
from broker.wire.bacnet.sc_payloads import (
    Advertisement,
    Connect,
    ScResult,
    decode_connect,
    decode_result,
    encode_advertisement,
    encode_connect,
    encode_result,
)


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """How long a hub may take to accept, and to be silent before it is asked and, once more as long, given up.

    `reconnect_seconds` is the least time before hubs are dialled again (AB.6.1).
    """

    connect_seconds: float = 10.0
    heartbeat_seconds: float = 60.0
    reconnect_seconds: float = 2.0


class Send(NamedTuple):
    """Send this message to the hub."""

    octets: bytes


class Accepted(NamedTuple):
    """The hub has let us in."""

    hub: Connect


class Arrived(NamedTuple):
    """An NPDU of another node, to us alone or (`broadcast`) to all."""

    origin: bytes
    npdu: bytes
    broadcast: bool = False


class HangUp(NamedTuple):
    """The connection is over; `nak` is the hub's refusal, if that was it."""

    why: str
    nak: Nak | None = None


Event = Send | Accepted | Arrived | HangUp


class _State(Enum):
    IDLE = 0
    AWAITING_ACCEPT = 1
    CONNECTED = 2


class HubConnection:
    """One connection to a hub, from its Connect-Request on. `own` is what we say of ourselves."""

    __slots__ = ("_asked", "_next_id", "_state", "_times", "due", "hub", "own")

    def __init__(self, own: Connect, times: NodeTimes) -> None:
        self.own = own
        self.hub = Connect(b"", b"", 0, 0)
        self.due = 0.0
        self._times = times
        self._state = _State.IDLE
        self._asked = False
        self._next_id = 0

    @property
    def is_connected(self) -> bool:
        """Whether NPDUs may go either way."""
        return self._state is _State.CONNECTED

    def begin(self, now: float) -> list[Event]:
        """The WebSocket is there: ask to be let in."""
        self._state = _State.AWAITING_ACCEPT
        self.due = now + self._times.connect_seconds
        return [self._message(Function.CONNECT_REQUEST, encode_connect(self.own))]

    def send(self, destination: bytes, npdu: bytes) -> list[Event]:
        """An NPDU for another node; nothing if there is no way, or the hub could not take it."""
        message = ScMessage(Function.ENCAPSULATED_NPDU, self._new_id(), npdu, destination=destination)
        octets = encode_sc(message)
        fits = len(npdu) <= self.hub.max_npdu and len(octets) <= self.hub.max_bvlc
        return [Send(octets)] if fits and self.is_connected else []

    def disconnect(self) -> list[Event]:
        """Leave in order; the hub's word on that is not waited for (AB.6.2: how long it is, is a local matter)."""
        if not self.is_connected:
            return self._hang_up("left")
        return [self._message(Function.DISCONNECT_REQUEST), *self._hang_up("left")]

    def tick(self, now: float) -> list[Event]:
        """What time asks for."""
        if self._state is _State.IDLE or now < self.due:
            return []
        if self._state is _State.AWAITING_ACCEPT:
            return self._hang_up("connect_timeout")
        if self._asked:
            return self._hang_up("hub_silent")
        self._asked = True
        self.due = now + self._times.heartbeat_seconds
        return [self._message(Function.HEARTBEAT_REQUEST)]  # AB.6.3

    def receive(self, octets: bytes, now: float) -> list[Event]:
        """One message of the hub."""
        if self._state is _State.IDLE:
            return []
        try:
            message = decode_sc(octets)
        except ScFrameError as error:
            return self._nak(error.head, error.nak)
        if self._state is _State.AWAITING_ACCEPT:
            return self._take_answer(message, now)
        self._asked = False
        self.due = now + self._times.heartbeat_seconds
        option = not_understood(message)
        if option is not None:
            return self._nak(message, Nak(ErrorCode.HEADER_NOT_UNDERSTOOD, marker=option.marker))
        return self._take(message)

    def _take_answer(self, message: ScMessage, now: float) -> list[Event]:
        """AB.6.2.2: accepted, refused, or something that is passed over."""
        if message.function == Function.CONNECT_ACCEPT and message.id == self._next_id:
            self.hub = decode_connect(message.payload)
            self._state = _State.CONNECTED
            self.due = now + self._times.heartbeat_seconds
            return [Accepted(self.hub)]
        if message.function == Function.RESULT:
            result = decode_result(message.payload)
            if result.function == Function.CONNECT_REQUEST and result.nak is not None:
                return self._hang_up("refused", result.nak)
        return []

    def _take(self, message: ScMessage) -> list[Event]:
        match message.function:
            case Function.HEARTBEAT_REQUEST:
                return [self._answer(message, Function.HEARTBEAT_ACK)]
            case Function.DISCONNECT_REQUEST:
                return [self._answer(message, Function.DISCONNECT_ACK), *self._hang_up("hub_left")]
            case Function.ENCAPSULATED_NPDU:
                return self._take_npdu(message)
            case Function.ADDRESS_RESOLUTION:  # we accept no direct connections (AB.3.3)
                return self._nak(message, Nak(ErrorCode.OPTIONAL_FUNCTIONALITY_NOT_SUPPORTED))
            case Function.ADVERTISEMENT_SOLICITATION:
                told = encode_advertisement(Advertisement(1, False, self.own.max_bvlc, self.own.max_npdu))
                return [self._message(Function.ADVERTISEMENT, told, message.origin)]
            case Function.PROPRIETARY:
                return self._nak(message, Nak(ErrorCode.BVLC_PROPRIETARY_FUNCTION_UNKNOWN))
        return []

    def _take_npdu(self, message: ScMessage) -> list[Event]:
        """What a hub passes on bears the name of its sender (AB.5.3); what is for another node is dropped (AB.5.4)."""
        if message.destination not in (b"", BROADCAST):
            return []
        if not message.origin:
            return self._nak(message, Nak(ErrorCode.HEADER_ENCODING_ERROR))
        return [Arrived(message.origin, message.payload, message.destination == BROADCAST)]

    def _answer(self, message: ScMessage, function: Function, payload: bytes = b"") -> Send:
        return Send(encode_sc(ScMessage(function, message.id, payload, destination=message.origin)))

    def _nak(self, message: ScMessage | None, nak: Nak) -> list[Event]:
        """AB.3.1.5: never to a broadcast, never to a result; nor to an origin that nobody has (AB.1.5.2)."""
        if message is None or message.function == Function.RESULT or message.destination == BROADCAST:
            return []
        if message.origin in (BROADCAST, NO_VMAC):
            return []
        return [self._answer(message, Function.RESULT, encode_result(ScResult(message.function, nak)))]

    def _message(self, function: Function, payload: bytes = b"", destination: bytes = b"") -> Send:
        return Send(encode_sc(ScMessage(function, self._new_id(), payload, destination=destination)))

    def _hang_up(self, why: str, nak: Nak | None = None) -> list[Event]:
        if self._state is _State.IDLE:
            return []
        self._state = _State.IDLE
        return [HangUp(why, nak)]

    def _new_id(self) -> int:
        self._next_id = (self._next_id + 1) & 0xFFFF
        return self._next_id
