"""What services bring when they are carried out, as strictly as requests, and about what was asked.

Reading properties has its own forms in `replies`; here are all others that bring anything.
"""

from collections.abc import Callable

from broker.errors import FrameError
from broker.wire.bacnet.alarm_services import timestamp
from broker.wire.bacnet.items import Decoded, Item
from broker.wire.bacnet.object_services import MOST_FILE_RECORDS
from broker.wire.bacnet.parameters import Parameters, out_of_range
from broker.wire.bacnet.tags import MOST_TAGS

SIMPLE = frozenset((0, 1, 5, 8, 9, 11, 15, 16, 17, 19, 20, 27, 28, 30, 31, 32))
"""Confirmed services (clause 21, by number) that are relayed and bring nothing: a simple ack says all (20.1.4)."""

_TRANSITIONS = 3  # to-offnormal, to-fault, to-normal
_RESULT_FLAGS = 3  # first item, last item, more items (15.8.1.2.4)
_LARGEST_ITEM_COUNT = 0xFFFF


def acknowledged(asked: Decoded, parameters: bytes) -> bytes:
    """The parameters of a complex ack to what was asked, written down again from what was decoded. Raises FrameError.

    Raises `reply_mismatch` if it is about something else, `unrecognized_service` if the service brings nothing.
    """
    take = _FORMS.get(asked.service)
    if take is None:
        raise FrameError("unrecognized_service", "an acknowledgement of a service that brings nothing")
    taken = Parameters(parameters, most=MOST_TAGS)
    if not take(taken, asked):
        raise FrameError("reply_mismatch", "an acknowledgement of something else than was asked")
    return taken.finish()


def _read_range(taken: Parameters, asked: Decoded) -> bool:
    """ReadRange (15.8.1.2)."""
    object_type, instance = taken.object(0)
    at = Item(object_type, instance, taken.property(1), taken.optional_unsigned(2))
    taken.bits(3, _RESULT_FLAGS)
    count = taken.unsigned(4, _LARGEST_ITEM_COUNT)
    items = taken.values(5)
    if bool(items) is not bool(count):
        raise out_of_range(f"{count} items without any, or the other way round")
    taken.optional_unsigned(6)
    return at == asked.items[0]


def _alarm_summary(taken: Parameters, _: Decoded) -> bool:
    """GetAlarmSummary (13.10.1.2)."""
    while not taken.at_end:
        taken.plain_object()
        taken.plain_enumerated("event-state")
        taken.plain_bits(_TRANSITIONS)
    return True


def _event_information(taken: Parameters, _: Decoded) -> bool:
    """GetEventInformation (13.12.1.2)."""
    taken.opening(0)
    while taken.comes(0):
        _event_summary(taken)
    taken.closing(0)
    taken.boolean(1)
    return True


def _event_summary(taken: Parameters) -> None:
    taken.object(0)
    taken.enumerated(1, "event-state")
    taken.bits(2, _TRANSITIONS)
    taken.opening(3)
    for _ in range(_TRANSITIONS):
        timestamp(taken)
    taken.closing(3)
    taken.enumerated(4, "notify-type")
    taken.bits(5, _TRANSITIONS)
    taken.opening(6)
    for _ in range(_TRANSITIONS):
        taken.plain_unsigned(0xFF)
    taken.closing(6)


def _file_read(taken: Parameters, asked: Decoded) -> bool:
    """AtomicReadFile (14.1.1.2)."""
    taken.plain_boolean()
    number = 0 if taken.comes(0, "opening") else 1
    taken.opening(number)
    taken.plain_signed()
    if number == 0:
        taken.plain_octets()
    else:
        for _ in range(taken.plain_unsigned(MOST_FILE_RECORDS)):
            taken.plain_octets()
    taken.closing(number)
    return _access(number, asked)


def _file_written(taken: Parameters, asked: Decoded) -> bool:
    """AtomicWriteFile (14.2.1.2)."""
    number = 0 if taken.comes(0) else 1
    taken.signed(number)
    return _access(number, asked)


def _access(number: int, asked: Decoded) -> bool:
    return ("access", ("stream", "record")[number]) in asked.facts


def _created(taken: Parameters, asked: Decoded) -> bool:
    """CreateObject (15.3.1.2): the object that was asked for, or one of its type."""
    object_type, instance = taken.plain_object()
    wanted = asked.items[0]
    return object_type == wanted.object_type and wanted.instance in (None, instance)


def _transferred(taken: Parameters, asked: Decoded) -> bool:
    """ConfirmedPrivateTransfer (16.2.1.2)."""
    vendor, number = taken.unsigned(0, 0xFFFF), taken.unsigned(1)
    if taken.comes(2, "opening"):
        taken.values(2)
    return {("vendor-identifier", str(vendor)), ("service-number", str(number))} <= set(asked.facts)


_FORMS: dict[str, Callable[[Parameters, Decoded], bool]] = {
    "atomic-read-file": _file_read,
    "atomic-write-file": _file_written,
    "confirmed-private-transfer": _transferred,
    "create-object": _created,
    "get-alarm-summary": _alarm_summary,
    "get-event-information": _event_information,
    "read-range": _read_range,
}
