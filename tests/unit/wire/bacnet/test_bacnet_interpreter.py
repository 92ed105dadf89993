"""Native requests in the words of the product: operations, points, actions, and octets that say exactly that."""

import hashlib
from base64 import urlsafe_b64decode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Request
from broker.model.place import BacnetAddress, Confidential, Device, Point, Protocol
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.action_classes import never_written
from broker.wire.bacnet.interpreter import Interpreter, interpret, narrowed
from broker.wire.bacnet.places import places_of
from broker.wire.bacnet.property_requests import (
    Write,
    encode_read_property,
    encode_read_property_multiple,
    encode_write_property,
    encode_write_property_multiple,
)
from broker.wire.bacnet.references import Reference, reference_of
from broker.wire.bacnet.standard import number_of
from broker.wire.bacnet.values import encode_value

SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
TEMPERATURE = Point("temperature", BacnetAddress("analog-input", 1))
FAN = Point("fan", BacnetAddress("binary-output", 3, priority_lowest=8, priority_highest=16), Action.CONTROL)
STATE_TEXT = Point("state-text", BacnetAddress("multi-state-value", 1, "state-text", 2), Action.CONFIG)
NAMES = Point("names", BacnetAddress("multi-state-value", 2, "state-text"), Action.CONFIG)
PLANT = Device(
    "plant",
    "vav-1",
    "hvac",
    Protocol.BACNET,
    BacnetIpWay("127.0.0.1", 47808, 1001),
    points=(SETPOINT, TEMPERATURE, FAN, STATE_TEXT, NAMES),
)


def at(object_type: str, instance: int, name: str = "present-value", index: int | None = None) -> Reference:
    return reference_of(BacnetProperty(object_type, instance, name, index))


def bare(service: int, octets: bytes) -> bytes:
    return bytes((0, service)) + octets


def write(text: str, where: Reference, priority: int | None = None) -> Write:
    words = BacnetProperty(*_words(where))
    return Write(where, encode_value(words.object_type, words.property or "", words.index, text), priority)


def _words(where: Reference) -> tuple[str, int, str, int | None]:
    from broker.wire.bacnet.references import words_of

    return words_of(where)


def read(*where: Reference) -> Request:
    if len(where) == 1:
        return interpret(PLANT, bare(12, encode_read_property(where[0])))
    return interpret(PLANT, bare(14, encode_read_property_multiple(where)))


def written(*writes: Write) -> Request:
    if len(writes) == 1:
        return interpret(PLANT, bare(15, encode_write_property(writes[0])))
    return interpret(PLANT, bare(16, encode_write_property_multiple(writes)))


def touched(operation: Operation) -> list[tuple[str, bool, str | None]]:
    return [(touch.point.id, touch.whole, touch.value) for touch in operation.touches]


def test_a_read_is_a_view_of_the_point_and_its_payload_is_what_was_asked() -> None:
    request = read(at("analog-value", 1))
    (operation,) = request.operations
    assert (operation.action, operation.service) == (Action.VIEW, "read-property")
    assert operation.address == BacnetProperty("analog-value", 1, "present-value")
    assert touched(operation) == [("setpoint", True, None)]
    assert operation.described
    assert request.payload == bare(12, encode_read_property(at("analog-value", 1)))
    assert urlsafe_b64decode(request.digest + "=") == hashlib.sha256(request.payload).digest()


def test_what_no_point_describes_is_said_to_be_so() -> None:
    assert not read(at("analog-value", 2)).operations[0].described
    assert not read(at("analog-value", 2, "units")).operations[0].described


def test_what_else_an_object_says_of_itself_belongs_to_the_point_that_its_present_value_is() -> None:
    (operation,) = read(at("analog-value", 1, "units")).operations
    assert touched(operation) == [("setpoint", False, None)]
    assert operation.described


def test_elements_of_arrays_are_points_wholes_and_parts() -> None:
    one = read(at("multi-state-value", 1, "state-text", 2)).operations[0]
    assert touched(one) == [("state-text", True, None)]
    assert read(at("multi-state-value", 1, "state-text", 1)).operations[0].touches == ()
    assert touched(read(at("multi-state-value", 1, "state-text")).operations[0]) == [("state-text", True, None)]
    assert touched(read(at("multi-state-value", 2, "state-text", 1)).operations[0]) == [("names", False, None)]
    assert touched(read(at("analog-value", 1, "priority-array", 8)).operations[0]) == [("setpoint", False, None)]


