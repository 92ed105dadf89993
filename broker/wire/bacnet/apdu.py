"""BACnet's application layer, strictly (ASHRAE 135-2020, 20.1): the headers of its eight kinds of message.

A *bare* APDU is one without invoke id and without what concerns segments: its first octet is the `Kind`, its second the
service choice (of a reject or abort: the reason), then come the parameters. So the same request always has one digest,
whatever ids and segments it travelled in.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from broker.wire.bacnet.tags import malformed

MAX_APDUS = (50, 128, 206, 480, 1024, 1476)  # 20.1.2.5, by their encoding
MORE_THAN_64 = 65
"""How `max_segments` tells of a peer that accepts more than 64 (20.1.2.4)."""
LARGEST_MAX_APDU = MAX_APDUS[-1]

_MAX_SEGMENTS = (None, 2, 4, 8, 16, 32, 64, MORE_THAN_64)  # 20.1.2.4, by their encoding
_SEGMENTED = 0x08
_MORE = 0x04
_ACCEPTS_SEGMENTS = 0x02
_NEGATIVE = 0x02
_FROM_SERVER = 0x01


class Kind(IntEnum):
    """What an APDU is: its first octet without flags (20.1.2 to 20.1.9)."""

    CONFIRMED_REQUEST = 0x00
    UNCONFIRMED_REQUEST = 0x10
    SIMPLE_ACK = 0x20
    COMPLEX_ACK = 0x30
    SEGMENT_ACK = 0x40
    ERROR = 0x50
    REJECT = 0x60
    ABORT = 0x70


class RejectReason(IntEnum):
    """Why a request was not looked at further (18.9, numbers of clause 21)."""

    OTHER = 0
    BUFFER_OVERFLOW = 1
    INCONSISTENT_PARAMETERS = 2
    INVALID_PARAMETER_DATA_TYPE = 3
    INVALID_TAG = 4
    MISSING_REQUIRED_PARAMETER = 5
    PARAMETER_OUT_OF_RANGE = 6
    TOO_MANY_ARGUMENTS = 7
    UNDEFINED_ENUMERATION = 8
    UNRECOGNIZED_SERVICE = 9


class AbortReason(IntEnum):
    """Why a transaction ended before its time (18.10, numbers of clause 21)."""

    OTHER = 0
    BUFFER_OVERFLOW = 1
    INVALID_APDU_IN_THIS_STATE = 2
    PREEMPTED_BY_HIGHER_PRIORITY_TASK = 3
    SEGMENTATION_NOT_SUPPORTED = 4
    SECURITY_ERROR = 5
    INSUFFICIENT_SECURITY = 6
    WINDOW_SIZE_OUT_OF_RANGE = 7
    APPLICATION_EXCEEDED_REPLY_TIME = 8
    OUT_OF_RESOURCES = 9
    TSM_TIMEOUT = 10
    APDU_TOO_LONG = 11


class ConfirmedRequest(NamedTuple):
    """A request that wants an answer, or one segment of it; `sequence` and `window` count only if `segmented`.

    `max_apdu` is in octets; `max_segments` None says that the client does not tell.
    """

    invoke: int
    service: int
    parameters: bytes
    max_apdu: int = LARGEST_MAX_APDU
    max_segments: int | None = None
    accepts_segments: bool = False
    segmented: bool = False
    more: bool = False
    sequence: int = 0
    window: int = 0


class UnconfirmedRequest(NamedTuple):
    """A request or notification that nobody answers."""

    service: int
    parameters: bytes


class SimpleAck(NamedTuple):
    """A request was carried out."""

    invoke: int
    service: int


class ComplexAck(NamedTuple):
    """A request was carried out and brought something, or one segment of that."""

    invoke: int
    service: int
    parameters: bytes
    segmented: bool = False
    more: bool = False
    sequence: int = 0
    window: int = 0


class SegmentAck(NamedTuple):
    """Segments up to `sequence` have come; `negative` asks for those behind it again."""

    invoke: int
    sequence: int
    window: int
    negative: bool = False
    from_server: bool = False


class ErrorPdu(NamedTuple):
    """A request was not carried out, for a reason that the parameters tell."""

    invoke: int
    service: int
    parameters: bytes


class Reject(NamedTuple):
    """A request was not understood."""

    invoke: int
    reason: int


class Abort(NamedTuple):
    """A transaction is over."""

    invoke: int
    reason: int
    from_server: bool = False


Apdu = ConfirmedRequest | UnconfirmedRequest | SimpleAck | ComplexAck | SegmentAck | ErrorPdu | Reject | Abort


def decode_apdu(octets: bytes) -> Apdu:
    """The message in these octets. Raises FrameError.

    A window is any octet here: one outside 1 to 127 has an answer of its own (18.10), which segmentation gives.
    """
    if not octets:
        raise malformed("an empty APDU")
    kind = octets[0] >> 4
    if kind >= len(_DECODERS):
        raise malformed(f"APDU type {kind}")  # 20.1.1: 8 to 15 are reserved
    return _DECODERS[kind](octets)


def _confirmed_request(octets: bytes) -> ConfirmedRequest:
    if len(octets) < 4:
        raise malformed("a confirmed request cut short")
    flags, accepted = octets[0], octets[1]
    if flags & 0x01 or accepted & 0x80:
        raise malformed("reserved bits in a confirmed request")  # 20.1.2.11
    code = accepted & 0x0F
    if code >= len(MAX_APDUS):
        raise malformed(f"a largest APDU of code {code}")  # 20.1.2.5: 6 to 15 are reserved
    most, accepts = _MAX_SEGMENTS[accepted >> 4], flags & _ACCEPTS_SEGMENTS != 0
    if not flags & (_SEGMENTED | _MORE):
        return ConfirmedRequest(octets[2], octets[3], octets[4:], MAX_APDUS[code], most, accepts)
    more = _more(flags)
    if len(octets) < 6:
        raise malformed("a segment cut short")
    return ConfirmedRequest(
        octets[2], octets[5], octets[6:], MAX_APDUS[code], most, accepts, True, more, octets[3], octets[4]
    )


def _more(flags: int) -> bool:
    if not flags & _SEGMENTED:
        raise malformed("more follows what is no segment")  # 20.1.2.2, 20.1.5.2
    return flags & _MORE != 0


def _unconfirmed_request(octets: bytes) -> UnconfirmedRequest:
    if len(octets) < 2:
        raise malformed("an unconfirmed request cut short")
    _require_no_flags(octets)
    return UnconfirmedRequest(octets[1], octets[2:])


def _require_no_flags(octets: bytes, allowed: int = 0) -> None:
    if octets[0] & 0x0F & ~allowed:
        raise malformed("reserved bits in an APDU")


def _require_length(octets: bytes, length: int) -> None:
    if len(octets) != length:
        raise malformed(f"an APDU of type {octets[0] >> 4} with {len(octets)} octets instead of {length}")


def _simple_ack(octets: bytes) -> SimpleAck:
    _require_length(octets, 3)
    _require_no_flags(octets)
    return SimpleAck(octets[1], octets[2])


def _complex_ack(octets: bytes) -> ComplexAck:
    if len(octets) < 3:
        raise malformed("an acknowledgement cut short")
    _require_no_flags(octets, _SEGMENTED | _MORE)
    flags = octets[0]
    if not flags & (_SEGMENTED | _MORE):
        return ComplexAck(octets[1], octets[2], octets[3:])
    more = _more(flags)
    if len(octets) < 5:
        raise malformed("a segment cut short")
    return ComplexAck(octets[1], octets[4], octets[5:], True, more, octets[2], octets[3])


def _segment_ack(octets: bytes) -> SegmentAck:
    _require_length(octets, 4)
    _require_no_flags(octets, _NEGATIVE | _FROM_SERVER)
    flags = octets[0]
    return SegmentAck(octets[1], octets[2], octets[3], flags & _NEGATIVE != 0, flags & _FROM_SERVER != 0)


def _error(octets: bytes) -> ErrorPdu:
    if len(octets) < 3:
        raise malformed("an error cut short")
    _require_no_flags(octets)
    return ErrorPdu(octets[1], octets[2], octets[3:])


def _reject(octets: bytes) -> Reject:
    _require_length(octets, 3)
    _require_no_flags(octets)
    return Reject(octets[1], octets[2])


def _abort(octets: bytes) -> Abort:
    _require_length(octets, 3)
    _require_no_flags(octets, _FROM_SERVER)
    return Abort(octets[1], octets[2], octets[0] & _FROM_SERVER != 0)


_DECODERS: tuple[Callable[[bytes], Apdu], ...] = (
    _confirmed_request,
    _unconfirmed_request,
    _simple_ack,
    _complex_ack,
    _segment_ack,
    _error,
    _reject,
    _abort,
)


def encode_apdu(apdu: Apdu) -> bytes:
    """The octets of one message."""
    match apdu:
        case ConfirmedRequest():
            return _encode_confirmed_request(apdu)
        case ComplexAck():
            return _encode_complex_ack(apdu)
        case SimpleAck(invoke, service):
            return bytes((Kind.SIMPLE_ACK, invoke, service))
        case ErrorPdu(invoke, service, parameters):
            return bytes((Kind.ERROR, invoke, service)) + parameters
        case UnconfirmedRequest(service, parameters):
            return bytes((Kind.UNCONFIRMED_REQUEST, service)) + parameters
        case SegmentAck(invoke, sequence, window, negative, from_server):
            flags = _NEGATIVE * negative | _FROM_SERVER * from_server
            return bytes((Kind.SEGMENT_ACK | flags, invoke, sequence, window))
        case Reject(invoke, reason):
            return bytes((Kind.REJECT, invoke, reason))
        case Abort(invoke, reason, from_server):
            return bytes((Kind.ABORT | _FROM_SERVER * from_server, invoke, reason))


def _encode_confirmed_request(request: ConfirmedRequest) -> bytes:
    accepted = _MAX_SEGMENTS.index(request.max_segments) << 4 | MAX_APDUS.index(request.max_apdu)
    flags = Kind.CONFIRMED_REQUEST | _ACCEPTS_SEGMENTS * request.accepts_segments
    if not request.segmented:
        return bytes((flags, accepted, request.invoke, request.service)) + request.parameters
    flags |= _SEGMENTED | _MORE * request.more
    header = (flags, accepted, request.invoke, request.sequence, request.window, request.service)
    return bytes(header) + request.parameters


def _encode_complex_ack(ack: ComplexAck) -> bytes:
    if not ack.segmented:
        return bytes((Kind.COMPLEX_ACK, ack.invoke, ack.service)) + ack.parameters
    flags = Kind.COMPLEX_ACK | _SEGMENTED | _MORE * ack.more
    return bytes((flags, ack.invoke, ack.sequence, ack.window, ack.service)) + ack.parameters


def bare(apdu: Apdu) -> bytes:
    """The message without invoke id. Raises FrameError for segments and their acknowledgements."""
    match apdu:
        case ConfirmedRequest(service=service, parameters=parameters, segmented=False):
            return bytes((Kind.CONFIRMED_REQUEST, service)) + parameters
        case ComplexAck(service=service, parameters=parameters, segmented=False):
            return bytes((Kind.COMPLEX_ACK, service)) + parameters
        case SimpleAck(_, service):
            return bytes((Kind.SIMPLE_ACK, service))
        case UnconfirmedRequest(service, parameters):
            return bytes((Kind.UNCONFIRMED_REQUEST, service)) + parameters
        case ErrorPdu(_, service, parameters):
            return bytes((Kind.ERROR, service)) + parameters
        case Reject(_, reason):
            return bytes((Kind.REJECT, reason))
        case Abort(_, reason):
            return bytes((Kind.ABORT, reason))
        case _:
            raise malformed("a segment is no whole message")


def dressed(
    bare: bytes,
    invoke: int,
    *,
    max_apdu: int = LARGEST_MAX_APDU,
    max_segments: int | None = None,
    accepts_segments: bool = False,
    from_server: bool = True,
) -> Apdu:
    """The bare message as it is sent under an invoke id, in one piece. Raises FrameError.

    What a client accepts stands in confirmed requests only, `from_server` in aborts only.
    """
    if len(bare) < 2:
        raise malformed("a bare APDU cut short")
    kind, choice, parameters = bare[0], bare[1], bare[2:]
    match kind:
        case Kind.CONFIRMED_REQUEST:
            return ConfirmedRequest(invoke, choice, parameters, max_apdu, max_segments, accepts_segments)
        case Kind.UNCONFIRMED_REQUEST:
            return UnconfirmedRequest(choice, parameters)
        case Kind.COMPLEX_ACK:
            return ComplexAck(invoke, choice, parameters)
        case Kind.ERROR:
            return ErrorPdu(invoke, choice, parameters)
    if parameters:
        raise malformed(f"octets behind a bare APDU of kind {kind}")
    match kind:
        case Kind.SIMPLE_ACK:
            return SimpleAck(invoke, choice)
        case Kind.REJECT:
            return Reject(invoke, choice)
        case Kind.ABORT:
            return Abort(invoke, choice, from_server)
    raise malformed(f"a bare APDU of kind {kind}")
