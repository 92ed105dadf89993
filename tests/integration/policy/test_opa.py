"""An OPA server that is dead, slow, odd or not ours denies in time, and heals without a restart of the broker."""

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.adapters.opa import OpaPolicyEngine
from broker.adapters.opa_connection import OpaServer
from broker.errors import ConfigError
from broker.model.decision import EntryPoint
from tests.integration.policy import stubborn
from tests.integration.policy.asking import allowed, ask, code, run, submit, until_allowed
from tests.integration.policy.authority import Authority
from tests.integration.policy.fault_proxy import fault_proxy
from tests.integration.policy.opa_server import RunningOpa, running_opa
from tests.ports import free_port
from tests.unit.authz import given

OPERATION = EntryPoint.OPERATION
ALLOW_ALL = """package otbroker.operation
default decision := {"allow": true, "reasons": [], "obligations": [], "rule": "planted"}
"""


@pytest.fixture(scope="module")
def opa() -> Iterator[RunningOpa]:
    """One for all that neither end it nor start it otherwise: each engine brings what the last one left different."""
    with running_opa() as running:
        yield running


@asynccontextmanager
async def engine_on(
    server: OpaServer,
    *,
    deadline_seconds: float = 5.0,
    patience_seconds: float = 30.0,
    audit_seconds: float = 60.0,
    failures: int = 3,
) -> AsyncIterator[OpaPolicyEngine]:
    engine = OpaPolicyEngine(
        server,
        deadline_seconds=deadline_seconds,
        patience_seconds=patience_seconds,
        failures=failures,
        pause_seconds=0.05,
        longest_pause_seconds=0.2,
        audit_seconds=audit_seconds,
    )
    try:
        await engine.publish(given.library().modules, {}, "r1")
        yield engine
    finally:
        await engine.close()


def put(url: str, identifier: str, text: str | None) -> None:
    """Change a module of the server behind the broker's back."""
    request = urllib.request.Request(
        f"{url}/v1/policies/{identifier}",
        None if text is None else text.encode(),
        method="DELETE" if text is None else "PUT",
    )
    with urllib.request.urlopen(request, timeout=5):
        pass


def test_it_allows_and_denies_and_sees_its_data() -> None:
    async def scenario() -> None:
        with running_opa() as opa:
            async with engine_on(OpaServer(opa.url)) as engine:
                assert await allowed(engine, given.operation_question())
                assert not await allowed(engine, given.operation_question(grants=()))
                assert await ask(engine, EntryPoint.SESSION, given.session_question())
                assert await ask(engine, EntryPoint.ADMIN, given.admin_question("me.read"))
                text = 'package site.operation\nreasons contains "role_missing" if data.closed[input.device.site]'
                modules = {**given.library().modules, "site/operation.rego": text}
                await engine.publish(modules, {"closed": {"plant": True}}, "r2")
                assert not await allowed(engine, given.operation_question())
                await engine.publish(modules, {}, "r3")
                assert await allowed(engine, given.operation_question())

    run(scenario)


def test_a_server_started_on_the_library_is_taken_over() -> None:
    async def scenario() -> None:
        with running_opa(str(given.ROOT / "policies")) as opa:
            async with engine_on(OpaServer(opa.url)) as engine:
                assert await allowed(engine, given.operation_question())

    run(scenario)


def test_modules_that_only_fit_together_are_exchanged_as_a_whole(opa: RunningOpa) -> None:
    """Neither new module fits the other's old one: each calls what the other only now brings or no longer has."""

    def pair(one: str, other: str, calls: str) -> dict[str, str]:
        first = f"package site.one\n{one}(x) := x\nr := data.site.two.{calls}(1)"
        return {"site/one.rego": first, "site/two.rego": f"package site.two\n{other}(x) := x"}

    async def scenario() -> None:
        async with engine_on(OpaServer(opa.url)) as engine:
            for revision, modules in enumerate([pair("a", "b", "b"), pair("c", "d", "d")]):
                await engine.publish({**given.library().modules, **modules}, {}, f"new {revision}")
                assert await allowed(engine, given.operation_question())

    run(scenario)


