"""Access ends when it ends: every live path is cut within a second, and the ledger says truly why."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from broker.adapters.development_ca import CRL_LIFETIME, publish_crl
from broker.cli.building import ANA, BMS
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import OWNER, VENDOR, Development, ModbusCaller, token_of, until
from tests.end_to_end.devices import ScriptedDevice, honest, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import Reply, digest_of, frame, read_registers, write_register
from tests.end_to_end.tunnel_caller import TunnelCaller

pytestmark = pytest.mark.prompt

READ, SETPOINT = read_registers(10), write_register(10, 190)
SOON_SECONDS = 1.0


def patient(device: ScriptedDevice) -> dict[str, Any]:
    """`ahu-1` as the inventory describes it, which may take its time."""
    return modbus_device("ahu-1", device.port, 1, budget={"response_timeout_seconds": 4.0})


@dataclass
class Plant:
    development: Development
    inventory: Path
    device: ScriptedDevice

    def write(self, **others: Any) -> None:
        devices = others.pop("devices", None) or [patient(self.device)]
        write_inventory(self.inventory, devices, **others)

    def session_of(self, caller: ModbusCaller) -> str:
        session = self.development.eventually("session_opened", peer=f"127.0.0.1:{caller.local_port}")["session"]
        return str(session)

    def why(self, session: str) -> str:
        return str(self.development.eventually("session_closed", session=session)["reason"])


@pytest.fixture(scope="module")
def shared_plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    device, folder = ScriptedDevice(), tmp_path_factory.mktemp("inventory")
    write_inventory(folder, [patient(device)])
    return Plant(start_shared("--inventory", str(folder)), folder, device)


@pytest.fixture
def plant(shared_plant: Plant) -> Iterator[Plant]:
    """As it was at the beginning, whatever the test before did to its files."""
    yield shared_plant
    shared_plant.write()

    def restored() -> bool:
        with shared_plant.development.modbus() as caller:
            return caller.ask(SETPOINT) == SETPOINT

    until(restored, what="the plant did not come back")


def cut_by(plant: Plant, change: Callable[[], object]) -> str:
    """The recorded reason for which ana's live ways are cut when something changes; bms-sync goes on undisturbed."""
    development = plant.development
    with ExitStack() as ways:
        caller = ways.enter_context(development.modbus())
        tunnel = ways.enter_context(TunnelCaller(development, "vendor-ana", "plant/ahu-1"))
        bystander = ways.enter_context(development.modbus("bms-sync"))
        assert caller.ask(SETPOINT) == tunnel.ask(SETPOINT) == SETPOINT
        bystander.ask(READ)
        session = plant.session_of(caller)
        through_tunnel = development.records("session_opened", listener="tunnel")[-1]["session"]
        began = time.monotonic()
        change()
        assert caller.closed_within(SOON_SECONDS + 1) < SOON_SECONDS
        assert tunnel.ended() - began < SOON_SECONDS + 0.2
        bystander.ask(READ)
        reason = plant.why(session)
        assert tunnel.tells("ending")["reason"] == reason == plant.why(through_tunnel)
        return reason


def window_story(development: Development, began: float) -> None:
    """Everybody's live ways at the moment the window closes, and what is left to them afterwards."""
    with ExitStack() as ways:
        caller = ways.enter_context(development.modbus())
        tunnel = ways.enter_context(TunnelCaller(development, "vendor-ana", "plant/ahu-1"))
        bystander = ways.enter_context(development.modbus("bms-sync"))
        assert caller.ask(SETPOINT) == tunnel.ask(SETPOINT) == SETPOINT
        bystander.ask(READ)
        kept = ways.enter_context(development.api().kept())
        assert kept.write("plant/ahu-1", {"supply-temp-setpoint": 18}).status == 200
        assert development.api().write("plant/vav-1", {"zone-setpoint": {"value": 21, "priority": 12}}).status == 200
        window = next(w for w in development.api().get("/v1/windows").body["windows"] if w["id"] == "maintenance")
        closes = datetime.fromisoformat(window["closes"].replace("Z", "+00:00")).timestamp()
        assert began + 6 < closes < began + 20
        caller.closed_within(20)
        assert closes <= time.time() < closes + SOON_SECONDS
        assert tunnel.ended() - time.monotonic() + time.time() < closes + SOON_SECONDS
        assert tunnel.tells("ending")["reason"] == "window_closed"
        assert bystander.ask(READ)[0] == 3

        for api in (development.api(), kept):
            refused = api.write("plant/ahu-1", {"supply-temp-setpoint": 19})
            assert (refused.status, refused.reasons) == (403, ["window_closed"])
            assert refused.body["decision_id"]
            assert api.read("plant/ahu-1", "supply-temp-setpoint").status == 200
        with development.modbus() as again:
            assert again.ask(SETPOINT) == b"\x86\x01"
            assert again.ask(READ)[0] == 3
        with TunnelCaller(development, "vendor-ana", "plant/ahu-1") as again_tunnel:
            assert again_tunnel.ask(SETPOINT) == b"\x86\x01"
            assert [reason["code"] for reason in again_tunnel.tells("denied")["reasons"]] == ["window_closed"]
            assert again_tunnel.ask(READ)[0] == 3
        ended = development.records("session_closed", reason="window_closed")
        opened = {record["session"]: record for record in development.records("session_opened")}
        assert {opened[record["session"]]["listener"] for record in ended} >= {"modbus_tls", "tunnel"}
        assert {opened[record["session"]]["subject"]["id"] for record in ended} == {ANA}