def test_each_property_of_several_is_an_operation_of_its_own() -> None:
    request = read(at("analog-value", 1), at("analog-input", 1), at("analog-input", 1, "units"))
    assert [operation.service for operation in request.operations] == ["read-property-multiple"] * 3
    assert [touched(operation) for operation in request.operations] == [
        [("setpoint", True, None)],
        [("temperature", True, None)],
        [("temperature", False, None)],
    ]


@pytest.mark.parametrize("wildcard", ["all", "required", "optional"])
def test_a_wildcard_becomes_every_property_that_it_stands_for(wildcard: str) -> None:
    request = read(at("analog-input", 1, wildcard), at("analog-value", 1))
    asked = [o.address.property for o in request.operations if isinstance(o.address, BacnetProperty)]
    assert asked.count("property-list") == (wildcard != "required")  # the device's own list of what is beyond these
    assert not {"all", "required", "optional"} & set(asked)
    assert ("present-value" in asked[:-1]) == (wildcard != "optional")
    assert ("description" in asked) == (wildcard != "required")
    expected = [at("analog-input", 1, str(name)) for name in asked[:-1]] + [at("analog-value", 1)]
    assert request.payload == bare(14, encode_read_property_multiple(expected))


def test_wildcards_that_stand_for_too_many_are_refused() -> None:
    with pytest.raises(FrameError):
        read(*(at("analog-value", n, "all") for n in range(20)))


def test_the_instance_of_an_unknown_device_becomes_the_devices_own() -> None:
    for request in (
        read(at("device", 4194303, "object-list")),
        read(at("device", 4194303, "vendor-name"), at("analog-value", 1)),
    ):
        address = request.operations[0].address
        assert isinstance(address, BacnetProperty)
        assert address.instance == 1001
        assert bytes.fromhex("0c020003e9") in request.payload


@pytest.mark.parametrize(
    ("text", "where", "priority", "action", "point"),
    [
        ("21.5", ("analog-value", 1), 10, Action.ADJUST, ("setpoint", True, "21.5")),
        ("21.5", ("analog-value", 1), None, Action.ADJUST, ("setpoint", True, "21.5")),
        ("21.5", ("analog-value", 1), 8, Action.OVERRIDE, ("setpoint", True, "21.5")),
        ("null", ("analog-value", 1), 10, Action.ADJUST, ("setpoint", True, "null")),
        ("active", ("binary-output", 3), 16, Action.CONTROL, ("fan", True, "active")),
        ("5", ("analog-input", 1), None, Action.CONFIG, ("temperature", True, "5")),
        ("on", ("multi-state-value", 1, "state-text", 2), None, Action.CONFIG, ("state-text", True, "on")),
        ("on", ("multi-state-value", 2, "state-text", 1), None, Action.CONFIG, ("names", False, None)),
        ("21.5", ("analog-value", 1, "priority-array", 9), None, Action.CONFIG, ("setpoint", False, None)),
    ],
)
def test_a_write_touches_its_point_with_its_value(
    text: str, where: tuple[str, int], priority: int | None, action: Action, point: tuple[str, bool, str | None]
) -> None:
    request = written(write(text, at(*where), priority))
    (operation,) = request.operations
    assert touched(operation) == [point]
    acts_at = 16 if priority is None and touched(operation)[0][0] == "setpoint" and len(where) == 2 else priority
    assert (operation.action, operation.priority, operation.service) == (action, acts_at, "write-property")
    assert operation.writes
    assert request.before is not None
    assert request.before.payload == bare(12, encode_read_property(at(*where)))


def test_a_write_that_names_no_priority_acts_at_16_and_is_sent_as_it_was_asked() -> None:
    one, other = (write("21.5", at("analog-value", n)) for n in (1, 2))
    single, several = written(one), written(one, other)
    assert [each.priority for each in (*single.operations, *several.operations)] == [16, 16, 16]
    assert single.payload == bare(15, encode_write_property(one))
    assert several.payload == bare(16, encode_write_property_multiple((one, other)))