def test_a_policy_that_the_server_refuses_leaves_the_old_one_in_force(opa: RunningOpa) -> None:
    async def scenario() -> None:
        async with engine_on(OpaServer(opa.url)) as engine:
            text = "package site.operation\nr := count(true)"
            with pytest.raises(ConfigError) as refused:
                await engine.publish({**given.library().modules, "site/operation.rego": text}, {}, "r2")
            assert "count" in refused.value.detail
            assert engine.revision == "r1"
            assert await allowed(engine, given.operation_question())

    run(scenario)


def test_a_policy_off_the_allow_list_is_refused_before_the_server_sees_it(opa: RunningOpa) -> None:
    async def scenario() -> None:
        async with engine_on(OpaServer(opa.url)) as engine:
            text = 'package site.operation\nreasons contains "no_grant" if time.now_ns() > 0'
            with pytest.raises(ConfigError) as refused:
                await engine.publish({**given.library().modules, "site/operation.rego": text}, {}, "r2")
            assert "site/operation.rego:2" in refused.value.detail
            assert await allowed(engine, given.operation_question())

    run(scenario)


def test_a_server_that_is_not_there_at_start_denies_until_it_is() -> None:
    async def scenario() -> None:
        port = free_port()
        async with engine_on(OpaServer(f"http://127.0.0.1:{port}")) as engine:
            assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_unavailable"
            with running_opa(port=port):
                await until_allowed(engine)

    run(scenario)


def test_a_server_that_dies_denies_at_once_and_is_published_to_again() -> None:
    async def scenario() -> None:
        port = free_port()
        with running_opa(port=port) as opa:
            async with engine_on(OpaServer(opa.url)) as engine:
                assert await allowed(engine, given.operation_question())
                opa.process.kill()
                opa.process.wait()
                started = time.monotonic()
                for _ in range(5):
                    assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_unavailable"
                assert time.monotonic() - started < 2
                assert not engine.well
                with running_opa(port=port):
                    await until_allowed(engine)

    run(scenario)


@pytest.mark.parametrize("fault", ["huge", "words", "redirect", "error", "list", "bare", "other", "cut", ""])
def test_an_odd_reply_is_no_answer_and_opens_the_breaker(opa: RunningOpa, fault: str) -> None:
    async def scenario() -> None:
        async with fault_proxy(opa.url) as proxy, engine_on(OpaServer(proxy.url)) as engine:
            assert await allowed(engine, given.operation_question())
            proxy.fault = fault or "empty"
            for _ in range(4):
                assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_unavailable"
            assert not engine.well
            proxy.fault = ""
            await until_allowed(engine)

    run(scenario)


@pytest.mark.parametrize("fault", ["slow", "endless"])
def test_a_slow_server_is_late_in_time_and_opens_the_breaker(opa: RunningOpa, fault: str) -> None:
    async def scenario() -> None:
        async with (
            fault_proxy(opa.url) as proxy,
            engine_on(OpaServer(proxy.url), deadline_seconds=0.25) as engine,
        ):
            await until_allowed(engine)
            proxy.fault = fault
            started = time.monotonic()
            replies = [submit(engine, OPERATION, given.operation_question()) for _ in range(3)]
            assert {code(reply) for reply in await asyncio.gather(*replies)} == {"policy_late"}
            assert time.monotonic() - started < 1.5
            asked = proxy.asked
            assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_unavailable"
            assert proxy.asked <= asked + 1, "an open breaker lets at most its own probe through"
            proxy.fault = ""
            await until_allowed(engine)

    run(scenario)


def test_a_thousand_questions_at_once_are_all_decided_though_it_takes_longer_than_one_answer_may(
    opa: RunningOpa,
) -> None:
    async def scenario() -> None:
        async with engine_on(OpaServer(opa.url, connections=1), deadline_seconds=2.0) as engine:
            replies = [submit(engine, OPERATION, given.operation_question()) for _ in range(1000)]
            assert {code(reply) for reply in await asyncio.gather(*replies)} == {""}
            assert engine.well

    run(scenario)


def test_a_question_whose_turn_does_not_come_in_time_is_late_and_no_failure_of_the_server(opa: RunningOpa) -> None:
    async def scenario() -> None:
        server = OpaServer(opa.url, connections=1)
        async with engine_on(server, deadline_seconds=5.0, patience_seconds=0.1, failures=1) as engine:
            await engine.publish(stubborn.modules(), {}, "r2")
            looping = submit(engine, OPERATION, stubborn.looping_question())
            assert code(await ask(engine, OPERATION, given.operation_question())) == "policy_late"
            assert engine.well
            assert code(await looping) == "policy_late"
            assert not engine.well

    run(scenario)


