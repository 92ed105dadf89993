"""Operations that take a person: refused at once, armed by somebody else, done once; only the API waits."""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography import x509

from broker.adapters.development_ca import OWNER
from broker.cli.building import ANA
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import VENDOR, Development, Persona, token_of, until
from tests.end_to_end.modbus_caller import read_registers, write_register
from tests.end_to_end.test_deadlines import persona
from tests.end_to_end.tunnel_caller import TunnelCaller

READ = read_registers(10)
REFUSED = b"\x86\x01"
BO, ELI = "bo@plant.example", "eli@plant.example"
SITE = """package site.operation

second_person := {"points": ["supply-temp-setpoint"]}

obligations contains "step_up" if input.operation.values["supply-temp-setpoint"] == "20.5"
"""


@pytest.fixture(scope="module")
def plant(start_shared: Start) -> Iterator[Development]:
    development = start_shared()
    (development.folder / "policies" / "site.rego").write_text(SITE)
    development.eventually("policy_changed")
    yield development


def otb(plant: Development, *words: str, who: str = "secops-bo") -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "broker.cli.otb", "--dev", str(plant.folder), "--as", who, "--format", "json"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def waiting(plant: Development, value: str) -> dict[str, Any]:
    """The approval of a write of that value to the setpoint."""

    def found() -> Any:
        listed = plant.api("secops-bo").get("/v1/approvals").body["approvals"]
        return [a for a in listed if a["state"] == "waiting" and a["operations"][0]["points"][0]["new"] == value]

    return dict(until(found)[0])


def test_a_masters_write_is_refused_at_once_armed_by_bo_passes_once_and_is_refused_again(plant: Development) -> None:
    setpoint = write_register(10, 181)
    with plant.modbus() as caller:
        before = int.from_bytes(caller.ask(READ)[2:], "big") / 10
        assert caller.ask(setpoint) == caller.ask(setpoint) == REFUSED
        approval = waiting(plant, "18.1")
        _, listed = otb(plant, "approvals")
        assert [a["id"] for a in listed["approvals"]] == [approval["id"]]
        status, shown = otb(plant, "approvals", "show", approval["id"])
        (point,) = shown["operations"][0]["points"]
        assert (status, float(point["old"]), point["new"], point["unit"]) == (0, before, "18.1", "°C")
        assert (shown["subject"], shown["rules"], shown["needs"]) == (
            "ana@acme.example",
            ["grant/ana-adjust"],
            ["second_person"],
        )
        status, armed = otb(plant, "approvals", "approve", approval["id"], "--why", "agreed")
        assert (status, armed["state"]) == (0, "armed")
        assert caller.ask(write_register(10, 182)) == REFUSED
        assert caller.ask(setpoint) == setpoint
        assert caller.ask(setpoint) == REFUSED
        assert caller.ask(READ) == bytes((3, 2)) + (181).to_bytes(2, "big")
    (recorded,) = plant.records("operation_armed", approval=approval["id"])
    assert (recorded["by"], recorded["why"]) == (BO, "agreed")
    (used,) = plant.records("arming_used", approval=approval["id"])
    decided = next(r for r in plant.records("decision") if r["index"] == used["decisions"][0])
    assert [a["by"] for a in decided["input"]["armed"]] == [BO]


def test_a_tunnel_is_told_what_waits_and_what_to_do(plant: Development) -> None:
    setpoint = write_register(10, 183)
    with TunnelCaller(plant, "vendor-ana", "plant/ahu-1") as tunnel:
        assert tunnel.ask(setpoint) == REFUSED
        told = tunnel.tells("denied")
        assert [reason["code"] for reason in told["reasons"]] == ["approval_needed"]
        assert "otb approvals" in told["what_to_do"]
        assert otb(plant, "approvals", "approve", told["approval"])[0] == 0
        assert tunnel.ask(setpoint) == setpoint
        assert tunnel.ask(setpoint) == REFUSED


