"""What a request asks is named point by point, and a write is as dangerous as the most dangerous thing it touches."""

import hashlib
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigError, FrameError
from broker.model.operation import ModbusRange
from broker.model.place import BacnetAddress, Point, ValueType
from broker.model.vocabulary import Action
from broker.wire.modbus.meaning import Interpreter, interpret
from broker.wire.modbus.pdu import encode_request
from tests.unit.wire.modbus.frames import requests
from tests.unit.wire.modbus.plant import AHU, BY_ID, COIL, DISCRETE, HOLDING, INPUT, device, point


def pdu(text):
    return bytes.fromhex(text.replace(" ", ""))


def only(text, asked_of=AHU):
    (operation,) = interpret(asked_of, pdu(text)).operations
    return operation


def touched(operation):
    return [(touch.point.id, touch.whole, touch.value) for touch in operation.touches]


WRITES = [
    # whole points
    ("06 000a 00b9", Action.ADJUST, True, [("supply-temp-setpoint", True, "18.5")], ["185"]),
    ("06 000a ffff", Action.ADJUST, True, [("supply-temp-setpoint", True, "-0.1")], ["65535"]),
    ("10 000a 0001 02 00b9", Action.ADJUST, True, [("supply-temp-setpoint", True, "18.5")], ["185"]),
    ("10 000b 0002 04 41aa6666", Action.ADJUST, True, [("flow-setpoint", True, "21.3")], ["16810", "26214"]),
    ("06 000d 0001", Action.CONTROL, True, [("fan-command", True, "1")], ["1"]),
    ("06 000e 0001", Action.OVERRIDE, True, [("fan-override", True, "1")], ["1"]),
    ("06 0011 0001", Action.INSTALL, True, [("firmware-slot", True, "1")], ["1"]),
    ("10 001e 0004 08 4148550000000000", Action.CONFIG, True, [("label", True, "AHU")], ["16712", "21760", "0", "0"]),
    ("06 002a 0001", Action.CONTROL, True, [("enabled", True, "true")], ["1"]),
    # several points: the most dangerous class of all
    (
        "10 000a 0004 08 00b9 41aa6666 0001",
        Action.CONTROL,
        True,
        [("supply-temp-setpoint", True, "18.5"), ("flow-setpoint", True, "21.3"), ("fan-command", True, "1")],
        ["185", "16810", "26214", "1"],
    ),
    (
        "10 000d 0002 04 0001 0002",
        Action.OVERRIDE,
        True,
        [("fan-command", True, "1"), ("fan-override", True, "2")],
        ["1", "2"],
    ),
    # read-only points
    ("10 000f 0002 04 00000001", Action.CONFIG, True, [("serial-number", True, "1")], ["0", "1"]),
    # parts of points
    ("06 000b 41aa", Action.CONFIG, True, [("flow-setpoint", False, None)], ["16810"]),
    ("06 000c 6666", Action.CONFIG, True, [("flow-setpoint", False, None)], ["26214"]),
    (
        "10 000a 0002 04 00b9 41aa",
        Action.CONFIG,
        True,
        [("supply-temp-setpoint", True, "18.5"), ("flow-setpoint", False, None)],
        ["185", "16810"],
    ),
    ("10 0015 0002 04 00000000", Action.CONFIG, True, [("energy", False, None)], ["0", "0"]),
    ("06 0021 4100", Action.CONFIG, True, [("label", False, None)], ["16640"]),
    # addresses that no point describes
    ("06 0064 0001", Action.CONFIG, False, [], ["1"]),
    ("06 0009 0001", Action.CONFIG, False, [], ["1"]),
    ("10 0009 0002 04 0001 00b9", Action.CONFIG, False, [("supply-temp-setpoint", True, "18.5")], ["1", "185"]),
    ("10 0011 0002 04 0001 0001", Action.INSTALL, False, [("firmware-slot", True, "1")], ["1", "1"]),
    # registers of bit points
    (
        "06 0028 8001",
        Action.CONTROL,
        True,
        [(f"relay-{bit}", True, "true" if bit in (0, 15) else "false") for bit in sorted(range(16), key=str)],
        ["32769"],
    ),
    (
        "06 0029 8001",
        Action.CONFIG,
        False,
        [("alarm-ack", True, "true"), ("alarm-lock", True, "false"), ("alarm-reset", True, "true")],
        ["32769"],
    ),
    # mask writes
    ("16 0028 fffe 0001", Action.CONTROL, True, [("relay-0", True, "true")], ["65534", "1"]),
    ("16 0028 fffe 0000", Action.CONTROL, True, [("relay-0", True, "false")], ["65534", "0"]),
    ("16 0028 fffe ffff", Action.CONTROL, True, [("relay-0", True, "true")], ["65534", "65535"]),
    ("16 0028 fffe fffe", Action.CONTROL, True, [("relay-0", True, "false")], ["65534", "65534"]),
    ("16 0029 fffe 0001", Action.ADJUST, True, [("alarm-ack", True, "true")], ["65534", "1"]),
    (
        "16 0029 7ffe 0001",
        Action.CONTROL,
        True,
        [("alarm-ack", True, "true"), ("alarm-reset", True, "false")],
        ["32766", "1"],
    ),
    ("16 0029 ff7f 0080", Action.CONFIG, True, [("alarm-lock", True, "true")], ["65407", "128"]),
    ("16 0029 fffc 0003", Action.CONFIG, False, [("alarm-ack", True, "true")], ["65532", "3"]),
    ("16 0029 fffd 0002", Action.CONFIG, False, [], ["65533", "2"]),
    ("16 0028 ffff ffff", Action.CONFIG, True, [], ["65535", "65535"]),
    ("16 000a fffe 0001", Action.CONFIG, True, [("supply-temp-setpoint", False, None)], ["65534", "1"]),
    ("16 000a 0000 00b9", Action.CONFIG, True, [("supply-temp-setpoint", True, "18.5")], ["0", "185"]),
    ("16 000b 0000 0001", Action.CONFIG, True, [("flow-setpoint", False, None)], ["0", "1"]),
    ("16 0064 fffe 0001", Action.CONFIG, False, [], ["65534", "1"]),
    # coils
    ("05 0000 ff00", Action.CONTROL, True, [("pump", True, "true")], ["1"]),
    ("05 0001 0000", Action.ADJUST, True, [("damper", True, "false")], ["0"]),
    ("05 0002 ff00", Action.CONFIG, True, [("locked", True, "true")], ["1"]),
    ("05 0003 ff00", Action.CONFIG, False, [], ["1"]),
    ("0f 0000 0002 01 02", Action.CONTROL, True, [("pump", True, "false"), ("damper", True, "true")], ["0", "1"]),
    ("0f 0002 0002 01 03", Action.CONFIG, False, [("locked", True, "true")], ["1", "1"]),
]


