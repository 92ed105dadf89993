"""The policies that the documentation shows can be published, and the one about priorities says what it claims."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from broker.adapters.rego_embedded import EmbeddedPolicyEngine
from broker.model.operation import BacnetProperty, Operation, Touch
from broker.model.place import BacnetAddress, Grant, Point
from broker.model.schedule import Scope
from broker.model.vocabulary import Action
from tests.integration.docs.console import fenced
from tests.integration.policy.asking import allowed, run
from tests.unit.authz import given

SHOWN = fenced((given.ROOT / "docs" / "policy.md").read_text(), "rego")
EXAMPLES = [each for each in SHOWN if "_test\n" not in each]
TESTS = [each for each in SHOWN if each not in EXAMPLES]
ZONE = Point("zone-setpoint", BacnetAddress("analog-value", 1, "present-value", None, 9, 16), Action.ADJUST)
CONFIG = (Grant("config", Scope(), (Action.CONFIG,)),)
PLAIN = Point("zone-setpoint", BacnetAddress("analog-value", 1), Action.ADJUST)


def zone_write(priority: int | None, point: Point = ZONE) -> Operation:
    return replace(given.ZONE_WRITE, touches=(Touch(point, True, "21"),), priority=priority)


def engine() -> EmbeddedPolicyEngine:
    return EmbeddedPolicyEngine(budget_seconds=10, wait_seconds=10, patience_seconds=10)


def test_every_example_can_be_published() -> None:
    async def scenario() -> None:
        policy = engine()
        try:
            for number, example in enumerate(EXAMPLES):
                await policy.publish({**given.library().modules, "site/example.rego": example}, {}, f"r{number}")
        finally:
            await policy.close()

    assert EXAMPLES
    run(scenario)


def test_the_test_that_is_shown_holds_of_the_example_that_it_is_for(tmp_path: Path) -> None:
    opa = shutil.which("opa") or str(given.ROOT / ".tools" / "bin" / "opa")
    if not Path(opa).exists():
        pytest.skip("needs OPA")
    shutil.copytree(given.ROOT / "policies", tmp_path / "policies")
    (test,) = TESTS
    (example,) = (each for each in EXAMPLES if "through a native listener" in each)
    (tmp_path / "policies" / "site").mkdir()
    (tmp_path / "policies" / "site" / "operation.rego").write_text(example)
    (tmp_path / "policies" / "site" / "operation_test.rego").write_text(test)
    done = subprocess.run([opa, "test", "-v", "policies", "--run", "data.site"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
    assert b"PASS: 2/2" in done.stdout


def test_contractors_write_up_to_a_priority_and_what_has_none_as_before() -> None:
    (example,) = (each for each in EXAMPLES if "priority 10" in each)
    at = BacnetProperty("analog-value", 1, "priority-array", 9)
    slot = Operation("bacnet", Action.CONFIG, "write-property", at, (Touch(ZONE, False),), ("21",), described=False)

    async def scenario() -> None:
        policy = engine()
        try:
            await policy.publish(given.library().modules, {}, "without")
            assert await allowed(policy, given.operation_question(zone_write(9)))
            assert await allowed(policy, given.operation_question(slot, grants=CONFIG))
            await policy.publish({**given.library().modules, "site/operation.rego": example}, {}, "with")
            for operation in (zone_write(10), zone_write(16), zone_write(None, PLAIN), given.ADJUST, given.VIEW):
                assert await allowed(policy, given.operation_question(operation))
            assert not await allowed(policy, given.operation_question(zone_write(9)))
            assert not await allowed(policy, given.operation_question(slot, grants=CONFIG))
        finally:
            await policy.close()

    run(scenario)
