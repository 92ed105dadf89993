"""SIGTERM: nobody new, everybody told, what is under way finishes and is recorded."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.crash.evidence import records_on_disk
from tests.end_to_end.development import Development, in_background, until
from tests.end_to_end.devices import ScriptedDevice, honest, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import digest_of, read_registers, write_register
from tests.end_to_end.tunnel_caller import TunnelCaller

pytestmark = pytest.mark.prompt

SLOW_SECONDS = 1.5


def recorded(development: Development, kind: str) -> list[dict[str, Any]]:
    records = [json.loads(octets) for octets in records_on_disk(development.folder / "ledger")]
    return [{"index": n, **record} for n, record in enumerate(records) if record["kind"] == kind]


def test_a_write_in_flight_finishes_sessions_end_with_the_true_reason_and_the_folder_serves_again(
    start: Start, tmp_path: Path
) -> None:
    def slow(connection: Any, asked: Any) -> None:
        if asked.pdu[0] == 6:
            time.sleep(SLOW_SECONDS)
        honest(connection, asked)

    device = ScriptedDevice(slow)
    budget = {"response_timeout_seconds": 4.0}
    inventory = write_inventory(tmp_path / "inventory", [modbus_device("ahu-1", device.port, 1, budget=budget)])
    development = start("--inventory", str(inventory), name="again")
    certificate = development.persona("vendor-ana").certificate.read_bytes()
    answers: list[int] = []
    with (
        development.modbus() as caller,
        development.modbus("bms-sync") as idle,
        TunnelCaller(development, "vendor-ana", "plant/ahu-1") as tunnel,
    ):
        idle.ask(read_registers(0))
        by_api = in_background(
            lambda: answers.append(development.api().write("plant/ahu-1", {"supply-temp-setpoint": 20}).status)
        )
        until(lambda: device.writes_seen)
        began = time.monotonic()
        development.process.send_signal(signal.SIGTERM)
        assert idle.closed_within(3) < 1.0
        assert tunnel.ended() - began < 1.2
        assert tunnel.tells("ending")["reason"] == "broker_stopped"
        caller.closed_within(3)
        by_api.join(10)
    development.stop()
    assert answers == [200]
    assert device.writes_seen == [write_register(10, 200)]
    (intent,) = [r for r in recorded(development, "intent") if r["digest"] == digest_of(write_register(10, 200))]
    (outcome,) = [r for r in recorded(development, "outcome") if r["intent"] == intent["index"]]
    assert outcome["result"] == "done"
    assert {record["reason"] for record in recorded(development, "session_closed")} == {"broker_stopped"}
    assert recorded(development, "broker_stopped")

    again = start("--inventory", str(inventory), name="again")
    with again.modbus() as caller:
        assert caller.ask(write_register(10, 182)) == write_register(10, 182)
    assert again.persona("vendor-ana").certificate.read_bytes() == certificate
    assert len(again.records("broker_started")) == 2
