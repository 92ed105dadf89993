"""What a call leaves in the ledger: a view of evidence and an act without a record of its own never go unrecorded."""

from dataclasses import replace

import pytest

from broker.api import application
from broker.api.problems import Problem
from broker.api.route import DecidedBy, Effect, Route
from broker.api.routes import ROUTES
from broker.errors import LedgerUnavailableError
from broker.model.vocabulary import RecordKind
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import NAMES, told

SHOWN = [route for route in ROUTES if route.effect is Effect.EVIDENCE and not route.streams]


async def act(call):
    await call.require("plant.tend", {"kind": "plant", "id": "fern"})
    if call.gate.wilted:
        raise Problem("lock_unknown")
    return {"tended": True}


TENDING = Route(
    name="tend",
    method="POST",
    path="/v1/plants/fern/tend",
    permission="plant.tend",
    decided_by=DecidedBy.ADMIN_ON_RESOURCE,
    effect=Effect.CHANGES,
    recorded_as=(RecordKind.ADMINISTERED,),
    summary="A change without a record of its own",
    handler=act,
)


@pytest.mark.parametrize("route", SHOWN, ids=lambda route: route.name)
def test_whoever_sees_evidence_has_been_recorded(route, pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            await told(await client.get(route.path.format(**NAMES)))
            ((who, what),) = stage.gate.views
            assert who == "ana@acme.example"
            assert what.startswith(route.name)

    run(story())


def test_a_route_that_forgets_to_record_a_view_shows_nothing(pki, run, monkeypatch):
    async def silent(call):
        return {"secret": "evidence"}

    careless = [replace(route, handler=silent) if route.name == "checkpoint" else route for route in ROUTES]
    monkeypatch.setattr(application, "ROUTES", careless)

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            problem = await told(await client.get("/v1/ledger/checkpoint"), 500)
            assert "secret" not in problem

    run(story())


def test_an_act_without_a_record_of_its_own_is_recorded_before_and_after(pki, run, monkeypatch):
    monkeypatch.setattr(application, "ROUTES", (*ROUTES, TENDING))
    about = ("ana@acme.example", "plant.tend", {"kind": "plant", "id": "fern"})

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.wilted = False
            await told(await client.post(TENDING.path))
            assert stage.gate.acts == [(*about, "begun"), (*about, "done")]
            stage.gate.wilted = True
            await told(await client.post(TENDING.path), 404)
            assert stage.gate.acts[2:] == [(*about, "begun"), (*about, "lock_unknown")]
            stage.gate.unpermitted = {"plant.tend"}
            await told(await client.post(TENDING.path), 403)
            assert len(stage.gate.acts) == 4

    run(story())


def test_without_a_record_there_is_no_act(pki, run, monkeypatch):
    done = []

    async def tend(call):
        await call.require("plant.tend", {"kind": "plant", "id": "fern"})
        done.append(call)

    monkeypatch.setattr(application, "ROUTES", (*ROUTES, replace(TENDING, handler=tend)))

    def closed(*_):
        raise LedgerUnavailableError("ledger_closed", "The ledger is closed.", "")

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.record_act = closed
            assert (await told(await client.post(TENDING.path), 503))["code"] == "ledger_closed"
            assert done == []

    run(story())
