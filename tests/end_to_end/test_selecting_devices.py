"""A device with an address of its own is reached there, whatever name or unit the caller gives; settings on record."""

from pathlib import Path

from tests.end_to_end.conftest import Start
from tests.end_to_end.devices import ScriptedDevice, honest, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import ModbusCaller, read_registers, write_register
from tests.ports import free_port


def test_an_address_of_its_own_leads_to_that_device_alone_and_a_change_of_settings_is_recorded(
    start: Start, tmp_path: Path
) -> None:
    own, other, port = ScriptedDevice(honest), ScriptedDevice(honest), free_port()
    devices = [
        modbus_device("ahu-1", other.port, 1),
        modbus_device("own-1", own.port, 7, listen=f"127.0.0.1:{port}"),
    ]
    inventory = write_inventory(tmp_path / "inventory", devices)
    first = start(name="again")
    (started,) = first.records("broker_started")
    assert set(started["revisions"]) == {"settings", "policy", "inventory", "tzdata"}
    first.stop()

    development = start("--inventory", str(inventory), name="again")
    for n, name in enumerate((None, "ahu-1.plant", "own-1.plant")):
        with ModbusCaller(port, development.tls("vendor-ana"), name) as caller:
            for unit in (7, 0, 255):
                assert caller.ask(write_register(10, 180 + n), unit) == write_register(10, 180 + n)
            assert caller.ask(read_registers(0), 1) == b"\x83\x01"
    assert len(own.writes_seen) == 9
    assert not other.writes_seen
    (changed,) = development.records("settings_changed")
    assert changed["previous"] == started["revisions"]["settings"]
    assert changed["revision"] == development.records("broker_started")[-1]["revisions"]["settings"]
    archived = {path.name for path in (development.folder / "ledger" / "archive").iterdir()}
    assert {f"settings-{changed['revision']}.json", f"settings-{changed['previous']}.json"} <= archived


def test_refused_connections_are_counted_by_listener_and_cause(start: Start) -> None:
    development = start()
    try:
        with development.modbus(None) as caller:
            caller.ask(read_registers(0))
    except OSError:
        pass
    _, metrics = development.ops("/metrics")
    rows = [row for row in metrics.splitlines() if row.startswith("otbroker_connections_refused_total{")]
    assert [row for row in rows if 'listener="modbus_tls"' in row and row.endswith(" 1.0")], rows