@pytest.mark.parametrize(
    ("where", "priority"),
    [
        (("binary-output", 77), 16),  # no point describes it
        (("analog-value", 1, "priority-array", 9), None),
        (("analog-value", 1, "units"), None),
        (("analog-input", 1), None),
    ],
)
def test_only_what_may_have_priorities_acts_at_one(where: tuple[str, int], priority: int | None) -> None:
    text = {"binary-output": "active"}.get(where[0], "degrees-celsius" if where[2:] == ("units",) else "21.5")
    assert written(write(text, at(*where))).operations[0].priority == priority


def test_a_value_to_which_the_inventory_gives_no_priorities_has_none() -> None:
    plain = replace(PLANT, points=(Point("setpoint", BacnetAddress("analog-value", 1), Action.ADJUST),))
    (operation,) = interpret(plain, bare(15, encode_write_property(write("21.5", at("analog-value", 1))))).operations
    assert operation.priority is None


def test_a_write_that_no_point_describes_is_configuration_and_tells_its_values() -> None:
    (operation,) = written(write("degrees-celsius", at("analog-value", 1, "units"))).operations
    assert (operation.action, operation.described, operation.raw_values) == (Action.CONFIG, False, ("62",))
    period = bytes.fromhex("000f 0c04400001 1920 3e a47e0101ff a47e0c1fff 3f".replace(" ", ""))
    (operation,) = interpret(PLANT, period).operations
    assert operation.raw_values == ("2026-01-01", "2026-12-31")
    element = bytes.fromhex("0008 0c03c00001 1966 3e 0c020003e9 3f".replace(" ", ""))
    assert interpret(PLANT, element).operations[0].raw_values == ("0x0c020003e9",)


def test_several_writes_are_operations_in_their_order_and_what_they_write_can_be_read_before() -> None:
    writes = (write("21.5", at("analog-value", 1), 10), write("active", at("binary-output", 3), 12))
    request = written(*writes)
    assert [(o.action, o.priority) for o in request.operations] == [(Action.ADJUST, 10), (Action.CONTROL, 12)]
    assert request.before is not None
    assert request.before.payload == bare(14, encode_read_property_multiple([w.at for w in writes]))
    singly = Device("plant", "old", "hvac", Protocol.BACNET, PLANT.way, labels=(("read-property-multiple", "no"),))
    assert interpret(singly, request.payload).before is None


@pytest.mark.parametrize(("name", "index", "priority"), [("present-value", None, 6), ("priority-array", 6, None)])
def test_a_write_of_priority_6_is_told_whole_so_that_it_can_be_denied(
    name: str, index: int | None, priority: int | None
) -> None:
    (operation,) = written(write("21.5", at("analog-value", 1, name, index), priority)).operations
    assert (operation.address, operation.priority) == (BacnetProperty("analog-value", 1, name, index), priority)
    assert [point for point, *_ in touched(operation)] == ["setpoint"]
    assert never_written(operation)
    several = written(write("21.5", at("analog-value", 2), 9), write("null", at("analog-value", 1), 6)).operations
    assert [never_written(each) for each in several] == [False, True]


@pytest.mark.parametrize(
    ("where", "value", "code"),
    [
        (("analog-value", 1), "2115", "invalid_datatype"),  # an unsigned
        (("analog-value", 1), "4441ac0000 4441ac0000", "invalid_datatype"),
        (("analog-value", 1), "", "invalid_datatype"),
        (("analog-value", 1), "0c00800001", "invalid_datatype"),
        (("analog-input", 1), "00", "invalid_datatype"),  # an input has nothing to release
        (("analog-value", 1), "447f800000", "illegal_value"),  # infinite
        (("binary-output", 3), "11", "invalid_datatype"),  # a boolean
    ],
)
def test_a_value_that_a_point_cannot_be_is_refused(where: tuple[str, int], value: str, code: str) -> None:
    with pytest.raises(FrameError) as refused:
        written(Write(at(*where), bytes.fromhex(value)))
    assert refused.value.code == code


