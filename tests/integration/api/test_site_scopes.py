"""Whoever has a role at one site sees and does what is of that site: lists are filtered, not refused."""

import json
from dataclasses import replace

import pytest

from broker.engine.sessions import Session
from broker.model.access_request import AccessRequest, RequestState, Standing
from broker.model.lock import Lock, LockKind
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.unit.api.gate_double import AHU, ANA, BO
from tests.unit.api.requests_double import TERMS, ViewDouble

MILL = replace(AHU, site="mill")
LOCKS = tuple(
    Lock(f"lck-{number}", kind, target, "a test", "bo@plant.example", 1_795_000_000.0, "here")
    for number, (kind, target) in enumerate(
        [(LockKind.SITE, "plant"), (LockKind.DEVICE, "mill/ahu-1"), (LockKind.SUBJECT, "x@acme.example")]
    )
)


def open_sessions(stage, *sessions):
    for number, (subject, device) in enumerate(sessions):
        session = Session(f"ses-{number}", subject, device, "modbus_tls", "peer", 1_795_000_000.0)
        stage.gate.open_sessions[number] = session


def test_sessions_at_the_own_site_are_shown_and_no_others(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as bo:
            open_sessions(stage, (ANA, AHU), (ANA, MILL), (BO, MILL))
            stage.gate.at_sites = {"sessions.read": {"plant"}}
            answer = await told(await bo.get("/v1/sessions"))
            assert answer["scope"] == "sites"
            assert [entry["id"] for entry in answer["sessions"]] == ["ses-0", "ses-2"]
            await told(await bo.get("/v1/sessions/ses-0"))
            await told(await bo.get("/v1/sessions/ses-1"), 403)

    run(story())


def test_locks_on_the_own_site_are_shown_and_no_others(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as bo:
            stage.gate.locks.held = list(LOCKS)
            assert len((await told(await bo.get("/v1/locks")))["locks"]) == 3
            stage.gate.at_sites = {"lock.read": {"plant"}}
            assert [lock["id"] for lock in (await told(await bo.get("/v1/locks")))["locks"]] == ["lck-0"]
            stage.gate.locks.held = list(LOCKS[1:])
            assert (await told(await bo.get("/v1/locks")))["locks"] == []
            stage.gate.at_sites = {"lock.read": {"elsewhere"}}
            await told(await bo.get("/v1/locks"), 403)

    run(story())


def test_requests_at_the_own_site_are_shown_in_the_states_asked_for_and_that_there_are_more(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as bo:
            requests = stage.gate.requests
            elsewhere = replace(TERMS, id="req-2", devices=("mill/ahu-1",))
            requests.found["req-2"] = ViewDouble(AccessRequest(elsewhere, Standing(RequestState.PENDING)))

            async def ids(query=""):
                return [entry["id"] for entry in (await told(await bo.get(f"/v1/requests{query}")))["requests"]]

            assert await ids() == ["req-1", "req-2"]
            assert await ids("?state=closed") == []
            stage.gate.at_sites = {"requests.read": {"plant"}}
            requests.more = True
            answer = await told(await bo.get("/v1/requests?state=pending&state=active"))
            assert [entry["id"] for entry in answer["requests"]] == ["req-1"]
            assert (answer["scope"], answer["more"]) == ("sites", True)

    run(story())


def test_all_sessions_of_a_site_can_be_watched_by_whom_that_site_concerns(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as bo:
            stage.gate.at_sites = {"sessions.watch": {"plant"}}
            await told(await bo.get("/v1/sessions/events"), 403)
            await told(await bo.get("/v1/sessions/events?site=mill"), 403)
            async with bo.get("/v1/sessions/events?site=plant") as response:
                assert response.status == 200
                assert await response.content.readline() == b"event: watching\n"
                told_of = json.loads((await response.content.readline()).removeprefix(b"data: "))
                assert told_of.items() >= {"kind": "sessions", "site": "plant"}.items()
                (watcher,) = stage.gate.supervision.watchers._watchers
                here, there = (Session("ses-0", ANA, device, "https", "peer", 0.0) for device in (AHU, MILL))
                assert (watcher.watches(here), watcher.watches(there)) == (True, False)
            assert stage.gate.views == [(BO.id, "watch sessions at plant")]

    run(story())


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 403),
        ("?device=plant/ahu-1", 200),
        ("?device=ahu-1", 200),
        ("?device=mill/ahu-1", 403),
        ("?device=ahu-9", 403),
    ],
)
def test_the_ledger_is_searched_for_devices_of_the_own_site(pki, run, query, status):
    async def story():
        async with serving(pki) as stage, stage.client("bo", "token-bo") as bo:
            stage.gate.at_sites = {"ledger.read": {"plant"}}
            await told(await bo.get(f"/v1/ledger/records{query}"), status)
            assert len(stage.gate.views) == (status == 200)

    run(story())