@pytest.fixture(scope="module", autouse=True)
def told_story(start_shared: Start) -> Iterator[Future[None]]:
    """The story of the window, which takes its time while other tests run."""
    began = time.time()
    development = start_shared("--window-seconds", "8")
    with ThreadPoolExecutor(1) as aside:
        yield aside.submit(window_story, development, began)


def test_a_freeze_written_into_the_inventory_cuts_and_wins_over_the_window(plant: Plant) -> None:
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()
    freeze = {"id": "storm", "starts": now, "zone": "UTC", "duration": "PT1H"}
    assert cut_by(plant, lambda: plant.write(freezes=[freeze])) == "freeze_started"
    with plant.development.modbus() as caller:
        assert caller.ask(SETPOINT) == b"\x86\x01"
    refused = plant.development.api().write("plant/ahu-1", {"supply-temp-setpoint": 19})
    assert refused.status == 403
    assert "freeze_active" in refused.reasons


def test_a_write_that_still_waits_for_the_device_when_access_ends_is_never_sent(plant: Plant) -> None:
    def slow(connection: socket.socket, asked: Reply) -> None:
        time.sleep(2.0)
        honest(connection, asked)

    write = write_register(10, 166)
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()
    with plant.development.modbus("bms-sync") as first, plant.development.modbus() as caller:
        caller.ask(SETPOINT)
        plant.device.script = slow
        try:
            first.send(frame(READ))
            caller.send(frame(write))
            plant.development.eventually("intent", digest=digest_of(write))
            plant.write(freezes=[{"id": "storm", "starts": now, "zone": "UTC", "duration": "PT1H"}])
            assert caller.closed_within(2) < SOON_SECONDS
            assert first.receive().pdu[0] == 3
        finally:
            plant.device.script = honest
    (outcome,) = until(lambda: plant.development.outcomes_of(digest_of(write)))
    assert (outcome["result"], outcome["code"]) == ("not_sent", "session_ended")
    assert write not in plant.device.seen


def test_a_grant_taken_away_cuts(plant: Plant) -> None:
    view = {"subjects": [BMS], "scope": {"sites": ["plant"]}, "actions": ["view"]}
    grants = [{"id": "bms-view", **view}, {"id": "ana-view", **view, "subjects": [ANA]}]
    assert cut_by(plant, lambda: plant.write(grants=grants)) == "grant_ended"
    with plant.development.modbus() as caller:
        assert caller.ask(SETPOINT) == b"\x86\x01"
        assert caller.ask(READ)[0] == 3


def test_everything_taken_away_cuts_views_too(plant: Plant) -> None:
    only_bms = [{"id": "bms-view", "subjects": [BMS], "scope": {"sites": ["plant"]}, "actions": ["view"]}]
    assert cut_by(plant, lambda: plant.write(grants=only_bms)) == "grant_ended"
    assert plant.development.api().read("plant/ahu-1", "supply-temp").status == 404
    with plant.development.modbus() as caller:
        assert caller.ask(READ) == b"\x83\x01"


def test_a_device_that_is_gone_or_changed_ends_its_sessions(plant: Plant) -> None:
    with plant.development.modbus("bms-sync") as caller:
        caller.ask(READ)
        session = plant.session_of(caller)
        plant.write(devices=[modbus_device("ahu-2", plant.device.port, 1)])
        assert caller.closed_within(3) < SOON_SECONDS
    assert plant.why(session) == "inventory_changed"
    with plant.development.modbus("bms-sync") as caller:
        assert caller.ask(READ) == b"\x83\x01"


def test_sessions_on_one_connection_end_with_the_true_reason_each(start: Start, tmp_path: Path) -> None:
    device, inventory = ScriptedDevice(), tmp_path / "inventory"
    devices = [modbus_device(name, device.port, unit) for name, unit in (("ahu-1", 1), ("ahu-2", 2))]
    write_inventory(inventory, devices)
    development = start("--inventory", str(inventory))

    def ends_after(change: Callable[[], object]) -> dict[str, str]:
        """Why the session for each device ended when one connection reached both."""
        with development.modbus(sni=None) as caller:
            assert [caller.ask(SETPOINT, unit) for unit in (1, 2)] == [SETPOINT, SETPOINT]
            opened = development.records("session_opened", peer=f"127.0.0.1:{caller.local_port}")
            change()
            assert caller.closed_within(SOON_SECONDS + 1) < SOON_SECONDS
        sessions = {str(record["device"]): str(record["session"]) for record in opened}
        closed = {key: development.eventually("session_closed", session=id_) for key, id_ in sessions.items()}
        return {key: str(record["reason"]) for key, record in closed.items()}

    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()
    freeze = {"id": "storm", "scope": {"devices": ["plant/ahu-1"]}, "starts": now, "zone": "UTC", "duration": "PT1H"}
    ends = ends_after(lambda: write_inventory(inventory, devices, freezes=[freeze]))
    assert ends == {"plant/ahu-1": "freeze_started", "plant/ahu-2": "connection_closed"}
    with development.modbus(sni=None) as caller:
        assert [caller.ask(SETPOINT, unit) for unit in (1, 2)] == [b"\x86\x01", SETPOINT]

    write_inventory(inventory, devices)
    with development.modbus(sni=None) as caller:
        until(lambda: caller.ask(SETPOINT, 1) == SETPOINT)
    only_bms = [{"id": "bms-view", "subjects": [BMS], "scope": {"sites": ["plant"]}, "actions": ["view"]}]
    ends = ends_after(lambda: write_inventory(inventory, devices, grants=only_bms))
    assert ends == {"plant/ahu-1": "grant_ended", "plant/ahu-2": "grant_ended"}


