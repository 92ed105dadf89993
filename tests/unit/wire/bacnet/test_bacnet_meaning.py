"""BACnet property services in protocol-neutral form: actions, priorities, canonical payloads."""

import hashlib
from base64 import urlsafe_b64decode

import pytest

from broker.errors import FrameError
from broker.model.operation import BacnetProperty
from broker.model.place import BacnetAddress, Device, ModbusAddress, Point, Protocol, Table, ValueType
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.meaning import MOST_READ_AT_ONCE, compose_read, compose_write, errors_of, values_of
from tests.bacnet_replies import read_reply


def point(id_: str = "setpoint", action: Action | None = Action.ADJUST, **address: object) -> Point:
    where = {"object_type": "analog-value", "instance": 1, "priority_lowest": 10, "priority_highest": 16} | address
    return Point(id_, BacnetAddress(**where), action)  # type: ignore[arg-type]


DEVICE = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1001))
SINGLY = Device("plant", "old", "hvac", Protocol.BACNET, DEVICE.way, labels=(("read-property-multiple", "no"),))
FIXED = {"priority_lowest": None, "priority_highest": None}


def test_one_point_is_read_alone_and_several_together_each_as_an_operation() -> None:
    (alone,) = compose_read(DEVICE, (point(),))
    assert [o.service for o in alone.operations] == ["read-property"]
    assert alone.operations[0].action is Action.VIEW
    assert alone.operations[0].address == BacnetProperty("analog-value", 1, "present-value")
    (together,) = compose_read(DEVICE, (point("a"), point("b", instance=2)))
    assert [o.service for o in together.operations] == ["read-property-multiple"] * 2
    assert [o.touches[0].point.id for o in together.operations] == ["a", "b"]
    assert not together.writes
    assert compose_read(DEVICE, ()) == ()


def test_a_device_without_read_property_multiple_is_asked_one_by_one() -> None:
    requests = compose_read(SINGLY, (point("a"), point("b", instance=2)))
    assert [r.operations[0].service for r in requests] == ["read-property"] * 2


def test_many_points_are_split_so_that_no_reply_needs_segments() -> None:
    points = [point(f"p{n}", instance=n) for n in range(MOST_READ_AT_ONCE + 1)]
    assert [len(request.operations) for request in compose_read(DEVICE, points)] == [MOST_READ_AT_ONCE, 1]


def test_the_payload_is_the_request_without_invoke_id_and_the_digest_its_sha_256() -> None:
    request = compose_write(DEVICE, point(), "21.50", 12)
    expected = bytes.fromhex("000f0c0080000119553e4441ac00003f490c")
    assert request.payload == expected
    assert urlsafe_b64decode(request.digest + "=") == hashlib.sha256(expected).digest()
    indexed = point(property="priority-array", index=3, **FIXED)
    assert compose_read(DEVICE, (indexed,))[0].payload == bytes.fromhex("000c0c0080000119572903")


def test_neighbours_of_one_object_are_asked_for_under_it_together() -> None:
    points = (point("a"), point("b", property="units"), point("c", instance=2))
    (request,) = compose_read(DEVICE, points)
    assert request.payload == bytes.fromhex("000e0c008000011e095509751f0c008000021e09551f")


@pytest.mark.parametrize(
    ("priority", "action", "expected"),
    [
        (8, Action.ADJUST, Action.OVERRIDE),
        (1, Action.CONTROL, Action.OVERRIDE),
        (9, Action.ADJUST, Action.ADJUST),
        (16, Action.CONTROL, Action.CONTROL),
        (8, Action.CONFIG, Action.CONFIG),
        (16, None, Action.CONFIG),
        (8, None, Action.CONFIG),
    ],
)
def test_the_class_of_a_write_is_the_most_dangerous_that_applies(
    priority: int, action: Action | None, expected: Action
) -> None:
    (operation,) = compose_write(DEVICE, point(action=action), "20", priority).operations
    assert (operation.action, operation.priority, operation.service) == (expected, priority, "write-property")
    assert operation.writes


