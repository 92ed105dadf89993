"""What an audit log in OT is told of what somebody did (ASHRAE 135-2020, 13.19; clause 21, BACnetAuditNotification)."""

from collections.abc import Iterable
from typing import NamedTuple

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Request
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.encoding import (
    application,
    application_enumerated,
    application_unsigned,
    closing,
    context,
    context_object,
    context_property,
    context_unsigned,
    encode_tags,
    opening,
)
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.services import decode_confirmed, decode_unconfirmed
from broker.wire.bacnet.standard import UNKNOWN_INSTANCE, error_numbers, number_of
from broker.wire.bacnet.tags import DATE, OCTETS, TIME

CONFIRMED_AUDIT_NOTIFICATION = 32  # clause 21, BACnetConfirmedServiceChoice
LONGEST_VALUE = 256
"""Octets of a value that are told; what is longer is in the ledger alone."""

_HEADER = 6  # 20.1.2: four octets of a confirmed request, and the tags around the list
_SHORTEST_COMMENT = 16
_COMMENT_TAG = 3  # 20.2.1.3.1: tag and length of up to 253 octets, and the character set
_LONGEST_COMMENT = 240
_UTF8 = b"\x00"  # 20.2.9
_FIRST_YEAR = 1900
_LAST_YEAR = _FIRST_YEAR + 254
_DEVICE = "device"
_OPERATIONS = {
    "atomic-read-file": "read",
    "write-property": "write",
    "write-property-multiple": "write",
    "add-list-element": "write",
    "remove-list-element": "write",
    "atomic-write-file": "write",
    "create-object": "create",
    "delete-object": "delete",
    "life-safety-operation": "life-safety",
    "acknowledge-alarm": "acknowledge-alarm",
}
_REINITIALIZED = {
    "start-backup": "device-backup",
    "end-backup": "device-backup",
    "start-restore": "device-restore",
    "end-restore": "device-restore",
    "abort-restore": "device-restore",
}
NOT_ALLOWED = "security/access-denied"
NO_REPLY = "communication/timeout"

Moment = tuple[int, int, int, int, int, int, int, int]
"""Year, month, day, day of the week (Monday is 1), hour, minute, second and hundredths, in local time (20.2.12)."""


class Target(NamedTuple):
    """What was done, to what: `item` is its object and property with what was written, `operation` BACnet's word."""

    operation: str
    item: Item


class AuditReport(NamedTuple):
    """One operation as it is told.

    `source` is the MAC of the broker on the network of the log, `device` the instance of the device that it was for.
    `before` are the octets of the value that was there. `error` is why it was not done, in the words of `error_text`.
    """

    moment: Moment
    source: bytes
    comment: str
    device: int
    target: Target
    before: bytes = b""
    error: str = ""


def targets_of(request: Request) -> tuple[Target, ...]:
    """What each operation of a BACnet request does, without what is written if that is confidential."""
    kind, service, parameters = request.payload[0], request.payload[1], request.payload[2:]
    decode = decode_confirmed if kind == Kind.CONFIRMED_REQUEST else decode_unconfirmed
    items = () if request.conceals else decode(service, parameters).items
    whole = len(items) == len(request.operations)
    return tuple(
        Target(_word(operation), _item(operation, items[place].value if whole else None))
        for place, operation in enumerate(request.operations)
    )


def _item(operation: Operation, value: tuple[object, ...] | None) -> Item:
    at = operation.address
    assert isinstance(at, BacnetProperty)
    return Item(at.object_type, at.instance, at.property, at.index, value, operation.priority)  # type: ignore[arg-type]


def _word(operation: Operation) -> str:
    """The BACnetAuditOperation (clause 21); what has none of its own is `general`."""
    facts = dict(operation.facts)
    if operation.service == "device-communication-control":
        return "device-enable-comm" if facts["enable-disable"] == "enable" else "device-disable-comm"
    if operation.service == "reinitialize-device":
        return _REINITIALIZED.get(facts["reinitialized-state"], "device-reset")
    return _OPERATIONS.get(operation.service, "general")