def test_a_policy_that_loops_is_late_while_others_are_decided(opa: RunningOpa) -> None:
    async def scenario() -> None:
        async with engine_on(OpaServer(opa.url), deadline_seconds=4.0, failures=10) as engine:
            await engine.publish(stubborn.modules(), {}, "r2")
            looping = submit(engine, OPERATION, stubborn.looping_question())
            others = [submit(engine, OPERATION, given.operation_question()) for _ in range(5)]
            assert all(isinstance(reply, bytes) for reply in await asyncio.gather(*others))
            assert code(await looping) == "policy_late"

    run(scenario)


def test_a_revision_that_was_not_published_is_no_answer_and_is_replaced(opa: RunningOpa) -> None:
    async def scenario() -> None:
        async with engine_on(OpaServer(opa.url)) as engine:
            put(opa.url, "otb/published", None)
            put(opa.url, "otb/otbroker/operation.rego", ALLOW_ALL)
            assert code(await ask(engine, OPERATION, given.operation_question(grants=()))) == "policy_unavailable"
            await until_allowed(engine)
            assert not await allowed(engine, given.operation_question(grants=()))

    run(scenario)


@pytest.mark.parametrize("identifier", ["otb/otbroker/operation.rego", "planted.rego"])
def test_a_module_planted_beside_the_revision_is_found_and_removed(opa: RunningOpa, identifier: str) -> None:
    async def scenario() -> None:
        async with engine_on(OpaServer(opa.url), audit_seconds=0.1) as engine:
            text = ALLOW_ALL if "otb/" in identifier else "package site.operation\nreasons contains 1"
            put(opa.url, identifier, text)
            denied = given.operation_question(grants=())
            while await allowed(engine, denied) or not await allowed(engine, given.operation_question()):
                await asyncio.sleep(0.02)

    run(scenario)


def test_tls_with_a_private_authority_and_client_certificates(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours, foreign = Authority(tmp_path / "ours"), Authority(tmp_path / "foreign")
        certificate, key = ours.issue("opa")
        options = [f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--tls-ca-cert-file={ours.file}"]
        client, client_key = ours.issue("broker")
        stranger, stranger_key = foreign.issue("broker")
        with running_opa(*options, "--authentication=tls", scheme="https") as opa:
            good = OpaServer(opa.url, str(ours.file), str(client), str(client_key))
            for server, works in [
                (good, True),
                (OpaServer(opa.url, str(foreign.file), str(client), str(client_key)), False),
                (OpaServer(opa.url, str(ours.file)), False),
                (OpaServer(opa.url, str(ours.file), str(stranger), str(stranger_key)), False),
                (
                    OpaServer(opa.url.replace("127.0.0.1", "127.0.0.2"), good.ca_file, str(client), str(client_key)),
                    False,
                ),
            ]:
                async with engine_on(server) as engine:
                    assert await allowed(engine, given.operation_question()) is works

    run(scenario)


def test_the_token_comes_from_a_file_and_may_change(tmp_path: Path) -> None:
    rule = tmp_path / "authz.rego"
    rule.write_text('package system.authz\n\ndefault allow := false\n\nallow if input.identity == "sesame"\n')
    token = tmp_path / "token"
    token.write_text("mumble\n")

    async def scenario() -> None:
        with running_opa("--authentication=token", "--authorization=basic", str(rule)) as opa:
            async with engine_on(OpaServer(opa.url, token_file=str(token))) as engine:
                assert not await allowed(engine, given.operation_question())
                token.write_text("sesame\n")
                await until_allowed(engine)

    run(scenario)


@pytest.mark.parametrize(
    "server",
    [
        OpaServer("http://opa.example:8181"),
        OpaServer("https://opa.example:8181"),
        OpaServer("ftp://127.0.0.1"),
        OpaServer("http://127.0.0.1:8181/path"),
        OpaServer("https://127.0.0.1", ca_file="/nonexistent"),
        OpaServer("http://127.0.0.1", token_file="/nonexistent"),
    ],
)
def test_settings_that_would_be_unsafe_are_refused(server: OpaServer) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigError):
            OpaPolicyEngine(server)

    run(scenario)
