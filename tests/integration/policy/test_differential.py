"""The embedded engine and a real OPA server answer every question alike, however broken it is."""

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from broker.adapters.opa import OpaPolicyEngine
from broker.adapters.opa_connection import OpaServer
from broker.adapters.rego_embedded import EmbeddedPolicyEngine
from broker.authz.answer import read_answer
from broker.authz.capabilities import ALLOWED_BUILTINS
from broker.authz.review import read_review_answer
from broker.authz.validation import ENTRY_POINTS, invalid_because, odd_because
from broker.engine.ports import PolicyEngine
from broker.model.decision import Answer, EntryPoint, ReviewAnswer
from broker.model.vocabulary import Reason
from tests.integration.policy import builtin_samples, questions
from tests.integration.policy.asking import submit
from tests.integration.policy.opa_server import running_opa
from tests.unit.authz import given

BROKEN = 600
AT_ONE_TIME = 16


def _answers(asked: list[questions.Asked], modules: dict[str, str]) -> tuple[list[bytes], list[bytes]]:
    """What the embedded engine and OPA say to each question."""

    async def both() -> tuple[list[bytes], list[bytes]]:
        with running_opa() as opa:
            embedded = EmbeddedPolicyEngine(budget_seconds=5, wait_seconds=30)
            server = OpaPolicyEngine(OpaServer(opa.url), deadline_seconds=30)
            try:
                engines: list[PolicyEngine] = [embedded, server]
                for engine in engines:
                    await engine.publish(modules, {}, "revision-1")
                return await _ask_all(embedded, asked), await _ask_all(server, asked)
            finally:
                await embedded.close()
                await server.close()

    return asyncio.run(both())


async def _ask_all(engine: PolicyEngine, asked: list[questions.Asked]) -> list[bytes]:
    replies: list[bytes] = []
    for start in range(0, len(asked), AT_ONE_TIME):
        batch = [submit(engine, *one) for one in asked[start : start + AT_ONE_TIME]]
        for reply in await asyncio.gather(*batch):
            assert isinstance(reply, bytes), reply
            replies.append(reply)
    return replies


def _decoded(raw: bytes) -> Any:
    return json.loads(raw) if raw else None


def _read(entry_point: EntryPoint, raw: bytes) -> Answer | ReviewAnswer:
    return read_review_answer(raw) if entry_point is EntryPoint.REVIEW else read_answer(raw)


def test_well_typed_questions_are_answered_alike() -> None:
    asked = questions.well_typed()
    assert len(asked) >= 300
    embedded, opa = _answers(asked, given.library().modules)
    reasons: set[str] = set()
    for (entry_point, question), ours, theirs in zip(asked, embedded, opa, strict=True):
        assert _decoded(ours) == _decoded(theirs), question
        if invalid_because(entry_point, question) == "":
            assert odd_because(_decoded(ours), entry_point) == "", question
            assert Reason.POLICY_ODD not in _read(entry_point, ours).reasons
        reasons.update(_read(entry_point, ours).reasons)
    for wanted in ENTRY_POINTS:
        answers = [_read(wanted, raw) for (asked_of, _), raw in zip(asked, embedded, strict=True) if asked_of is wanted]
        assert {answer.allow for answer in answers} == {True, False}
    library = "".join(given.library().modules.values())
    elsewhere = {"device_unknown", Reason.SITE_POLICY_ODD}  # the second says of a site's policy, see below
    assert reasons >= set(re.findall(r'reasons contains "(\w+)"', library)) - elsewhere


def test_a_sites_policy_that_cannot_be_read_is_answered_alike_and_denies_writes() -> None:
    asked = questions.well_typed()
    embedded, opa = _answers(asked, given.library().modules | _odd_modules('second_person := ["adjust"]'))
    found = set()
    for (entry_point, question), ours, theirs in zip(asked, embedded, opa, strict=True):
        assert _decoded(ours) == _decoded(theirs), question
        answer = _read(entry_point, ours)
        if Reason.SITE_POLICY_ODD in answer.reasons:
            found.add(entry_point)
            assert not answer.allow
        elif answer.allow:
            assert entry_point in {EntryPoint.OPERATION, EntryPoint.EMERGENCY}, question
            assert entry_point is EntryPoint.EMERGENCY or question["operation"]["writes"] is False, question
    assert found == set(ENTRY_POINTS) - {EntryPoint.EMERGENCY}


