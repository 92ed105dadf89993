"""The table of routes, and what is generated from it."""

import json
import re
from pathlib import Path

import pytest

from broker.api.models import ProblemDocument, ReadCall, WriteCall
from broker.api.openapi import openapi_document, openapi_octets, problem_codes
from broker.api.problems import KINDS
from broker.api.reference import api_reference
from broker.api.route import DecidedBy, Effect
from broker.api.routes import ROUTES
from broker.listeners.figures import figures_reference

PROVING = {"enrol", "complete_enrolment", "renew", "complete_renewal", "renew_service"}
"""Who calls these is proven by nothing but what the call contains: a new one is a decision, not an addition."""
DOCS = Path(__file__).parents[3] / "docs" / "reference"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_no_route_is_without_permission(route):
    assert re.fullmatch(r"[a-z_]+(\.[a-z_-]+)+", route.permission)
    assert isinstance(route.decided_by, DecidedBy)
    if route.decided_by is DecidedBy.ADMIN:
        assert route.resource
    else:
        live = {"sessions", "session", "watch_session", "pause_session", "resume_session", "end_session", "locks"}
        live |= {"watch_sessions", "records", "activate_policy", "propose", "approve_proposal", "refuse_proposal"}
        waiting = {"leaves", "acknowledge_leave", "approvals", "approval", "approve", "refuse", "step_up"}
        live |= {"invite", "invitations", "revoke_invitation", "people", "revoke_person"} | PROVING
        live |= {route.name for route in ROUTES if route.path.startswith("/v1/requests")}
        waiting |= {"emergencies", "break_glass", "close_emergency", "review_emergency"}
        tunnels = {"tunnel", "bacnet", "bacnet_device"}
        assert route.name in {"points", "read", "write", "decision", "lock", "lift"} | tunnels | live | waiting


def test_nothing_but_enrolment_and_renewal_is_open_to_strangers():
    assert {route.name for route in ROUTES if route.decided_by is DecidedBy.PROOF} == PROVING
    assert {route.name for route in ROUTES if route.requirement is not None} == {"renew_service"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_says_what_it_leaves_in_the_ledger(route):
    assert isinstance(route.effect, Effect)
    assert bool(route.recorded_as) is (route.effect is Effect.CHANGES)
    if route.effect is Effect.CHANGES:
        assert route.method != "GET"
    if route.method != "GET" and route.name not in {"enrol", "renew"}:
        assert route.effect in (Effect.CHANGES, Effect.OPERATES)


def test_names_and_places_are_unique():
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_problem_of_a_route_is_in_the_table(route):
    assert set(problem_codes(route)) <= set(KINDS)


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("/v1/devices/plant/ahu-1/points", True),
        ("/v1/devices/plant/ahu-1/points/", False),
        ("/v1/devices/plant/AHU-1/points", False),
        ("/v1/devices/plant/ahu%2D1/points", False),
        ("/v1/devices/plant/../points", False),
        ("/v1/devices/plant/ahu-/points", False),
        ("/v1/devices/plant/ahu-1/points\n", False),
        ("//v1/devices/plant/ahu-1/points", False),
        ("/v1/devices/plant/" + "a" * 64 + "/points", False),
    ],
)
def test_a_path_is_matched_octet_for_octet(path, fits):
    route = next(route for route in ROUTES if route.name == "points")
    assert bool(route.pattern.fullmatch(path)) is fits


def test_openapi_describes_exactly_the_table():
    document = openapi_document()
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["x-permission"]
            assert operation["responses"]
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_every_reference_in_openapi_leads_somewhere():
    text = openapi_octets().decode()
    schemas = json.loads(text)["components"]["schemas"]
    references = set(re.findall(r'"\$ref": "([^"]+)"', text))
    assert references
    assert all(r.removeprefix("#/components/schemas/") in schemas for r in references)
    assert ProblemDocument.__name__ in schemas


def test_models_refuse_fields_that_are_not_described():
    for model, good in ((ReadCall, {"points": ["a"]}), (WriteCall, {"points": {"a": 1}})):
        model.model_validate(good)
        with pytest.raises(ValueError, match="Extra inputs"):
            model.model_validate(good | {"force": True})
        with pytest.raises(ValueError, match="either points or raw"):
            model.model_validate({})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("openapi.json", openapi_octets().decode()),
        ("api.md", api_reference()),
        ("metrics.md", figures_reference()),
    ],
)
def test_the_generated_documents_are_up_to_date(name, text):
    assert (DOCS / name).read_text() == text
