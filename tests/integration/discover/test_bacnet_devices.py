"""`otbroker discover` with devices of bacpypes3, in Rust, and our own: what it proposes, and that it only reads."""

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryOutputObject
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.multistate import MultiStateValueObject

from broker.adapters.simulators.bacnet_device import BacnetDeviceSimulator
from broker.cli.config_files import load_inventory
from broker.model.place import Inventory
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay
from tests.integration.discover.conftest import Run
from tests.integration.discover.field_devices import bacpypes_device, bbmd, only_reads, running, rusty_device, watched

STATE = {"eventState": "normal", "statusFlags": [0, 0, 0, 0], "outOfService": False}


class CommandableMode(Commandable, MultiStateValueObject):
    """A mode with priorities."""

    _required = ("presentValue", "relinquishDefault")


def plant_objects() -> list[object]:
    return [
        AnalogOutputObject(
            objectIdentifier=("analog-output", 1), objectName="Heating Valve", presentValue=0.0, relinquishDefault=0.0,
            units="percent", minPresValue=0.0, maxPresValue=100.0, description="2-way\nvalve", **STATE,
        ),
        BinaryOutputObject(
            objectIdentifier=("binary-output", 1), objectName="Fan", presentValue="inactive", polarity="normal",
            relinquishDefault="inactive", inactiveText="Stopped", activeText="Running", **STATE,
        ),
        CommandableMode(
            objectIdentifier=("multi-state-value", 1), objectName="Mode", presentValue=1, relinquishDefault=1,
            numberOfStates=3, stateText=["Off", "Heat", "Cool"], **STATE,
        ),
        AnalogValueObject(
            objectIdentifier=("analog-value", 1), objectName="Fixed", presentValue=1.0, units="volts", **STATE
        ),
    ]  # fmt: skip