def test_a_part_of_a_request_asks_for_exactly_those_operations() -> None:
    request = read(at("analog-value", 1), at("analog-value", 1, "units"), at("analog-input", 1))
    part = narrowed(request, (0, 2))
    assert part.operations == (request.operations[0], request.operations[2])
    assert part == interpret(PLANT, part.payload)
    assert part.payload == bare(14, encode_read_property_multiple([at("analog-value", 1), at("analog-input", 1)]))
    writes = (write("21.5", at("analog-value", 1), 10), write("active", at("binary-output", 3), 12))
    assert narrowed(written(*writes), (1,)).payload == bare(16, encode_write_property_multiple(writes[1:]))
    with pytest.raises(FrameError):
        narrowed(read(at("analog-value", 1)), (0,))


@pytest.mark.parametrize(
    ("octets", "service", "action", "address", "points", "described"),
    [
        (
            "0005 0912 1c00800001 2901 3a012c",
            "subscribe-cov",
            Action.VIEW,
            ("analog-value", 1, None),
            ["setpoint"],
            True,
        ),
        ("0005 0912 1c00800002 2901 3a012c", "subscribe-cov", Action.VIEW, ("analog-value", 2, None), [], False),
        ("000b c400800001", "delete-object", Action.CONFIG, ("analog-value", 1, None), ["setpoint"], False),
        ("000a 0e 0902 0f", "create-object", Action.CONFIG, ("analog-value", None, None), [], False),
        ("000a 0e 1c00800058 0f 1e 1f", "create-object", Action.CONFIG, ("analog-value", 88, None), [], False),
        ("0003", "get-alarm-summary", Action.VIEW, ("device", 1001, None), [], True),
        (
            "0007 c402800002 0e 3100 6301ab02 0f".replace("c402800002", "c402800002"),
            "atomic-write-file",
            Action.INSTALL,
            ("file", 2, None),
            [],
            False,
        ),
    ],
)
def test_other_services_are_one_operation_about_their_object_or_the_device(
    octets: str,
    service: str,
    action: Action,
    address: tuple[str, int | None, str | None],
    points: list[str],
    described: bool,
) -> None:
    request = interpret(PLANT, bytes.fromhex(octets))
    (operation,) = request.operations
    assert (operation.service, operation.action) == (service, action)
    assert operation.address == BacnetProperty(*address)
    assert [touch.point.id for touch in operation.touches] == points
    assert operation.described is described
    assert request.payload == bytes.fromhex(octets)


def test_a_password_goes_to_the_device_and_nowhere_else() -> None:
    password = bytes.fromhex("2d0800") + b"s3cret!"
    octets = bytes.fromhex("0011 0905 1901") + password
    interpreter = Interpreter(PLANT)
    request = interpreter.interpret(octets)
    assert request.payload == octets
    assert request.operations[0].facts == (
        ("time-duration", "5"),
        ("enable-disable", "disable"),
        ("password", "present"),
    )
    assert "s3cret!" not in repr(request)
    # A digest of a short password can be guessed: the password is not in it.
    assert urlsafe_b64decode(request.digest + "=") == hashlib.sha256(octets.removesuffix(password)).digest()
    assert interpreter.interpret(octets) is not request
    with pytest.raises(FrameError) as refused:
        interpret(PLANT, octets.removesuffix(password))
    assert refused.value.code == "password_missing"


def test_the_same_octets_are_the_same_request_and_few_are_remembered() -> None:
    interpreter = Interpreter(PLANT, capacity=2)
    requests = [bare(12, encode_read_property(at("analog-value", n))) for n in range(3)]
    first = interpreter.interpret(requests[0])
    assert interpreter.interpret(requests[0]) is first
    for octets in requests[1:]:
        interpreter.interpret(octets)
    assert interpreter.interpret(requests[0]) is not first


@pytest.mark.parametrize("octets", ["", "00", "300c0c008000011955", "00ff", "0015", "000c"])
def test_what_is_no_request_is_refused(octets: str) -> None:
    with pytest.raises(FrameError):
        interpret(PLANT, bytes.fromhex(octets))


