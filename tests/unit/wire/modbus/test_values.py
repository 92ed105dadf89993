"""Engineering values are exact: what is shown is what is written, for every type, order, scale and offset."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigError, FrameError, LimitError, PeerError
from broker.model.place import Order, ValueType
from broker.wire.modbus.values import canonical, conversion_of, flag_of, number_of, shown
from tests.unit.wire.modbus.plant import COIL, HOLDING, WIDTHS, point

orders = st.sampled_from(list(Order))
scales = st.tuples(st.integers(1, 10**9), st.integers(-9, 6), st.booleans()).map(
    lambda t: Decimal(t[0]).scaleb(t[1]) * (-1 if t[2] else 1)
)
offsets = st.tuples(st.integers(-(10**9), 10**9), st.integers(-9, 6)).map(lambda t: Decimal(t[0]).scaleb(t[1]))
INTEGERS = [kind for kind in WIDTHS if "int" in kind.value]


def conversion(kind, **how):
    return conversion_of(point("p", HOLDING, 0, kind, **how).address)


@given(st.data(), st.sampled_from(INTEGERS), orders, orders, scales, offsets)
def test_every_raw_integer_becomes_its_exact_value_and_comes_back(data, kind, words, octets, scale, offset):
    raw = data.draw(st.binary(min_size=2 * WIDTHS[kind], max_size=2 * WIDTHS[kind]))
    made = conversion(kind, words=words, octets=octets, scale=scale, offset=offset)
    value = made.engineering(raw)
    registers = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if octets is Order.LITTLE:
        registers = [register[::-1] for register in registers]
    if words is Order.LITTLE:
        registers.reverse()
    number = int.from_bytes(b"".join(registers), "big", signed=not kind.value.startswith("u"))
    assert as_fraction(value) == as_fraction(scale) * number + as_fraction(offset)
    assert value == canonical(Decimal(value))
    assert made.octets(value) == raw


def as_fraction(number):
    return Fraction(str(number))


@given(st.data(), st.sampled_from([ValueType.FLOAT32, ValueType.FLOAT64]), orders, orders)
def test_every_finite_float_becomes_its_shortest_decimal_and_comes_back(data, kind, words, octets):
    raw = data.draw(st.binary(min_size=2 * WIDTHS[kind], max_size=2 * WIDTHS[kind]))
    made = conversion(kind, words=words, octets=octets)
    try:
        value = made.engineering(raw)
    except FrameError as error:
        assert error.code == "illegal_value"
        return
    assert "e" not in value.lower()
    again = made.octets(value)
    assert made.engineering(again) == value
    if value != "0":  # negative zero is shown, and written, as zero
        assert again == raw


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_shown_without_the_digits_of_its_binary_expansion(number):
    shown = conversion(ValueType.FLOAT32).engineering(struct.pack(">f", number))
    assert len(Decimal(shown).as_tuple().digits) <= 9 or number == 0 or abs(number) >= 1e9
    assert struct.pack(">f", float(shown)) == struct.pack(">f", number) or number == 0


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("kind", "layout"), [(ValueType.FLOAT32, ">f"), (ValueType.FLOAT64, ">d")])
def test_a_float_that_is_not_finite_has_no_value(kind, layout, number):
    with pytest.raises(FrameError, match="illegal_value"):
        conversion(kind).engineering(struct.pack(layout, number))
    with pytest.raises(FrameError, match="illegal_value"):
        conversion(kind).octets(number)


@pytest.mark.parametrize(
    ("kind", "how", "value", "octets"),
    [
        (ValueType.INT16, {"scale": "0.1"}, "18.5", "00b9"),
        (ValueType.INT16, {"scale": "0.1"}, 18.5, "00b9"),
        (ValueType.INT16, {"scale": "0.1"}, Decimal("18.50"), "00b9"),
        (ValueType.INT16, {"scale": "0.1"}, 18, "00b4"),
        (ValueType.INT16, {"scale": "0.1"}, "1.8e1", "00b4"),
        (ValueType.INT16, {"scale": "0.1"}, "-0.1", "ffff"),
        (ValueType.INT16, {"scale": "0.1", "offset": "-40"}, "-40", "0000"),
        (ValueType.UINT16, {"scale": "-1"}, -3, "0003"),
        (ValueType.UINT16, {"scale": "100"}, 6553500, "ffff"),
        (ValueType.UINT32, {"words": Order.LITTLE}, 1, "00010000"),
        (ValueType.UINT32, {"octets": Order.LITTLE}, 1, "00000100"),
        (ValueType.UINT32, {"words": Order.LITTLE, "octets": Order.LITTLE}, 1, "01000000"),
        (ValueType.UINT64, {}, "18446744073709551615", "ff" * 8),
        (ValueType.INT64, {}, -(2**63), "80" + "00" * 7),
        (ValueType.FLOAT32, {}, "21.3", struct.pack(">f", 21.3).hex()),
        (ValueType.FLOAT64, {}, "0.1", struct.pack(">d", 0.1).hex()),
        (ValueType.FLOAT32, {"scale": "0.3"}, "22.0", struct.pack(">f", 22 / 0.3).hex()),
        (ValueType.BOOL, {}, True, "0001"),
        (ValueType.BOOL, {"octets": Order.LITTLE}, "true", "0100"),
        (ValueType.STRING, {"count": 2}, "AHU", "41485500"),
        (ValueType.STRING, {"count": 2, "octets": Order.LITTLE}, "AHU1", "48413155"),
        (ValueType.STRING, {"count": 2}, "", "00000000"),
        (ValueType.STRING, {"count": 2}, "22°", "3232c2b0"),
    ],
)
def test_a_value_becomes_these_octets(kind, how, value, octets):
    assert conversion(kind, **how).octets(value) == bytes.fromhex(octets)


@pytest.mark.parametrize(
    ("kind", "how", "value", "says"),
    [
        (ValueType.INT16, {"scale": "0.1"}, "18.55", "18.55 is not a multiple of 0.1"),
        (ValueType.INT16, {"scale": "0.1"}, 18.55, "18.55 is not a multiple of 0.1"),
        (ValueType.INT16, {"scale": "0.5", "offset": "0.2"}, "1", "1 is not a multiple of 0.5 from 0.2"),
        (ValueType.UINT16, {}, "0.5", "0.5 is not a multiple of 1"),
        (ValueType.UINT16, {}, -1, "does not fit uint16"),
        (ValueType.UINT16, {}, 65536, "does not fit uint16"),
        (ValueType.INT16, {"scale": "0.1"}, "3276.8", "does not fit int16 with a scale of 0.1"),
        (ValueType.UINT64, {}, 2**64, "does not fit uint64"),
        (ValueType.UINT16, {}, "1e999", "does not fit"),
        (ValueType.UINT16, {}, "1e-999", "not a multiple"),
        (ValueType.FLOAT32, {}, "16777217", "the nearest value is 16777216"),
        (ValueType.FLOAT32, {}, "21.123456789", "the nearest value is 21.123457"),
        (ValueType.FLOAT32, {}, "1e-60", "the nearest value is 0"),
        (ValueType.FLOAT32, {}, "1e39", "does not fit float32"),
        (ValueType.FLOAT64, {}, "1e309", "does not fit float64"),
        (ValueType.FLOAT64, {}, "1e999", "does not fit float64"),
        (ValueType.UINT16, {}, True, "number"),
        (ValueType.UINT16, {}, "", "number"),
        (ValueType.UINT16, {}, "1_000", "number"),
        (ValueType.UINT16, {}, " 1", "number"),
        (ValueType.UINT16, {}, "1\n", "number"),
        (ValueType.UINT16, {}, "0x10", "number"),
        (ValueType.UINT16, {}, "\u0661", "number"),
        (ValueType.UINT16, {}, "Infinity", "number"),
        (ValueType.UINT16, {}, Decimal("NaN"), "number"),
        (ValueType.UINT16, {}, Decimal("sNaN"), "number"),
        (ValueType.UINT16, {}, "9" * 401, "number"),
        pytest.param(ValueType.UINT16, {}, 10**5000, "number", id="int of 5001 digits"),
        pytest.param(ValueType.BOOL, {}, 10**5000, "number", id="bool of 5001 digits"),
        (ValueType.UINT16, {}, "1e1000", "number"),
        (ValueType.BOOL, {}, 2, "neither true nor false"),
        (ValueType.BOOL, {}, "yes", "number"),
        (ValueType.BOOL, {}, Decimal("sNaN"), "number"),
        (ValueType.STRING, {"count": 2}, "AHU-1", "5 octets where 4 fit"),
        (ValueType.STRING, {"count": 2}, "A\0", "printable"),
        (ValueType.STRING, {"count": 2}, "A\n", "printable"),
        (ValueType.STRING, {"count": 2}, "\u202ea", "printable"),
        (ValueType.STRING, {"count": 2}, 5, "printable"),
    ],
)
def test_a_value_that_does_not_fit_exactly_is_refused_in_words(kind, how, value, says):
    with pytest.raises(PeerError) as refused:
        conversion(kind, **how).octets(value)
    assert refused.value.code == "illegal_value"
    assert says in refused.value.public
    assert len(refused.value.public) < 1000


def test_what_a_type_cannot_hold_is_a_limit():
    with pytest.raises(LimitError):
        conversion(ValueType.UINT16).octets(65536)


@pytest.mark.parametrize("raw", ["0002", "ffff", "0100"])
def test_a_bool_register_is_0_or_1(raw):
    with pytest.raises(FrameError, match="illegal_value"):
        conversion(ValueType.BOOL).engineering(bytes.fromhex(raw))


@pytest.mark.parametrize(("octets", "raw"), [(Order.BIG, 0x0200), (Order.LITTLE, 0x0002)])
def test_a_bit_is_counted_in_the_registers_own_byte_order(octets, raw):
    made = conversion(ValueType.BIT, bit=9, octets=octets)
    assert made.engineering(raw.to_bytes(2, "big")) == "true"
    assert made.engineering((raw ^ 0xFFFF).to_bytes(2, "big")) == "false"
    assert made.octets(True) == raw.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("raw", "text"),
    [("41480000", "AH"), ("00000000", ""), ("41004800", None), ("410a0000", None), ("ffff0000", None)],
)
def test_a_string_is_printable_text_without_its_padding(raw, text):
    made = conversion(ValueType.STRING, count=2)
    if text is None:
        with pytest.raises(FrameError, match="illegal_value"):
            made.engineering(bytes.fromhex(raw))
    else:
        assert made.engineering(bytes.fromhex(raw)) == text


@given(st.text(max_size=20).filter(str.isprintable), orders, orders)
def test_printable_text_comes_back(text, words, octets):
    made = conversion(ValueType.STRING, count=60, words=words, octets=octets)
    assert made.engineering(made.octets(text)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [("-0", "0"), ("-0.00", "0"), ("1E+3", "1000"), ("1.50", "1.5"), ("100", "100"), ("-1E-7", "-0.0000001")],
)
def test_a_number_has_one_form(number, text):
    assert canonical(Decimal(number)) == text


@pytest.mark.parametrize(
    ("kind", "how", "number", "text"),
    [
        (ValueType.INT16, {"scale": "0.1"}, "19", "19.0"),
        (ValueType.INT16, {"scale": "0.1"}, "-0.5", "-0.5"),
        (ValueType.UINT32, {"scale": "0.01"}, "21.5", "21.50"),
        (ValueType.UINT16, {}, "42", "42"),
        (ValueType.UINT16, {"scale": "1.0"}, "42", "42"),
        (ValueType.UINT16, {"scale": "100"}, "4200", "4200"),
        (ValueType.INT16, {"scale": "1", "offset": "-0.25"}, "2.75", "2.75"),
        (ValueType.INT16, {"scale": "0.5", "offset": "0.25"}, "3", "3.00"),
        (ValueType.INT16, {"scale": "0.1"}, "16.05", "16.05"),
        (ValueType.FLOAT32, {"scale": "0.1"}, "21.5", "21.5"),
        (ValueType.FLOAT64, {}, "21", "21"),
    ],
)
def test_people_see_the_decimals_of_one_raw_step(kind, how, number, text):
    assert shown(point("p", HOLDING, 0, kind, **how).address, number) == text


@given(st.text(max_size=30) | st.integers() | st.floats() | st.booleans() | st.decimals())
def test_any_value_is_understood_or_refused(value):
    for understand in (number_of, flag_of, *(conversion(kind).octets for kind in WIDTHS)):
        try:
            understand(value)
        except PeerError as error:
            assert error.code == "illegal_value"


@pytest.mark.parametrize(
    ("table", "kind", "how"),
    [
        (HOLDING, ValueType.UINT32, {"count": 1}),
        (HOLDING, ValueType.UINT16, {"count": 2}),
        (HOLDING, ValueType.STRING, {"count": 126}),
        (HOLDING, ValueType.BIT, {}),
        (HOLDING, ValueType.BIT, {"bit": 16}),
        (COIL, ValueType.UINT16, {}),
        (COIL, ValueType.BIT, {"bit": 0}),
        (COIL, ValueType.BOOL, {"count": 2}),
        (HOLDING, ValueType.UINT16, {"scale": "0"}),
        (HOLDING, ValueType.UINT16, {"scale": "NaN"}),
        (HOLDING, ValueType.UINT16, {"scale": "1e5000"}),
        (HOLDING, ValueType.UINT16, {"offset": "1e-5000"}),
        (HOLDING, ValueType.FLOAT32, {"offset": "Infinity"}),
    ],
)
def test_a_point_that_cannot_be_is_a_fault_of_the_inventory(table, kind, how):
    with pytest.raises(ConfigError, match="point_impossible"):
        conversion_of(point("p", table, 0, kind, **how).address)
