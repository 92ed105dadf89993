"""A budget stated for a gateway is in force from the start and changes with the inventory."""

import asyncio
from pathlib import Path

from tests.integration.wiring.reviewing import INVENTORY, built


def test_a_gateways_budget_is_in_force_at_the_start_and_follows_the_files(reviewed: Path) -> None:
    def write(connections: int) -> None:
        stated = f"endpoints: [{{at: '127.0.0.1:9', budget: {{connections: {connections}}}}}]\n"
        (reviewed / "inventory" / "all.yaml").write_text(INVENTORY + stated)

    async def scenario() -> None:
        write(3)
        broker = built(reviewed)
        await broker.start()
        try:
            lane = broker.upstreams.upstream("plant/ahu-1")
            assert (lane.budget.connections, lane.endpoint.limit.connections) == (1, 3)
            write(2)
            await broker.reload.look()
            assert broker.upstreams.upstream("plant/ahu-1") is lane
            assert lane.endpoint.limit.connections == 2
            (reviewed / "inventory" / "all.yaml").write_text(INVENTORY)
            await broker.reload.look()
            assert lane.endpoint.limit.connections == 1
        finally:
            await broker.stop()

    asyncio.run(scenario())
