"""Locks cut every live path and refuse every new one, until they are lifted; an isolation needs two people to end."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.cli.building import ANA
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import VENDOR, Answer, Development, until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import ModbusCaller, read_registers, write_register
from tests.end_to_end.tunnel_caller import TunnelCaller

pytestmark = pytest.mark.prompt

READ, SETPOINT = read_registers(10), write_register(10, 190)
REFUSED_READ, REFUSED_WRITE = b"\x83\x01", b"\x86\x01"
CUT_SECONDS = 1.0
WHY = {"message": "a test"}


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Development:
    device, folder = ScriptedDevice(), tmp_path_factory.mktemp("inventory")
    write_inventory(folder, [modbus_device("ahu-1", device.port, 1), modbus_device("ahu-2", device.port, 2)])
    return start_shared("--inventory", str(folder))


@pytest.fixture(autouse=True)
def nothing_locked_after(plant: Development) -> Iterator[None]:
    yield
    lift_all(plant)


def post(development: Development, who: str, path: str, body: object) -> Answer:
    return development.api(who).call("POST", path, body)


def set_lock(development: Development, kind: str, target: str, **more: object) -> dict[str, Any]:
    answer = post(development, "secops-bo", "/v1/locks", {"kind": kind, "target": target, **WHY, **more})
    assert answer.status == 200, answer
    taken: dict[str, Any] = answer.body
    return taken


def lift(development: Development, lock: str, who: str = "secops-bo") -> Answer:
    return post(development, who, f"/v1/locks/{lock}/lift", {})


def lift_all(development: Development) -> None:
    """Lift every lock, of isolations those that bo set."""
    for lock in development.api("secops-bo").get("/v1/locks").body["locks"]:
        assert lift(development, lock["id"], "operator-eli" if lock["isolation"] else "secops-bo").status == 200


def session_of(development: Development, caller: ModbusCaller) -> dict[str, Any]:
    return development.eventually("session_opened", peer=f"127.0.0.1:{caller.local_port}")


def fingerprint_of(opened: dict[str, Any]) -> str:
    return str(next(proof["fingerprint"] for proof in opened["proofs"] if proof["kind"] == "certificate"))


TARGETS: dict[str, Callable[[dict[str, Any]], str]] = {
    "subject": lambda opened: ANA,
    "certificate": fingerprint_of,
    "organisation": lambda opened: VENDOR,
    "device": lambda opened: "plant/ahu-1",
    "site": lambda opened: "plant",
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_lock_cuts_every_live_path_and_refuses_every_new_one_until_it_is_lifted(
    plant: Development, kind: str
) -> None:
    with ExitStack() as ways:
        caller = ways.enter_context(plant.modbus())
        tunnel = ways.enter_context(TunnelCaller(plant, "vendor-ana", "plant/ahu-1"))
        kept = ways.enter_context(plant.api().kept())
        assert caller.ask(SETPOINT) == tunnel.ask(SETPOINT) == SETPOINT
        assert kept.read("plant/ahu-1", "supply-temp").status == 200
        opened = session_of(plant, caller)
        lock = set_lock(plant, kind, TARGETS[kind](opened))
        assert lock["ended"] == 3
        assert lock["shared"] is True
        assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
        assert tunnel.ended(CUT_SECONDS)
        assert tunnel.tells("ending")["reason"] == "locked"
        closed = plant.eventually("session_closed", session=opened["session"])
        assert (closed["reason"], closed["detail"]) == ("locked", lock["lock"]["id"])
        for api in (kept, plant.api()):
            refused = api.read("plant/ahu-1", "supply-temp")
            assert (refused.status, refused.reasons) == (403, ["locked"])
            decided = plant.eventually("decision", id=refused.body["decision_id"])
            assert decided["answer"]["rule"] == f"lock/{lock['lock']['id']}"
        with plant.modbus() as again:
            assert again.ask(READ) == REFUSED_READ
        (recorded,) = [r for r in plant.records("lock_set") if r["lock"]["id"] == lock["lock"]["id"]]
        assert (recorded["lock"]["kind"], recorded["lock"]["message"]) == (kind, "a test")

        assert lift(plant, lock["lock"]["id"]).status == 200
        told = plant.records("lift_signed", "lock_lifted", lock=lock["lock"]["id"])
        assert [(r["kind"], r["by"]) for r in told] == [(k, "bo@plant.example") for k in ("lift_signed", "lock_lifted")]
        assert kept.read("plant/ahu-1", "supply-temp").status == 200
        with plant.modbus() as again:
            assert again.ask(SETPOINT) == SETPOINT


@pytest.mark.parametrize("kind", ["subject", "organisation", "certificate"])
def test_who_is_locked_may_use_nothing_of_the_api_and_others_go_on(plant: Development, kind: str) -> None:
    with plant.modbus() as caller, plant.modbus("bms-sync") as bystander:
        caller.ask(READ)
        bystander.ask(READ)
        set_lock(plant, kind, TARGETS[kind](session_of(plant, caller)))
        refused = plant.api().get("/v1/me")
        assert (refused.status, refused.reasons) == (403, ["locked"])
        assert bystander.ask(READ)[0] == 3


def test_a_lock_on_a_session_ends_that_one_alone(plant: Development) -> None:
    with plant.modbus() as first, plant.modbus() as second:
        assert first.ask(READ)[0] == second.ask(READ)[0] == 3
        assert set_lock(plant, "session", session_of(plant, first)["session"])["ended"] == 1
        assert first.closed_within(CUT_SECONDS) < CUT_SECONDS
        assert second.ask(READ)[0] == 3


def test_a_locked_grant_gives_nothing(plant: Development) -> None:
    with plant.modbus() as caller:
        assert caller.ask(SETPOINT) == SETPOINT
        session = session_of(plant, caller)["session"]
        set_lock(plant, "grant", "ana-adjust")
        assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
    assert plant.eventually("session_closed", session=session)["reason"] == "locked"
    with plant.modbus() as again:
        assert again.ask(SETPOINT) == REFUSED_WRITE
        assert again.ask(READ)[0] == 3


def test_a_lock_with_a_duration_ends_by_itself(plant: Development) -> None:
    lock = set_lock(plant, "device", "plant/ahu-2", seconds=1)
    assert plant.api().read("plant/ahu-2", "supply-temp").reasons == ["locked"]
    assert plant.api().read("plant/ahu-1", "supply-temp").status == 200
    until(lambda: plant.api().read("plant/ahu-2", "supply-temp").status == 200, 20)
    assert lift(plant, lock["lock"]["id"]).body["code"] == "lock_unknown"


def test_of_two_locks_on_one_thing_both_must_be_lifted(plant: Development) -> None:
    first, second = (set_lock(plant, "site", "plant")["lock"]["id"] for _ in range(2))
    assert lift(plant, first).status == 200
    assert plant.api().read("plant/ahu-1", "supply-temp").reasons == ["locked"]
    assert lift(plant, second).status == 200
    assert plant.api().read("plant/ahu-1", "supply-temp").status == 200


@pytest.mark.parametrize(
    ("who", "body", "status", "code"),
    [
        ("vendor-ana", {"kind": "site", "target": "plant"}, 403, "permission_denied"),
        ("auditor-cy", {"kind": "site", "target": "plant"}, 403, "permission_denied"),
        ("secops-bo", {"kind": "site", "target": "plnt"}, 404, "lock_target_unknown"),
        ("secops-bo", {"kind": "device", "target": "ahu-9"}, 404, "lock_target_unknown"),
        ("secops-bo", {"kind": "certificate", "target": "c0ffee"}, 422, "body_invalid"),
        ("secops-bo", {"kind": "subject", "target": "bo@plant.example"}, 422, "lock_of_oneself"),
        ("secops-bo", {"kind": "organisation", "target": "plant-owner"}, 422, "lock_of_oneself"),
        ("secops-bo", {"kind": "subject", "target": "x", "seconds": 0}, 422, "body_invalid"),
        ("secops-bo", {"kind": "subject", "target": "x\u202ey"}, 422, "body_invalid"),
    ],
)
def test_locks_that_are_not_set(plant: Development, who: str, body: dict[str, object], status: int, code: str) -> None:
    refused = post(plant, who, "/v1/locks", {**body, **WHY})
    assert (refused.status, refused.body["code"]) == (status, code)
    assert plant.api("secops-bo").get("/v1/locks").body == {"locks": []}


def test_an_isolation_spares_whom_the_policy_names_and_takes_two_people_to_lift(plant: Development) -> None:
    path = plant.folder / "organisations" / "organisations.yaml"
    before = path.read_text()
    roles = '"cy@plant.example": ["security"], "spiffe://plant.example/bms-sync": ["emergency"]'
    assert '"cy@plant.example": ["auditor"]' in before
    path.write_text(before.replace('"cy@plant.example": ["auditor"]', roles))
    try:
        until(lambda: plant.api("auditor-cy").get("/v1/locks").status == 200 and _is_security(plant))
        with plant.modbus() as caller, plant.modbus("bms-sync") as spared:
            assert caller.ask(SETPOINT) == SETPOINT
            assert spared.ask(READ)[0] == 3
            isolated = post(plant, "secops-bo", "/v1/sites/plant/isolate", WHY)
            assert isolated.status == 200
            lock = isolated.body["lock"]["id"]
            assert [told["lock"]["id"] for told in plant.records("lock_set")].count(lock) == 1
            assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
            assert spared.ask(READ)[0] == 3
            refused = plant.api().read("plant/ahu-1", "supply-temp")
            assert (refused.status, refused.reasons) == (403, ["site_isolated"])
            with plant.modbus() as again, plant.modbus("bms-sync") as spared_again:
                assert again.ask(READ) == REFUSED_READ
                assert spared_again.ask(READ)[0] == 3
            alone = lift(plant, lock)
            assert (alone.status, alone.reasons) == (403, ["second_person_needed"])
            assert plant.api().read("plant/ahu-1", "supply-temp").reasons == ["site_isolated"]
            assert lift(plant, lock, "auditor-cy").status == 200
        assert plant.api().read("plant/ahu-1", "supply-temp").status == 200
    finally:
        path.write_text(before)
        until(lambda: plant.api("auditor-cy").get("/v1/ledger/checkpoint").status == 200)
    assert {r["reason"] for r in plant.records("session_closed") if r.get("detail") == lock} == {"site_isolated"}


@contextmanager
def spared_by_policy(plant: Development, subject: str) -> Iterator[Path]:
    """The site's own policy names a subject for emergencies; the file in which it does."""
    path = plant.folder / "policies" / "site.rego"
    with until_changed(plant):
        path.write_text(f'package site.admin\n\nemergency["plant"] := ["{subject}"]\n')
    try:
        yield path
    finally:
        with until_changed(plant):
            path.unlink()


