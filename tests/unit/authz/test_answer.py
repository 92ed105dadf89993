"""Whatever is not exactly an answer is a denial, and one that says so."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example
from hypothesis import given as property_of
from hypothesis import strategies as st

from broker.authz.answer import MAX_ANSWER_OCTETS, as_document, read_answer
from broker.authz.clamp import clamp
from broker.authz.validation import odd_because
from broker.model.decision import Answer, Obligation
from broker.model.vocabulary import Reason

ALLOWED = {"allow": True, "reasons": [], "obligations": [], "rule": "grant/look", "valid_until": 1_790_000_060}
DENIED = {"allow": False, "reasons": ["no_grant", "window_closed"], "obligations": [], "rule": "denied"}
UNDEFINED = Answer(False, (Reason.POLICY_UNDEFINED,))
ODD = Answer(False, (Reason.POLICY_ODD,))
NOW = 1_790_000_000.0


def odd(raw: bytes) -> bool:
    """Whether it is taken for odd, and why is said in a few printable words."""
    answer = read_answer(raw)
    return replace(answer, fault="") == ODD and 0 < len(answer.fault) <= 200 and answer.fault.isprintable()


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_an_allow() -> None:
    assert read_answer(encoded(ALLOWED)) == Answer(True, (), (), 1_790_000_060.0, "grant/look")


def test_a_denial_keeps_its_reasons() -> None:
    assert read_answer(encoded(DENIED)) == Answer(False, (Reason.NO_GRANT, Reason.WINDOW_CLOSED), rule="denied")


def test_obligations_are_read() -> None:
    answer = read_answer(encoded({**ALLOWED, "obligations": ["before_value"]}))
    assert answer.obligations == (Obligation.BEFORE_VALUE,)


def test_undefined_is_a_denial() -> None:
    assert read_answer(b"") == UNDEFINED


ODD_CHANGES: list[dict[str, Any]] = [
    {"allow": 1},
    {"allow": "true"},
    {"allow": None},
    {"allow": False},
    {"reasons": ["no_grant"]},
    {"reasons": ["because"]},
    {"reasons": "no_grant"},
    {"reasons": None},
    {"reasons": {}},
    {"reasons": [["no_grant"]]},
    {"obligations": ["pray"]},
    {"obligations": ["before_value", "before_value"]},
    {"obligations": {}},
    {"valid_until": 1_790_000_060.5},
    {"valid_until": True},
    {"valid_until": "1790000060"},
    {"valid_until": -1},
    {"valid_until": 0},
    {"valid_until": 1 << 40},
    {"rule": None},
    {"rule": "x" * 201},
    {"rule": "two\nlines"},
    {"comment": "one key too many"},
]


@pytest.mark.parametrize("change", ODD_CHANGES)
def test_anything_odd_in_an_allow_is_a_denial(change: dict[str, Any]) -> None:
    assert odd(encoded({**ALLOWED, **change}))


@pytest.mark.parametrize("change", [{"reasons": []}, {"obligations": ["before_value"]}, {"reasons": ["no_grant"] * 2}])
def test_an_odd_denial_is_a_denial(change: dict[str, Any]) -> None:
    assert odd(encoded({**DENIED, **change}))


@pytest.mark.parametrize("key", ["allow", "reasons", "obligations", "rule"])
def test_a_missing_key_is_a_denial(key: str) -> None:
    assert odd(encoded({k: v for k, v in ALLOWED.items() if k != key}))


@pytest.mark.parametrize(
    "raw",
    [b"{", b"null", b"true", b'"allow"', b"[]", b"1", b"\xff", b"{}", b"NaN", b" ", encoded([ALLOWED]), b"[" * 100_000],
)
def test_what_is_no_object_is_a_denial(raw: bytes) -> None:
    assert odd(raw)


def test_an_answer_that_is_too_long_is_a_denial() -> None:
    assert odd(encoded(ALLOWED) + b" " * MAX_ANSWER_OCTETS)


def test_an_unknown_reason_is_named_in_the_record() -> None:
    answer = read_answer(encoded({**DENIED, "reasons": ["no_grant", "contractor_priority"]}))
    assert as_document(answer)["fault"] == 'unknown reason "contractor_priority"'


@property_of(st.text(min_size=1))
@example("\U00010000" * 61)
def test_whatever_word_is_given_as_a_reason_what_is_said_of_it_is_short_and_printable(word: str) -> None:
    if word not in list(Reason):
        assert odd(orjson.dumps({**DENIED, "reasons": [word]}))


@property_of(st.binary(max_size=200))
def test_no_octets_allow_by_accident(raw: bytes) -> None:
    assert not read_answer(raw).allow


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@property_of(st.sampled_from([*ALLOWED, "extra"]), json_values)
def test_reading_is_at_least_as_strict_as_the_schema(key: str, value: Any) -> None:
    document = {**ALLOWED, key: value}
    if read_answer(encoded(document)).allow and document.get("valid_until") is not None:
        assert odd_because(document) == ""


def test_an_answer_survives_the_record() -> None:
    for document in (ALLOWED, DENIED):
        assert as_document(read_answer(encoded(document))) == document
        assert odd_because(document) == ""


def test_a_lease_ends_with_what_it_rests_on() -> None:
    answer = Answer(True, valid_until=NOW + 3600)
    assert clamp(answer, NOW, NOW + 7.5).valid_until == NOW + 7.5
    assert clamp(answer, NOW, float("inf")).valid_until == NOW + 60
    assert clamp(Answer(True, valid_until=NOW + 5), NOW, float("inf")).valid_until == NOW + 5


@pytest.mark.parametrize("ends", [NOW, NOW - 1, float("-inf")])
def test_there_is_no_lease_into_the_past(ends: float) -> None:
    assert clamp(Answer(True, valid_until=NOW + 30), NOW, ends).valid_until is None


def test_there_is_no_lease_with_obligations_or_without_a_wish() -> None:
    obliged = Answer(True, obligations=(Obligation.BEFORE_VALUE,), valid_until=NOW + 30)
    assert clamp(obliged, NOW, float("inf")).valid_until is None
    assert clamp(Answer(True), NOW, float("inf")).valid_until is None