@pytest.mark.parametrize("act", ["approve", "refuse"])
def test_nobody_approves_or_refuses_what_is_his_own_or_without_the_role(plant: Development, act: str) -> None:
    with plant.modbus() as caller:
        assert caller.ask(write_register(10, 184)) == REFUSED
        approval = waiting(plant, "18.4")["id"]
        for who in ("vendor-ana", "auditor-cy"):
            status, problem = otb(plant, "approvals", act, approval, "--why", "x", who=who)
            assert (status, problem["code"]) == (3, "permission_denied")
        assert caller.ask(write_register(10, 184)) == REFUSED
    own = plant.api().get("/v1/approvals").body
    assert (own["scope"], {a["subject"] for a in own["approvals"]}) == ("own", {"ana@acme.example"})
    assert otb(plant, "approvals", "show", "arm-nothing", who="secops-bo")[1]["code"] == "approval_unknown"


def test_a_step_up_takes_a_fresh_token_of_the_one_who_asked_and_a_second_person_may_be_obliged_beside(
    plant: Development,
) -> None:
    setpoint = write_register(10, 205)
    with plant.modbus() as caller:
        assert caller.ask(setpoint) == REFUSED
        approval = waiting(plant, "20.5")
        assert sorted(approval["needs"]) == ["second_person", "step_up"]
        place = f"/v1/approvals/{approval['id']}/step-up"
        stale = token_of(plant, ANA, VENDOR, 600, "vendor-ana", {"auth_time": int(time.time()) - 400})
        refused = plant.api("vendor-ana").call("POST", place, {}, token=stale)
        assert (refused.status, refused.body["code"]) == (403, "proof_not_fresh")
        assert plant.api("secops-bo").call("POST", place, {}).body["code"] == "permission_denied"
        status, armed = otb(plant, "step-up", approval["id"], who="vendor-ana")
        assert (status, armed["state"], armed["missing"]) == (0, "waiting", ["second_person"])
        assert caller.ask(setpoint) == REFUSED
        assert otb(plant, "approvals", "approve", approval["id"])[1]["state"] == "armed"
        assert caller.ask(setpoint) == setpoint
        assert caller.ask(setpoint) == REFUSED
    armings = plant.records("operation_armed", approval=approval["id"])
    assert [(r["obligation"], r["by"]) for r in armings] == [("step_up", ANA), ("second_person", BO)]


def test_a_call_of_the_api_waits_for_the_second_person_and_goes_on(plant: Development) -> None:
    with ThreadPoolExecutor() as pool:
        body = {"points": {"supply-temp-setpoint": 18.5}, "wait_seconds": 60}
        call = pool.submit(plant.api().call, "POST", "/v1/devices/plant/ahu-1/write", body)
        approval = waiting(plant, "18.5")
        assert not call.done()
        assert plant.api("secops-bo").call("POST", f"/v1/approvals/{approval['id']}/approve", {}).status == 200
        assert call.result(30).status == 200
    refused = plant.api().write("plant/ahu-1", {"supply-temp-setpoint": 18.5})
    assert (refused.status, refused.reasons) == (403, ["approval_needed"])
    assert refused.body["points"]["supply-temp-setpoint"]["outcome"] == "denied"
    assert [
        a["state"] for a in plant.api().get("/v1/approvals").body["approvals"] if a["id"] in refused.body["approvals"]
    ]


def test_a_call_that_waits_is_told_that_it_was_refused(plant: Development) -> None:
    with ThreadPoolExecutor() as pool:
        body = {"points": {"supply-temp-setpoint": 18.6}, "wait_seconds": 60}
        call = pool.submit(plant.api().call, "POST", "/v1/devices/plant/ahu-1/write", body)
        approval = waiting(plant, "18.6")
        status, refused = otb(plant, "approvals", "refuse", approval["id"], "--why", "too cold")
        assert (status, refused["state"], refused["refused_by"]) == (0, "refused", BO)
        answer = call.result(30)
    assert (answer.status, answer.reasons) == (403, ["approval_refused"])
    (ended,) = plant.records("approval_ended", approval=approval["id"])
    assert (ended["reason"], ended["by"], ended["why"]) == ("refused", BO, "too cold")


