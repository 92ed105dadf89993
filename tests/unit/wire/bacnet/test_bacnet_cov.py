"""Changes of value: what the broker subscribes to, and what devices tell, as another implementation has it."""

import pytest
from bacpypes3.apdu import (
    ConfirmedCOVNotificationRequest,
    SubscribeCOVPropertyRequest,
    SubscribeCOVRequest,
    UnconfirmedCOVNotificationRequest,
)
from bacpypes3.basetypes import PropertyValue
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.primitivedata import ObjectIdentifier, Real
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.model.operation import BacnetProperty
from broker.wire.bacnet.cov import (
    CovNotification,
    decode_cov_notification,
    encode_cov_notification,
    encode_cov_subscription,
)
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.services import decode_confirmed, decode_unconfirmed
from broker.wire.bacnet.tags import REAL, Tag

OBJECT = BacnetProperty("analog-value", 1, None)
PROPERTY = BacnetProperty("analog-value", 1, "present-value", 3)


def parameters(request: object) -> bytes:
    return bytes(request.encode().pduData)  # type: ignore[attr-defined]


@given(st.integers(0, 0xFFFFFFFF), st.booleans(), st.integers(1, 86400))
def test_a_subscription_to_an_object_is_what_another_implementation_encodes(
    process: int, confirmed: bool, lifetime: int
) -> None:
    theirs = SubscribeCOVRequest(
        subscriberProcessIdentifier=process,
        monitoredObjectIdentifier=ObjectIdentifier(("analog-value", 1)),
        issueConfirmedNotifications=confirmed,
        lifetime=lifetime,
    )
    ours = encode_cov_subscription(process, OBJECT, confirmed=confirmed, lifetime_seconds=lifetime)
    assert ours == b"\x00\x05" + parameters(theirs)


def test_a_subscription_to_a_property_and_its_cancellation_are_too() -> None:
    theirs = SubscribeCOVPropertyRequest(
        subscriberProcessIdentifier=7,
        monitoredObjectIdentifier=ObjectIdentifier(("analog-value", 1)),
        issueConfirmedNotifications=True,
        lifetime=300,
        monitoredPropertyIdentifier="present-value[3]",
        covIncrement=0.5,
    )
    ours = encode_cov_subscription(7, PROPERTY, confirmed=True, lifetime_seconds=300, increment="0.5")
    assert ours == b"\x00\x1c" + parameters(theirs)
    cancelling = SubscribeCOVRequest(
        subscriberProcessIdentifier=7, monitoredObjectIdentifier=ObjectIdentifier(("analog-value", 1))
    )
    assert encode_cov_subscription(7, OBJECT) == b"\x00\x05" + parameters(cancelling)


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_notification_is_read_as_meant_and_told_on_as_it_was(confirmed: bool) -> None:
    kind = ConfirmedCOVNotificationRequest if confirmed else UnconfirmedCOVNotificationRequest
    theirs = kind(
        subscriberProcessIdentifier=9,
        initiatingDeviceIdentifier=ObjectIdentifier(("device", 1001)),
        monitoredObjectIdentifier=ObjectIdentifier(("analog-value", 1)),
        timeRemaining=250,
        listOfValues=[
            PropertyValue(propertyIdentifier="present-value", value=AnyValue(Real(21.5)), priority=8),
            PropertyValue(propertyIdentifier="priority-array", propertyArrayIndex=2, value=AnyValue(Real(1.0))),
        ],
    )
    bare = (b"\x00\x01" if confirmed else b"\x10\x02") + parameters(theirs)
    told = decode_cov_notification(bare)
    assert told is not None
    assert told[:5] == (9, 1001, "analog-value", 1, 250)
    assert [(item.property, item.index, item.priority) for item in told.items] == [
        ("present-value", None, 8),
        ("priority-array", 2, None),
    ]
    assert told.confirmed is confirmed
    assert encode_cov_notification(told) == bare


@given(st.sampled_from((b"\x00\x01", b"\x10\x02")), st.binary(max_size=60))
def test_any_octets_are_a_notification_or_a_frame_error(head: bytes, rest: bytes) -> None:
    try:
        told = decode_cov_notification(head + rest)
    except FrameError:
        return
    assert told is not None
    assert decode_cov_notification(encode_cov_notification(told)) == told


@pytest.mark.parametrize(("confirmed", "head"), [(False, "100b"), (True, "001f")])
def test_who_subscribed_to_several_at_once_is_told_in_that_form(confirmed: bool, head: str) -> None:
    value = Item("analog-value", 1, "present-value", None, (Tag("application", REAL, b"A\xac\x00\x00"),), priority=8)
    told = CovNotification(9, 1001, "analog-value", 1, 250, (value,), confirmed=confirmed, multiple=True)
    bare = encode_cov_notification(told)
    assert bare.hex() == f"{head}09091c020003e929fa4e0c008000011e09552e4441ac00002f1f4f"
    decoded = (decode_confirmed if confirmed else decode_unconfirmed)(bare[1], bare[2:])
    assert decoded.items == (value._replace(priority=None),)
    assert dict(decoded.facts) == {
        "process-identifier": "9",
        "initiating-device": "1001",
        "time-remaining": "250",
    }


def test_another_request_is_no_notification() -> None:
    assert decode_cov_notification(b"\x10\x08") is None
    assert decode_cov_notification(b"\x00\x0c\x0c\x00\x80\x00\x01\x19\x55") is None
