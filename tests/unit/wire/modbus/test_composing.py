"""Points and engineering values become few, exact requests, and replies become values again."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError, LimitError, PeerError
from broker.model.place import Order, ValueType
from broker.model.vocabulary import Action
from broker.wire.modbus.meaning import (
    compose_read,
    compose_read_raw,
    compose_write,
    compose_write_raw,
    exception_reply,
    interpret,
    raw_values_of,
    values_of,
)
from broker.wire.modbus.pdu import decode_reply, decode_request
from broker.wire.modbus.registers import words_of
from tests.unit.wire.modbus.plant import AHU, BY_ID, COIL, DISCRETE, HOLDING, INPUT, WIDTHS, device, point


def pdu(text):
    return bytes.fromhex(text.replace(" ", ""))


def payloads(requests):
    return [request.payload for request in requests]


def named(*ids):
    return [BY_ID[id_] for id_ in ids]


def test_contiguous_points_of_one_table_are_read_at_once_and_tables_apart():
    asked = named("fan-command", "pump", "flow-setpoint", "damper", "outdoor-temp", "supply-temp-setpoint", "smoke")
    assert payloads(compose_read(AHU, asked)) == [
        pdu("01 0000 0002"),
        pdu("02 0003 0001"),
        pdu("04 000a 0001"),
        pdu("03 000a 0004"),
    ]


def test_points_with_something_between_them_are_read_apart_unless_the_gap_is_allowed():
    asked = named("supply-temp-setpoint", "fan-command")
    assert payloads(compose_read(AHU, asked)) == [pdu("03 000a 0001"), pdu("03 000d 0001")]
    assert payloads(compose_read(AHU, asked, gap=1)) == [pdu("03 000a 0001"), pdu("03 000d 0001")]
    assert payloads(compose_read(AHU, asked, gap=2)) == [pdu("03 000a 0004")]


def test_bits_of_one_register_and_repeated_points_are_read_once():
    assert payloads(compose_read(AHU, named("relay-3", "relay-4", "relay-3"))) == [pdu("03 0028 0001")]


def test_nothing_asked_is_nothing_read():
    assert compose_read(AHU, []) == ()


@pytest.mark.parametrize(
    ("table", "kind", "most"), [(HOLDING, ValueType.UINT16, 125), (COIL, ValueType.BOOL, 2000)], ids=str
)
def test_a_read_never_exceeds_the_standards_limit(table, kind, most):
    points = [point(f"p{n}", table, n, kind) for n in range(most + 1)]
    read = compose_read(device(*points), points)
    assert [(r.operations[0].address.start, r.operations[0].address.count) for r in read] == [(0, most), (most, 1)]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), min_size=1, max_size=15),
    st.integers(0, 40),
)
def test_composed_reads_cover_every_point_wholly_within_the_limit(spans, gap):
    points = [point(f"p{n}", HOLDING, start, ValueType.STRING, count=width) for n, (start, width) in enumerate(spans)]
    reads = compose_read(device(*points), points, gap=gap)
    whole = {touch.point.id for read in reads for touch in read.operations[0].touches if touch.whole}
    assert whole == {p.id for p in points}
    assert all(1 <= read.operations[0].address.count <= 125 for read in reads)
    assert len(reads) <= len(spans)


@pytest.mark.parametrize(
    ("id_", "value", "written"),
    [
        ("supply-temp-setpoint", "18.5", "06 000a 00b9"),
        ("supply-temp-setpoint", 18.5, "06 000a 00b9"),
        ("supply-temp-setpoint", 18, "06 000a 00b4"),
        ("supply-temp-setpoint", Decimal("18.50"), "06 000a 00b9"),
        ("flow-setpoint", "21.3", "10 000b 0002 04 41aa6666"),
        ("energy", 2**63, "10 0014 0004 08 8000000000000000"),
        ("label", "AHU", "10 001e 0004 08 4148550000000000"),
        ("enabled", "true", "06 002a 0001"),
        ("pump", True, "05 0000 ff00"),
        ("pump", "false", "05 0000 0000"),
        ("damper", 1, "05 0001 ff00"),
        ("relay-0", True, "16 0028 fffe 0001"),
        ("relay-15", "false", "16 0028 7fff 0000"),
    ],
)
def test_a_value_is_written_whole_with_the_simplest_function(id_, value, written):
    request = compose_write(AHU, BY_ID[id_], value)
    assert request.payload == pdu(written)
    assert request == interpret(AHU, pdu(written))
    (operation,) = request.operations
    assert [(touch.point.id, touch.whole) for touch in operation.touches] == [(id_, True)]
    assert operation.action is BY_ID[id_].action


@pytest.mark.parametrize(
    ("id_", "value", "says"),
    [
        ("supply-temp-setpoint", "18.55", "supply-temp-setpoint: 18.55 is not a multiple of 0.1"),
        ("supply-temp-setpoint", "warm", "supply-temp-setpoint: not a finite decimal number"),
        ("supply-temp-setpoint", float("nan"), "supply-temp-setpoint: not a finite decimal number"),
        ("fan-command", 65536, "fan-command: 65536 does not fit uint16"),
        ("label", "much too long", "label: text of 13 octets where 8 fit"),
        ("pump", "on", "pump: not a finite"),
        ("smoke", True, "smoke: nothing can be written to table discrete-input"),
        ("outdoor-temp", 20, "outdoor-temp: nothing can be written to table input-register"),
    ],
)
def test_a_value_that_cannot_be_written_is_refused_with_the_points_name(id_, value, says):
    with pytest.raises(PeerError) as refused:
        compose_write(AHU, BY_ID[id_], value)
    assert refused.value.code == "illegal_value"
    assert says in refused.value.public


def test_a_value_too_large_for_its_type_is_a_limit_error():
    with pytest.raises(LimitError):
        compose_write(AHU, BY_ID["fan-command"], 65536)


def test_a_point_of_another_device_is_refused():
    stranger = point("stranger", HOLDING, 0, ValueType.UINT16)
    with pytest.raises(FrameError, match="stranger is not a Modbus point of plant/ahu-1"):
        compose_read(AHU, [stranger])
    with pytest.raises(FrameError, match="stranger is not a Modbus point of plant/ahu-1"):
        compose_write(AHU, stranger, 1)


@pytest.mark.parametrize(
    ("table", "start", "values", "written"),
    [
        (COIL, 5, [1], "05 0005 ff00"),
        (COIL, 5, [0], "05 0005 0000"),
        (COIL, 5, [1, 0, 1], "0f 0005 0003 01 05"),
        (HOLDING, 5, [65535], "06 0005 ffff"),
        (HOLDING, 5, [1, 2], "10 0005 0002 04 0001 0002"),
    ],
)
def test_raw_values_are_written_with_the_simplest_function(table, start, values, written):
    assert compose_write_raw(AHU, table, start, values).payload == pdu(written)


@pytest.mark.parametrize(
    ("table", "start", "values"),
    [
        (COIL, 0, []),
        (COIL, 0, [2]),
        (COIL, 0, [-1]),
        (COIL, 65535, [1, 1]),
        (COIL, 65536, [1]),
        (COIL, -1, [1]),
        (COIL, 0, [0] * 1969),
        (HOLDING, 0, []),
        (HOLDING, 0, [65536]),
        (HOLDING, 0, [-1]),
        (HOLDING, 65535, [1, 1]),
        (HOLDING, 65536, [1]),
        (HOLDING, 0, [0] * 124),
        (DISCRETE, 0, [1]),
        (INPUT, 0, [1]),
    ],
)
def test_a_raw_write_outside_the_standard_is_refused(table, start, values):
    with pytest.raises(FrameError, match="illegal_value"):
        compose_write_raw(AHU, table, start, values)


@pytest.mark.parametrize(
    ("table", "start", "count", "read"),
    [
        (COIL, 0, 2000, "01 0000 07d0"),
        (DISCRETE, 65535, 1, "02 ffff 0001"),
        (HOLDING, 0, 125, "03 0000 007d"),
        (INPUT, 1, 2, "04 0001 0002"),
    ],
)
def test_a_raw_read_is_the_function_of_its_table(table, start, count, read):
    assert compose_read_raw(AHU, table, start, count).payload == pdu(read)


@pytest.mark.parametrize(("start", "count"), [(0, 0), (0, 126), (65535, 2), (-1, 1), (0, -1)])
def test_a_raw_read_outside_the_standard_is_refused(start, count):
    with pytest.raises(FrameError, match="illegal_value"):
        compose_read_raw(AHU, HOLDING, start, count)


@pytest.mark.parametrize(
    ("asked", "reply", "values"),
    [
        (
            "03 000a 0004",
            "03 08 00b9 41aa6666 0001",
            {"supply-temp-setpoint": "18.5", "flow-setpoint": "21.3", "fan-command": "1"},
        ),
        ("03 000a 0002", "03 04 00b9 41aa", {"supply-temp-setpoint": "18.5"}),
        ("03 000c 0002", "03 04 6666 0001", {"fan-command": "1"}),
        ("03 000b 0003", "03 06 7fc00000 0001", {"fan-command": "1"}),
        ("03 001e 0004", "03 08 ffffffffffffffff", {}),
        ("03 0029 0001", "03 02 8001", {"alarm-ack": "true", "alarm-lock": "false", "alarm-reset": "true"}),
        ("03 0064 0001", "03 02 0001", {}),
        ("04 000a 0001", "04 02 0000", {"outdoor-temp": "-40"}),
        ("01 0000 0003", "01 01 05", {"pump": "true", "damper": "false", "locked": "true"}),
        ("02 0003 0001", "02 01 01", {"smoke": "true"}),
        ("17 000d 0001 000a 0001 02 00b9", "17 02 0001", {"fan-command": "1"}),
        ("03 000a 0001", "83 02", {}),
        ("06 000a 00b9", "06 000a 00b9", {}),
        ("18 000a", "18 0004 0001 00b9", {}),
        ("07", "07 00", {}),
        ("14 07 06 0001 0000 0001", "14 04 03 06 0001", {}),
    ],
)
def test_a_reply_gives_the_values_of_the_points_it_holds_wholly(asked, reply, values):
    decode_reply(decode_request(pdu(asked)), pdu(reply))
    assert dict(values_of(AHU, interpret(AHU, pdu(asked)), pdu(reply))) == values


@pytest.mark.parametrize(
    ("asked", "reply", "values"),
    [
        ("03 0064 0002", "03 04 0001 ffff", (1, 65535)),
        ("01 0000 0003", "01 01 05", (1, 0, 1)),
        ("17 000d 0001 000a 0001 02 00b9", "17 02 0001", (1,)),
        ("03 000a 0001", "83 02", ()),
        ("07", "07 00", ()),
    ],
)
def test_a_reply_gives_the_raw_values_of_its_range(asked, reply, values):
    assert raw_values_of(interpret(AHU, pdu(asked)), pdu(reply)) == values


numeric = st.sampled_from(sorted(WIDTHS))
orders = st.sampled_from(list(Order))


@given(st.data(), numeric, orders, orders, st.sampled_from(["1", "0.1", "0.25", "10"]), st.sampled_from(["0", "-40"]))
def test_what_is_read_can_be_written_back_octet_for_octet(data, kind, word_order, byte_order, scale, offset):
    if "float" in kind.value:
        scale, offset = "1", "0"
    it = point("it", HOLDING, 5, kind, Action.ADJUST, scale=scale, offset=offset, words=word_order, octets=byte_order)
    only = device(it)
    octets = data.draw(st.binary(min_size=2 * WIDTHS[kind], max_size=2 * WIDTHS[kind]))
    (read,) = compose_read(only, [it])
    values = dict(values_of(only, read, bytes((3, len(octets))) + octets))
    if not values or values["it"] == "0":
        return
    write = compose_write(only, it, values["it"])
    assert write.operations[0].touches[0].value == values["it"]
    assert tuple(map(int, write.operations[0].raw_values)) == words_of(octets)
    assert write.before == read


def test_an_exception_names_the_function_known_or_not():
    assert exception_reply(3, 1) == b"\x83\x01"
    assert exception_reply(0x5A, 1) == b"\xda\x01"
    assert exception_reply(0x83, 1) == b"\x83\x01"
