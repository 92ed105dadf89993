"""Roles at one site, duties that exclude each other, and what commands on the host leave in the ledger."""

import json
import os
import subprocess
import sys

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Answer, Development, until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import read_registers

READ = read_registers(10)
WHY = {"message": "a test"}


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Development:
    device, folder = ScriptedDevice(), tmp_path_factory.mktemp("inventory")
    write_inventory(folder, [modbus_device("ahu-1", device.port, 1)])
    return start_shared("--inventory", str(folder))


def give_roles(development: Development, **roles: list[str]) -> None:
    """Give the owner's personas these roles and no others, once the broker knows."""
    path = development.folder / "organisations" / "organisations.yaml"
    named = {development.api(who.replace("_", "-")).get("/v1/me").body["id"]: given for who, given in roles.items()}
    lines = path.read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if "owner: true" in line)
    at = next(n for n in range(place, len(lines)) if "roles:" in lines[n])
    lines[at] = f"    roles: {json.dumps(named)}"
    path.write_text("\n".join(lines) + "\n")
    for who, given in roles.items():
        api = development.api(who.replace("_", "-"))
        until(lambda api=api, given=given: sorted(api.get("/v1/me").body["roles"]) == sorted(given))


def post(development: Development, who: str, path: str, body: object) -> Answer:
    return development.api(who).call("POST", path, body)


def test_a_role_at_a_site_reaches_what_is_of_that_site(plant: Development) -> None:
    give_roles(plant, secops_bo=["security"], auditor_cy=["operator@plant"])
    with plant.modbus() as caller:
        assert caller.ask(READ)[0] == 3
        shown = plant.api("auditor-cy").get("/v1/sessions").body
        assert (shown["scope"], [entry["device"] for entry in shown["sessions"]]) == ("sites", ["plant/ahu-1"])
        person = post(plant, "secops-bo", "/v1/locks", {"kind": "subject", "target": "x@acme.example", **WHY}).body
        refused = post(plant, "auditor-cy", "/v1/locks", {"kind": "subject", "target": "y@acme.example", **WHY})
        assert (refused.status, refused.reasons) == (403, ["role_missing"])
        lock = post(plant, "auditor-cy", "/v1/locks", {"kind": "device", "target": "plant/ahu-1", **WHY}).body
        assert caller.closed_within(3.0) < 3.0
        assert [entry["id"] for entry in plant.api("auditor-cy").get("/v1/locks").body["locks"]] == [lock["lock"]["id"]]
        assert post(plant, "auditor-cy", f"/v1/locks/{person['lock']['id']}/lift", {}).reasons == ["role_missing"]
        for held in (lock, person):
            assert post(plant, "secops-bo", f"/v1/locks/{held['lock']['id']}/lift", {}).status == 200


def test_an_auditor_with_another_role_still_changes_nothing(plant: Development) -> None:
    give_roles(plant, secops_bo=["security"], auditor_cy=["auditor", "operator", "security"])
    refused = post(plant, "auditor-cy", "/v1/locks", {"kind": "device", "target": "plant/ahu-1", **WHY})
    assert (refused.status, refused.reasons) == (403, ["duties_conflict"])
    assert plant.api("auditor-cy").get("/v1/ledger/checkpoint").status == 200
    assert plant.eventually("decision", id=refused.body["decision_id"])["allow"] is False


def otbroker(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "broker.cli.otbroker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_commands_did_while_no_broker_ran_is_recorded_when_it_does(start: Start) -> None:
    first = start(name="again")
    settings = first.folder / "broker.yaml"
    first.stop()
    applied = otbroker("config", "apply", "--settings", settings)
    assert applied.returncode == 0, applied.stderr
    otbroker("ledger", "disclose", first.folder / "ledger", "sha256-" + "A" * 43)
    (first.folder / "dev.json").unlink(missing_ok=True)
    second = start(name="again")
    for command, about in (("config apply", "revision"), ("ledger disclose", "commitment_1")):
        begun, done = second.records("host_command", command=command)
        assert (begun["outcome"], done["outcome"], begun["id"]) == ("begun", "done", done["id"])
        assert about in begun["about"]
        assert begun["claimed_by"]["uid"] == str(os.getuid())
    assert not list((second.folder / "host-commands").glob("*.jsonl"))
