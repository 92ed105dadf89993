"""With `policy.activation: review` a changed policy waits until two people have activated exactly its revision."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.cli.file_sources import POLICIES
from tests.end_to_end.development import Answer, Development, until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.serving import Serving

BO, CY = "bo@plant.example", "cy@plant.example"
ROLES = {BO: ["security"], CY: ["security"]}
REVIEW = {"policy": {"activation": "review"}}
DENY = 'package site.admin\n\nreasons contains "freeze_active" if input.permission == "windows.read"\n'


def make(folder: Path, inventory: Path) -> Serving:
    return Serving(folder, inventory, ROLES, **REVIEW)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    folder = tmp_path_factory.mktemp("review")
    inventory = write_inventory(folder / "inventory", [modbus_device("ahu-1", ScriptedDevice().port, 1)])
    running = make(folder / "broker", inventory).wait()
    try:
        yield running
        running.stop()
    finally:
        running.kill()


def overview(plant: Development) -> dict[str, Any]:
    found: dict[str, Any] = plant.api("secops-bo").get("/v1/policies").body
    return found


def activate(plant: Development, who: str, revision: str) -> Answer:
    return plant.api(who).call("POST", f"/v1/policies/{revision}/activate", {})


def change(plant: Development, text: str) -> str:
    """A changed policy, once it waits."""
    before = overview(plant)["waiting"]
    (plant.folder / "policies" / "site.rego").write_text(text)
    return str(until(lambda: overview(plant)["waiting"] not in ("", before) and overview(plant)["waiting"]))


def test_a_changed_policy_waits_for_two_people_and_for_exactly_what_they_saw(plant: Development) -> None:
    first = overview(plant)["in_force"]
    revision = change(plant, DENY)
    assert plant.api().get("/v1/windows").status == 200
    proposed = plant.eventually("policy_proposed", revision=revision)
    assert proposed["in_force"] == first
    assert f"policy revision {revision} waits" in plant.ops("/readyz")[1]
    assert plant.api().call("POST", f"/v1/policies/{revision}/activate", {}).reasons == ["role_missing"]
    alone = activate(plant, "secops-bo", revision)
    assert (alone.status, alone.body["activated"], alone.body["lacks"]) == (200, False, ["second_person_needed"])
    again = activate(plant, "secops-bo", revision)
    assert (again.status, again.reasons) == (403, ["second_person_needed"])
    assert plant.api().get("/v1/windows").status == 200

    better = change(plant, DENY + "# better\n")
    stale = activate(plant, "auditor-cy", revision)
    assert (stale.status, stale.body["code"]) == (409, "policy_not_waiting")
    assert overview(plant)["approved_by"] == []
    assert activate(plant, "auditor-cy", better).body["approved_by"] == [CY]
    done = activate(plant, "secops-bo", better)
    assert (done.body["activated"], done.body["in_force"], done.body["approved_by"]) == (True, better, [BO, CY])
    until(lambda: plant.api().get("/v1/windows").reasons == ["freeze_active"])
    ended = plant.eventually("proposal_ended", act="policy.activate")
    assert (ended["as"], ended["approved_by"]) == ("approved", [BO, CY])
    assert plant.eventually("policy_changed", revision=better)["previous"] == first

    lost = activate(plant, "secops-bo", first)
    assert lost.body["lacks"] == ["second_person_needed"]
    assert activate(plant, "auditor-cy", first).body["in_force"] == first
    until(lambda: plant.api().get("/v1/windows").status == 200)


def test_what_lacked_an_approval_that_did_not_count_then_is_activated_by_whoever_approved_it(
    plant: Development,
) -> None:
    revision = change(plant, DENY + "# locked\n")
    assert activate(plant, "secops-bo", revision).body["approved_by"] == [BO]
    lock = {"kind": "subject", "target": BO, "message": "does not count for now"}
    made = plant.api("auditor-cy").call("POST", "/v1/locks", lock)
    assert made.status == 200, made.body
    assert activate(plant, "auditor-cy", revision).body["lacks"] == ["second_person_needed"]
    refused = activate(plant, "auditor-cy", revision)
    assert (refused.status, refused.reasons) == (403, ["second_person_needed"])
    lifted = plant.api("auditor-cy").call("POST", f"/v1/locks/{made.body['lock']['id']}/lift", {})
    assert lifted.status == 200, lifted.body
    done = activate(plant, "auditor-cy", revision)
    assert (done.status, done.body["lacks"], done.body["approved_by"]) == (200, [], [BO, CY])
    until(lambda: overview(plant)["in_force"] == revision)


def test_an_approval_of_somebody_who_may_approve_no_more_does_not_count(plant: Development) -> None:
    revision = change(plant, DENY + "# gone\n")
    assert activate(plant, "secops-bo", revision).body["approved_by"] == [BO]
    path = plant.folder.parent / "inventory" / "organisations.yaml"
    before = path.read_text()
    given = json.dumps(ROLES)
    assert given in before
    path.write_text(before.replace(given, json.dumps({CY: ["security"]})))
    until(lambda: plant.api("secops-bo").get("/v1/me").body["roles"] == [])
    alone = activate(plant, "auditor-cy", revision)
    assert (alone.body["activated"], alone.body["approved_by"]) == (False, [CY])
    path.write_text(before)
    until(lambda: plant.api("secops-bo").get("/v1/me").body["roles"] == ["security"])
    assert activate(plant, "auditor-cy", revision).body["approved_by"] == [BO, CY]
    until(lambda: overview(plant)["in_force"] == revision)


def test_of_many_last_approvals_at_one_time_one_activates(plant: Development) -> None:
    revision = change(plant, DENY + "# once\n")
    calls = [threading.Thread(target=activate, args=(plant, who, revision)) for who in ("secops-bo", "auditor-cy") * 3]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    until(lambda: overview(plant)["in_force"] == revision)
    assert len(plant.records("policy_changed", revision=revision)) == 1
    proposal = plant.eventually("proposal_ended", act="policy.activate")["proposal"]
    assert len(plant.records("proposal_ended", proposal=proposal)) == 1
    assert len(plant.records("proposal_approved", proposal=proposal)) == 2


def test_a_policy_that_is_broken_is_refused_and_does_not_wait(plant: Development) -> None:
    before = overview(plant)
    (plant.folder / "policies" / "site.rego").write_text("package site.admin\n\nreasons contains http.send({})\n")
    plant.eventually("reload_refused", what="policy")
    assert overview(plant)["waiting"] == before["waiting"]
    assert overview(plant)["in_force"] == before["in_force"]


def test_people_do_it_with_otb_and_what_was_activated_outlives_the_broker(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path / "inventory", [modbus_device("ahu-1", ScriptedDevice().port, 1)])
    first = make(tmp_path / "broker", inventory).wait()
    try:
        in_force = overview(first)["in_force"]
        revision = change(first, DENY)
        listed = first.otb("secops-bo", "policy", "ls").stdout
        assert f"{revision}  waits" in listed
        assert f"{in_force}  in force" in listed
        assert '+reasons contains "freeze_active"' in first.otb("auditor-cy", "policy", "diff").stdout
        assert "takes another person" in first.otb("secops-bo", "policy", "activate", revision).stdout
        first.stop()
        second = make(tmp_path / "broker", inventory).wait()
        try:
            assert overview(second)["in_force"] == in_force
            until(lambda: overview(second)["approved_by"] == [BO])
            done = second.otb("auditor-cy", "policy", "activate", revision)
            assert (done.returncode, done.stdout) == (0, "Activated.\n"), done.stderr
            (second.folder / "policies" / "site.rego").write_text(DENY + "# not approved\n")
            second.stop()
            third = make(tmp_path / "broker", inventory).wait()
            try:
                assert overview(third)["in_force"] == revision
                until(lambda: overview(third)["waiting"] not in ("", revision))
                third.stop()
            finally:
                third.kill()
            check_first_start(tmp_path / "broker", inventory, revision)
        finally:
            second.kill()
    finally:
        first.kill()


def check_first_start(folder: Path, inventory: Path, revision: str) -> None:
    """A broker that has had no policy yet begins with none but what people have activated in the state it shares."""
    (folder / POLICIES).unlink()
    fresh = make(folder, inventory).wait()
    try:
        until(lambda: f"have activated revision {revision}" in fresh.ops("/readyz")[1])
        assert fresh.ops("/readyz")[0] == 503
        assert fresh.api("secops-bo").get("/v1/windows").reasons == ["policy_unavailable"]
        assert "put theirs there" in fresh.logged()
        (folder / "policies" / "site.rego").write_text(DENY)
        until(lambda: fresh.ops("/readyz")[0] == 200)
        assert overview(fresh)["in_force"] == revision
        fresh.stop()
    finally:
        fresh.kill()
