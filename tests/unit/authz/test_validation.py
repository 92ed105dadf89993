"""A question that breaks the contract is refused before any engine sees it."""

from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest

from broker.authz.validation import ENTRY_POINTS, invalid_because, schema
from broker.model.decision import EntryPoint, Obligation
from broker.model.vocabulary import Action, Reason
from tests.unit.authz import given


@pytest.mark.parametrize("name", [*(entry_point.value for entry_point in ENTRY_POINTS), "answer", "definitions"])
def test_schemas_are_valid_json_schema_2020_12(name: str) -> None:
    assert schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(schema(name))


def test_schemas_know_all_words_and_no_others() -> None:
    answer = schema("answer")["properties"]
    assert answer["reasons"]["items"]["enum"] == [reason.value for reason in Reason]
    assert answer["obligations"]["items"]["enum"] == [obligation.value for obligation in Obligation]
    assert schema("definitions")["$defs"]["action"]["enum"] == [action.value for action in Action]


def _without(document: dict[str, Any], path: tuple[Any, ...]) -> None:
    for step in path[:-1]:
        document = document[step]
    del document[path[-1]]


@pytest.mark.parametrize(
    "path",
    [
        ("now",),
        ("subject",),
        ("subject", "proofs"),
        ("subject", "organisation", "contract_until"),
        ("device", "criticality"),
        ("operation", "action"),
        ("operation", "described"),
        ("operation", "points", 0, "limits", "maximum"),
        ("windows", "next"),
        ("freezes",),
        ("grants", 0, "points"),
        ("session", "mfa_at"),
    ],
)
def test_an_incomplete_question_is_refused(path: tuple[Any, ...]) -> None:
    asked = given.operation_question()
    _without(asked, path)
    assert invalid_because(EntryPoint.OPERATION, asked) != ""


@pytest.mark.parametrize(
    ("key", "value"),
    [("now", 1.5), ("now", "1"), ("now", True), ("version", 2), ("extra", 1), ("freezes", None), ("operation", [])],
)
def test_an_ill_typed_question_is_refused(key: str, value: Any) -> None:
    assert invalid_because(EntryPoint.OPERATION, {**given.operation_question(), key: value}) != ""


def test_what_cannot_be_written_as_json_is_refused() -> None:
    assert invalid_because(EntryPoint.SESSION, {**given.session_question(), "now": object()}) != ""
    assert invalid_because(EntryPoint.SESSION, {**given.session_question(), "now": float("nan")}) != ""
    broken = given.session_question()
    broken["session"]["peer"] = "\ud800"
    assert invalid_because(EntryPoint.SESSION, broken) != ""


def test_an_entry_point_without_schema_has_no_valid_question() -> None:
    assert invalid_because(EntryPoint.REVIEW, given.session_question()) != ""


def test_a_subject_without_proofs_is_nobody() -> None:
    asked = given.session_question()
    asked["subject"]["proofs"] = []
    assert invalid_because(EntryPoint.SESSION, asked).startswith("subject/proofs")


def test_a_question_that_no_record_can_hold_is_refused() -> None:
    many = tuple(replace(given.GRANTS[0], id=f"grant-{number}" + "x" * 480) for number in range(200))
    assert invalid_because(EntryPoint.SESSION, given.session_question(grants=many)) == "too long for a record"


def test_complaints_are_bounded() -> None:
    asked = given.session_question()
    asked["subject"]["id"] = "x" * 100_000
    assert 0 < len(invalid_because(EntryPoint.SESSION, asked)) <= 300
