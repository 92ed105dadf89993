"""However many requests somebody makes and takes back, others find theirs, and there is a pace to it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from broker.access.request_pace import BURST, SECONDS_EACH
from broker.access.requests import LIVING, OVER
from broker.adapters.state_database import StatePlace, sqlite_place
from broker.adapters.state_requests import MOST_LISTED, _row
from broker.adapters.state_tables import REQUESTS
from broker.errors import RequestRefusedError
from broker.model.access_request import RequestChoice, RequestState, Standing
from tests.integration.state.request_stage import ANA, NOW, Broker, person, terms

FLOODER = "mo@acme.example"
MUCH_LATER = int(NOW) + 300 * 86_400


async def flooded(broker: Broker) -> None:
    """One request of Ana's that waits for approval, and more than a list has of what somebody else took back."""
    await broker.book.create(terms(starts=int(NOW) + 60), submit=True)
    taken_back = Standing(RequestState.WITHDRAWN, 2)
    async with broker.database.connection() as connection:
        for number in range(MOST_LISTED + 20):
            name = f"req-{number:04}"
            flood = terms(name, subject=FLOODER, organisation="flood", starts=MUCH_LATER, ends=MUCH_LATER + 60)
            await connection.execute(REQUESTS.insert().values(**_row(flood, taken_back)))
        await broker.database.commit(connection)


async def listed(broker: Broker, **choice: Any) -> tuple[list[str], bool]:
    views, more = await broker.book.requests(RequestChoice(**choice))
    return [view.request.id for view in views], more


def test_what_others_make_and_take_back_displaces_nothing(place: StatePlace, tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(place, tmp_path) as one:
            await flooded(one)
            everything, more = await listed(one)
            assert (everything[0], len(everything), more) == ("req-a", MOST_LISTED, True)
            only = (["req-a"], False)
            assert await listed(one, states=frozenset({RequestState.PENDING})) == only
            assert await listed(one, states=LIVING) == only
            assert await listed(one, subject=ANA) == only
            assert await listed(one, subject=ANA, states=OVER) == ([], False)
            assert await listed(one, among=lambda asked: asked.organisation == "acme") == only
            last = f"req-{MOST_LISTED + 19:04}"
            assert await listed(one, among=lambda asked: asked.id in ("req-a", last)) == (["req-a", last], False)
            found, more = await listed(one, among=lambda asked: asked.organisation == "flood")
            assert (len(found), more) == (MOST_LISTED, True)

    asyncio.run(story())


def test_who_asks_and_takes_back_without_end_must_wait_and_others_need_not(tmp_path: Path) -> None:
    async def story() -> None:
        async with Broker(sqlite_place(tmp_path / "broker.db"), tmp_path) as one:
            for number in range(BURST):
                made = await one.book.create(terms(f"req-{number}", chain=f"req-{number}"), submit=False)
                await one.book.withdraw(made.request, person(ANA, organisation="acme"), "")
            told = len(one.machine.records)
            with pytest.raises(RequestRefusedError, match="requests_too_often") as refused:
                await one.book.create(terms(), submit=True)
            assert refused.value.wait_seconds == SECONDS_EACH
            assert len(one.machine.records) == told, "nothing is recorded of it"
            await one.book.create(terms("req-cy", subject="cy@acme.example", chain="req-cy"), submit=True)
            one.machine.ticks += SECONDS_EACH
            draft = await one.book.create(terms(), submit=False)
            with pytest.raises(RequestRefusedError, match="requests_too_often"):
                await one.book.submit(draft.request, person(ANA, organisation="acme"))

    asyncio.run(story())
