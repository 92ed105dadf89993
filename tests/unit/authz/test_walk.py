"""Policies that could look at clock, network or chance, or that engines read differently, are refused at load."""

import json

import pytest

regorus = pytest.importorskip("regorus", reason="the embedded engine has no wheel for this platform")

from broker.authz.capabilities import ALLOWED_BUILTINS, RESERVED_NAMES, opa_capabilities  # noqa: E402
from broker.authz.walk import Problem, problems  # noqa: E402
from tests.unit.authz import given  # noqa: E402


def walked(*modules: str) -> list[Problem]:
    """Problems of modules that are named `0.rego`, `1.rego` …, without those of the policy as a whole."""
    engine = regorus.Engine()
    for number, module in enumerate(modules):
        engine.add_policy(f"{number}.rego", module)
    return [problem for problem in problems(json.loads(engine.get_ast_as_json())) if problem.line]


def site(*lines: str) -> list[Problem]:
    return walked("\n".join(["package site.test", *lines]))


def test_the_library_is_accepted() -> None:
    engine = regorus.Engine()
    for file, text in given.library().modules.items():
        engine.add_policy(file, text)
    assert problems(json.loads(engine.get_ast_as_json())) == ()


IMPURE = [
    "time.now_ns()",
    'rand.intn("a", 2)',
    'uuid.rfc4122("a")',
    "opa.runtime()",
    'http.send({"method": "get", "url": "http://127.0.0.1"})',
    'net.lookup_ip_addr("localhost")',
    'io.jwt.decode("a")',
    'trace("a")',
    'print("a")',
    "walk(input)",
    'regex.match("a", "a")',
    'sprintf("%v", [1])',
    "numbers.range(1, 100000000)",
    'time["now_ns"]()',
    "unheard_of(1)",
    "data.site.unheard_of(1)",
]


@pytest.mark.parametrize("call", IMPURE)
@pytest.mark.parametrize(
    "place",
    [
        "r := {}",
        "r if {} == 1",
        "r contains x if x := {}",
        "r := [x | x := {}]",
        "r := {{y: 1 | y := {}}}",
        "r := 1 if true else := {}",
        "r if {{ every x in [1] {{ x == {} }} }}",
        "r[{}] := 1",
        "f(x) := y if y := {}",
        "default r := 1\nr := input.a[{}].b",
        "r := 1 + {}",
        "r if some x in {}",
        'r := {{"a": [{}]}}',
    ],
)
def test_calls_off_the_list_are_found_wherever_they_hide(call: str, place: str) -> None:
    found = site("", place.format(call))
    assert [problem.text for problem in found if "is not allowed" in problem.text]
    assert all(problem.file == "0.rego" and problem.line >= 3 for problem in found)


def test_a_problem_names_file_and_line() -> None:
    found = walked("package site.a\nok := 1", "package site.b\n\n\nr := x if {\n\tx := time.now_ns()\n}")
    assert [str(problem) for problem in found] == ["1.rego:5: call of time.now_ns is not allowed"]


def test_own_functions_may_be_called_by_name_and_path() -> None:
    library = "package site.lib\nimport rego.v1\nf(x) := x + 1\ng(x) := f(x)"
    assert walked(library, "package site.use\na := data.site.lib.f(1)\nb := data.site.lib.g(a)") == []


@pytest.mark.parametrize(
    "lines",
    [
        ("import data.site.lib",),
        ("import data.site.lib as time",),
        ("import input.subject",),
        ("count(x) := 1",),
        ("http := 1",),
        ("r if input.x with input.x as 1",),
        ("r := input.x / 3",),
        ("r if data.site.y with data.site.y as 1",),
    ],
)
def test_hiding_and_pretending_is_refused(lines: tuple[str, ...]) -> None:
    assert site(*lines)


def test_text_that_looks_like_a_call_is_text() -> None:
    assert site("r := `time.now_ns()`", '# http.send({})\ns := "opa.runtime()"') == []


