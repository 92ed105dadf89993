"""What follows the state looks at every announcement, outlives its faults, and stops when it is told to."""

import asyncio
from types import SimpleNamespace

from broker.wiring.state_follower import StateFollower


def test_a_stop_that_comes_together_with_an_announcement_is_heeded() -> None:
    async def story() -> None:
        database, looks = SimpleNamespace(changed=[]), []

        async def look() -> None:
            looks.append(1)

        follower = StateFollower(database, 3600.0, look, "not looked")
        follower.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        database.changed[0]()
        done, _ = await asyncio.wait({asyncio.create_task(follower.stop())}, timeout=5)
        assert done, "it goes on"

    asyncio.run(story())


def test_it_looks_when_it_is_told_and_again_after_a_look_that_failed() -> None:
    async def story() -> None:
        database, looked = SimpleNamespace(changed=[]), asyncio.Queue[int]()

        async def look() -> None:
            looked.put_nowait(1)
            raise RuntimeError("a fault of ours")

        follower = StateFollower(database, 3600.0, look, "not looked")
        follower.start()
        for _ in range(2):
            database.changed[0]()
            await asyncio.wait_for(looked.get(), 5)
        await follower.stop()

    asyncio.run(story())