def sensors(count: int) -> Callable[[], list[object]]:
    return lambda: [
        AnalogInputObject(
            objectIdentifier=("analog-input", number), objectName=f"Sensor {number}", presentValue=1.0,
            units="degrees-celsius", **STATE,
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


def written(tmp_path: Path, text: str) -> Inventory:
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "found.yaml").write_text(text, encoding="utf-8")
    return load_inventory(folder)


def test_devices_of_three_makers_become_an_inventory_and_are_only_read(tmp_path: Path, discover: Run) -> None:
    ears = (
        watched(bacpypes_device(1001, "AHU 1", plant_objects)),
        watched(bacpypes_device(1002, "AHU 1", sensors(120), segmentationSupported="no-segmentation")),
        watched(rusty_device(1003, "Rusty")),
    )
    with running(*ears) as devices:
        ran = discover("--devices", *(f"127.0.0.1:{each.port}" for each in devices))
        assert [only_reads(each.services) for each in devices] == [True] * 3
        ports = [each.port for each in devices]
    assert ran.status == 0, ran.err
    found = {device.id: device for device in written(tmp_path, ran.out).devices}
    assert list(found) == ["ahu-1-device-1001", "ahu-1-device-1002", "rusty"] or set(found) == {
        "ahu-1-device-1001", "ahu-1-device-1002", "rusty",
    }  # fmt: skip
    ways = {device.way for device in found.values()}
    assert {(way.host, way.port, way.instance) for way in ways if isinstance(way, BacnetIpWay)} == {
        ("127.0.0.1", port, instance) for port, instance in zip(ports, (1001, 1002, 1003), strict=True)
    }
    points = {point.id: point for point in found["ahu-1-device-1001"].points}
    assert {name: point.action for name, point in points.items()} == {
        "heating-valve": Action.CONTROL, "fan": Action.CONTROL, "mode": Action.CONTROL, "fixed": None,
    }  # fmt: skip
    valve = points["heating-valve"]
    assert (valve.engineering_unit, valve.minimum, valve.maximum) == ("percent", Decimal(0), Decimal(100))
    assert (valve.description, points["mode"].maximum) == ("2-way valve", Decimal(3))
    assert len(found["ahu-1-device-1002"].points) == 120
    rusty = {point.id: point for point in found["rusty"].points}
    assert {name: point.action for name, point in rusty.items()} == {
        "zone-setpoint": Action.ADJUST, "fixed": None, "zone-temp": None,
        "valve": Action.CONTROL, "fan": Action.CONTROL, "mode": Action.CONTROL,
    }  # fmt: skip
    assert rusty["zone-setpoint"].engineering_unit == "degrees-celsius"
    assert 'inactive = "Stopped", active = "Running"' in ran.out
    assert '1 = "Off", 2 = "Heat", 3 = "Cool"' in ran.out


class _Simulated:
    """Our own device, as a context manager that gives itself."""

    def __init__(self) -> None:
        self.device = BacnetDeviceSimulator(2001)

    async def __aenter__(self) -> "_Simulated":
        self.port = await self.device.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.device.stop()


def test_an_inventory_made_of_a_look_does_not_differ_at_the_next_and_one_that_does_is_told(
    tmp_path: Path, discover: Run
) -> None:
    with running(_Simulated()) as (simulated,):
        place = f"127.0.0.1:{simulated.port}"
        first = discover("--devices", place)
        written(tmp_path, first.out)
        folder = tmp_path / "inventory"
        again = discover("--devices", place, "--inventory", str(folder))
        changed = first.out.replace("degrees-celsius", "percent").replace("id: occupied", "id: presence")
        changed = changed.replace("instance: 2\n", "instance: 7\n").replace(str(simulated.port), "4711")
        (folder / "found.yaml").write_text(changed, encoding="utf-8")
        other = discover("--devices", place, "--inventory", str(folder), "--format", "json")
        assert simulated.device.write_log == []
    assert (again.status, "devices: []" in again.out) == (0, True)
    assert other.status == 3
    told = [(each["kind"], each["point"], each["what"]) for each in other.document["differences"]]
    assert sorted(told) == [
        ("changed", "", "upstream"),
        ("changed", "zone-setpoint", "unit"),
        ("changed", "zone-temp", "unit"),
        ("gone", "air-flow", ""),
        ("new", "air-flow-analog-input-2", ""),
    ]


def test_a_look_is_recorded_before_anything_is_sent_and_at_its_end(discover: Run) -> None:
    with running(watched(bacpypes_device(1001, "AHU 1", sensors(3)))) as (device,):
        ran = discover("--devices", f"127.0.0.1:{device.port}", "--low", "1000", "--high", "1999")
        sent = device.datagrams
    begun, done = ran.commands
    assert (begun.command, begun.outcome, done.outcome, begun.id) == ("discover", "begun", "done", done.id)
    assert begun.about["site"] == "plant"
    assert begun.about["instances"] == "1000-1999"
    assert begun.about["interface"].startswith("127.0.0.1/32:")
    assert begun.about["devices"] == f"127.0.0.1:{device.port}"
    assert begun.claimed_by["uid"] == str(os.getuid())
    requests = sent - 1  # the Who-Is
    assert (done.about["answered"], done.about["read-1"]) == ("1", f"1001:{requests}/3")


def test_what_cannot_be_recorded_is_not_begun(tmp_path: Path, discover: Run) -> None:
    (tmp_path / "file").write_text("no folder")
    with running(watched(bacpypes_device(1001, "AHU 1"))) as (device,):
        ran = discover("--devices", f"127.0.0.1:{device.port}", journal=["--journal", str(tmp_path / "file")])
        assert (ran.status, device.datagrams) == (1, 0)
    assert "cannot be recorded" in ran.err


def test_without_settings_of_a_broker_and_without_a_journal_nothing_is_sent(tmp_path: Path, discover: Run) -> None:
    with running(watched(bacpypes_device(1001, "AHU 1"))) as (device,):
        ran = discover("--devices", f"127.0.0.1:{device.port}", journal=["--settings", str(tmp_path / "none.yaml")])
        assert (ran.status, device.datagrams) == (1, 0)


def test_a_device_that_does_not_answer_leaves_the_rest(discover: Run) -> None:
    with running(watched(bacpypes_device(1001, "AHU 1", sensors(2)))) as (device,):
        ran = discover("--devices", "127.0.0.1:9", f"127.0.0.1:{device.port}")
    assert ran.status == 0
    assert "1 device answered" in ran.err


def test_a_foreign_device_of_a_bbmd_hears_who_is_behind_it_and_leaves_it(discover: Run) -> None:
    with running(bbmd(3001, "Behind")) as ((port, foreign),):
        ran = discover("--bbmd", f"127.0.0.1:{port}")
        assert foreign == []
    assert (ran.status, "id: behind" in ran.out) == (0, True), ran.err
    assert ran.commands[0].about["bbmd"] == f"127.0.0.1:{port}"


def test_a_bbmd_that_takes_no_foreign_devices_is_told(discover: Run) -> None:
    with running(bacpypes_device(3001, "No BBMD")) as (port,):
        ran = discover("--bbmd", f"127.0.0.1:{port}")
    assert ran.status == 1
    assert "does not take this machine" in ran.err
    assert [each.outcome for each in ran.commands] == ["begun", "bbmd_refuses"]


def test_bac0_leaves_nothing_behind_and_reads_no_environment_from_the_working_folder(
    tmp_path: Path, discover: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    (here / ".env").write_text("OTB_TEST_LEAK=1\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    with running(watched(bacpypes_device(1001, "AHU 1"))) as (device,):
        ran = discover("--devices", f"127.0.0.1:{device.port}")
    assert ran.status == 0
    assert "OTB_TEST_LEAK" not in os.environ
    assert (list(home.iterdir()), [each.name for each in here.iterdir()]) == ([], [".env"])
    assert (os.environ["HOME"], Path.cwd()) == (str(home), here)
    assert ran.out.startswith("# Proposed by")
    assert "BAC0" not in ran.out + ran.err


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path, discover: Run) -> None:
    there = tmp_path / "found.yaml"
    there.write_text("mine")
    ran = discover("--devices", "127.0.0.1:9", "--output", str(there))
    assert (ran.status, there.read_text(), ran.commands) == (1, "mine", ())