def test_a_policy_that_denies_cuts_and_a_broken_one_changes_nothing(plant: Plant) -> None:
    path = plant.development.folder / "policies" / "site.rego"
    denying = f'package site.session\n\nreasons contains "no_grant" if input.subject.id == "{ANA}"\n'
    try:
        assert cut_by(plant, lambda: path.write_text(denying)) == "policy_changed"
        with plant.development.modbus() as caller:
            assert caller.ask(READ) == b"\x83\x01"
        path.write_text("package site.session\n\nreasons contains\n")
        refused = plant.development.eventually("reload_refused")
        assert refused["what"] == "policy"
        status, readiness = plant.development.ops("/readyz")
        assert status == 503
        assert "policy" in json.dumps(readiness)
        with plant.development.modbus() as caller:
            assert caller.ask(READ) == b"\x83\x01"
    finally:
        path.unlink()


def test_an_inventory_with_a_typing_error_is_refused_recorded_and_changes_nothing(plant: Plant) -> None:
    with plant.development.modbus() as caller:
        caller.ask(SETPOINT)
        (plant.inventory / "broken.yaml").write_text("freezers: []\n")
        try:
            refused = plant.development.eventually("reload_refused", what="inventory")
            assert "freezers" in refused["problems"][0]
            assert caller.ask(SETPOINT) == SETPOINT
        finally:
            (plant.inventory / "broken.yaml").unlink()


def test_a_token_ends_its_tunnel_when_it_expires_unless_it_was_renewed(plant: Plant) -> None:
    development = plant.development
    began = time.monotonic()
    token = token_of(development, ANA, VENDOR, 8, "vendor-ana")
    with (
        TunnelCaller(development, "vendor-ana", "plant/ahu-1", token) as left,
        TunnelCaller(development, "vendor-ana", "plant/ahu-1", token) as renewed,
        TunnelCaller(development, "vendor-ana", "plant/ahu-1", token) as stolen,
    ):
        session = development.records("session_opened", listener="tunnel")[-3]["session"]
        renewed.control(type="renew", token=token_of(development, ANA, VENDOR, 600, "vendor-ana"))
        renewed.tells("renewed")
        stolen.control(type="renew", token=token_of(development, BMS, OWNER, 600))
        assert stolen.tells("renew_refused")["code"] == "subjects_differ"
        stolen.ended()
        assert stolen.told[-1]["reason"] == "denied"
        assert left.ask(READ)[0] == 3
        assert 6.9 < left.ended() - began < 8 + SOON_SECONDS
        assert left.tells("ending")["reason"] == "token_expired"
        assert renewed.ask(SETPOINT) == SETPOINT
    assert plant.why(session) == "token_expired"
    assert development.api().call("GET", "/v1/me", token=token).status == 401


def test_a_revocation_list_that_runs_out_ends_its_authoritys_sessions_unless_a_fresh_one_came(plant: Plant) -> None:
    development = plant.development
    authority = development.authority(VENDOR)

    def publish(seconds: float) -> None:
        """A list that runs out after so many seconds is in force."""
        changes = len(development.records("inventory_changed"))
        publish_crl(authority, (), time.time() + seconds - CRL_LIFETIME.total_seconds())
        until(lambda: len(development.records("inventory_changed")) > changes)

    publish(4)
    with development.modbus() as caller, development.modbus("bms-sync") as bystander:
        caller.ask(READ)
        bystander.ask(READ)
        session = plant.session_of(caller)
        publish(6)
        time.sleep(3.5)
        assert caller.ask(READ)[0] == 3
        assert 1.0 < caller.closed_within(5) < 2.5 + SOON_SECONDS
        bystander.ask(READ)
    assert plant.why(session) == "crl_stale"
    publish(CRL_LIFETIME.total_seconds())


def test_a_tunnel_is_refused_where_there_is_no_access(plant: Plant) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        TunnelCaller(plant.development, "secops-bo", "plant/ahu-1")
    assert caught.value.status == 404


def test_a_window_that_closes_ends_what_relied_on_it_and_nothing_else(told_story: Future[None]) -> None:
    told_story.result(30)
