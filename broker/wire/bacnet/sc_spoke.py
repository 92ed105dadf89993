"""A hub's side of one BACnet/SC connection (ASHRAE 135-2020, AB.5 and AB.6.2.3), without socket and clock.

The hub is a BACnet router and nothing else: what a spoke sends is for the router or for nobody. Nothing is forwarded
from one spoke to another, and no spoke learns of another but by the refusal of an address that is taken.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from broker.model.vocabulary import EndReason
from broker.wire.bacnet.sc import decode_sc, encode_sc, not_understood
from broker.wire.bacnet.sc_message import (
    BROADCAST,
    ErrorCode,
    Function,
    Nak,
    ScFrameError,
    ScMessage,
)
from broker.wire.bacnet.sc_payloads import (
    Advertisement,
    Connect,
    ScResult,
    decode_connect,
    encode_advertisement,
    encode_connect,
    encode_result,
)

MAX_NPDU: Final = 1_497
MAX_BVLC: Final = 1_600
SECURITY: Final = 4
ACCESS_DENIED: Final = 85
MESSAGE_TOO_LONG: Final = 113
CONNECTED_TO_PRIMARY: Final = 1


@dataclass(frozen=True, slots=True)
class Hub:
    """What the hub says of itself, and its times.

    `direct_uris`: where direct connections are accepted, if anywhere. A spoke that was silent for `heartbeat_seconds`
    is asked whether it is there, and has as long again to answer.
    """

    vmac: bytes
    uuid: bytes
    direct_uris: tuple[str, ...] = ()
    connect_seconds: float = 10.0
    heartbeat_seconds: float = 60.0
    disconnect_seconds: float = 0.5

    @property
    def connect(self) -> Connect:
        """Its part of a handshake."""
        return Connect(self.vmac, self.uuid, MAX_BVLC, MAX_NPDU)


class Send(NamedTuple):
    """Send this message."""

    octets: bytes


class Wanted(NamedTuple):
    """The spoke asks to be connected: answer by `accept` or `refuse`."""

    connect: Connect


class Arrived(NamedTuple):
    """An NPDU for the router."""

    npdu: bytes


class Refused(NamedTuple):
    """Something was refused: a word for the record, and the octets."""

    code: str
    octets: bytes


class HangUp(NamedTuple):
    """The connection is over; nothing follows."""

    reason: EndReason


Event = Send | Wanted | Arrived | Refused | HangUp


class _State(Enum):
    AWAITING_REQUEST = 0
    ADMITTING = 1
    CONNECTED = 2
    DISCONNECTING = 3
    IDLE = 4


class Spokes:
    """Who is connected to one hub: one connection for each device UUID, one for each VMAC."""

    def __init__(self) -> None:
        self._by_uuid: dict[bytes, Spoke] = {}
        self._by_vmac: dict[bytes, Spoke] = {}

    def __len__(self) -> int:
        return len(self._by_uuid)

    def refusal(self, spoke: "Spoke", connect: Connect) -> str:
        """Why a spoke cannot have what it asks for, "" if it can."""
        holder = self._by_uuid.get(connect.uuid)
        if holder is not None and holder.subject != spoke.subject:
            return "uuid_of_another"
        neighbour = self._by_vmac.get(connect.vmac)
        if connect.vmac == spoke.hub.vmac or (neighbour is not None and neighbour is not holder):
            return "duplicate_vmac"
        return ""

    def enter(self, spoke: "Spoke") -> "Spoke | None":
        """Take a spoke in; the older connection of the same device, which is out now."""
        older = self._by_uuid.get(spoke.peer.uuid)
        if older is not None:
            self.leave(older)
        self._by_uuid[spoke.peer.uuid] = self._by_vmac[spoke.peer.vmac] = spoke
        return older

    def leave(self, spoke: "Spoke") -> None:
        """A spoke is out; nothing happens to one that was, or that another has the place of."""
        if self._by_uuid.get(spoke.peer.uuid) is spoke:
            del self._by_uuid[spoke.peer.uuid]
            del self._by_vmac[spoke.peer.vmac]


class Spoke:
    """One connection. `subject` is whose it is; `peer` what the spoke said of itself, once it is admitted.

    `due` is when `tick` wants to be called. With `direct`, the messages carry no addresses (AB.2.5).
    """

    __slots__ = (
        "_asked",
        "_direct",
        "_next_id",
        "_request",
        "_spokes",
        "_state",
        "due",
        "hub",
        "peer",
        "subject",
    )

    def __init__(self, hub: Hub, spokes: Spokes, subject: str, now: float, *, direct: bool = False) -> None:
        self.hub = hub
        self.subject = subject
        self.peer = Connect(b"", b"", 0, 0)
        self.due = now + hub.connect_seconds
        self._spokes = spokes
        self._direct = direct
        self._state = _State.AWAITING_REQUEST
        self._request = ScMessage(Function.CONNECT_REQUEST, 0)
        self._asked = False
        self._next_id = 0

    @property
    def is_connected(self) -> bool:
        """Whether NPDUs may go either way."""
        return self._state is _State.CONNECTED

    def receive(self, octets: bytes, now: float) -> list[Event]:
        """One message of the spoke."""
        if self._state is _State.IDLE:
            return []
        try:
            message = decode_sc(octets)
        except ScFrameError as error:
            return [*self._nak(error.head, error.nak), Refused(f"sc_{error.code}", octets)]
        self._hear(now)
        if self._state is _State.DISCONNECTING:
            leaving = message.function in (Function.DISCONNECT_ACK, Function.DISCONNECT_REQUEST)
            return self._hang_up(EndReason.PEER_CLOSED) if leaving else []
        option = not_understood(message)
        if option is not None:  # AB.3.1.4
            nak = Nak(ErrorCode.HEADER_NOT_UNDERSTOOD, marker=option.marker)
            return [*self._nak(message, nak), Refused("sc_header_not_understood", octets)]
        if self._state is _State.CONNECTED:
            return self._take(message, octets)
        if self._state is _State.AWAITING_REQUEST and message.function == Function.CONNECT_REQUEST:
            return self._take_request(message)
        return []  # AB.6.2.3: whatever else comes before the connection is there is discarded

    def accept(self, now: float) -> tuple[list[Event], "Spoke | None"]:
        """Let the spoke in; and the connection that it takes the place of, to be ended."""
        if self._state is not _State.ADMITTING:
            return [], None
        wanted = decode_connect(self._request.payload)
        refusal = self._spokes.refusal(self, wanted)  # another may have come while this one was looked at
        if refusal:
            return self._turn_away(refusal), None
        self.peer = wanted
        older = self._spokes.enter(self)
        self._state = _State.CONNECTED
        self._hear(now)
        return [self._answer(self._request, Function.CONNECT_ACCEPT, encode_connect(self.hub.connect))], older

    def refuse(self) -> list[Event]:
        """Whoever it is has no access here."""
        if self._state is not _State.ADMITTING:
            return []
        nak = Nak(ACCESS_DENIED, SECURITY, details="no access")
        return [*self._nak(self._request, nak), *self._hang_up(EndReason.DENIED)]

    def send(self, npdu: bytes, *, broadcast: bool = False) -> list[Event]:
        """An NPDU of the router; nothing if the spoke could not take it (AB.2.10.1)."""
        origin = b"" if self._direct else self.hub.vmac
        destination = BROADCAST if broadcast and not self._direct else b""
        octets = encode_sc(ScMessage(Function.ENCAPSULATED_NPDU, self._new_id(), npdu, origin, destination))
        fits = len(npdu) <= self.peer.max_npdu and len(octets) <= self.peer.max_bvlc
        return [Send(octets)] if fits and self._state is _State.CONNECTED else []

    def disconnect(self, now: float) -> list[Event]:
        """End an open connection in order: no NPDU goes either way from here on (AB.6.2.3)."""
        if self._state in (_State.DISCONNECTING, _State.IDLE):
            return []
        if self._state is not _State.CONNECTED:
            return self._hang_up(EndReason.CONNECTION_CLOSED)
        self._spokes.leave(self)
        self._state = _State.DISCONNECTING
        self.due = now + self.hub.disconnect_seconds
        return [Send(encode_sc(ScMessage(Function.DISCONNECT_REQUEST, self._new_id())))]

    def lost(self) -> None:
        """The connection is gone."""
        self._hang_up(EndReason.PEER_CLOSED)

    def tick(self, now: float) -> list[Event]:
        """What time asks for."""
        if now < self.due or self._state is _State.IDLE:
            return []
        if self._state in (_State.AWAITING_REQUEST, _State.ADMITTING):  # AB.6.2.3: connect wait timeout
            return self._hang_up(EndReason.IDLE)
        if self._state is _State.DISCONNECTING:
            return self._hang_up(EndReason.CONNECTION_CLOSED)
        if self._asked:  # AB.6.3
            return self._hang_up(EndReason.IDLE)
        self._asked = True
        self.due = now + self.hub.heartbeat_seconds
        return [Send(encode_sc(ScMessage(Function.HEARTBEAT_REQUEST, self._new_id())))]

    def _hear(self, now: float) -> None:
        if self._state is _State.CONNECTED:
            self._asked = False
            self.due = now + self.hub.heartbeat_seconds

    def _take_request(self, message: ScMessage) -> list[Event]:
        wanted = decode_connect(message.payload)
        self._request = message
        self._state = _State.ADMITTING
        refusal = self._spokes.refusal(self, wanted)
        return self._turn_away(refusal) if refusal else [Wanted(wanted)]

    def _turn_away(self, refusal: str) -> list[Event]:
        """AB.6.2.3. A UUID that another subject holds is answered like an address that is taken: nothing better is
        there to say, and the node's own remedy, another address, brings it no further.
        """
        nak = self._nak(self._request, Nak(ErrorCode.NODE_DUPLICATE_VMAC))
        return [*nak, Refused(refusal, self._request.payload), *self._hang_up(EndReason.DENIED)]

    def _take(self, message: ScMessage, octets: bytes) -> list[Event]:
        match message.function:
            case Function.HEARTBEAT_REQUEST:
                return [self._answer(message, Function.HEARTBEAT_ACK)]
            case Function.DISCONNECT_REQUEST:
                return [self._answer(message, Function.DISCONNECT_ACK), *self._hang_up(EndReason.PEER_CLOSED)]
            case Function.DISCONNECT_ACK:  # the spoke believes that we asked it to go
                return self._hang_up(EndReason.PEER_CLOSED)
            case Function.CONNECT_REQUEST | Function.CONNECT_ACCEPT | Function.HEARTBEAT_ACK:
                return []
        return self._take_addressed(message, octets)

    def _take_addressed(self, message: ScMessage, octets: bytes) -> list[Event]:
        # AB.5.4: a node does not name itself to its hub; in another's name it must not speak.
        if message.origin not in (b"", self.peer.vmac) or (self._direct and message.destination):
            nak = Nak(ErrorCode.HEADER_ENCODING_ERROR, details="not your address")
            return [*self._nak(message, nak), Refused("sc_origin_foreign", octets)]
        if message.destination not in (b"", BROADCAST, self.hub.vmac):
            return [Refused("sc_destination_foreign", octets)]  # nobody else is reached through this hub
        if message.destination == BROADCAST and message.function != Function.ENCAPSULATED_NPDU:
            return []
        match message.function:
            case Function.ENCAPSULATED_NPDU:
                return self._take_npdu(message, octets)
            case Function.ADDRESS_RESOLUTION:
                return self._tell_uris(message)
            case Function.ADVERTISEMENT_SOLICITATION:
                return [self._answer(message, Function.ADVERTISEMENT, self._advertisement(), self._new_id())]
            case Function.PROPRIETARY:  # AB.2.16
                return self._nak(message, Nak(ErrorCode.BVLC_PROPRIETARY_FUNCTION_UNKNOWN))
        return []  # what became of our own messages, and what a spoke says of itself

    def _take_npdu(self, message: ScMessage, octets: bytes) -> list[Event]:
        if len(message.payload) <= MAX_NPDU and len(octets) <= MAX_BVLC:
            return [Arrived(message.payload)]
        return [*self._nak(message, Nak(MESSAGE_TOO_LONG)), Refused("sc_too_long", octets)]

    def _tell_uris(self, message: ScMessage) -> list[Event]:
        if not self.hub.direct_uris:  # AB.3.3: a node that accepts none says so
            return self._nak(message, Nak(ErrorCode.OPTIONAL_FUNCTIONALITY_NOT_SUPPORTED))
        return [self._answer(message, Function.ADDRESS_RESOLUTION_ACK, " ".join(self.hub.direct_uris).encode())]

    def _advertisement(self) -> bytes:
        accepts = bool(self.hub.direct_uris)
        return encode_advertisement(Advertisement(CONNECTED_TO_PRIMARY, accepts, MAX_BVLC, MAX_NPDU))

    def _answer(self, message: ScMessage, function: Function, payload: bytes = b"", identifier: int = -1) -> Send:
        """In the name that was addressed: the hub's VMAC, or none."""
        origin = message.destination if message.destination == self.hub.vmac else b""
        identifier = message.id if identifier < 0 else identifier
        return Send(encode_sc(ScMessage(function, identifier, payload, origin)))

    def _nak(self, message: ScMessage | None, nak: Nak) -> list[Event]:
        """AB.3.1.5: never to a broadcast, never to a result, never to what has no header; not in another's name."""
        if message is None or message.function == Function.RESULT:
            return []
        if message.destination not in (b"", self.hub.vmac):
            return []
        return [self._answer(message, Function.RESULT, encode_result(ScResult(message.function, nak)))]

    def _hang_up(self, reason: EndReason) -> list[Event]:
        self._spokes.leave(self)
        self._state = _State.IDLE
        return [HangUp(reason)]

    def _new_id(self) -> int:
        self._next_id = (self._next_id + 1) & 0xFFFF
        return self._next_id
