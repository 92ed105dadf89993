"""What a native client is answered where not all of its request was carried out."""

import pytest

from broker.model.operation import BacnetProperty
from broker.model.place import Device, Protocol
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.device_errors import decode_refusal
from broker.wire.bacnet.encoding import application_enumerated
from broker.wire.bacnet.property_requests import encode_read_property_multiple
from broker.wire.bacnet.references import Reference, reference_of, words_of
from broker.wire.bacnet.refusal import error_reply, frame_reply, refused_reply
from broker.wire.bacnet.replies import (
    decode_read_property_multiple_ack,
)
from broker.wire.bacnet.standard import error_numbers, error_text
from broker.wire.bacnet.tags import decode_tags

DEVICE = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1001))
VALUE = decode_tags(bytes.fromhex("4441ac0000"))
READ_DENIED = "property/read-access-denied"
UNKNOWN = "property/unknown-property"


def at(name: str, object_type: str = "analog-value", instance: int = 1) -> Reference:
    return reference_of(BacnetProperty(object_type, instance, name))


def several(*names: Reference) -> bytes:
    return bytes((0, 14)) + encode_read_property_multiple(names)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ("000c 0c00800001 1955", "500c 9102 911b"),
        ("000f 0c00800001 1955 3e 00 3f 4908", "500f 9102 9128"),
        ("001a 0c05000001 1983", "501a 9102 911b"),
        ("0006 c402800002 0e 3100 2101 0f", "5006 9105 9105"),
        ("000b c400800001", "500b 9105 911d"),
        ("0005 0912 1c00800001", "5005 9105 911d"),
        ("0008 0c03c00001 1966 3e 0c020003e9 3f", "5008 0e 9105 911d 0f 1900"),
        ("000a 0e 0902 0f", "500a 0e 9105 911d 0f 1900"),
        ("0012 0a03e7 1907", "5012 0e 9105 911d 0f 1a03e7 2907"),
        ("0019", "5019 9105 911d"),
        ("00ff", "6009"),
        ("000c 0c00800001", "6005"),
        ("000c 0c00800001 1955 2901 3901", "6007"),
        ("000c 0c0080", "6004"),
        ("000f 0c00800001 1955 3e 00 3f 4911", "6006"),
        ("0014 0909", "6008"),
    ],
)
def test_each_service_is_refused_as_the_standard_has_it(request_: str, reply: str) -> None:
    assert refused_reply(bytes.fromhex(request_)) == bytes.fromhex(reply)


def test_of_several_writes_the_one_that_was_denied_is_named() -> None:
    bare = bytes.fromhex("0010 0c00800001 1e 0955 2e 00 2f 0957 1908 2e 00 2f 1f".replace(" ", ""))
    reply = refused_reply(bare, 1)
    assert reply == bytes.fromhex("5010 0e 9102 9128 0f 1e 0c00800001 1957 2908 1f")
    refusal = decode_refusal(16, reply[2:])
    assert refusal.first_failed == Reference(2, 1, 87, 8)


_SEVERAL = "001e 0901 1900 293c 3905 4e 0c00800001 1e 0e 0955 0f {stamped} 0e 0957 1908 0f 2900 1f 4f"


def subscribing(stamped: str = "2900") -> bytes:
    return bytes.fromhex(_SEVERAL.format(stamped=stamped).replace(" ", ""))


def test_of_several_subscriptions_the_one_that_was_denied_is_named() -> None:
    reply = refused_reply(subscribing(), 1)
    assert reply == bytes.fromhex("501e 1e 0c00800001 1e 0957 1908 1f 2e 9105 911d 2f 1f".replace(" ", ""))
    assert decode_refusal(30, reply[2:]).error == (5, 29)


@pytest.mark.parametrize(("code", "numbers"), [("lifetime_out_of_range", "9105 9125"), ("no_timestamps", "9105 912d")])
def test_what_is_wrong_with_all_subscriptions_of_a_request_names_none_of_them(code: str, numbers: str) -> None:
    reply = frame_reply(subscribing("2901"), code)
    assert reply == bytes.fromhex(f"501e 0e {numbers} 0f".replace(" ", ""))
    assert error_reply(subscribing(), (4, 19), None) == bytes.fromhex("501e0e910491130f")


def test_reading_several_that_are_all_denied_is_answered_for_each() -> None:
    reply = refused_reply(several(at("present-value"), at("all", "device", 1001)))
    told = decode_read_property_multiple_ack(reply[2:])
    assert [(words_of(each.reference)[2], error_text(*each.error or (0, 0))) for each in told] == [
        ("present-value", READ_DENIED),
        ("all", READ_DENIED),
    ]


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        ("invalid_datatype", "500f 9102 9109"),
        ("illegal_value", "500f 9102 9125"),
        ("priority_not_allowed", "500f 9102 9128"),
        ("password_missing", "500f 9104 911a"),
        ("service_not_allowed", "500f 9105 911d"),
        ("unrecognized_service", "6009"),
        ("malformed", "6004"),
    ],
)
def test_a_request_that_is_not_acceptable_is_told_why(code: str, reply: str) -> None:
    assert frame_reply(bytes.fromhex("000f0c0080000119553e003f"), code) == bytes.fromhex(reply)


def test_an_error_is_its_class_and_code() -> None:
    error = error_numbers("device/device-busy")
    expected = b"\x50\x0c" + b"".join(map(application_enumerated, error))
    assert error_reply(b"\x00\x0c", error) == expected
