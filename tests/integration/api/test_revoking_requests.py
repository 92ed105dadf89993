"""Revoking a request ends what prolongs it, and is told as done also if that could not be."""

from dataclasses import replace

import pytest

from broker.errors import RequestRefusedError, StateUnavailableError
from broker.model.access_request import AccessRequest, RequestState, Standing
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.unit.api.requests_double import TERMS, ViewDouble

PATH = "/v1/requests/req-1/revoke"
AWAY = [
    StateUnavailableError("state_unavailable", "The state cannot be reached."),
    RequestRefusedError("request_changed"),
]


def put(stage, identifier, **changes):
    terms = replace(TERMS, id=identifier, extends=TERMS.id, **changes)
    stage.gate.requests.found[identifier] = ViewDouble(AccessRequest(terms, Standing(RequestState.PENDING)))


def test_what_was_asked_for_since_to_prolong_it_is_revoked_and_nothing_else(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            put(stage, "req-2", created_at=TERMS.created_at + 60)
            put(stage, "req-3", created_at=TERMS.created_at - 60)
            put(stage, "req-4", created_at=TERMS.created_at + 60, chain="req-4")
            await told(await client.post(PATH, json={"why": "wrong valve"}))
            acts = [(act[0], act[1]) for act in stage.gate.requests.acts]
            assert acts == [("revoke", "req-1"), ("end_all", "req-2")]

    run(story())


@pytest.mark.parametrize("away", AWAY, ids=lambda error: error.code)
def test_what_is_over_is_told_so_though_what_prolongs_it_could_not_be_ended(pki, run, away):
    async def story():
        async with serving(pki) as stage, stage.client() as client:

            async def end_all(wanted, by, why):
                raise away

            stage.gate.requests.end_all = end_all
            answer = await told(await client.post(PATH, json={"why": "wrong valve"}))
            assert answer["request"]["id"] == "req-1"

    run(story())
