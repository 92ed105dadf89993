"""A vendor asks, people of the plant approve, native tools work as planned, and access ends: `otb` and mbpoll alone."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from broker.cli.building import ANA
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development
from tests.end_to_end.modbus_caller import write_register
from tests.ports import free_port

SECONDS = 60.0
FAN = 20
FAN_ON, FAN_OFF, REFUSED = write_register(FAN, 1), write_register(FAN, 0), b"\x86\x01"
CUT_SECONDS = 1.0
PLANNING = ("ahu-1", "--for", "1h", "--reason", "why", "--plan")
REVIEWING = {
    "vendor-ana": (False, False),
    "duty-di": (False, True),
    "operator-eli": (True, False),
    "secops-bo": (True, False),
}
"""Who looks at a request that ana made and di approved: whether each may review it, and has."""


@pytest.fixture(scope="module")
def plant(start_shared: Start) -> Development:
    return start_shared()


def otb(development: Development, who: str, *words: str, status: int = 0) -> dict[str, Any]:
    place = ("--dev", str(development.folder), "--as", who, "--format", "json")
    command = [sys.executable, "-m", "broker.cli.otb", *place, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def ask(development: Development, *more: str) -> str:
    """A request for the fan of ahu-1, as its id."""
    words = ("request", "create", "ahu-1", "--for", "1h", "--reason", "balance the supply air", *more)
    request = otb(development, "vendor-ana", *words)["request"]
    assert request["state"] == "pending"
    return str(request["id"])


def approve(development: Development, request: str) -> dict[str, Any]:
    answer = otb(development, "secops-bo", "request", "review", request, "--approve", "--comment", "free until noon")
    found: dict[str, Any] = answer["request"]
    return found


@contextmanager
def connected(development: Development) -> Iterator[int]:
    """`otb connect ahu-1` as ana, and the port at which it serves."""
    port = free_port()
    place = ("--dev", str(development.folder), "--as", "vendor-ana", "--format", "json")
    command = [sys.executable, "-m", "broker.cli.otb", *place, "connect", "ahu-1", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert '"open"' in process.stdout.readline()
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=10)


def mbpoll(port: int, value: int) -> str:
    place = ["-m", "tcp", "-p", str(port), "-a", "1", "-t", "4", "-r", str(FAN), "127.0.0.1", str(value)]
    done = subprocess.run(["mbpoll", "-0", "-1", *place], capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed (Debian package mbpoll)")
def test_the_work_of_a_vendor_from_the_request_to_the_report(plant: Development) -> None:
    request = ask(plant, "--plan", "fan-command=1", "--ticket", "WO-4711")
    with connected(plant) as port:
        assert "Illegal function" in mbpoll(port, 1)
        shown = otb(plant, "secops-bo", "request", "show", request)
        assert shown["request"]["plan"] == [
            {"device": "plant/ahu-1", "point": "fan-command", "value": "1", "priority": None, "used": None}
        ]
        assert (shown["review"]["may"], shown["review"]["needed"]) == (True, 1)
        assert approve(plant, request)["state"] == "active"
        assert "Written 1 references" in mbpoll(port, 1)
        assert "Illegal function" in mbpoll(port, 0)
    denied = plant.eventually("decision", allow=False, reasons=["outside_plan"])
    assert [grant["id"] for grant in denied["input"]["grants"] if grant["kind"] == "request"] == [request]

    closed = otb(plant, "vendor-ana", "request", "close", request, "--report", "the fan runs")["request"]
    assert (closed["state"], closed["report"], closed["report_due"]) == ("closed", "the fan runs", False)
    with plant.modbus() as caller:
        assert caller.ask(FAN_ON) == REFUSED
    shown = otb(plant, "secops-bo", "request", "show", request)
    assert [(write["values"], write["result"]) for write in shown["done"]] == [({"fan-command": "1"}, "done")]
    assert plant.eventually("evidence_viewed", subject="bo@plant.example", what=f"request_done {request}")
    changes = plant.records("request_changed", request=request)
    assert [record["to"] for record in changes][-1] == "closed"
    (reviewed,) = plant.records("request_reviewed", request=request)
    assert reviewed["reviewer"]["id"] == "bo@plant.example"


def test_a_plan_for_bacnet_says_at_which_priority_and_another_one_is_drift(plant: Development) -> None:
    words = ("request", "create", "plant/vav-1", "--for", "1h", "--reason", "try the zone")
    plan = ("--plan", "zone-setpoint=21@12", "--plan", "zone-setpoint=22")
    request = otb(plant, "duty-di", *words, *plan)["request"]
    assert [(write["value"], write["priority"]) for write in request["plan"]] == [("21", 12), ("22", 16)]
    (created,) = plant.records("request_changed", request=request["id"], to="pending")
    assert [write["priority"] for write in created["terms"]["plan"]] == [12, 16]
    approve(plant, request["id"])
    di = plant.api("duty-di")
    for value, priority in ((21, 11), (21, None), (22, 12)):
        drift = di.write("plant/vav-1", {"zone-setpoint": {"value": value, "priority": priority}})
        assert (drift.status, drift.reasons) == (403, ["outside_plan"])
    for value, priority in ((21, 12), (22, None)):
        assert di.write("plant/vav-1", {"zone-setpoint": {"value": value, "priority": priority}}).status == 200
    done = otb(plant, "secops-bo", "request", "show", request["id"])["done"]
    assert [(write["values"]["zone-setpoint"], write["priority"]) for write in done if write["result"] == "done"] == [
        ("21", 12),
        ("22", 16),
    ]
    refused = otb(plant, "operator-eli", *words, "--plan", "zone-setpoint=21@9", status=1)
    told = "priority of zone-setpoint of plant/vav-1 must be from 10 to 16"
    assert (refused["code"], refused["errors"][0]["problem"]) == ("value_outside_limits", told)


def test_all_who_look_are_told_which_group_has_not_approved_yet(plant: Development) -> None:
    words = ("request", "create", "chiller-1", "--for", "1h", "--reason", "colder water")
    asked = otb(plant, "vendor-ana", *words, "--action", "view", "--action", "adjust")
    request = str(asked["request"]["id"])
    assert (asked["review"]["still_needed"], asked["review"]["missing"]) == (2, ["operator", "security"])
    approved = plant.api("duty-di").call("POST", f"/v1/requests/{request}/review", {"verdict": "approve"}).body
    assert (approved["request"]["state"], approved["review"]["missing"]) == ("pending", ["security"])
    seen = {who: plant.api(who).call("GET", f"/v1/requests/{request}").body["review"] for who in REVIEWING}
    assert {who: (look["may"], look["reviewed"]) for who, look in seen.items()} == REVIEWING
    assert all((look["still_needed"], look["missing"]) == (1, ["security"]) for look in seen.values())
    last = plant.api("secops-bo").call("POST", f"/v1/requests/{request}/review", {"verdict": "approve"}).body
    assert (last["request"]["state"], last["review"]) == ("active", None)
    otb(plant, "vendor-ana", "request", "close", request, "--report", "colder")


def test_nobody_approves_what_he_asked_for_and_auditors_approve_nothing(plant: Development) -> None:
    request = ask(plant, "--action", "view")
    for who in ("vendor-ana", "auditor-cy"):
        otb(plant, who, "request", "review", request, "--approve", status=3)
    assert otb(plant, "vendor-ana", "request", "withdraw", request)["request"]["state"] == "withdrawn"
    assert plant.records("request_reviewed", request=request) == []
    (withdrawn,) = plant.records("request_changed", request=request, act="withdraw")
    assert (withdrawn["by"], withdrawn["from"], withdrawn["to"]) == (ANA, "pending", "withdrawn")


def test_a_draft_is_nobodys_business_until_it_is_handed_in(plant: Development) -> None:
    words = ("request", "create", "ahu-1", "--for", "1h", "--reason", "balance the supply air", "--action", "view")
    draft = otb(plant, "vendor-ana", *words, "--draft")["request"]
    assert draft["state"] == "draft"
    request = str(draft["id"])
    otb(plant, "secops-bo", "request", "review", request, "--approve", status=1)
    assert otb(plant, "vendor-ana", "request", "submit", request)["request"]["state"] == "pending"
    (submitted,) = plant.records("request_changed", request=request, act="submit")
    assert (submitted["by"], submitted["from"], submitted["to"]) == (ANA, "draft", "pending")
    otb(plant, "vendor-ana", "request", "withdraw", request)


def test_what_was_revoked_is_cut_at_once_and_asks_for_a_report(plant: Development) -> None:
    request = ask(plant, "--action", "view", "--action", "control", "--point", "fan-command")
    approve(plant, request)
    longer = ("request", "extend", request, "--for", "1h", "--reason", "the valve is stuck")
    extension = otb(plant, "vendor-ana", *longer)["request"]
    with plant.modbus() as caller:
        assert caller.ask(FAN_ON) == FAN_ON
        session = plant.eventually("session_opened", peer=f"127.0.0.1:{caller.local_port}")["session"]
        began = time.monotonic()
        body = {"why": "wrong valve"}
        revoked = plant.api("secops-bo").call("POST", f"/v1/requests/{request}/revoke", body)
        assert revoked.body["request"]["state"] == "revoked"
        caller.closed_within(CUT_SECONDS)
        assert time.monotonic() - began < CUT_SECONDS
    assert plant.eventually("session_closed", session=session)["reason"] == "grant_ended"
    with plant.modbus() as again:
        assert again.ask(FAN_ON) == REFUSED
    prolonging = otb(plant, "vendor-ana", "request", "show", extension["id"])["request"]
    assert prolonging["state"] == "revoked", "nobody approves by mistake what prolongs it"
    words = ("request", "create", "ahu-1", "--for", "1h", "--reason", "once more")
    assert otb(plant, "vendor-ana", *words, status=1)["code"] == "report_due"
    otb(plant, "vendor-ana", "request", "close", request, "--report", "nothing was done")
    asked = otb(plant, "vendor-ana", *words)["request"]
    assert (asked["subject"], asked["state"]) == (ANA, "pending")


def test_an_extension_leaves_the_connection_as_it_is(plant: Development) -> None:
    request = ask(plant, "--action", "view", "--action", "control")
    approve(plant, request)
    with plant.modbus() as caller:
        assert caller.ask(FAN_ON) == FAN_ON
        words = ("request", "extend", request, "--for", "1h", "--reason", "the valve is stuck")
        extension = otb(plant, "vendor-ana", *words)["request"]
        assert (extension["extends"], extension["state"]) == (request, "pending")
        (asked,) = plant.records("request_changed", request=extension["id"], version=1)
        assert (asked["terms"]["extends"], asked["to"]) == (request, "pending")
        assert approve(plant, extension["id"])["in_force"]
        assert caller.ask(FAN_OFF) == FAN_OFF
    for each in (extension["id"], request):
        otb(plant, "vendor-ana", "request", "close", each, "--report", "done")


@pytest.mark.parametrize(
    ("words", "code", "argument", "told"),
    [
        (("ahu-1", "--for", "1h", "--reason", "ba\u202elance"), "body_invalid", "--reason", "must"),
        (("ahu-1", "--for", "1h", "--reason", "b\u0430lance it"), "body_invalid", "--reason", "must"),
        (("ahu-1", "--for", "1h", "--reason", "x"), "body_invalid", "--reason", "at least 3 characters: people"),
        ((*PLANNING, "fan-commnd=1"), "point_unknown", "--plan fan-commnd=1", "plant/ahu-1 has no point fan-commnd"),
        (
            (*PLANNING, "supply-temp-setpoint=99"),
            "value_outside_limits",
            "--plan supply-temp-setpoint=99",
            "value of supply-temp-setpoint of plant/ahu-1 must be at most 22.0 °C",
        ),
        (("ahu-1", "--until", "2020-01-01T00:00:00Z", "--reason", "why"), "request_time", "--until", "later than now"),
        (
            ("meter-1", "--for", "1m", "--reason", "why", "--action", "view", "--action", "adjust"),
            "request_time",
            "--for",
            "the next, saturday, opens ",
        ),
        (
            ("chiller-1", "--for", "1h", "--reason", "why", "--action", "adjust"),
            "request_terms",
            "--action",
            "must include view as well",
        ),
        (
            ("ahu-1", "--window", "sunday", "--reason", "why"),
            "request_time",
            "--window sunday",
            "sunday does not open for plant/ahu-1: its windows are maintenance (open until ",
        ),
        (
            ("meter-1", "--window", "maintenance", "--reason", "why"),
            "request_time",
            "--window maintenance",
            "its windows are saturday (",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_what_is_wrong(
    plant: Development, words: tuple[str, ...], code: str, argument: str, told: str
) -> None:
    refused = otb(plant, "vendor-ana", "request", "create", *words, status=1)
    assert refused["code"] == code
    (fault,) = refused["errors"]
    assert (fault["argument"], told in fault["problem"]) == (argument, True), fault