@pytest.mark.parametrize(("text", "action", "described", "touches", "raw"), WRITES, ids=[w[0] for w in WRITES])
def test_a_write_is_classified_by_what_it_touches(text, action, described, touches, raw):
    operation = only(text)
    assert operation.action is action
    assert operation.described is described
    assert touched(operation) == touches
    assert list(operation.raw_values) == raw
    assert operation.writes
    assert operation.protocol == "modbus"


READS = [
    ("01 0000 0003", "read-coils", ModbusRange(COIL, 0, 3), True, ["pump", "damper", "locked"]),
    ("02 0003 0001", "read-discrete-inputs", ModbusRange(DISCRETE, 3, 1), True, ["smoke"]),
    ("03 000a 0001", "read-holding-registers", ModbusRange(HOLDING, 10, 1), True, ["supply-temp-setpoint"]),
    ("04 000a 0001", "read-input-registers", ModbusRange(INPUT, 10, 1), True, ["outdoor-temp"]),
    ("04 000a 0002", "read-input-registers", ModbusRange(INPUT, 10, 2), False, ["outdoor-temp"]),
    ("03 0064 0001", "read-holding-registers", ModbusRange(HOLDING, 100, 1), False, []),
]


@pytest.mark.parametrize(("text", "service", "address", "described", "points"), READS, ids=[r[0] for r in READS])
def test_a_read_names_its_points(text, service, address, described, points):
    operation = only(text)
    assert (operation.action, operation.service, operation.address) == (Action.VIEW, service, address)
    assert operation.described is described
    assert touched(operation) == [(id_, True, None) for id_ in points]
    assert operation.raw_values == ()
    assert not operation.writes


def test_a_read_of_part_of_a_point_says_so():
    operation = only("03 000c 0002")
    assert touched(operation) == [("flow-setpoint", False, None), ("fan-command", True, None)]


