"""Alarms, life safety and audit (ASHRAE 135-2020, 13.3, 13.10, 13.12, 13.13, 13.19 and 13.20)."""

from broker.wire.bacnet.items import Contents, Fact, Item
from broker.wire.bacnet.parameters import ParameterError, Parameters, out_of_range
from broker.wire.bacnet.property_services import date_time
from broker.wire.bacnet.tags import TIME, Tag
from broker.wire.bacnet.values import text_of

MOST_AUDITED = 50
"""Operations that one audit notification may tell of."""

MOST_SOURCE = 200
"""Characters of the name of whoever acknowledges or commands."""

_LARGEST_TEXT = 1000
_LEAST_URGENT = 16


def acknowledge_alarm(taken: Parameters) -> Contents:
    """AcknowledgeAlarm (13.3)."""
    process = taken.unsigned(0)
    item = Item(*taken.object(1))
    state = taken.enumerated(2, "event-state")
    event = timestamp_in(taken, 3)
    source = taken.text(4, MOST_SOURCE)
    acknowledged = timestamp_in(taken, 5)
    return (item,), (
        ("process-identifier", str(process)),
        ("event-state", state),
        ("event-time", event),
        ("source", source),
        ("acknowledgment-time", acknowledged),
    )


def timestamp_in(taken: Parameters, number: int) -> str:
    """A BACnetTimeStamp (clause 21) between an opening and its closing tag, as text."""
    taken.opening(number)
    text = timestamp(taken)
    taken.closing(number)
    return text


def timestamp(taken: Parameters) -> str:
    """A BACnetTimeStamp: a time of day, a sequence number, or date and time."""
    if taken.comes(0):
        return text_of(Tag("application", TIME, taken.time_in(0)))
    if taken.comes(1):
        return f"sequence {taken.unsigned(1, 0xFFFF)}"
    taken.opening(2)
    text = date_time(taken)
    taken.closing(2)
    return text


def life_safety_operation(taken: Parameters) -> Contents:
    """LifeSafetyOperation (13.13): on one object, or on all of the device."""
    process = taken.unsigned(0)
    source = taken.text(1, MOST_SOURCE)
    asked = taken.enumerated(2, "life-safety-operation")
    items = (Item(*taken.object(3)),) if taken.comes(3) else ()
    return items, (("process-identifier", str(process)), ("source", source), ("request", asked))


def get_event_information(taken: Parameters) -> Contents:
    """GetEventInformation (13.12): from behind an object on."""
    if not taken.comes(0):
        return (), ()
    object_type, instance = taken.object(0)
    return (), (("last-received", f"{object_type},{instance}"),)


def get_alarm_summary(_: Parameters) -> Contents:
    """GetAlarmSummary (13.10)."""
    return (), ()


def audit_notification(taken: Parameters) -> Contents:
    """ConfirmedAuditNotification and UnconfirmedAuditNotification (13.19, 13.20): one item for each operation."""
    items: list[Item] = []
    operations: list[str] = []
    taken.opening(0)
    while not items or not taken.comes(0, "closing"):
        item, operation = _audited(taken)
        items.append(item)
        operations.append(operation)
        if len(items) > MOST_AUDITED:
            raise ParameterError("too-many-arguments", f"more than {MOST_AUDITED} operations")
    taken.closing(0)
    named = ",".join(dict.fromkeys(operations))
    return tuple(items), (("operations", named), ("operation-count", str(len(items))))


def _audited(taken: Parameters) -> tuple[Item, str]:
    """A BACnetAuditNotification (clause 21): what was done to what, and with what result."""
    for number in (0, 1):
        if taken.comes(number, "opening"):
            timestamp_in(taken, number)
    recipient_in(taken, 2)
    if taken.comes(3):
        taken.object(3)
    operation = taken.enumerated(4, "audit-operation")
    for number in (5, 6):
        if taken.comes(number):
            taken.text(number, _LARGEST_TEXT)
    for number, most in ((7, 0xFF), (8, 0xFFFF), (9, 0xFF)):
        taken.optional_unsigned(number, most)
    recipient_in(taken, 10)
    return _target(taken), operation


def _target(taken: Parameters) -> Item:
    object_type, instance = taken.object(11) if taken.comes(11) else ("device", None)
    name = index = None
    if taken.comes(12, "opening"):
        taken.opening(12)
        name, index = taken.property(0), taken.optional_unsigned(1)
        taken.closing(12)
    priority = taken.optional_unsigned(13, _LEAST_URGENT)
    if priority == 0:
        raise out_of_range("a priority is 1 to 16")
    value = taken.values(14) if taken.comes(14, "opening") else None
    if taken.comes(15, "opening"):
        taken.values(15)
    if taken.comes(16, "opening"):
        taken.opening(16)
        taken.plain_enumerated("error-class")
        taken.plain_enumerated("error-code")
        taken.closing(16)
    return Item(object_type, instance, name, index, value, priority)


def recipient_in(taken: Parameters, number: int) -> Fact:
    """A BACnetRecipient (clause 21) between an opening and its closing tag: a device, or an address."""
    taken.opening(number)
    if taken.comes(0):
        object_type, instance = taken.object(0)
        who = ("device", f"{object_type},{instance}")
    else:
        taken.opening(1)
        network, mac = taken.plain_unsigned(0xFFFF), taken.plain_octets()
        taken.closing(1)
        who = ("address", f"{network}:{mac.hex()}")
    taken.closing(number)
    return who