def test_numbers_are_those_of_the_standard() -> None:
    assert at("analog-value", 1) == Reference(number_of("object-type", "analog-value"), 1, 85, None)


SERVICES = st.sampled_from((12, 14, 15, 16, 26))
OBJECTS = st.sampled_from(("00800001", "00000001", "01000003", "04c00002", "020003e9", "023fffff", "e1000001"))
NAMES_ = st.sampled_from(("1955", "1957", "194d", "1908", "1a0258", "196e"))
VALUES = st.sampled_from(("4441ac0000", "00", "9101", "2103", "7103", "730041", "0c00800001", "2e4441ac00002f", ""))


@st.composite
def native_requests(draw: st.DrawFn) -> bytes:
    """Requests of the property services, allowed or not."""
    service, target, name = draw(SERVICES), draw(OBJECTS), draw(NAMES_)
    inside = "0" + name[1:]
    index = draw(st.sampled_from(("", "08", "00", "06")))
    priority = draw(st.sampled_from(("", "08", "10", "06")))
    value = draw(VALUES)
    single = f"0c{target}{name}" + (f"29{index}" if index else "")
    several = f"0c{target}1e" + (inside + (f"19{index}" if index else "")) * draw(st.integers(1, 3))
    texts = {
        12: single,
        14: several + "1f",
        15: f"{single}3e{value}3f" + (f"49{priority}" if priority else ""),
        16: f"{several}2e{value}2f" + (f"39{priority}" if priority else "") + "1f",
        26: single,
    }
    return bytes((0, service)) + bytes.fromhex(texts[service])


@settings(max_examples=400, deadline=None)
@given(native_requests())
def test_what_is_sent_asks_the_same_operations_as_what_was_decided(octets: bytes) -> None:
    try:
        request = interpret(PLANT, octets)
    except FrameError:
        return
    again = interpret(PLANT, request.payload)
    assert again == request
    for operation in request.operations:
        at_ = operation.address
        assert isinstance(at_, BacnetProperty)
        assert (at_.object_type, at_.instance) != ("device", 4194303)
        assert operation.writes is (octets[1] in (15, 16))
        if operation.writes and operation.described:
            assert all(touch.whole and touch.value is not None for touch in operation.touches)


@pytest.mark.parametrize("index", [None, 0, 6])
def test_a_priority_array_is_not_written_where_that_would_write_priority_6(index: int | None) -> None:
    octets = {None: "4441a00000" * 16, 0: "2110", 6: "4441a00000"}[index]
    request = written(Write(at("analog-value", 1, "priority-array", index), bytes.fromhex(octets)))
    assert all(map(never_written, request.operations))


@pytest.mark.parametrize(
    "octets",
    [
        "0008 0c00800001 1957 3e 4441a00000 3f",
        "000a 0e 1c00800001 0f 1e 0957 2e 00 2f 1f",
        "000a 0e 1c00800001 0f 1e 0955 2e 4441a00000 2f 3906 1f",
        "000a 0e 0902 0f 1e 094d 2e 720061 2f 0955 2e 4441a00000 2f 3910 1f",
        "000a 0e 0911 0f 1e 0958 2e 2106 2f 1f",
    ],
)
def test_priorities_in_lists_and_new_objects_are_refused_before_any_decision(octets: str) -> None:
    with pytest.raises(FrameError) as caught:
        interpret(PLANT, bytes.fromhex(octets.replace(" ", "")))
    assert caught.value.code == "priority_not_allowed"


def test_the_read_of_very_many_properties_is_not_kept_for_another_write_of_the_same() -> None:
    device, value = replace(PLANT), bytes.fromhex("2101")
    kept = places_of(device).looks
    for count, expected in ((2, 1), (20, 2), (21, 2), (100, 2)):
        ats = [at("analog-value", 1, "priority-array", 8)._replace(property=5000 + place) for place in range(count)]
        payload = bytes((0, 16)) + encode_write_property_multiple(Write(each, value) for each in ats)
        request = interpret(device, payload)
        assert request.before is not None
        assert len(request.before.operations) == count
        assert len(kept) == expected


