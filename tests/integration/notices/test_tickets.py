"""Access is asked for under a good ticket, and what was asked for is over when its ticket is."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.access.requests import LIVING
from broker.adapters.development_ca import OWNER
from broker.adapters.private_files import write_private
from broker.errors import RequestRefusedError
from broker.model.access_request import AccessRequest, RequestState, Terms, Verdict
from broker.model.subject import Proof, ProofKind, Subject, SubjectKind
from broker.model.vocabulary import Action
from broker.wiring.broker import Broker
from tests.integration.notices.receiver import secret_file, until
from tests.integration.notices.test_ticket_check import TicketSystem, ticket_system
from tests.integration.wiring.conftest import reviewed  # noqa: F401 - a fixture
from tests.integration.wiring.reviewing import built, recorded

TICKET = "CHG-4711"


def under(terms: Terms) -> bool:
    return terms.ticket == TICKET


def somebody(name: str, organisation: str, *roles: str) -> Subject:
    proof = Proof(ProofKind.CERTIFICATE, "ca", name, f"fp-{name}", time.time(), time.time() + 3600)
    return Subject(name, SubjectKind.PERSON, organisation, roles, proofs=(proof,))


BO, SYSTEM = somebody("bo@plant.example", OWNER, "security"), somebody("tickets.plant.example", OWNER, "ticket-system")


def terms(broker: Broker, ticket: str = TICKET, *, starts_in: float = -60.0) -> Terms:
    identifier, now = broker.requests.new_id(), int(time.time())
    return Terms(
        identifier,
        "eve@plant.example",
        OWNER,
        ("plant/ahu-1",),
        (),
        (Action.VIEW,),
        "filters are changed",
        now + int(starts_in),
        now + 3600,
        now,
        ticket=ticket,
        chain=identifier,
    )


@asynccontextmanager
async def running(folder: Path, tickets: dict[str, Any] | None) -> AsyncIterator[Broker]:
    path = folder / "dev" / "broker.yaml"
    settings: dict[str, Any] = json.loads(path.read_text())
    write_private(path, json.dumps(settings | ({} if tickets is None else {"tickets": tickets})).encode())
    broker = built(folder)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def asking(system: TicketSystem, folder: Path) -> dict[str, Any]:
    check = {"url": system.url, "secret_file": str(secret_file(folder)), "timeout_seconds": 2}
    return {"required_pattern": "CHG-[0-9]+", "check": check}


async def refused(act: Any) -> tuple[str, str]:
    with pytest.raises(RequestRefusedError) as caught:
        await act
    return caught.value.code, caught.value.public


async def state_of(broker: Broker, request: AccessRequest) -> RequestState:
    view = await broker.requests.request(request.id)
    assert view is not None
    return view.request.standing.state


def test_without_a_good_ticket_nothing_is_handed_in(reviewed: Path) -> None:  # noqa: F811
    async def scene() -> None:
        async with ticket_system() as system, running(reviewed, asking(system, reviewed)) as broker:
            create = broker.requests.create
            assert (await refused(create(terms(broker, ""), submit=True)))[0] == "ticket_missing"
            for odd in ("INC-1", "CHG-", "chg-1", "CHG-1 ", "CHG-1\n"):
                assert (await refused(create(terms(broker, odd), submit=True)))[0] == "ticket_malformed"
            assert not system.asked
            system.answer = b'{"valid": false, "reason": "not approved yet"}'
            assert await refused(create(terms(broker), submit=True)) == ("ticket_refused", "not approved yet")
            system.answer = b'{"valid": "yes"}'
            assert (await refused(create(terms(broker), submit=True)))[0] == "ticket_unchecked"
            assert await broker.requests.requests() == ((), False)
            draft = await create(terms(broker, ""), submit=False)
            assert (await refused(broker.requests.submit(draft.request, BO)))[0] == "ticket_missing"
            system.answer = b'{"valid": true}'
            view = await create(terms(broker), submit=True)
            assert view.request.standing.state is RequestState.PENDING
            assert system.asked[-1]["data"]["devices"] == ["plant/ahu-1"]

    asyncio.run(scene())


def test_without_settings_no_ticket_is_needed(reviewed: Path) -> None:  # noqa: F811
    async def scene() -> None:
        async with running(reviewed, None) as broker:
            view = await broker.requests.create(terms(broker, ""), submit=True)
            assert view.request.standing.state is RequestState.PENDING

    asyncio.run(scene())


def test_when_a_ticket_is_over_so_is_everything_under_it_and_nothing_else(reviewed: Path) -> None:  # noqa: F811
    async def scene() -> None:
        async with running(reviewed, {}) as broker:
            book = broker.requests
            draft = await book.create(terms(broker), submit=False)
            pending = await book.create(terms(broker), submit=True)
            active, scheduled = [
                await book.review((await book.create(asked, submit=True)).request, BO, Verdict.APPROVE, "fine")
                for asked in (terms(broker), terms(broker, starts_in=1800.0))
            ]
            other = await book.create(terms(broker, "CHG-4712"), submit=True)
            await until(lambda: broker.desk.given.grant(active.request.id) is not None)
            mine = [view.request for view in (draft, pending, active, scheduled)]
            ended = await book.end_all(under, SYSTEM, "ticket CHG-4711 was cancelled")
            assert {view.request.id for view in ended} == {request.id for request in mine}
            assert {await state_of(broker, request) for request in mine} == {RequestState.REVOKED}
            assert await state_of(broker, other.request) in LIVING
            assert broker.desk.given.grant(active.request.id) is None
            assert await book.end_all(under, SYSTEM, "again") == ()
            told = [r for r in await recorded(broker, "request_changed") if r["to"] == "revoked"]
            assert {(r["by"], r["why"]) for r in told} == {(SYSTEM.id, "ticket CHG-4711 was cancelled")}
            assert len(told) == 4

    asyncio.run(scene())


def test_a_request_that_was_approved_in_that_moment_is_over_all_the_same(reviewed: Path) -> None:  # noqa: F811
    async def scene() -> None:
        async with running(reviewed, {}) as broker:
            book = broker.requests
            before = (await book.create(terms(broker), submit=True)).request
            await book.review(before, BO, Verdict.APPROVE, "fine")
            found = broker.requests._parts.rows.living

            async def as_it_was(*given: object) -> tuple[AccessRequest, ...]:
                await found(*given)
                return (before,)

            broker.requests._parts.rows.living = as_it_was
            ended = await book.end_all(under, SYSTEM, "ticket CHG-4711 was closed")
            broker.requests._parts.rows.living = found
            assert [view.request.id for view in ended] == [before.id]
            assert await state_of(broker, before) is RequestState.REVOKED

    asyncio.run(scene())


def test_one_request_that_cannot_be_revoked_keeps_no_other_under_its_ticket(reviewed: Path) -> None:  # noqa: F811
    async def scene() -> None:
        async with running(reviewed, {}) as broker:
            book = broker.requests
            busy, *others = [(await book.create(terms(broker), submit=True)).request for _ in range(3)]
            rows = broker.requests._parts.rows
            change = rows.change

            async def somebody_is_faster(identifier: str, *given: Any) -> bool:
                return False if identifier == busy.id else await change(identifier, *given)

            rows.change = somebody_is_faster  # type: ignore[method-assign]
            found = rows.living

            async def busy_first(*given: Any) -> tuple[AccessRequest, ...]:
                return tuple(sorted(await found(*given), key=lambda request: request.id != busy.id))

            rows.living = busy_first  # type: ignore[method-assign]
            assert (await refused(book.end_all(under, SYSTEM, "closed")))[0] == "request_changed"
            assert {await state_of(broker, request) for request in others} == {RequestState.REVOKED}
            rows.change = change  # type: ignore[method-assign]
            assert [view.request.id for view in await book.end_all(under, SYSTEM, "closed")] == [busy.id]

    asyncio.run(scene())
