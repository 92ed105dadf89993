"""The embedded engine denies in time whatever a policy or its process does, and goes on deciding for the others."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.adapters.rego_channel import check_policy
from broker.adapters.rego_embedded import EmbeddedPolicyEngine
from broker.adapters.rego_worker import slips
from broker.authz.question import encode
from broker.errors import ConfigError, PolicyUnavailableError
from broker.model.decision import EntryPoint
from tests.integration.policy import stubborn
from tests.integration.policy.asking import allowed, ask, code, run, submit, until_allowed
from tests.unit.authz import given

OPERATION = EntryPoint.OPERATION
GENEROUS = 10.0


@asynccontextmanager
async def engine_with(
    modules: dict[str, str] | None = None,
    *,
    budget_seconds: float = 0.05,
    wait_seconds: float = GENEROUS,
    patience_seconds: float = GENEROUS,
    queue: int = 1024,
) -> AsyncIterator[EmbeddedPolicyEngine]:
    engine = EmbeddedPolicyEngine(
        budget_seconds=budget_seconds, wait_seconds=wait_seconds, patience_seconds=patience_seconds, queue=queue
    )
    try:
        await engine.publish(modules or given.library().modules, {}, "r1")
        yield engine
    finally:
        await engine.close()


async def refusal_of(engine: EmbeddedPolicyEngine, modules: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        await engine.publish(modules, {}, "r2")
    return refused.value.detail


def library_with(text: str) -> dict[str, str]:
    return {**given.library().modules, "site/operation.rego": text}


def test_it_allows_and_denies() -> None:
    async def scenario() -> None:
        async with engine_with() as engine:
            assert engine.revision == "r1"
            assert await allowed(engine, given.operation_question())
            assert not await allowed(engine, given.operation_question(grants=()))
            assert await ask(engine, EntryPoint.SESSION, given.session_question())
            assert await ask(engine, EntryPoint.ADMIN, given.admin_question("me.read"))

    run(scenario)


def test_without_a_policy_nothing_is_decided() -> None:
    async def scenario() -> None:
        engine = EmbeddedPolicyEngine()
        assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_unavailable"

    run(scenario)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            'package site.operation\n\nreasons contains "no_grant" if time.now_ns() > 0',
            "site/operation.rego:3: call of time.now_ns",
        ),
        ("package site.operation\nr := ", "operation.rego:2"),
        ("package site.operation\nf(x) := f(x)\nr := f(1)", "site/operation.rego:2: rule site.operation.f leads back"),
        ("package otbroker.operation\ndecision := 1 if input.x\nr := {{", "operation.rego"),
        ("package site.operation\nr := " + "(" * 200_000, ""),
    ],
    ids=["clock", "syntax", "recursion", "braces", "parentheses"],
)
def test_a_policy_that_cannot_be_used_is_refused_and_the_old_one_stays(text: str, complaint: str) -> None:
    async def scenario() -> None:
        async with engine_with() as engine:
            assert complaint in await refusal_of(engine, library_with(text))
            assert engine.revision == "r1"
            assert await allowed(engine, given.operation_question())

    run(scenario)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('package site.operation\n\nreasons contains "no_grant" if late\n\nlate if input.now > 9\n', []),
        ('package site.admin\n\nemergency["plant"] := ["ana@acme.example"]\n', []),
        (
            "package site.lists\n\nlate if input.now > 9\n",
            ["nothing reads site.lists.late: of a site are read site.access"],
        ),
        (
            'package site.operation\n\ndeny contains "no_grant" if input.now > 9\n',
            ["nothing reads site.operation.deny: of site.operation are read obligations, reasons, second_person"],
        ),
        (
            'package site.operations\n\nreasons contains "no_grant" if input.now > 9\n',
            ["nothing reads site.operations.reasons: of a site are read site.access, site.admin"],
        ),
        (
            'package site.operation\n\nreasons contains "no_grant" if input.operation.write == true\n',
            ["input.operation.write is never there (did you mean input.operation.writes?)"],
        ),
        ("package site.operation\n\nf(x) := f2(x)\n\nf2(x) := x\n", ["nothing reads site.operation.f: "]),
    ],
    ids=["reasons", "emergency", "helper", "deny", "package", "input", "function"],
)
def test_what_a_site_says_and_nothing_reads_is_told(text: str, told: list[str]) -> None:
    found = slips(library_with(text))
    assert len(found) == len(told)
    for problem, beginning in zip(found, told, strict=True):
        assert problem.text.startswith(beginning) and problem.line == 3


def test_the_library_itself_is_read_whole() -> None:
    assert slips(given.library().modules) == ()


def test_a_policy_that_allows_an_empty_question_is_refused() -> None:
    async def scenario() -> None:
        answer = '{"allow": true, "reasons": [], "obligations": [], "rule": "lax"}'
        lax = f"package otbroker.session\ndefault decision := {answer}"
        with pytest.raises(ConfigError) as refused:
            await check_policy({**given.library().modules, "otbroker/session.rego": lax}, {})
        assert "does not deny an empty question" in refused.value.detail

    run(scenario)


def test_data_that_would_replace_rules_is_refused() -> None:
    async def scenario() -> None:
        decision = {"allow": True, "reasons": [], "obligations": [], "rule": "data"}
        with pytest.raises(ConfigError):
            await check_policy(given.library().modules, {"otbroker": {"operation": {"decision": decision}}})

    run(scenario)


def test_a_policy_sees_its_data() -> None:
    async def scenario() -> None:
        text = 'package site.operation\nreasons contains "role_missing" if data.closed[input.device.site]'
        engine = EmbeddedPolicyEngine()
        try:
            await engine.publish(library_with(text), {"closed": {"plant": True}}, "r1")
            assert not await allowed(engine, given.operation_question())
            await engine.publish(library_with(text), {"closed": {"mill": True}}, "r2")
            assert await allowed(engine, given.operation_question())
        finally:
            await engine.close()

    run(scenario)


def test_a_policy_that_loops_is_cut_off_while_others_are_decided() -> None:
    async def scenario() -> None:
        async with engine_with(stubborn.modules()) as engine:
            worst = _Gaps()
            watching = asyncio.create_task(worst.watch())
            before = [submit(engine, OPERATION, given.operation_question()) for _ in range(5)]
            looping = submit(engine, OPERATION, stubborn.looping_question())
            after = [submit(engine, OPERATION, given.operation_question()) for _ in range(5)]
            assert all(isinstance(reply, bytes) for reply in await asyncio.gather(*before, *after))
            assert code(await looping) == "policy_late"
            watching.cancel()
            assert worst.seconds < 0.5, "the event loop stood still"
            assert engine.workers_lost == 1
            await until_allowed(engine)

    run(scenario)


def test_a_policy_that_loops_again_and_again_is_cut_off_every_time() -> None:
    async def scenario() -> None:
        async with engine_with(stubborn.modules()) as engine:
            for _ in range(4):
                assert code(await ask(engine, OPERATION, stubborn.looping_question())) == "policy_late"
                await until_allowed(engine)

    run(scenario)


def test_a_worker_killed_in_flight_denies_its_question_and_is_replaced() -> None:
    async def scenario() -> None:
        async with engine_with(stubborn.modules(), budget_seconds=GENEROUS) as engine:
            killed = engine.worker_pid
            assert killed is not None
            looping = submit(engine, OPERATION, stubborn.looping_question())
            after = submit(engine, OPERATION, given.operation_question())
            await asyncio.sleep(0.02)
            os.kill(killed, signal.SIGKILL)
            assert code(await looping) == "policy_unavailable"
            assert isinstance(await after, bytes)
            await until_allowed(engine)
            assert engine.worker_pid != killed

    run(scenario)


def test_a_worker_that_stands_still_is_late_and_is_replaced() -> None:
    async def scenario() -> None:
        async with engine_with(wait_seconds=0.2) as engine:
            stopped = engine.worker_pid
            assert stopped is not None
            os.kill(stopped, signal.SIGSTOP)
            started = time.monotonic()
            assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_late"
            assert time.monotonic() - started < 2
            await until_allowed(engine)
            assert engine.worker_pid != stopped

    run(scenario)


def test_thousands_of_questions_at_once_are_all_decided_though_it_takes_longer_than_one_evaluation_may() -> None:
    async def scenario() -> None:
        async with engine_with(wait_seconds=1.5, patience_seconds=60, queue=3000) as engine:
            replies = [submit(engine, OPERATION, given.operation_question()) for _ in range(3000)]
            assert {code(reply) for reply in await asyncio.gather(*replies)} == {""}
            assert engine.workers_lost == 0

    run(scenario)


def test_a_question_whose_turn_does_not_come_in_time_is_late() -> None:
    async def scenario() -> None:
        async with engine_with(stubborn.modules(), budget_seconds=GENEROUS, patience_seconds=0.2) as engine:
            held = submit(engine, OPERATION, stubborn.looping_question())
            assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_late"
            assert code(await held) == "policy_late"

    run(scenario)


def test_who_asks_again_in_the_answer_that_was_late_does_not_stop_the_watch_over_the_worker() -> None:
    async def scenario() -> None:
        async with engine_with(wait_seconds=0.2, patience_seconds=0.1) as engine:
            assert engine.worker_pid is not None
            os.kill(engine.worker_pid, signal.SIGSTOP)
            answers: list[bytes | PolicyUnavailableError] = []
            allowed_at_last = asyncio.Event()

            def answered(answer: bytes | PolicyUnavailableError) -> None:
                answers.append(answer)
                if isinstance(answer, bytes):
                    allowed_at_last.set()
                else:
                    engine.decide(OPERATION, encode(given.operation_question()), answered)

            for _ in range(2):
                engine.decide(OPERATION, encode(given.operation_question()), answered)
            await asyncio.wait_for(allowed_at_last.wait(), GENEROUS)
            assert code(answers[0]) == "policy_late"

    run(scenario)


def test_questions_beyond_the_queue_are_refused_at_once() -> None:
    async def scenario() -> None:
        async with engine_with(stubborn.modules(), budget_seconds=GENEROUS, queue=3) as engine:
            held = [submit(engine, OPERATION, stubborn.looping_question()) for _ in range(3)]
            assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_unavailable"
            assert not any(reply.done() for reply in held)

    run(scenario)


def test_a_new_policy_answers_the_questions_that_the_old_one_had_not() -> None:
    async def scenario() -> None:
        async with engine_with(stubborn.modules(), budget_seconds=GENEROUS) as engine:
            looping = submit(engine, OPERATION, stubborn.looping_question())
            await engine.publish(given.library().modules, {}, "r2")
            assert isinstance(await looping, bytes)
            assert engine.revision == "r2"

    run(scenario)


def test_closing_refuses_what_waits_and_leaves_no_process() -> None:
    async def scenario() -> None:
        async with engine_with(stubborn.modules(), budget_seconds=GENEROUS) as engine:
            pid = engine.worker_pid
            looping = submit(engine, OPERATION, stubborn.looping_question())
            await engine.close()
            assert code(await looping) == "policy_unavailable"
            assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_unavailable"
            assert not Path(f"/proc/{pid}").exists()

    run(scenario)


def test_the_worker_holds_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "swordfish")

    async def scenario() -> None:
        async with engine_with() as engine:
            about = Path(f"/proc/{engine.worker_pid}")
            assert b"swordfish" not in about.joinpath("environ").read_bytes()
            assert len(list(about.joinpath("fd").iterdir())) <= 5

    run(scenario)


class _Gaps:
    """The longest time between two turns of the event loop."""

    seconds = 0.0

    async def watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            self.seconds, last = max(self.seconds, now - last), now