def test_what_is_longer_than_what_comes_again_and_again_is_not_remembered() -> None:
    interpreter = Interpreter(PLANT)
    short, long = (
        Write(at("analog-value", 1, "description"), bytes.fromhex(octets)) for octets in ("2101" * 80, "2101" * 200)
    )
    for write_, same in ((short, True), (long, False)):
        payload = bare(16, encode_write_property_multiple([write_]))
        assert (interpreter.interpret(payload) is interpreter.interpret(payload)) is same


def test_a_text_that_means_a_release_is_not_one() -> None:
    mode = Point("mode", BacnetAddress("characterstring-value", 1, "present-value", None, 10, 16), Action.ADJUST)
    device = replace(PLANT, points=(mode,))
    where = at("characterstring-value", 1)
    text = bytes.fromhex("7505006e756c6c")
    with pytest.raises(FrameError) as caught:
        interpret(device, bare(15, encode_write_property(Write(where, text))))
    assert caught.value.code == "illegal_value"
    (operation,) = interpret(device, bare(15, encode_write_property(Write(where, b"\x00", 12)))).operations
    assert operation.touches[0].value == "null"


_SETPOINT, _MANY = "0c00800001 1e 0e0955 0f {} 1f", "0901 1900 {} 4e {} 4f"


def several(terms: str, *references: str) -> Request:
    octets = _MANY.format(terms, " ".join(_SETPOINT.format(each) for each in references))
    return interpret(PLANT, bare(30, bytes.fromhex(octets.replace(" ", ""))))


def test_each_property_that_is_subscribed_with_others_is_an_operation_with_its_own_terms() -> None:
    one, other = several("293c 3905", "1c3f000000 2900", "").operations  # PyPI's bac-py says nothing of time stamps
    asked = {"process-identifier": "1", "confirmed": "false", "lifetime": "60", "max-notification-delay": "5"}
    assert dict(one.facts) == asked | {"cov-increment": "0.5", "timestamped": "false"}
    assert dict(other.facts) == asked | {"timestamped": "false"}
    assert [each.address for each in (one, other)] == [BacnetProperty("analog-value", 1, "present-value")] * 2
    assert one.service == "subscribe-cov-property-multiple"
    assert one.touches and not one.writes


@pytest.mark.parametrize(
    ("terms", "references", "code"),
    [
        ("2900 3900", ("2900",), "lifetime_out_of_range"),
        ("293c 393c", ("2900",), "lifetime_out_of_range"),
        ("2a1000 3a0e11", ("2900",), "lifetime_out_of_range"),
        ("293c 3905", ("2900", "2901"), "no_timestamps"),
        ("3905", ("2900",), "malformed"),
    ],
)
def test_several_are_not_subscribed_to_on_terms_that_cannot_be_kept(
    terms: str, references: tuple[str, ...], code: str
) -> None:
    with pytest.raises(FrameError) as caught:
        several(terms, *references)
    assert caught.value.code == code


def test_what_was_asked_for_with_time_stamps_can_be_cancelled_and_all_at_once() -> None:
    (one,) = several("", "2901").operations
    assert dict(one.facts)["cancels"] == "true"
    (whole,) = interpret(PLANT, bare(30, bytes.fromhex("090119014e4f"))).operations
    assert whole.address == BacnetProperty("device", 1001, None)
    assert dict(whole.facts) == {"process-identifier": "1", "cancels": "true", "confirmed": "true"}


def test_large_requests_are_not_remembered() -> None:
    interpreter = Interpreter(PLANT)
    many = [at("analog-value", 1, number) for number in ("description", "units", "status-flags")] * 8
    octets = bare(14, encode_read_property_multiple(many))
    assert interpreter.interpret(octets) is not interpreter.interpret(octets)


@pytest.mark.parametrize("choice", [8, 15])
def test_what_is_written_beside_a_confidential_value_is_concealed(choice: int) -> None:
    hidden = Point("hidden", BacnetAddress("analog-value", 3), Action.ADJUST, confidential=Confidential.SECRET)
    device = replace(PLANT, points=(hidden,), labels=(("read-property-multiple", "no"),))
    default = encode_write_property(Write(at("analog-value", 3, "relinquish-default"), bytes.fromhex("4441a00000")))
    assert interpret(device, bare(choice, default)).conceals