def test_reasons_of_a_site_that_are_no_words_are_answered_alike_and_deny_everything() -> None:
    asked = [one for one in questions.well_typed()[::7] if one[0] is not EntryPoint.EMERGENCY]
    embedded, opa = _answers(asked, given.library().modules | _odd_modules("reasons := input.version"))
    for (entry_point, question), ours, theirs in zip(asked, embedded, opa, strict=True):
        assert _decoded(ours) == _decoded(theirs), question
        assert Reason.SITE_POLICY_ODD in _read(entry_point, ours).reasons, question


def _odd_modules(of_operations: str) -> dict[str, str]:
    """What a site cannot mean, in a module for each entry point; not constant: that OPA refuses."""
    odd = dict.fromkeys(("session", "admin", "leave"), "reasons := input.version")
    odd |= {"operation": of_operations, "access": "needed contains 2 if true"}
    return {f"site/{name}.rego": f"package site.{name}\n\n{rule}\n" for name, rule in odd.items()}


def test_how_many_a_site_needs_is_read_alike_in_every_form_and_odd_forms_let_nobody_approve() -> None:
    module = "package site.access\n\nneeded := {forms}[input.request.ticket]\n"
    forms = {"text": '"2"', "set": "{2}", "empty": "set()", "array": "[2]", "object": '{"n": 2}', "null": "null"}
    forms |= {"false": "false", "none": "0", "negative": "-1", "many": "9", "fraction": "1.5"}
    good = {"two": "2", "most": "8", "as-fraction": "2.0", "as-power": "0.2e1"}
    written = ", ".join(f'"{name}": {form}' for name, form in {**forms, **good}.items())
    names = [*forms, *good, ""]
    asked: list[questions.Asked] = [
        (EntryPoint.REVIEW, given.review_question(terms=replace(given.TERMS, ticket=name))) for name in names
    ]
    embedded, opa = _answers(asked, given.library().modules | {"site.rego": module.format(forms=f"{{{written}}}")})
    assert [_decoded(one) for one in embedded] == [_decoded(one) for one in opa]
    answers = dict(zip(names, map(read_review_answer, embedded), strict=True))
    assert {name: answers[name].reasons for name in forms} == dict.fromkeys(forms, (Reason.SITE_POLICY_ODD,))
    assert [answers[name].needed for name in (*good, "")] == [2, 8, 2, 2, 1]
    assert all(answers[name].allow for name in (*good, ""))


def test_broken_questions_are_answered_alike_even_if_no_schema_had_stopped_them() -> None:
    asked = questions.broken(BROKEN)
    embedded, opa = _answers(asked, given.library().modules)
    stopped = [invalid_because(*one) != "" for one in asked]
    assert sum(stopped) > BROKEN / 2
    for (entry_point, question), ours, theirs in zip(asked, embedded, opa, strict=True):
        assert _decoded(ours) == _decoded(theirs), question
        assert _read(entry_point, ours) == _read(entry_point, theirs)


@pytest.mark.parametrize("missing", ["subject", "device", "operation", "windows", "freezes", "grants", "now"])
def test_nothing_that_is_missing_allows(missing: str) -> None:
    question = {key: value for key, value in given.operation_question().items() if key != missing}
    if missing == "device":
        question["operation"] = {**question["operation"], "action": "adjust"}
    asked: list[questions.Asked] = [(EntryPoint.OPERATION, question)]
    for answers in _answers(asked, given.library().modules):
        assert not read_answer(answers[0]).allow


def test_every_allowed_builtin_answers_alike_on_both() -> None:
    assert builtin_samples.names() | builtin_samples.OPERATORS == ALLOWED_BUILTINS
    modules = {**given.library().modules, "site/sample.rego": builtin_samples.module()}
    asked: list[questions.Asked] = [
        (EntryPoint.ADMIN, {"now": 1, "permission": "me.read", "sample": name, "values": values})
        for name, values in builtin_samples.cases()
    ]
    embedded, opa = _answers(asked, modules)
    for (_, question), ours, theirs in zip(asked, embedded, opa, strict=True):
        assert _decoded(ours) == _decoded(theirs), question