OTHERS = [
    ("07", "read-exception-status", Action.DISCOVER),
    ("08 0000 a537", "diagnostics", Action.DISCOVER),
    ("08 0002 0000", "diagnostics", Action.DISCOVER),
    *((f"08 {sub:04x} 0000", "diagnostics", Action.DISCOVER) for sub in range(11, 19)),
    ("08 0001 0000", "diagnostics", Action.CONFIG),
    ("08 0003 3b00", "diagnostics", Action.CONFIG),
    ("08 0004 0000", "diagnostics", Action.CONFIG),
    ("08 000a 0000", "diagnostics", Action.CONFIG),
    ("08 0014 0000", "diagnostics", Action.CONFIG),
    ("0b", "get-comm-event-counter", Action.DISCOVER),
    ("0c", "get-comm-event-log", Action.DISCOVER),
    ("11", "report-server-id", Action.DISCOVER),
    ("2b 0e 01 00", "read-device-identification", Action.DISCOVER),
    ("14 07 06 0001 0000 0001", "read-file-record", Action.VIEW),
    ("15 0b 06 0001 0000 0002 0001 ffff", "write-file-record", Action.INSTALL),
]


@pytest.mark.parametrize(("text", "service", "action"), OTHERS, ids=[o[0] for o in OTHERS])
def test_a_request_without_a_range_has_its_action(text, service, action):
    operation = only(text)
    assert (operation.service, operation.action) == (service, action)
    assert operation.address == ModbusRange(None)
    assert operation.touches == ()


def test_file_records_are_described_by_no_point_and_their_contents_are_raw_values():
    assert not only("14 07 06 0001 0000 0001").described
    written = only("15 0b 06 0001 0000 0002 0001 ffff")
    assert not written.described
    assert written.raw_values == ("1", "65535")


def test_what_a_queue_holds_is_described_by_no_point():
    operation = only("18 000a")
    assert (operation.service, operation.action) == ("read-fifo-queue", Action.VIEW)
    assert operation.address == ModbusRange(HOLDING, 10, 1)
    assert touched(operation) == [("supply-temp-setpoint", False, None)]
    assert not operation.described


def test_function_23_is_a_write_and_then_a_read():
    request = interpret(AHU, pdu("17 000d 0001 000a 0001 02 00b9"))
    write, read = request.operations
    assert write.service == read.service == "read-write-multiple-registers"
    assert (write.action, write.address) == (Action.ADJUST, ModbusRange(HOLDING, 10, 1))
    assert touched(write) == [("supply-temp-setpoint", True, "18.5")]
    assert (read.action, read.address) == (Action.VIEW, ModbusRange(HOLDING, 13, 1))
    assert touched(read) == [("fan-command", True, None)]
    assert request.before == interpret(AHU, pdu("03 000a 0001"))


BEFORE = [
    ("05 0001 ff00", "01 0001 0001"),
    ("0f 0000 0003 01 05", "01 0000 0003"),
    ("06 000a 00b9", "03 000a 0001"),
    ("10 000a 0004 08 00b9 41aa6666 0001", "03 000a 0004"),
    ("16 0028 fffe 0001", "03 0028 0001"),
]


@pytest.mark.parametrize(("write", "read"), BEFORE, ids=[b[0] for b in BEFORE])
def test_what_a_write_changes_can_be_read_before(write, read):
    assert interpret(AHU, pdu(write)).before == interpret(AHU, pdu(read))


@pytest.mark.parametrize("text", ["03 000a 0001", "07", "08 0001 0000", "15 09 06 0001 0000 0001 0001", "18 000a"])
def test_what_writes_no_table_has_nothing_to_read_before(text):
    assert interpret(AHU, pdu(text)).before is None


@pytest.mark.parametrize(
    ("text", "point_id"),
    [
        ("10 000b 0002 04 7fc00000", "flow-setpoint"),
        ("10 000b 0002 04 ff800000", "flow-setpoint"),
        ("06 002a 0002", "enabled"),
        ("10 001e 0004 08 410a000000000000", "label"),
        ("10 001e 0004 08 ffff000000000000", "label"),
    ],
)
def test_a_write_that_is_no_value_of_its_point_is_refused_by_name(text, point_id):
    with pytest.raises(FrameError) as refused:
        interpret(AHU, pdu(text))
    assert refused.value.code == "illegal_value"
    assert point_id in refused.value.public


