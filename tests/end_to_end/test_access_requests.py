"""A vendor asks, the owner approves, access ends: through the API, native tools and tunnels of a running broker."""

import concurrent.futures
import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Answer, Development, until
from tests.end_to_end.modbus_caller import write_register
from tests.end_to_end.tunnel_caller import TunnelCaller

FAN_ON, FAN_FASTER, REFUSED = write_register(20, 1), write_register(20, 2), b"\x86\x01"
CUT_SECONDS = 1.0
ASKED = {"devices": ["plant/ahu-1"], "plan": [{"point": "fan-command", "value": 1}], "reason": "exchange the fan"}


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def post(development: Development, who: str, path: str, body: object) -> Answer:
    return development.api(who).call("POST", path, body)


def ask(development: Development, seconds: float = 3600, **changes: object) -> dict[str, Any]:
    answer = post(development, "vendor-ana", "/v1/requests", {**ASKED, "until": later(seconds), **changes})
    assert answer.status == 200, answer
    asked: dict[str, Any] = answer.body["request"]
    return asked


def act(development: Development, who: str, request: str, what: str, **body: object) -> dict[str, Any]:
    answer = post(development, who, f"/v1/requests/{request}/{what}", body)
    assert answer.status == 200, answer
    done: dict[str, Any] = answer.body["request"]
    return done


def approved(development: Development, seconds: float = 3600, **changes: object) -> str:
    request = str(ask(development, seconds, **changes)["id"])
    assert act(development, "secops-bo", request, "review", verdict="approve")["in_force"]
    return request


def finish(development: Development, request: str) -> None:
    assert act(development, "vendor-ana", request, "close", report="the fan was exchanged")["state"] == "closed"


def write(development: Development, value: int = 1) -> Answer:
    return post(development, "vendor-ana", "/v1/devices/plant/ahu-1/write", {"points": {"fan-command": value}})


@pytest.fixture(scope="module")
def plant(start_shared: Start) -> Iterator[Development]:
    yield start_shared()


def test_nothing_is_given_before_it_is_approved_and_nothing_beyond_what_was_planned(plant: Development) -> None:
    assert write(plant).reasons == ["action_not_granted"]
    asked = ask(plant)
    assert (asked["state"], asked["in_force"], asked["actions"]) == ("pending", False, ["view", "control"])
    assert write(plant).reasons == ["action_not_granted"]
    assert post(plant, "vendor-ana", f"/v1/requests/{asked['id']}/review", {"verdict": "approve"}).status == 403
    shown = plant.api("secops-bo").get(f"/v1/requests/{asked['id']}").body
    assert shown["review"] == {
        "may": True,
        "reviewed": False,
        "groups": ["security"],
        "needed": 1,
        "still_needed": 1,
        "missing": ["operator", "security"],
        "reasons": [],
    }
    done = act(plant, "secops-bo", asked["id"], "review", verdict="approve", comment="at the panel until noon")
    assert (done["state"], done["in_force"]) == ("active", True)
    with plant.modbus() as tool:
        assert tool.ask(FAN_ON) == FAN_ON
        assert tool.ask(FAN_FASTER) == REFUSED
    assert write(plant, 2).reasons == ["outside_plan"]
    decided = plant.eventually("decision", allow=True, entry_point="operation.decision")
    assert decided["answer"]["rule"] == f"grant/{asked['id']}"
    finish(plant, asked["id"])
    assert write(plant).reasons == ["action_not_granted"]


def test_a_revocation_cuts_what_relies_on_it_with_the_true_reason_and_wants_a_report(plant: Development) -> None:
    request = approved(plant)
    with TunnelCaller(plant, "vendor-ana", "plant/ahu-1") as tunnel, plant.modbus() as tool:
        assert tunnel.ask(FAN_ON) == tool.ask(FAN_ON) == FAN_ON
        began = time.monotonic()
        act(plant, "secops-bo", request, "revoke", why="the wrong fan")
        assert tunnel.tells("ending")["reason"] == "grant_ended"
        tool.closed_within(CUT_SECONDS)
        assert time.monotonic() - began < CUT_SECONDS + 1.0
    refused = post(plant, "vendor-ana", "/v1/requests", {**ASKED, "until": later(60)})
    assert (refused.status, refused.body["code"]) == (409, "report_due")
    finish(plant, request)