def error_of(result_code: str) -> str:
    """Error class and code for the code of a result: the device's own words, or what they are as errors (clause 18)."""
    pdu = result_code.partition("-")[0]
    for error in (result_code, f"communication/{result_code}", f"communication/{pdu}-other"):
        try:
            error_numbers(error)
        except FrameError:
            continue
        return error
    return NO_REPLY


def encode_report(report: AuditReport, max_apdu: int) -> bytes:
    """A BACnetAuditNotification that fits into one message of that length.

    What does not fit goes in this order: the values, which the ledger has, then the end of the comment.
    """
    room = max_apdu - _HEADER
    octets = _encoded(report, _cut(report.comment, _LONGEST_COMMENT))
    if len(octets) > room:
        item = report.target.item._replace(value=None)
        report = report._replace(before=b"", target=report.target._replace(item=item))
        left = room - len(_encoded(report, b"")) - _COMMENT_TAG
        octets = _encoded(report, _cut(report.comment, max(_SHORTEST_COMMENT, min(left, _LONGEST_COMMENT))))
    return octets


def encode_audit_notification(reports: Iterable[bytes]) -> bytes:
    """The bare ConfirmedAuditNotification with these (13.19.1.1)."""
    return bytes((Kind.CONFIRMED_REQUEST, CONFIRMED_AUDIT_NOTIFICATION)) + opening(0) + b"".join(reports) + closing(0)


def fitting(reports: Iterable[bytes], max_apdu: int) -> int:
    """How many of these go into one message; at least one."""
    left, count = max_apdu - _HEADER, 0
    for report in reports:
        left -= len(report)
        if left < 0 and count:
            break
        count += 1
    return count


def _encoded(report: AuditReport, comment: bytes) -> bytes:
    word, item = report.target
    octets = opening(0) + opening(2) + _date_time(report.moment) + closing(2) + closing(0)
    octets += opening(2) + _address(report.source) + closing(2)
    octets += context_unsigned(4, number_of("audit-operation", word))
    octets += context(5, _UTF8 + comment) if comment else b""
    octets += opening(10) + context_object(0, number_of("object-type", _DEVICE), report.device) + closing(10)
    octets += _target(item, report.device)
    octets += _value(14, b"" if item.value is None else encode_tags(item.value)) + _value(15, report.before)
    return octets + (_error(report.error) if report.error else b"")


def _target(item: Item, device: int) -> bytes:
    """Object, property and priority; an object that the device is to number has the instance of none."""
    instance = device if item.instance is None and item.object_type == _DEVICE else item.instance
    instance = UNKNOWN_INSTANCE if instance is None else instance
    octets = context_object(11, number_of("object-type", item.object_type), instance)
    if item.property is not None:
        name = number_of("property-identifier", item.property)
        octets += opening(12) + context_property(0, name, item.index) + closing(12)
    return octets if item.priority is None else octets + context_unsigned(13, item.priority)


def _value(number: int, octets: bytes) -> bytes:
    return opening(number) + octets + closing(number) if 0 < len(octets) <= LONGEST_VALUE else b""


def _error(text: str) -> bytes:
    error_class, code = error_numbers(text)
    return opening(16) + application_enumerated(error_class) + application_enumerated(code) + closing(16)


def _address(mac: bytes) -> bytes:
    """A BACnetRecipient that is a BACnetAddress, of the local network (clause 21)."""
    return opening(1) + application_unsigned(0) + application(OCTETS, mac) + closing(1)


def _date_time(moment: Moment) -> bytes:
    year, month, day, weekday, hour, minute, second, hundredths = moment
    year = min(max(year, _FIRST_YEAR), _LAST_YEAR) - _FIRST_YEAR
    date = bytes((year, month, day, weekday))
    return application(DATE, date) + application(TIME, bytes((hour, minute, second, hundredths)))


def _cut(text: str, most: int) -> bytes:
    """At most so many octets of a text, whole characters, and none that could be read as something else."""
    shown = text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
    octets = shown.encode(errors="replace")
    if len(octets) <= most:
        return octets
    return octets[: most - 3].decode(errors="ignore").encode() + "\u2026".encode()
