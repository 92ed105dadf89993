"""Break-glass: people with envelopes get in when issuer, policy server and database are down, and never unseen."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Answer, Development, in_background, until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import read_registers, write_register
from tests.end_to_end.test_live_control import run
from tests.end_to_end.test_locks import CUT_SECONDS, lift, post, set_lock
from tests.end_to_end.tunnel_caller import TunnelCaller
from tests.integration.policy.opa_server import opa_or_skip, running_opa
from tests.ports import free_port
from tests.postgresql import running

OPENER, REVIEWERS = "duty-di", ("secops-bo", "operator-eli")
READ, SETPOINT, TOO_HIGH, UNDESCRIBED = (
    read_registers(10),
    write_register(10, 195),
    write_register(10, 230),
    write_register(77, 1),
)
STALE_SECONDS = 15.0


def seal(development: Development, folder: Path, parts: int = 5, needed: int = 2) -> list[Path]:
    words = ["--config", str(development.folder / "broker.yaml"), "--parts", str(parts), "--needed", str(needed)]
    command = [sys.executable, "-m", "broker.cli.otbroker", "break-glass", "seal", *words, "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return sorted(folder.iterdir())


def break_glass(
    development: Development, *parts: Path, who: str = OPENER, minutes: int = 30
) -> subprocess.CompletedProcess[str]:
    given = [word for part in parts for word in ("--part-file", str(part))]
    words = ("--site", "plant", "--why", "fire alarm", "--minutes", str(minutes), "--format", "json", *given)
    return run(development, "break-glass", "open", *words, who=who)


def opened(development: Development, *parts: Path, who: str = OPENER, minutes: int = 30) -> dict[str, Any]:
    done = break_glass(development, *parts, who=who, minutes=minutes)
    assert done.returncode == 0, done.stdout + done.stderr
    emergency: dict[str, Any] = json.loads(done.stdout)["emergency"]
    return emergency


def alone(development: Development, method: str, path: str, body: object = None, who: str = OPENER) -> Answer:
    """A call by the certificate alone."""
    return development.api(who).call(method, path, body, token=None)


def read_alone(development: Development, who: str = OPENER) -> Answer:
    return alone(development, "POST", "/v1/devices/plant/ahu-1/read", {"points": ["supply-temp"]}, who)


def metric(development: Development, name: str) -> float:
    lines = development.ops("/metrics")[1].splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"otbroker_{name} "))


def part_of_readiness(development: Development, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(development.ops("/readyz")[1])["parts"][name]
    return found


def plant_inventory(folder: Path) -> tuple[str, ...]:
    write_inventory(folder, [modbus_device("ahu-1", ScriptedDevice().port, 1)])
    settings = folder.with_name("break-glass.yaml")
    settings.write_text("break_glass: {sites: [plant]}\n")
    return "--inventory", str(folder), "--settings", str(settings)


def test_with_nothing_else_there_two_envelopes_open_the_plant_and_two_people_review_it(
    start: Start, tmp_path: Path
) -> None:
    opa_or_skip()
    postgresqls = running()
    postgresql = next(postgresqls)
    port = free_port()
    with running_opa(port=port) as opa:
        there = ("--opa", f"http://127.0.0.1:{port}", "--state", postgresql.make_database("emergency"))
        options = (*plant_inventory(tmp_path / "inventory"), *there)
        before = start(*options, name="plant")
        envelopes = seal(before, tmp_path / "envelopes")
        before.eventually("break_glass_sealed")
        before.stop()
        postgresql.stop()
        plant = start(*options, name="plant")
        sealed = plant.eventually("break_glass_sealed")
        assert (sealed["parts"], sealed["needed"]) == (5, 2)
        assert read_alone(plant).status == 401
        opa.process.kill()
        opa.process.wait()
    assert "logouts have not been read" in part_of_readiness(plant, "sessions")["detail"]
    with plant.modbus() as vendor, plant.modbus(OPENER) as refused:
        assert refused.ask(READ) == b"\x83\x01"
        assert vendor.ask(READ) == b"\x83\x01"
        emergency = opened(plant, *envelopes[:2])
    assert "BREAK-GLASS was opened at site plant by di@plant.example" in plant.logged()
    assert metric(plant, "break_glass_open") == 1
    assert emergency["id"] in part_of_readiness(plant, "break_glass")["detail"]

    with plant.modbus(OPENER) as caller, TunnelCaller(plant, OPENER, "plant/ahu-1", token=None) as tunnel:
        assert caller.ask(READ)[0] == tunnel.ask(READ)[0] == 3
        assert caller.ask(SETPOINT) == SETPOINT
        assert caller.ask(TOO_HIGH) == caller.ask(UNDESCRIBED) == b"\x86\x01"
        assert read_alone(plant).status == 200
        until(lambda: "state_stale" in plant.api().read("plant/ahu-1", "supply-temp").reasons, STALE_SECONDS)
        assert caller.ask(READ)[0] == 3, "an emergency outlives what it is for"
        assert run(plant, "--without-token", "read", "plant/ahu-1", "supply-temp", who=OPENER).returncode == 0
        assert "supply-temp" in run(plant, "--without-token", "points", "plant/ahu-1", who=OPENER).stdout

        postgresql.start()
        with running_opa(port=port):
            until(lambda: plant.ops("/readyz")[0] == 200, 30)
            began = time.monotonic()
            assert run(plant, "break-glass", "close", emergency["id"], who="secops-bo").returncode == 0
            assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
            tunnel.ended(CUT_SECONDS)
            assert time.monotonic() - began < 10
            assert read_alone(plant).status == 401
            the_review(plant, emergency)
            check_records(plant, emergency)
            plant.stop()
    next(postgresqls, None)


def the_review(plant: Development, emergency: dict[str, Any]) -> None:
    def sign(who: str) -> str:
        return run(plant, "break-glass", "review", emergency["id"], "--comment", "was right", who=who).stderr

    assert f"to review: {emergency['id']}" in run(plant, "status", who="secops-bo").stdout
    assert "opened" in sign(OPENER)
    assert sign(REVIEWERS[0]) == ""
    assert "signed it before" in sign(REVIEWERS[0])
    assert metric(plant, "break_glass_reviews_open") == 1
    assert sign(REVIEWERS[1]) == ""
    assert metric(plant, "break_glass_reviews_open") == 0
    assert part_of_readiness(plant, "break_glass")["detail"] == "sealed, 3 parts left, 2 needed"


def check_records(plant: Development, emergency: dict[str, Any]) -> None:
    (told,) = plant.records("break_glass_opened")
    assert told["emergency"]["parts"] == [1, 2]
    assert (told["emergency"]["why"], told["resumed"]) == ("fire alarm", False)
    sessions = [r for r in plant.records("session_opened") if r.get("emergency") == emergency["id"]]
    assert {session["listener"] for session in sessions} == {"modbus_tls", "tunnel", "https"}
    decided = [r for r in plant.records("decision") if r["entry_point"] == "emergency.decision"]
    assert {r["session"] for r in decided} == {session["session"] for session in sessions}
    allowed = {r["answer"]["rule"] for r in decided if r["allow"]}
    assert allowed == {f"emergency/{emergency['id']}"}
    assert all(r["revision"] and r["input"]["grants"][0]["id"] == emergency["id"] for r in decided)
    (ended,) = plant.records("break_glass_ended")
    assert ended["by"] == "bo@plant.example"
    assert [r["by"] for r in plant.records("break_glass_reviewed")] == ["bo@plant.example", "eli@plant.example"]


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Development:
    return start_shared(*plant_inventory(tmp_path_factory.mktemp("plant") / "inventory"))


@pytest.fixture(scope="module")
def envelopes(plant: Development, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return seal(plant, tmp_path_factory.mktemp("envelopes") / "parts", parts=8)


def test_an_isolation_from_before_is_passed_one_from_after_cuts_and_locks_refuse(
    plant: Development, envelopes: list[Path]
) -> None:
    before = post(plant, "secops-bo", "/v1/sites/plant/isolate", {"message": "a test"}).body["lock"]["id"]
    emergency = opened(plant, *envelopes[:2])
    with plant.modbus(OPENER) as caller:
        assert caller.ask(SETPOINT) == SETPOINT
        after = post(plant, "operator-eli", "/v1/sites/plant/isolate", {"message": "misused"}).body["lock"]["id"]
        assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
    assert read_alone(plant).reasons == ["site_isolated"]
    for lock, who in ((before, "operator-eli"), (after, "secops-bo")):
        assert lift(plant, lock, who).status == 200
    assert read_alone(plant).status == 200

    lock = set_lock(plant, "subject", "di@plant.example")["lock"]["id"]
    assert read_alone(plant).status == 401, "whoever is locked holds nothing, so a token is asked for"
    assert break_glass(plant, *envelopes[2:4]).returncode == 3
    assert lift(plant, lock).status == 200
    assert alone(plant, "POST", f"/v1/break-glass/{emergency['id']}/close", {}).status == 200
    assert read_alone(plant).status == 401


def test_parts_open_once_and_only_for_people_of_the_owner(plant: Development, envelopes: list[Path]) -> None:
    opened(plant, *envelopes[2:4], minutes=1)
    left = metric(plant, "break_glass_parts_left")
    refused = break_glass(plant, *envelopes[2:4])
    assert (refused.returncode, "open nothing" in refused.stdout) == (3, True)
    assert plant.eventually("break_glass_refused", code="parts_refused")["subject"] == "di@plant.example"
    vendor = break_glass(plant, *envelopes[4:6], who="vendor-ana")
    assert (vendor.returncode, "do not let you" in vendor.stdout) == (3, True)
    assert metric(plant, "break_glass_parts_left") == left


def test_killed_while_opening_or_closing_no_part_is_lost_nothing_holds_unrecorded_and_what_was_closed_stays_closed(
    start: Start, tmp_path: Path
) -> None:
    options = plant_inventory(tmp_path / "inventory")
    plant = Development(tmp_path / "killed", *options).wait()
    envelopes = seal(plant, tmp_path / "envelopes", parts=6)
    kept = plant.folder / "break-glass.json"
    opening = in_background(lambda: break_glass(plant, *envelopes[:2]))
    until(lambda: json.loads(kept.read_text())["emergencies"], 30)
    plant.kill()
    opening.join(30)
    (plant.folder / "dev.json").unlink()

    again = Development(plant.folder, *options)
    try:
        again.wait()
        opened_once_and_closed_unkept(again, envelopes)
    finally:
        again.kill()
    (plant.folder / "dev.json").unlink()

    last = start(*options, name="killed")
    assert read_alone(last).status == 401
    (plant.folder / "break-glass.lock").rmdir()
    until(lambda: "open now: none" in part_of_readiness(last, "break_glass")["detail"], 30)
    assert len(last.records("break_glass_ended")) == 2
    assert metric(last, "break_glass_parts_left") == 2


def opened_once_and_closed_unkept(again: Development, envelopes: list[Path]) -> None:
    """What a kill while opening left, another emergency, and the end of both while their file cannot be written."""
    kept = again.folder / "break-glass.json"
    (emergency,) = json.loads(kept.read_text())["emergencies"]
    told = again.records("break_glass_opened")
    assert {record["emergency"]["id"] for record in told} == {emergency["id"]}
    assert told[-1]["resumed"]
    assert read_alone(again).status == 200
    assert break_glass(again, *envelopes[:2]).returncode == 3
    assert metric(again, "break_glass_parts_left") == 4
    another = opened(again, *envelopes[2:4])

    lock = again.folder / "break-glass.lock"
    lock.unlink()
    lock.mkdir()  # as on a full disk, also for root
    for held in (emergency, another):
        assert run(again, "break-glass", "close", held["id"], who="secops-bo").returncode == 0
    assert "cannot be changed" in part_of_readiness(again, "break_glass")["detail"]
    assert read_alone(again).status == 401