@pytest.mark.parametrize(
    "lines",
    [
        ("f(x) := g(x)", "g(x) := f(x)", "r := f(1)"),
        ("r := s", "s := r"),
        ("r := data.site.test.r",),
        ("r := data.site[input.x]",),
        ("r := data[input.x][input.y]",),
        ('r := data["site"]["test"].r',),
        ("r contains x if some x in s", "s := {x | some x in r}"),
    ],
)
def test_rules_that_lead_back_to_themselves_are_refused(lines: tuple[str, ...]) -> None:
    assert any("leads back to itself" in problem.text for problem in site(*lines))


def test_using_a_rule_twice_is_no_recursion() -> None:
    assert site("a := 1", "b := a + a", "c := a + b") == []


@pytest.mark.parametrize(
    "condition",
    [
        "not f(input.x)",
        "not f(r)",
        "not input.x in [1]",
        "not 1 in input.x",
        "not input.x < 3",
        "not input.x != 1",
        "not s[input.x]",
        "not f(concat(input.x, []))",
        "not count(input.x) == 0",
        "some x in input.y; not f(x.z)",
        "some x in input.y; not x in input.z",
    ],
)
def test_a_negation_that_engines_read_differently_is_refused(condition: str) -> None:
    found = site("f(x) if x == 1", "r if input.r", "s contains 1", f"t if {{ {condition} }}")
    assert ["`not`" in problem.text for problem in found] == [True]


@pytest.mark.parametrize(
    "condition",
    [
        "not input.x",
        "not input.x.y[0]",
        "not r",
        "not data.site.other",
        "not input.x == 1",
        "some x in input.y; not f(x)",
        "some x in input.y; not x.z",
        "some x in input.y; not s[x]",
        "some x in input.y; not x in {1, 2}",
    ],
)
def test_a_negation_that_engines_read_alike_is_accepted(condition: str) -> None:
    assert site("f(x) if x == 1", "r if input.r", "s contains 1", f"t if {{ {condition} }}") == []


@pytest.mark.parametrize(
    "rule",
    [
        "r contains x.a if some x in input.xs",
        "r contains [x.a, 1] if some x in input.xs",
        "r contains f(x) if some x in input.xs",
        "r contains s if input.x",
        "r[x.a] := 1 if some x in input.xs",
        "r[x] := x.a if some x in input.xs",
    ],
)
def test_a_head_that_may_be_undefined_is_refused(rule: str) -> None:
    found = site("f(x) := x", "s := input.s", rule)
    assert [problem.text.startswith("the head") for problem in found] == [True]


def test_a_head_that_is_bound_is_accepted() -> None:
    bound = ('r contains "a"', "r contains [x, 1] if some x in input.xs", "q[x] := y if some x, y in input.xs")
    assert site(*bound, "s := input.x", "f(x) := x.a if x") == []


def test_foreign_packages_are_refused() -> None:
    assert "not under" in walked("package system\nr := 1")[0].text


@pytest.mark.parametrize("entry_point", ["operation", "session", "admin"])
def test_a_policy_without_an_entry_point_is_refused(entry_point: str) -> None:
    engine = regorus.Engine()
    for file, text in given.library().modules.items():
        if not file.endswith(f"/{entry_point}.rego"):
            engine.add_policy(file, text)
    found = [str(problem) for problem in problems(json.loads(engine.get_ast_as_json()))]
    assert any(f"data.otbroker.{entry_point}.decision" in problem for problem in found)


def test_the_list_of_builtins_is_pure_and_complete_for_opa() -> None:
    names = [builtin["name"] for builtin in opa_capabilities()["builtins"]]
    assert len(names) == len(set(names)) and set(names) == ALLOWED_BUILTINS
    assert opa_capabilities()["allow_net"] == []
    assert not any(name.startswith(("time.", "rand.", "http.", "net.", "opa.", "uuid.", "io.")) for name in names)
    assert {"time", "rand", "http", "net", "opa", "uuid", "io"} <= RESERVED_NAMES