def test_out_of_service_is_an_override_at_any_priority() -> None:
    out_of_service = point(property="out-of-service", **FIXED)
    assert compose_write(DEVICE, out_of_service, True).operations[0].action is Action.OVERRIDE
    assert compose_write(DEVICE, out_of_service, True).operations[0].touches[0].value == "true"


def test_without_a_priority_the_least_urgent_allowed_one_is_used_and_none_where_there_are_none() -> None:
    assert compose_write(DEVICE, point(priority_highest=14), "20").operations[0].priority == 14
    request = compose_write(DEVICE, point(**FIXED), "20")
    assert request.operations[0].priority is None
    assert request.payload == bytes.fromhex("000f0c0080000119553e4441a000003f")


@pytest.mark.parametrize("released", [None, "null"])
def test_a_release_is_the_value_null(released: str | None) -> None:
    request = compose_write(DEVICE, point(), released, 10)
    assert request.operations[0].touches[0].value == "null"
    assert request.payload == bytes.fromhex("000f0c0080000119553e003f490a")
    with pytest.raises(FrameError):
        compose_write(DEVICE, point(**FIXED), released)


def test_what_is_written_can_be_read_before() -> None:
    request = compose_write(DEVICE, point(), "20")
    assert request.before is not None
    assert request.before == compose_read(DEVICE, (point(),))[0]


@pytest.mark.parametrize(
    "value", ["", "nan", "inf", "1e999", "21.5 - 8", "0x10", "21,5", "1_0", "٣", True, float("nan"), "20.0000001"]
)
def test_what_is_no_number_the_device_can_hold_exactly_is_refused(value: str | float) -> None:
    with pytest.raises(FrameError):
        compose_write(DEVICE, point(), value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(21.3, "21.3"), ("21.30", "21.3"), (20, "20"), ("-0", "0"), ("2e1", "20"), ("16777216", "16777216")],
)
def test_a_number_becomes_the_canonical_decimal_of_what_is_sent(value: str | float, text: str) -> None:
    assert compose_write(DEVICE, point(), value).operations[0].touches[0].value == text


@pytest.mark.parametrize(
    ("value", "word"), [(True, "active"), ("false", "inactive"), ("1", "active"), ("active", "active")]
)
def test_a_binary_value_is_named(value: str | bool, word: str) -> None:
    request = compose_write(DEVICE, point(object_type="binary-output"), value)
    assert request.operations[0].touches[0].value == word


@pytest.mark.parametrize("priority", [0, 17, -1])
def test_a_priority_that_does_not_exist_is_refused(priority: int) -> None:
    with pytest.raises(FrameError):
        compose_write(DEVICE, point(), "20", priority)


def test_a_point_of_another_protocol_and_text_with_control_characters_are_refused() -> None:
    coil = Point("coil", ModbusAddress(Table.COIL, 0, 1, ValueType.BOOL), Action.CONTROL)
    with pytest.raises(FrameError):
        compose_write(DEVICE, coil, "true")
    with pytest.raises(FrameError):
        compose_write(DEVICE, point(object_type="characterstring-value", **FIXED), "a\nb")


def test_a_reply_gives_values_and_errors_by_point() -> None:
    (request,) = compose_read(DEVICE, (point("a"), point("b", instance=2), point("c", instance=3)))
    payload = read_reply(request, "20", "!property/unknown-property", "21.5")
    assert values_of(DEVICE, request, payload) == (("a", "20"), ("c", "21.5"))
    assert errors_of(request, payload) == (("b", "property/unknown-property"),)


def test_an_array_is_a_list_of_texts() -> None:
    (request,) = compose_read(DEVICE, (point(property="priority-array", **FIXED),))
    payload = bytes.fromhex("300c0c0080000119573e004441a000003f")
    assert values_of(DEVICE, request, payload) == (("setpoint", '["null","20"]'),)
