"""A ticket system tells that a ticket is over; whoever may not is refused, and the telling is recorded."""

from dataclasses import replace

import pytest

from broker.errors import LedgerUnavailableError, RequestRefusedError, StateUnavailableError
from broker.model.vocabulary import Reason
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.unit.api.requests_double import TERMS

PATH = "/v1/tickets/CHG-4711/events"


def under_ticket(stage):
    view = stage.gate.requests.found[TERMS.id]
    view.request = replace(view.request, terms=replace(TERMS, ticket="CHG-4711"))


def test_what_was_asked_for_under_the_ticket_is_ended_and_the_act_recorded(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            under_ticket(stage)
            answer = await told(await client.post(PATH, json={"state": "cancelled", "message": "wrong building"}))
            assert answer == {"ticket": "CHG-4711", "state": "cancelled", "ended": ["req-1"], "shared": True}
            why = "ticket CHG-4711 was cancelled: wrong building"
            assert stage.gate.requests.acts == [("end_all", "req-1", "ana@acme.example", why)]
            assert [(act[1], act[-1]) for act in stage.gate.acts] == [
                ("ticket.update", "begun"),
                ("ticket.update", "done"),
            ]
            other = await told(await client.post("/v1/tickets/CHG-1/events", json={"state": "closed"}))
            assert other["ended"] == []

    run(story())


def test_whoever_may_not_tell_ends_nothing(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            under_ticket(stage)
            stage.gate.unpermitted.add("ticket.update")
            problem = await told(await client.post(PATH, json={"state": "closed"}), 403)
            assert problem["reasons"][0]["code"] == Reason.ROLE_MISSING.value
            assert not stage.gate.requests.acts

    run(story())


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (RequestRefusedError("request_changed"), 409, "request_changed"),
        (StateUnavailableError("state_unavailable", "away"), 503, "state_unavailable"),
        (LedgerUnavailableError("ledger_closed", "closed"), 503, "ledger_closed"),
        (RuntimeError("a fault"), 500, "internal_error"),
    ],
)
def test_an_act_that_fails_has_its_end_in_the_ledger_whatever_the_cause(pki, run, failure, status, code):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            under_ticket(stage)
            stage.gate.requests.refusal = failure
            assert (await told(await client.post(PATH, json={"state": "closed"}), status))["code"] == code
            assert [outcome for *_, outcome in stage.gate.acts] == ["begun", code]

    run(story())


@pytest.mark.parametrize(
    "body", [{}, {"state": "open"}, {"state": "closed", "message": "a\nb"}, {"state": "closed", "message": "x" * 201}]
)
def test_an_event_that_is_none_is_refused(pki, run, body):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            assert (await told(await client.post(PATH, json=body), 422))["code"] == "body_invalid"

    run(story())


def test_a_ticket_of_another_form_has_no_path(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            for ticket in ("-1", "a%20b", "x" * 65):
                response = await client.post(f"/v1/tickets/{ticket}/events", json={"state": "closed"})
                assert (await told(response, 404))["code"] == "route_unknown"

    run(story())
