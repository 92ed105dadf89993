"""The calendar file of the API: whose it is, what is in it, and what may be asked."""

import time
from dataclasses import replace

import pytest
from icalendar import Calendar

from broker.model.access_request import AccessRequest, RequestState, Standing
from broker.model.place import Grant
from broker.model.schedule import Occurrence, Scope, Window
from broker.model.vocabulary import Action
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.unit.api.gate_double import INVENTORY
from tests.unit.api.requests_double import TERMS, ViewDouble

PATH = "/v1/calendar.ics"


def grant(identifier, **more):
    return Grant(identifier, Scope(devices=("plant/ahu-1",)), (Action.VIEW,), subjects=("ana@acme.example",), **more)


async def entries(client, query=""):
    response = await client.get(PATH + query)
    assert response.status == 200, await response.text()
    assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    read = Calendar.from_ical(await response.read())
    return {str(event["SUMMARY"]): event for event in read.walk("VEVENT")}


def test_it_has_the_ends_of_grants_and_windows_of_the_devices_that_grants_lead_to_later(pki, run, monkeypatch):
    now = int(time.time())
    in_two_days = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now + 2 * 86_400))
    windows = (
        Window("night", Scope(devices=("plant/ahu-1",)), Occurrence(in_two_days, "UTC", 3600)),
        Window("elsewhere", Scope(devices=("plant/vav-1",)), Occurrence(in_two_days, "UTC", 3600)),
    )

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.inventory = replace(INVENTORY, windows=windows)
            assert await entries(client) == {}
            stage.gate.grants = (grant("later", not_before=now + 3600.0, not_after=now + 7200.0),)
            found = await entries(client)
            assert set(found) == {"Window night", "Grant later"}
            assert found["Window night"].decoded("DTEND").timestamp() == now + 2 * 86_400 + 3600
            assert set(await entries(client, "?days=1")) == {"Grant later"}

    run(story())


@pytest.mark.parametrize("query", ["?days=0", "?days=367", "?days=x", "?from=now"])
def test_what_it_does_not_take_is_refused(pki, run, query):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            assert (await told(await client.get(PATH + query), 400))["code"] == "query_invalid"

    run(story())


def test_what_was_approved_and_is_still_to_begin_is_in_it_and_what_is_not_approved_is_not(pki, run):
    now = int(time.time())

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            asked = replace(TERMS, id="req-9", starts=now + 3600, ends=now + 7200, ticket="CHG-1")
            for state, told_of in (("pending", set()), ("scheduled", {"Grant req-9"}), ("revoked", set())):
                standing = Standing(RequestState(state))
                stage.gate.requests.found["req-9"] = ViewDouble(AccessRequest(asked, standing))
                assert {name for name in await entries(client) if name.startswith("Grant")} == told_of

    run(story())
