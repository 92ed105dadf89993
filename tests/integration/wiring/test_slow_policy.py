"""An OPA server that takes its time to take a policy holds up nothing but the policy."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.adapters import opa, opa_connection
from broker.adapters.development_ca import VENDOR, create_authority, publish_crl
from broker.adapters.private_files import write_private
from broker.wiring.broker import Broker
from tests.integration.policy.fault_proxy import FaultProxy, fault_proxy
from tests.integration.policy.opa_server import running_opa
from tests.integration.wiring.reviewing import INVENTORY, built

LONG_SECONDS = 600.0
LOSS = INVENTORY.partition("grants:")[0]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker never gives a change up by itself: what happens meanwhile happens while it is being brought."""
    monkeypatch.setattr(opa_connection, "EXCHANGE_SECONDS", LONG_SECONDS)
    monkeypatch.setattr(opa, "PUBLISH_SECONDS", LONG_SECONDS)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def bringing(folder: Path) -> AsyncIterator[tuple[Broker, FaultProxy]]:
    """A broker that looks at its files, and is just bringing a changed policy to its server."""
    with running_opa() as server:
        async with fault_proxy(server.url) as proxy:
            file = folder / "dev" / "broker.yaml"
            settings = json.loads(file.read_text())
            settings["policy"] |= {"engine": "opa", "opa": {"url": proxy.url}}
            settings["reload"]["poll_seconds"] = 0.1
            write_private(file, json.dumps(settings).encode())
            broker = built(folder)
            try:
                await broker.start()
                await until(lambda: broker.readiness()["policy"][0])
                proxy.fault = "held"
                await change(folder, proxy, "x := 1")
                yield broker, proxy
            finally:
                async with asyncio.timeout(60):
                    await broker.stop()


async def change(folder: Path, proxy: FaultProxy, rule: str) -> None:
    """Change the policy, until the broker is bringing it."""
    (folder / "dev" / "policies" / "site.rego").write_text(f"package site.later\n\n{rule}\n")
    async with asyncio.timeout(60):
        await proxy.holding.wait()


def test_inventory_and_revocations_come_into_force_while_a_policy_is_still_brought(reviewed: Path) -> None:
    async def scenario() -> None:
        async with bringing(reviewed) as (broker, proxy):
            policy, inventory = broker.policies.revision, broker.desk.in_force.inventory
            (reviewed / "inventory" / "all.yaml").write_text(LOSS)
            await until(lambda: broker.desk.in_force.inventory is not inventory)
            inventory = broker.desk.in_force.inventory
            assert not inventory.grants

            publish_crl(create_authority(reviewed / "dev" / "ca" / VENDOR, VENDOR, time.time()), (4711,), time.time())
            await until(lambda: broker.desk.in_force.inventory is not inventory)
            assert not broker.readiness()["policy"][0], "and nothing is decided meanwhile"
            assert broker.policies.revision == policy

            proxy.released.set()
            await until(lambda: broker.readiness()["policy"][0])
            assert broker.policies.revision != policy

            proxy.holding.clear()
            proxy.released.clear()
            await change(reviewed, proxy, "x := 2")  # and the broker stops all the same

    asyncio.run(scenario())
