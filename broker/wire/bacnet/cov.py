"""Change of value (ASHRAE 135-2020, 13.1): subscribing at a device, and what devices tell of it."""

from typing import NamedTuple

from broker.model.operation import BacnetProperty
from broker.wire.bacnet.apdu import Kind
from broker.wire.bacnet.encoding import (
    closing,
    context,
    context_object,
    context_property,
    context_unsigned,
    encode_tags,
    opening,
)
from broker.wire.bacnet.items import Decoded, Item
from broker.wire.bacnet.services import decode_confirmed, decode_unconfirmed
from broker.wire.bacnet.standard import number_of
from broker.wire.bacnet.values import encode_value

CONFIRMED_NOTIFICATION = 1  # clause 21, BACnetConfirmedServiceChoice
UNCONFIRMED_NOTIFICATION = 2  # clause 21, BACnetUnconfirmedServiceChoice
_CONFIRMED_MULTIPLE, _UNCONFIRMED_MULTIPLE = 31, 11
_SUBSCRIBE, _SUBSCRIBE_PROPERTY = 5, 28
_REAL_OCTETS = 4


class CovNotification(NamedTuple):
    """What a device tells of one object: `items` are its properties with their values. `multiple`: it is told to who
    subscribed to several properties at once.
    """

    process: int
    device_instance: int
    object_type: str
    instance: int
    remaining_seconds: int
    items: tuple[Item, ...]
    confirmed: bool = False
    multiple: bool = False


def encode_cov_subscription(
    process: int,
    at: BacnetProperty,
    *,
    confirmed: bool = False,
    lifetime_seconds: int | None = None,
    increment: str | None = None,
) -> bytes:
    """The bare request that subscribes to an object, or one property of it, or renews that (13.14, 13.15).

    Without a lifetime it cancels. Raises FrameError `illegal_value` for words that are none.
    """
    assert at.instance is not None
    octets = context_unsigned(0, process) + context_object(1, number_of("object-type", at.object_type), at.instance)
    if lifetime_seconds is not None:
        octets += context(2, bytes((confirmed,))) + context_unsigned(3, lifetime_seconds)
    if at.property is None:
        return bytes((Kind.CONFIRMED_REQUEST, _SUBSCRIBE)) + octets
    octets += opening(4) + _reference(at.property, at.index) + closing(4)
    if increment is not None:
        octets += context(5, encode_value("analog-value", "cov-increment", None, increment)[-_REAL_OCTETS:])
    return bytes((Kind.CONFIRMED_REQUEST, _SUBSCRIBE_PROPERTY)) + octets


def decode_cov_notification(bare: bytes) -> CovNotification | None:
    """A bare notification, None for any other request. Raises FrameError."""
    if bare[:2] == bytes((Kind.CONFIRMED_REQUEST, CONFIRMED_NOTIFICATION)):
        return _notification(decode_confirmed(bare[1], bare[2:]), confirmed=True)
    if bare[:2] == bytes((Kind.UNCONFIRMED_REQUEST, UNCONFIRMED_NOTIFICATION)):
        return _notification(decode_unconfirmed(bare[1], bare[2:]), confirmed=False)
    return None


def _notification(decoded: Decoded, *, confirmed: bool) -> CovNotification:
    facts, first = dict(decoded.facts), decoded.items[0]
    assert first.instance is not None
    return CovNotification(
        int(facts["process-identifier"]),
        int(facts["initiating-device"]),
        first.object_type,
        first.instance,
        int(facts["time-remaining"]),
        decoded.items,
        confirmed,
    )


def encode_cov_notification(notification: CovNotification) -> bytes:
    """The bare request that tells this (13.6, 13.7; 13.17, 13.18)."""
    if notification.multiple:
        return _encode_multiple(notification)
    octets = context_unsigned(0, notification.process)
    octets += context_object(1, number_of("object-type", "device"), notification.device_instance)
    octets += context_object(2, number_of("object-type", notification.object_type), notification.instance)
    octets += context_unsigned(3, notification.remaining_seconds)
    octets += opening(4) + b"".join(map(_value, notification.items)) + closing(4)
    if notification.confirmed:
        return bytes((Kind.CONFIRMED_REQUEST, CONFIRMED_NOTIFICATION)) + octets
    return bytes((Kind.UNCONFIRMED_REQUEST, UNCONFIRMED_NOTIFICATION)) + octets


def _encode_multiple(notification: CovNotification) -> bytes:
    """Without time stamps, which the broker does not know."""
    octets = context_unsigned(0, notification.process)
    octets += context_object(1, number_of("object-type", "device"), notification.device_instance)
    octets += context_unsigned(2, notification.remaining_seconds) + opening(4)
    octets += context_object(0, number_of("object-type", notification.object_type), notification.instance)
    values = (_value(item._replace(priority=None)) for item in notification.items)
    octets += opening(1) + b"".join(values) + closing(1) + closing(4)
    kind, choice = (
        (Kind.CONFIRMED_REQUEST, _CONFIRMED_MULTIPLE)
        if notification.confirmed
        else (Kind.UNCONFIRMED_REQUEST, _UNCONFIRMED_MULTIPLE)
    )
    return bytes((kind, choice)) + octets


def _value(item: Item) -> bytes:
    assert item.property is not None
    octets = _reference(item.property, item.index) + opening(2) + encode_tags(item.value or ()) + closing(2)
    return octets if item.priority is None else octets + context_unsigned(3, item.priority)


def _reference(name: str, index: int | None) -> bytes:
    return context_property(0, number_of("property-identifier", name), index)
