"""Canonical JSON is RFC 8785 on the values that records hold, and everything else is refused."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ledger.canonical import LARGEST_INTEGER, canonical

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
KEYS = st.text(st.characters(max_codepoint=0xD7FF, exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def by_the_rfc(value: object) -> str:
    """RFC 8785, 3.2, written down naively: keys by UTF-16 code units, ECMAScript's escapes, nothing between tokens."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{by_the_rfc(key)}:{by_the_rfc(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(by_the_rfc, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@given(VALUES)
def test_canonical_form_is_that_of_rfc_8785(value: object) -> None:
    assert canonical(value).decode() == by_the_rfc(value)


@given(VALUES)
def test_reading_and_writing_again_changes_nothing(value: object) -> None:
    assert canonical(orjson.loads(canonical(value))) == canonical(value)


def test_strings_are_escaped_as_in_the_rfcs_example() -> None:
    # RFC 8785, 3.2.2.2 and the example of 3.2.3 ("\u20ac$\u000f\nA'B\"\\\\\"/")
    assert canonical('\u20ac$\u000f\u000aA\'B"\\\\"/') == '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), float("inf"), 2**53, -(2**53), {1: 2}, {"\U0001f600": 1}, "\ud800", b"x", {"a": {1, 2}}],
    ids=repr,
)
def test_what_has_no_canonical_form_here_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical(value)


def test_bottomless_nesting_is_refused() -> None:
    value: list[object] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueError):
        canonical(value)
