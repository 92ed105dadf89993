"""A site's reasons are words of the vocabulary: others are refused at load, wherever a rule writes them out."""

import json

import pytest

regorus = pytest.importorskip("regorus", reason="the embedded engine has no wheel for this platform")

from broker.authz.walk import problems  # noqa: E402


def found(*lines: str, package: str = "site.operation") -> list[str]:
    engine = regorus.Engine()
    engine.add_policy("site/own.rego", "\n".join([f"package {package}", *lines]))
    walked = problems(json.loads(engine.get_ast_as_json()))
    return [str(problem) for problem in walked if "unknown reason" in problem.text]


def test_an_unknown_word_is_named_with_its_place_and_the_nearest_word() -> None:
    told = found("", 'reasons contains "window_close" if {', "\tinput.operation.writes == true", "}")
    assert told == ["site/own.rego:3:19: unknown reason \"window_close\": did you mean 'window_closed'?"]


def test_a_word_that_is_near_to_none_is_told_which_words_there_are() -> None:
    (told,) = found('reasons contains "xyzzy" if input.x')
    assert 'unknown reason "xyzzy": a policy gives one of no_grant, ' in told and "service_not_allowed" in told


@pytest.mark.parametrize(
    "rule",
    [
        'reasons contains "own"',
        "reasons contains `own` if input.x",
        'reasons := {"no_grant", "own"} if input.x',
        'reasons := ["own"]',
        'reasons := {"no_grant"} if input.x else := {"own"}',
        'reasons contains word if some word in ["no_grant", "own"]',
        'reasons contains word if { input.x; word := "own" }',
    ],
)
def test_a_word_is_found_however_the_rule_writes_it_out(rule: str) -> None:
    assert [line.split(": ")[1] for line in found(rule)] == ['unknown reason "own"']


@pytest.mark.parametrize(
    "rule",
    [
        'reasons contains "no_grant" if input.x == "own"',
        'reasons contains word if { some word in {"no_grant"}; input.x != "own" }',
        "reasons contains word if some word in input.words",
        "reasons := {word | some word in input.words}",
        'needed contains "own"',
        'reasons contains ["own", x] if x := input.x',
    ],
)
def test_words_of_the_vocabulary_and_texts_that_are_no_reasons_are_accepted(rule: str) -> None:
    assert found(rule) == []


def test_only_what_the_library_reads_are_reasons() -> None:
    rule = 'reasons contains "own" if input.x'
    assert found(rule, package="site.pharmacy") == []
    for package in ("site.session", "site.admin", "site.leave", "site.access", "otbroker.operation"):
        assert len(found(rule, package=package)) == 1
