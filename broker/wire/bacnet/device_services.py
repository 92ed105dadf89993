"""Services about a whole device: communication, restart, time, private transfer and messages (16.1 to 16.8, 16.11)."""

from broker.wire.bacnet.encoding import encode_tags
from broker.wire.bacnet.items import Contents, Fact, digest_of
from broker.wire.bacnet.parameters import Parameters, out_of_range
from broker.wire.bacnet.property_services import date_time

MOST_PASSWORD = 20
"""Characters of a password (16.1.1.1.3, 16.4.1.1.2)."""

MOST_MESSAGE = 1000
"""Characters of a text message."""

_PASSWORD = ("password", "present")


def device_communication_control(taken: Parameters) -> Contents:
    """DeviceCommunicationControl (16.1)."""
    minutes = taken.optional_unsigned(0, 0xFFFF)
    asked = taken.enumerated(1, "enable-disable")
    duration = "unlimited" if minutes is None else str(minutes)
    return (), (("time-duration", duration), ("enable-disable", asked), *_password(taken, 2))


def reinitialize_device(taken: Parameters) -> Contents:
    """ReinitializeDevice (16.4)."""
    return (), (("reinitialized-state", taken.enumerated(0, "reinitialized-state")), *_password(taken, 1))


def _password(taken: Parameters, number: int) -> tuple[Fact, ...]:
    if not taken.comes(number):
        return ()
    taken.secret(number, MOST_PASSWORD)
    return (_PASSWORD,)


def time_synchronization(taken: Parameters) -> Contents:
    """TimeSynchronization and UTCTimeSynchronization (16.7, 16.8): a moment without wildcards."""
    moment = date_time(taken)
    if "*" in moment:
        raise out_of_range("a moment with wildcards")
    return (), (("time", moment),)


def private_transfer(taken: Parameters) -> Contents:
    """ConfirmedPrivateTransfer and UnconfirmedPrivateTransfer (16.2, 16.3): of a vendor's own meaning.

    Nobody can say what its parameters mean, nor show them to anybody; how many octets they are, and which, can be said.
    """
    vendor, number = taken.unsigned(0, 0xFFFF), taken.unsigned(1)
    carried = taken.values(2) if taken.comes(2, "opening") else None
    facts: tuple[Fact, ...] = (("vendor-identifier", str(vendor)), ("service-number", str(number)))
    if carried is not None:
        octets = encode_tags(carried)
        facts += (("parameters", "present"), ("octets", str(len(octets))), ("digest", digest_of(octets)))
    return (), facts


def text_message(taken: Parameters) -> Contents:
    """ConfirmedTextMessage and UnconfirmedTextMessage (16.5, 16.6)."""
    object_type, instance = taken.object(0)
    if object_type != "device":
        raise out_of_range(f"a device is no {object_type}")
    kind = _message_class(taken) if taken.comes(1, "opening") else ()
    urgency = taken.enumerated(2, "message-priority")
    message = taken.text(3, MOST_MESSAGE)
    return (), (("source-device", str(instance)), *kind, ("message-priority", urgency), ("message", message))


def _message_class(taken: Parameters) -> tuple[Fact, ...]:
    taken.opening(1)
    word = str(taken.unsigned(0)) if taken.comes(0) else taken.text(1, MOST_MESSAGE)
    taken.closing(1)
    return (("message-class", word),)