@contextmanager
def until_changed(plant: Development) -> Iterator[None]:
    """What is done meanwhile to the policy's files is in force afterwards."""
    changed = len(plant.records("policy_changed"))
    yield
    until(lambda: len(plant.records("policy_changed")) > changed, 20)


def test_an_isolation_spares_whom_the_site_s_own_policy_names(plant: Development) -> None:
    with spared_by_policy(plant, ANA) as path:
        with plant.modbus() as spared, plant.modbus("bms-sync") as caller:
            assert spared.ask(SETPOINT) == SETPOINT
            assert caller.ask(READ)[0] == 3
            lock = post(plant, "secops-bo", "/v1/sites/plant/isolate", WHY).body["lock"]["id"]
            assert caller.closed_within(CUT_SECONDS) < CUT_SECONDS
            assert spared.ask(SETPOINT) == SETPOINT
            with until_changed(plant):
                path.write_text('package site.admin\n\nemergency["mill"] := []\n')
                assert spared.closed_within(CUT_SECONDS) < CUT_SECONDS
        assert plant.api().read("plant/ahu-1", "supply-temp").reasons == ["site_isolated"]
    lifted_behind_the_brokers_back(plant, lock)
    assert plant.eventually("lift_distrusted", lock=lock, seconds=20.0)["code"] == "lift_unsigned"
    assert plant.api().read("plant/ahu-1", "supply-temp").reasons == ["site_isolated"]
    assert lift(plant, lock, "operator-eli").status == 200
    assert plant.records("lock_lifted", lock=lock)[0]["by"] == "eli@plant.example"
    assert plant.api().read("plant/ahu-1", "supply-temp").status == 200