def test_access_ends_when_it_ends(plant: Development) -> None:
    request = approved(plant, seconds=9)
    assert write(plant).headers["Otbroker-Access-Ends"]
    with TunnelCaller(plant, "vendor-ana", "plant/ahu-1") as tunnel:
        assert tunnel.ask(FAN_ON) == FAN_ON
        assert tunnel.tells("warning", seconds=8.0)["reason"] == "grant_ended"
        told = tunnel.tells("ending", seconds=12.0)
        assert (told["reason"], told["type"]) == ("grant_ended", "ending")
    until(lambda: plant.api().get(f"/v1/requests/{request}").body["request"]["state"] == "expired")
    finish(plant, request)


def test_a_grant_for_single_use_writes_once(plant: Development) -> None:
    request = approved(plant, single_use=True)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: write(plant), range(6)))
    assert sorted(answer.status for answer in answers) == [200, 403, 403, 403, 403, 403]
    assert {reason for answer in answers for reason in answer.reasons} == {"grant_used"}
    shown = plant.api().get(f"/v1/requests/{request}").body["request"]
    assert (shown["used"], shown["plan"][0]["used"]) == (1, True)
    finish(plant, request)


def test_what_is_approved_in_time_goes_on_without_a_cut(plant: Development) -> None:
    first = approved(plant, seconds=4)
    with TunnelCaller(plant, "vendor-ana", "plant/ahu-1") as tunnel:
        assert tunnel.ask(FAN_ON) == FAN_ON
        longer = post(
            plant, "vendor-ana", f"/v1/requests/{first}/extend", {"until": later(600), "reason": "not yet done"}
        )
        assert longer.status == 200, longer
        second = longer.body["request"]["id"]
        act(plant, "secops-bo", second, "review", verdict="approve")
        until(lambda: plant.api().get(f"/v1/requests/{first}").body["request"]["state"] == "expired", 10.0)
        assert tunnel.ask(FAN_ON) == FAN_ON
    finish(plant, second)


def test_a_grant_that_is_forged_in_the_database_gives_nothing(plant: Development) -> None:
    request = approved(plant)
    forged = "req-forged"
    with sqlite3.connect(plant.folder / "broker.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(requests)")]
        row = dict(
            zip(columns, database.execute("SELECT * FROM requests WHERE id = ?", (request,)).fetchone(), strict=True)
        )
        wider = {**json.loads(row["terms"]), "id": forged, "chain": forged, "points": [], "plan": []}
        row |= {"id": forged, "terms": json.dumps(wider, sort_keys=True, separators=(",", ":"), ensure_ascii=False)}
        marks = ",".join("?" * len(columns))
        database.execute(f"INSERT INTO requests VALUES ({marks})", [row[name] for name in columns])
        copy = "INSERT INTO request_reviews SELECT ?, reviewer, note FROM request_reviews WHERE request = ?"
        database.execute(copy, (forged, request))
    database.close()
    plant.eventually("request_distrusted", request=forged, code="review_of_other_terms", seconds=10.0)
    plant.eventually("request_distrusted", request=forged, code="no_approval")
    assert write(plant, 2).reasons == ["outside_plan"]
    assert plant.records("grant_given", grant=forged) == []
    with sqlite3.connect(plant.folder / "broker.db") as database:
        database.execute("DELETE FROM requests WHERE id = ?", (forged,))
    database.close()
    finish(plant, request)


def test_what_an_approver_reads_is_what_it_looks_like(plant: Development) -> None:
    for reason in ("one\ntwo", "x\u202egnp", "p\u0430ypal fan"):
        answer = post(plant, "vendor-ana", "/v1/requests", {**ASKED, "reason": reason, "until": later(60)})
        assert (answer.status, answer.body["code"]) == (422, "body_invalid")
        assert answer.body["errors"][0]["at"] == "reason"


def test_a_broker_killed_among_approvals_leaves_requests_in_legal_states(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "killed"
    first = Development(folder).wait()
    try:
        requests = [ask(first)["id"] for _ in range(6)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            calls = [
                pool.submit(post, first, "secops-bo", f"/v1/requests/{request}/review", {"verdict": "approve"})
                for request in requests * 2
            ]
            concurrent.futures.wait(calls, return_when=concurrent.futures.FIRST_COMPLETED)
            first.kill()
    finally:
        first.kill()
    (folder / "dev.json").unlink()
    again = start(name=str(folder))
    shown = {r["id"]: r for r in again.api("secops-bo").get("/v1/requests").body["requests"]}
    for request in requests:
        found = shown[request]
        assert found["state"] in ("pending", "approved", "active"), found
        assert len(found["reviews"]) == (0 if found["state"] == "pending" else 1)
        assert found["in_force"] is (found["state"] == "active")
    until(lambda: all(r["state"] != "approved" for r in again.api("secops-bo").get("/v1/requests").body["requests"]))
    assert again.records("request_distrusted") == []