@given(requests, st.integers(0, 255))
def test_the_payload_is_what_was_understood_and_the_digest_is_of_what_is_sent(request_, unit):
    asked = encode_request(request_)
    try:
        request = interpret(device(*AHU.points, upstream_unit_id=unit), asked)
    except FrameError as error:
        assert error.code == "illegal_value"
        return
    assert request.payload == asked
    assert request.unit_id == unit
    digest = urlsafe_b64encode(hashlib.sha256(bytes((unit,)) + asked).digest()).decode().rstrip("=")
    assert request.digest == digest
    assert {operation.unit_id for operation in request.operations} == {unit}


@given(st.binary(max_size=260))
def test_arbitrary_octets_are_a_request_or_frame_error(octets):
    try:
        request = interpret(AHU, octets)
    except FrameError as error:
        assert error.code in {"illegal_function", "illegal_value"}
    else:
        assert request.payload == octets


places = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 8)), max_size=12)


@given(places, st.integers(0, 70), st.integers(1, 30))
def test_the_index_finds_what_a_look_at_every_point_finds(spans, start, count):
    points = [
        point(f"p{n}", HOLDING, begin, ValueType.STRING, Action.CONFIG, count=width)
        for n, (begin, width) in enumerate(spans)
    ]
    operation = only(f"03 {start:04x} {count:04x}", device(*points))
    asked = set(range(start, start + count))
    expected = {
        p.id: set(range(p.address.start, p.address.start + p.address.count)) <= asked
        for p in points
        if asked & set(range(p.address.start, p.address.start + p.address.count))
    }
    assert {touch.point.id: touch.whole for touch in operation.touches} == expected
    described = {a for p in points for a in range(p.address.start, p.address.start + p.address.count)}
    assert operation.described is (asked <= described)


def test_the_time_of_a_request_does_not_grow_with_the_number_of_points():
    looks = 0

    class Counted(int):
        def __lt__(self, other):
            nonlocal looks
            looks += 1
            return int(self) < int(other)

        def __gt__(self, other):
            nonlocal looks
            looks += 1
            return int(self) > int(other)

    points = [point(f"p{n}", HOLDING, Counted(n), ValueType.UINT16) for n in range(5000)]
    large = device(*points)
    only("03 0000 0001", large)
    looks = 0
    assert touched(only("03 0bb8 0001", large)) == [("p3000", True, None)]
    assert looks < 60


def test_a_point_that_cannot_be_is_reported_as_a_fault_of_the_inventory():
    with pytest.raises(ConfigError):
        interpret(device(point("p", COIL, 0, ValueType.UINT32)), b"\x07")


def test_points_of_other_protocols_are_no_places():
    odd = device(Point("zone", BacnetAddress("analog-value", 1)), BY_ID["fan-command"])
    assert touched(only("03 000d 0001", odd)) == [("fan-command", True, None)]


def test_identical_octets_give_the_identical_request():
    interpreter = Interpreter(AHU)
    first = interpreter.interpret(pdu("03 000a 0001"))
    assert interpreter.interpret(pdu("03 000a 0001")) is first
    assert interpreter.interpret(pdu("03 000a 0002")) is not first
    assert first == interpret(AHU, pdu("03 000a 0001"))


def test_the_memory_is_bounded_and_forgets_the_oldest():
    interpreter = Interpreter(AHU, capacity=2)
    asked = [interpreter.interpret(pdu(f"03 {n:04x} 0001")) for n in range(3)]
    assert len(interpreter._known) == 2
    assert interpreter.interpret(pdu("03 0002 0001")) is asked[2]
    assert interpreter.interpret(pdu("03 0000 0001")) is not asked[0]
    assert interpreter.interpret(pdu("03 0000 0001")) == asked[0]


def test_a_refusal_is_not_remembered_and_is_raised_again():
    interpreter = Interpreter(AHU)
    for _ in range(2):
        with pytest.raises(FrameError):
            interpreter.interpret(pdu("05 0000 1234"))
    assert not interpreter._known


def test_a_changed_device_is_interpreted_as_it_is_now():
    before = device(point("a", HOLDING, 0, ValueType.UINT16, Action.ADJUST))
    after = device(point("b", HOLDING, 0, ValueType.UINT16, Action.INSTALL))
    assert only("06 0000 0001", before).action is Action.ADJUST
    assert only("06 0000 0001", after).action is Action.INSTALL
    assert only("06 0000 0001", before).action is Action.ADJUST
