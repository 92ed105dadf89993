from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.api.json_text import JsonError, decimal_text, decode_json, json_octets


def test_numbers_keep_every_digit():
    assert decode_json(b"[21.50, 18446744073709551615, 0.1]") == [
        Decimal("21.50"),
        18446744073709551615,
        Decimal("0.1"),
    ]
    assert json_octets({"a": Decimal("21.50"), "b": Decimal("1E+3")}) == b'{"a":21.50,"b":1000}'


@pytest.mark.parametrize(
    "octets",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'["\\ud800"]',
        b"[NaN]",
        b"[-Infinity]",
        b"[1e999]",
        b"[1e-999]",
        b"[" + b"9" * 41 + b"]",
        b"[[[[[[[[[1]]]]]]]]]",
        b"[" * 60_000,
        b'["' + b'\\"' * 30_000,
        b'{"a":',
        b"[1,]",
        b"[01]",
        b"\xff",
        b"",
        b"1 2",
        b"\xef\xbb\xbf[]",
    ],
)
def test_doubtful_json_is_refused(octets):
    with pytest.raises(JsonError):
        decode_json(octets)


def test_an_error_says_where():
    with pytest.raises(JsonError) as caught:
        decode_json(b'{\n  "a": 1,\n  "b" 2\n}')
    assert (caught.value.line, caught.value.column) == (3, 7)


def test_brackets_in_strings_are_no_depth():
    text = '["' + "[{" * 50 + '\\"]"]'
    assert decode_json(text.encode()) == ["[{" * 50 + '"]']


def test_a_repeated_name_is_shown_escaped():
    with pytest.raises(JsonError) as caught:
        decode_json(b'{"a\\nb":1,"a\\nb":2}')
    assert "\n" not in caught.value.public


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_decimals_survive_both_ways(number):
    assert decode_json(json_octets([number])) == [number]


@pytest.mark.parametrize(
    ("number", "text"), [(Decimal("-0.0"), "0"), (10, "10"), (Decimal("1E+2"), "100"), (Decimal("-0.50"), "-0.5")]
)
def test_decimal_text_is_plain(number, text):
    assert decimal_text(number) == text