def test_whom_an_isolation_spares_is_cut_all_the_same_when_its_grant_is_locked(plant: Development) -> None:
    with spared_by_policy(plant, ANA):
        with plant.modbus() as spared:
            assert spared.ask(SETPOINT) == SETPOINT
            session = session_of(plant, spared)["session"]
            lock = post(plant, "secops-bo", "/v1/sites/plant/isolate", WHY).body["lock"]["id"]
            assert spared.ask(SETPOINT) == SETPOINT
            set_lock(plant, "grant", "ana-adjust")
            assert spared.closed_within(CUT_SECONDS) < CUT_SECONDS
        assert plant.eventually("session_closed", session=session)["reason"] == "locked"
    assert lift(plant, lock, "operator-eli").status == 200


def lifted_behind_the_brokers_back(plant: Development, lock: str) -> None:
    """What whoever administers the database can write there."""
    with sqlite3.connect(plant.folder / "broker.db") as database:
        statement = "UPDATE locks SET lifted_by = 'a DBA', lifted_at = unixepoch() WHERE id = ?"
        assert database.execute(statement, (lock,)).rowcount == 1


def _is_security(plant: Development) -> bool:
    """Asked by trying to set a lock on nothing: the permission comes first."""
    asked = post(plant, "auditor-cy", "/v1/locks", {"kind": "site", "target": "nowhere", **WHY})
    return asked.status == 404


def test_locks_outlive_the_broker(start: Start, tmp_path: Path) -> None:
    device = ScriptedDevice()
    inventory = write_inventory(tmp_path / "inventory", [modbus_device("ahu-1", device.port, 1)])
    first = start("--inventory", str(inventory), name="kept")
    set_lock(first, "subject", ANA)
    first.stop()
    (first.folder / "broker.db").unlink()
    second = start("--inventory", str(inventory), name="kept")
    assert second.api().read("plant/ahu-1", "supply-temp").reasons == ["locked"]
    (lock,) = second.api("secops-bo").get("/v1/locks").body["locks"]
    assert lift(second, lock["id"]).status == 200
    assert second.api().read("plant/ahu-1", "supply-temp").status == 200