def test_what_takes_nobody_goes_on_as_before(plant: Development) -> None:
    assert plant.api().write("plant/vav-1", {"zone-setpoint": 21.5}).status == 200
    assert plant.api().read("plant/ahu-1", "supply-temp").status == 200


def check_worth_nothing(plant: Development, eli: Persona, value: int, lose: Callable[[], object], lost: object) -> None:
    """What eli armed is worth nothing once it is so: `lost` is the scope of what he is shown then, None if nothing."""
    token, setpoint = token_of(plant, ELI, OWNER, 600), write_register(10, value)

    def scope() -> object:
        try:
            return plant.api(eli, token).get("/v1/approvals").body.get("scope")
        except (ssl.SSLError, ConnectionError):
            return None

    with plant.modbus() as caller:
        assert caller.ask(setpoint) == REFUSED
        asked = waiting(plant, f"{value / 10}")
        approval = asked["id"]
        # Something from before may just come into force, so that what is there is not read; nothing rests on that here.
        armed = plant.api(eli, token).call("POST", f"/v1/approvals/{approval}/approve", {"without_old": True})
        assert armed.status == 200, armed
        lose()
        until(lambda: scope() == lost, 20)
        assert caller.ask(setpoint) == REFUSED
        assert caller.ask(READ) != bytes((3, 2)) + value.to_bytes(2, "big")
        # Only so many may wait for one subject: what waits by now ends with its session.
        assert plant.api("secops-bo").call("POST", f"/v1/sessions/{asked['session']}/end", {}).status == 200
    assert [r["reason"] for r in plant.records("approval_ended", approval=approval)] == ["approver_lost_access"]


def test_what_was_armed_with_a_certificate_that_is_revoked_is_worth_nothing(plant: Development) -> None:
    eli = persona(plant, 600, ELI, OWNER)
    serial = x509.load_pem_x509_certificate(eli.certificate.read_bytes()).serial_number
    check_worth_nothing(plant, eli, 188, lambda: plant.revoke(OWNER, serial), None)


def test_what_somebody_armed_who_loses_his_role_is_worth_nothing(plant: Development) -> None:
    path = plant.folder / "inventory" / "organisations.yaml"
    text, role = path.read_text(), f'"{ELI}": ["operator"]'
    assert role in text
    try:
        eli = persona(plant, 600, ELI, OWNER)
        check_worth_nothing(plant, eli, 189, lambda: path.write_text(text.replace(role, f'"{ELI}": []')), "own")
    finally:
        path.write_text(text)


def test_who_watches_at_a_terminal_is_asked_and_arms_with_a_key(plant: Development) -> None:
    command = [sys.executable, "-m", "broker.cli.otb", "--dev", str(plant.folder), "--as", "secops-bo"]
    here, there = os.openpty()
    watcher = subprocess.Popen(
        [*command, "sessions", "watch", "--approve"], stdin=there, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.close(there)
    try:
        assert watcher.stdout is not None
        shown = watcher.stdout.readline()
        assert b"as a supervisor" in shown
        setpoint = write_register(10, 187)
        with plant.modbus() as caller:
            assert caller.ask(setpoint) == REFUSED
            while b"arms exactly this" not in shown:
                shown = watcher.stdout.readline()
                assert shown, "the watching ended"
            os.write(here, b"y\n")
            while b": armed." not in shown:
                shown = watcher.stdout.readline()
                assert shown, "the watching ended"
            assert caller.ask(setpoint) == setpoint
    finally:
        watcher.kill()
        watcher.communicate()
        os.close(here)
