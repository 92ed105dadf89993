"""What a device's reply says about a request: decoded as strictly as requests are, and re-encoded from that.

A reply is acceptable if it is of the kind that the service has, and about what was asked: the same properties in the
same order (15.7.1.2 promises that of ReadPropertyMultiple).
"""

from collections.abc import Iterator, Sequence

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Relayed, Request
from broker.model.place import BacnetAddress, Point
from broker.model.vocabulary import Result
from broker.wire.bacnet.acknowledgements import SIMPLE, acknowledged
from broker.wire.bacnet.apdu import AbortReason
from broker.wire.bacnet.device_errors import decode_refusal
from broker.wire.bacnet.encoding import closing, encode_tags, opening
from broker.wire.bacnet.places import raw_values
from broker.wire.bacnet.references import Reference, reference_of
from broker.wire.bacnet.replies import (
    Reported,
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    encode_read_property_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.standard import error_text, word_of
from broker.wire.bacnet.tags import Tag, decode_tags
from broker.wire.bacnet.values import text_of_value

SIMPLE_ACK, COMPLEX_ACK, ERROR, REJECT, ABORT = 0x20, 0x30, 0x50, 0x60, 0x70  # 20.1.1, first octet of a bare APDU
READ, READ_MULTIPLE, WRITE_MULTIPLE = 12, 14, 16  # clause 21: confirmed service choices
_VALUE, _END_OF_VALUE = opening(3), closing(3)  # 15.5.1.2.4
_PRESENT_VALUE, _PRIORITY_ARRAY = "present-value", "priority-array"
UNREADABLE = "value/unreadable"
"""Our word for a value that is constructed, no finite number or not printable."""

_BEFORE_ANYTHING = frozenset(
    (
        AbortReason.BUFFER_OVERFLOW,
        AbortReason.SEGMENTATION_NOT_SUPPORTED,
        AbortReason.SECURITY_ERROR,
        AbortReason.INSUFFICIENT_SECURITY,
        AbortReason.WINDOW_SIZE_OUT_OF_RANGE,
        AbortReason.APDU_TOO_LONG,
    )
)
"""18.10: why a device does not take a request in; other reasons may come up while it is being carried out."""


def judge(request: Request, reply: bytes) -> Relayed:
    """What a bare reply says. Raises FrameError if it cannot be one to this request."""
    kind, choice, rest = reply[0], reply[1], reply[2:]
    if kind == REJECT:
        return Relayed(Result.DEVICE_REFUSED, reply, code=f"reject-{word_of('reject-reason', choice)}")
    if kind == ABORT:
        return _aborted(request, reply)
    if choice != request.payload[1]:
        raise FrameError("reply_mismatch", "a reply to another service")
    if kind == ERROR:
        return _refused(request, choice, rest)
    if kind != (SIMPLE_ACK if choice in SIMPLE else COMPLEX_ACK):
        raise FrameError("reply_mismatch", "an acknowledgement of the wrong kind")
    if kind == SIMPLE_ACK:
        return Relayed(Result.DONE, reply)
    if choice not in (READ, READ_MULTIPLE):
        brought = acknowledged(decode_confirmed(choice, request.payload[2:]), rest)
        return Relayed(Result.DONE, reply[:2] + brought)
    return _repeated(request, reply) or _read(request, choice, _reported(choice, rest))


def told(request: Request, reply: bytes) -> Iterator[tuple[str, str, str]]:
    """What an accepted bare reply says of each point: its id, `value` or `error`, and which.

    Of a property that no point is it is the same under its address (`notification-class,1 priority[1]`).
    """
    if reply[0] != COMPLEX_ACK or reply[1] not in (READ, READ_MULTIPLE):
        return
    for operation, each in zip(request.operations, _reported(reply[1], reply[2:]), strict=True):
        asked = _property(operation)
        points = [touch.point.id for touch in operation.touches if _tells(asked, touch.point)]
        word, text = _text(asked, each)
        if not points and text == UNREADABLE:
            word, text = _raw_text(each.values)
        for name in points or (str(asked),):
            yield name, word, text


def _tells(asked: BacnetProperty, point: Point) -> bool:
    """Whether what is asked for is what the point is, or one priority of it (19.2.1)."""
    at = point.address
    if not isinstance(at, BacnetAddress):
        return False
    priority = asked.property == _PRIORITY_ARRAY and asked.index is not None and at.property == _PRESENT_VALUE
    return priority or (at.property, at.index) == (asked.property, asked.index)


def _aborted(request: Request, reply: bytes) -> Relayed:
    code = f"abort-{word_of('abort-reason', reply[1])}"
    unsure = request.writes and reply[1] not in _BEFORE_ANYTHING
    return Relayed(Result.UNKNOWN if unsure else Result.DEVICE_REFUSED, reply, code=code)


def _refused(request: Request, choice: int, parameters: bytes) -> Relayed:
    refusal = decode_refusal(choice, parameters)
    payload, code = bytes((ERROR, choice)) + refusal.octets, error_text(*refusal.error)
    if choice != WRITE_MULTIPLE or len(request.operations) == 1:
        return Relayed(Result.DEVICE_REFUSED, payload, code=code)
    if refusal.first_failed is None:  # it does not say which were carried out before
        return Relayed(Result.UNKNOWN, payload, code=code)
    each = _midway(request.operations, refusal.first_failed, code)
    unsure = any(result == Result.UNKNOWN for result, _ in each)
    return Relayed(Result.UNKNOWN if unsure else Result.DEVICE_REFUSED, payload, code=code, each=each)


def _midway(operations: Sequence[Operation], failed: Reference, code: str) -> tuple[tuple[str, str], ...]:
    """What became of each write (15.10.1.3): those before the first that failed were done, those behind not tried.

    Raises FrameError if nothing of the sort was to be written.
    """
    places = [place for place, operation in enumerate(operations) if _reference(operation) == failed]
    if not places:
        raise FrameError("reply_mismatch", "an error about what was not to be written")
    first, last = places[0], places[-1]
    # The same place twice in one request: either write may be the one that failed.
    failing: list[tuple[str, str]] = [(Result.DEVICE_REFUSED if first == last else Result.UNKNOWN, code)]
    behind = len(operations) - last - 1
    return (*[(Result.DONE, "")] * first, *failing * (last - first + 1), *[(Result.UNATTEMPTED, "")] * behind)


def _reported(choice: int, parameters: bytes) -> tuple[Reported, ...]:
    if choice == READ:
        return (decode_read_property_ack(parameters),)
    return decode_read_property_multiple_ack(parameters)


def _repeated(request: Request, reply: bytes) -> Relayed | None:
    """The usual answer to ReadProperty begins with the question, octet by octet; then only the value needs decoding."""
    question = len(request.payload)
    if (
        request.payload[1] != READ
        or reply[2:question] != request.payload[2:]
        or reply[question : question + 1] != _VALUE
    ):
        return None
    if reply[-1:] != _END_OF_VALUE:
        return None
    value = encode_tags(decode_tags(reply[question + 1 : -1]))
    return Relayed(Result.DONE, reply[: question + 1] + value + _END_OF_VALUE)


def _read(request: Request, choice: int, reported: tuple[Reported, ...]) -> Relayed:
    asked = [_reference(operation) for operation in request.operations]
    if [each.reference for each in reported] != asked:
        raise FrameError("reply_mismatch", "other properties than were asked for")
    encoded = encode_read_property_ack(reported[0]) if choice == READ else encode_read_property_multiple_ack(reported)
    failed = any(each.error is not None for each in reported)
    each = tuple(map(_fared, reported)) if failed else ()
    return Relayed(Result.DONE, bytes((COMPLEX_ACK, choice)) + encoded, each=each)


def _fared(reported: Reported) -> tuple[str, str]:
    error = reported.error
    return (Result.DONE, "") if error is None else (Result.DEVICE_REFUSED, error_text(*error))


def _text(asked: BacnetProperty, reported: Reported) -> tuple[str, str]:
    if reported.error is not None:
        return "error", error_text(*reported.error)
    try:
        return "value", text_of_value(asked.object_type, asked.property or "", asked.index, reported.values)
    except FrameError:
        return "error", UNREADABLE


def _raw_text(values: Sequence[Tag]) -> tuple[str, str]:
    try:
        return "value", " ".join(raw_values(values))
    except FrameError:
        return "error", UNREADABLE


def _property(operation: Operation) -> BacnetProperty:
    assert isinstance(operation.address, BacnetProperty)
    return operation.address


def _reference(operation: Operation) -> Reference:
    return reference_of(_property(operation))
