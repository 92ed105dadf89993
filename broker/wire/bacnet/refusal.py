"""What a native client is answered where not all of its request was carried out: bare replies, one table.

WriteProperty, WritePropertyMultiple   property / write-access-denied, with the first write that failed
ReadProperty, ReadRange                property / read-access-denied
ReadPropertyMultiple                   the same inside the acknowledgement, for each property
files                                  services / file-access-denied
DeviceCommunicationControl, ReinitializeDevice without a password    security / password-failure
other confirmed services               services / service-request-denied
what cannot be understood              reject
"""

from collections.abc import Sequence

from broker.errors import FrameError
from broker.model.vocabulary import Reason
from broker.wire.bacnet.encoding import (
    application_enumerated,
    closing,
    context_object,
    context_property,
    context_unsigned,
    opening,
)
from broker.wire.bacnet.interpreter import (
    LIFETIME_OUT_OF_RANGE,
    NO_TIMESTAMPS,
    PASSWORD_MISSING,
    WRITE_MULTIPLE,
    reference_to,
)
from broker.wire.bacnet.items import Decoded, Item
from broker.wire.bacnet.replies import Reported, encode_read_property_multiple_ack
from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.standard import error_numbers, number_of

COMPLEX_ACK, ERROR, REJECT = 0x30, 0x50, 0x60  # 20.1.5, 20.1.7, 20.1.8: first octet of a bare reply

READ_DENIED = error_numbers("property/read-access-denied")
_WRITE_DENIED = error_numbers("property/write-access-denied")
_REQUEST_DENIED = error_numbers("services/service-request-denied")
_FILE_DENIED = error_numbers("services/file-access-denied")
NO_ROOM = error_numbers("resources/no-space-to-add-list-element")
"""13.14.1.3.1, 13.15.1.3.1: the device cannot keep one more subscription."""
_DENIED = {
    "read-property": READ_DENIED,
    "read-range": READ_DENIED,
    "write-property": _WRITE_DENIED,
    "write-property-multiple": _WRITE_DENIED,
    "atomic-read-file": _FILE_DENIED,
    "atomic-write-file": _FILE_DENIED,
}
_FAULTS = {
    Reason.SERVICE_NOT_ALLOWED.value: _REQUEST_DENIED,
    Reason.PRIORITY_NOT_ALLOWED.value: _WRITE_DENIED,
    "invalid_datatype": error_numbers("property/invalid-data-type"),
    "illegal_value": error_numbers("property/value-out-of-range"),
    PASSWORD_MISSING: error_numbers("security/password-failure"),
    LIFETIME_OUT_OF_RANGE: error_numbers("services/value-out-of-range"),
    NO_TIMESTAMPS: error_numbers("services/optional-functionality-not-supported"),
}
_OF_THE_WHOLE = frozenset((LIFETIME_OUT_OF_RANGE, NO_TIMESTAMPS))
"""Faults of a request for several subscriptions, and not of any one of them (clause 21, `error-type`)."""
_LIST, _CREATE, _PRIVATE, _SUBSCRIBE_MULTIPLE = frozenset((8, 9)), 10, 18, 30  # clause 21, services by number

TOO_LONG = frozenset(
    (
        "abort-buffer-overflow",
        "abort-segmentation-not-supported",
        "abort-apdu-too-long",
        "request_too_long",
        "reply_too_long",
    )
)
"""What is said of a request that could be carried out in parts (18.10, and our own words for the same)."""

Error = tuple[int, int]


def frame_reply(bare: bytes, code: str, reject: str = "invalid-tag") -> bytes:
    """The answer to a confirmed request that is not acceptable, by the code (and reject word) of its FrameError."""
    if code == "unrecognized_service":
        return _rejected("unrecognized-service")
    error = _FAULTS.get(code)
    if error is None:
        return _rejected(reject)
    return error_reply(bare, error, None if code in _OF_THE_WHOLE else 0)


def _rejected(word: str) -> bytes:
    return bytes((REJECT, number_of("reject-reason", word)))


def refused_reply(bare: bytes, place: int = 0) -> bytes:
    """The answer to a confirmed request that was denied whole, because of the operation at this place."""
    try:
        decoded = decode_confirmed(bare[1], bare[2:])
        if decoded.service == "read-property-multiple":
            results = [Reported(reference_to(item), error=READ_DENIED) for item in decoded.items]
            return bytes((COMPLEX_ACK, bare[1])) + encode_read_property_multiple_ack(results)
    except FrameError as error:
        return frame_reply(bare, error.code, getattr(error, "reject", "invalid-tag"))
    return error_reply(bare, _DENIED.get(decoded.service, _REQUEST_DENIED), place)


def error_reply(bare: bytes, error: Error, place: int | None = 0) -> bytes:
    """The Error PDU for a request (20.1.7, clause 21 BACnet-Error).

    Of several writes or subscriptions the one at this place failed, None: no single one.
    """
    service = bare[1]
    return bytes((ERROR, service)) + _error_parameters(service, bare, error, place)


def _error_parameters(service: int, bare: bytes, error: Error, place: int | None) -> bytes:
    plain = b"".join(map(application_enumerated, error))
    if service not in (*_LIST, _CREATE, WRITE_MULTIPLE, _PRIVATE, _SUBSCRIBE_MULTIPLE):
        return plain
    wrapped = opening(0) + plain + closing(0)
    try:
        decoded = decode_confirmed(service, bare[2:])
    except FrameError:
        return wrapped + _no_details(service)
    if service == _SUBSCRIBE_MULTIPLE and decoded.items and place is not None:
        return _failed_subscription(decoded.items[place], plain)
    return wrapped + _details(service, decoded, place or 0)


def _failed_subscription(item: Item, error: bytes) -> bytes:
    """The first that failed of several (13.16.1.3.2), in place of the error alone."""
    at = reference_to(item)
    what = context_object(0, at.object_type, at.instance)
    which = opening(1) + context_property(0, at.property, at.array_index) + closing(1)
    return opening(1) + what + which + opening(2) + error + closing(2) + closing(1)


def _details(service: int, decoded: Decoded, place: int) -> bytes:
    if service == WRITE_MULTIPLE:
        item = decoded.items[place]
        at = reference_to(item)
        failed = context_object(0, at.object_type, at.instance) + context_property(1, at.property, at.array_index)
        return opening(1) + failed + closing(1)
    if service == _PRIVATE:
        facts = dict(decoded.facts)
        numbers = (int(facts["vendor-identifier"]), int(facts["service-number"]))
        return b"".join(context_unsigned(place, number) for place, number in enumerate(numbers, 1))
    return _no_details(service)


def _no_details(service: int) -> bytes:
    """Element 0 is none of those that were given (15.1.1.3.1, 15.3.1.3.2)."""
    return context_unsigned(1, 0) if service in _LIST or service == _CREATE else b""


def joined(replies: Sequence[bytes]) -> bytes:
    """Bare acknowledgements of ReadPropertyMultiple as one: their results follow each other (15.7)."""
    return replies[0] + b"".join(reply[2:] for reply in replies[1:])
