"""Requests and notifications to what they ask and tell, strictly: every octet belongs to what the standard says.

A service of ASHRAE 135-2020 that is not decoded here is known by name and refused; a number that is none is unknown.
"""

from collections.abc import Callable

from broker.errors import FrameError
from broker.model.vocabulary import Reason
from broker.wire.bacnet.alarm_services import (
    acknowledge_alarm,
    audit_notification,
    get_alarm_summary,
    get_event_information,
    life_safety_operation,
)
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.device_services import (
    device_communication_control,
    private_transfer,
    reinitialize_device,
    text_message,
    time_synchronization,
)
from broker.wire.bacnet.items import Contents, Decoded
from broker.wire.bacnet.object_services import (
    atomic_read_file,
    atomic_write_file,
    create_object,
    delete_object,
    i_am,
    i_have,
    who_has,
    who_is,
)
from broker.wire.bacnet.parameters import Parameters
from broker.wire.bacnet.property_services import (
    list_element,
    read_property,
    read_property_multiple,
    read_range,
    write_property,
    write_property_multiple,
)
from broker.wire.bacnet.subscription_services import (
    cov_notification,
    cov_notification_multiple,
    subscribe_cov,
    subscribe_cov_property,
    subscribe_cov_property_multiple,
)

CONFIRMED_NAMES = (
    "acknowledge-alarm",
    "confirmed-cov-notification",
    "confirmed-event-notification",
    "get-alarm-summary",
    "get-enrollment-summary",
    "subscribe-cov",
    "atomic-read-file",
    "atomic-write-file",
    "add-list-element",
    "remove-list-element",
    "create-object",
    "delete-object",
    "read-property",
    "read-property-conditional",
    "read-property-multiple",
    "write-property",
    "write-property-multiple",
    "device-communication-control",
    "confirmed-private-transfer",
    "confirmed-text-message",
    "reinitialize-device",
    "vt-open",
    "vt-close",
    "vt-data",
    "authenticate",
    "request-key",
    "read-range",
    "life-safety-operation",
    "subscribe-cov-property",
    "get-event-information",
    "subscribe-cov-property-multiple",
    "confirmed-cov-notification-multiple",
    "confirmed-audit-notification",
    "audit-log-query",
)
"""Confirmed services by number (clause 21, BACnetConfirmedServiceChoice)."""

UNCONFIRMED_NAMES = (
    "i-am",
    "i-have",
    "unconfirmed-cov-notification",
    "unconfirmed-event-notification",
    "unconfirmed-private-transfer",
    "unconfirmed-text-message",
    "time-synchronization",
    "who-has",
    "who-is",
    "utc-time-synchronization",
    "write-group",
    "unconfirmed-cov-notification-multiple",
    "unconfirmed-audit-notification",
    "who-am-i",
    "you-are",
)
"""Unconfirmed services by number (clause 21, BACnetUnconfirmedServiceChoice)."""

_WITHOUT_REPLY = frozenset(
    ("time-synchronization", "unconfirmed-private-transfer", "unconfirmed-text-message", "utc-time-synchronization")
)
"""Unconfirmed requests that ask one device for something; the others look for devices, tell of what happened, or are
for whoever feels meant.
"""

_DECODERS: dict[str, Callable[[Parameters], Contents]] = {
    "acknowledge-alarm": acknowledge_alarm,
    "add-list-element": list_element,
    "atomic-read-file": atomic_read_file,
    "atomic-write-file": atomic_write_file,
    "confirmed-audit-notification": audit_notification,
    "confirmed-cov-notification": cov_notification,
    "confirmed-cov-notification-multiple": cov_notification_multiple,
    "confirmed-private-transfer": private_transfer,
    "confirmed-text-message": text_message,
    "create-object": create_object,
    "delete-object": delete_object,
    "device-communication-control": device_communication_control,
    "get-alarm-summary": get_alarm_summary,
    "get-event-information": get_event_information,
    "i-am": i_am,
    "i-have": i_have,
    "life-safety-operation": life_safety_operation,
    "read-property": read_property,
    "read-property-multiple": read_property_multiple,
    "read-range": read_range,
    "reinitialize-device": reinitialize_device,
    "remove-list-element": list_element,
    "subscribe-cov": subscribe_cov,
    "subscribe-cov-property": subscribe_cov_property,
    "subscribe-cov-property-multiple": subscribe_cov_property_multiple,
    "time-synchronization": time_synchronization,
    "unconfirmed-audit-notification": audit_notification,
    "unconfirmed-cov-notification": cov_notification,
    "unconfirmed-cov-notification-multiple": cov_notification_multiple,
    "unconfirmed-private-transfer": private_transfer,
    "unconfirmed-text-message": text_message,
    "utc-time-synchronization": time_synchronization,
    "who-has": who_has,
    "who-is": who_is,
    "write-property": write_property,
    "write-property-multiple": write_property_multiple,
}


def confirmed_name(service: int) -> str | None:
    """The name of a confirmed service, None if the standard has none of that number."""
    return CONFIRMED_NAMES[service] if service < len(CONFIRMED_NAMES) else None


def unconfirmed_name(service: int) -> str | None:
    """The name of an unconfirmed service, None if the standard has none of that number."""
    return UNCONFIRMED_NAMES[service] if service < len(UNCONFIRMED_NAMES) else None


def service_asked(octets: bytes) -> str:
    """The service that a bare request asks for or tells of; empty if these octets are none of the standard."""
    if len(octets) < 2 or octets[0] not in (Kind.CONFIRMED_REQUEST, Kind.UNCONFIRMED_REQUEST):
        return ""
    name = confirmed_name(octets[1]) if octets[0] == Kind.CONFIRMED_REQUEST else unconfirmed_name(octets[1])
    return name or ""


def asks_without_reply(bare: bytes) -> bool:
    """Whether a bare request asks a device for something that it does not reply to."""
    return len(bare) > 1 and bare[0] == Kind.UNCONFIRMED_REQUEST and unconfirmed_name(bare[1]) in _WITHOUT_REPLY


def decode_confirmed(service: int, parameters: bytes, own: int | None = None) -> Decoded:
    """What a confirmed request asks; `own` is the instance of the device that is asked, if that is known.

    Raises FrameError `unrecognized_service`, `service_not_allowed` (known, and not decoded) or `malformed`.
    """
    return _decoded(confirmed_name(service), parameters, own)


def decode_unconfirmed(service: int, parameters: bytes, own: int | None = None) -> Decoded:
    """What an unconfirmed request asks or tells; raises as `decode_confirmed` does."""
    return _decoded(unconfirmed_name(service), parameters, own)


def _decoded(name: str | None, parameters: bytes, own: int | None) -> Decoded:
    if name is None:
        raise FrameError("unrecognized_service", "a service that BACnet has not")
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise FrameError(Reason.SERVICE_NOT_ALLOWED, f"{name} is not relayed")
    taken = Parameters(parameters, own)
    items, facts = decoder(taken)
    return Decoded(name, items, taken.finish(), facts, taken.secret_octets)
