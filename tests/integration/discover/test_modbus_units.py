"""`otbroker discover --modbus`: units that pymodbus' server is, and ones that answer what no unit should."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from broker.cli.config_files import load_inventory
from broker.model.way import ModbusTcpWay
from tests.end_to_end.modbus_caller import frame
from tests.integration.discover.conftest import Run
from tests.integration.discover.field_devices import running
from tests.integration.upstreams.scripted_device import ScriptedDevice, Seen
from tests.ports import free_port

_READS_WHAT_IT_IS = {0x2B, 0x11}


@asynccontextmanager
async def pymodbus_units(*units: int) -> AsyncIterator[tuple[int, list[int]]]:
    """A gateway with these units: its port, and the functions that it was sent."""
    functions: list[int] = []

    def trace(sending: bool, pdu: Any) -> Any:
        if not sending:
            functions.append(pdu.function_code)
        return pdu

    identity = ModbusDeviceIdentification(
        info_name={"VendorName": "Acme", "ProductCode": "M-3\n", "MajorMinorRevision": "1.2", "ModelName": "Meter 3"}
    )
    devices = [SimDevice(unit, simdata=[SimData(0, values=[0] * 10, datatype=DataType.REGISTERS)]) for unit in units]
    port = free_port()
    server = ModbusTcpServer(devices, identity=identity, address=("127.0.0.1", port), trace_pdu=trace)
    await server.serve_forever(background=True)
    yield port, functions
    await server.shutdown()


@asynccontextmanager
async def scripted_unit(device: ScriptedDevice) -> AsyncIterator[int]:
    server = await asyncio.start_server(device.serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def test_a_unit_says_what_it_is_and_is_asked_nothing_else(tmp_path: Path, discover: Run) -> None:
    with running(pymodbus_units(3)) as ((port, functions),):
        ran = discover("--modbus", f"127.0.0.1:{port}", "--unit", "3", interface=False)
    assert ran.status == 0, ran.err
    assert set(functions) == _READS_WHAT_IT_IS
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "found.yaml").write_text(ran.out, encoding="utf-8")
    (device,) = load_inventory(tmp_path / "inventory").devices
    assert (device.id, device.way, device.unit_id) == ("meter-3-unit-3", ModbusTcpWay("127.0.0.1", port), 3)
    assert 'product-code "M-3"' in ran.out


def test_of_a_gateway_the_units_are_found_that_are_there_whatever_they_can(discover: Run) -> None:
    async def says(writer: asyncio.StreamWriter, seen: Seen) -> None:
        exception = 1 if seen.unit == 3 else 11  # illegal function; target failed to respond
        writer.write(frame(bytes((seen.pdu[0] | 0x80, exception)), seen.transaction, seen.unit))

    device = ScriptedDevice(says)
    with running(scripted_unit(device)) as (port,):
        ran = discover("--modbus", f"127.0.0.1:{port}", "--unit", "1-4", "--format", "json", interface=False)
    assert [each["unit_id"] for each in ran.document["devices"]] == [3]
    begun, done = ran.commands
    assert (begun.about["modbus"], begun.about["units"]) == (f"127.0.0.1:{port}", "1-4")
    assert (done.about["answered"], done.about["read-1"]) == ("1", "unit-3:2/0")
    assert {seen.unit for seen in device.seen} == {1, 2, 3, 4}


def test_a_register_map_becomes_the_points_of_the_unit_and_is_compared(tmp_path: Path, discover: Run) -> None:
    table = tmp_path / "map.csv"
    table.write_text("name,register,type,unit,minimum,maximum,action\nSetpoint,40011,int16,°C,16,22,adjust\n")
    folder = tmp_path / "inventory"
    folder.mkdir()
    with running(pymodbus_units(3)) as ((port, _),):
        asked = ("--modbus", f"127.0.0.1:{port}", "--unit", "3", "--map", str(table))
        ran = discover(*asked, interface=False)
        (folder / "found.yaml").write_text(ran.out, encoding="utf-8")
        (device,) = load_inventory(folder).devices
        same = discover(*asked, "--inventory", str(folder), interface=False)
        table.write_text(table.read_text().replace("40011", "40012").replace("int16", "uint16"))
        other = discover(*asked, "--inventory", str(folder), "--format", "json", interface=False)
    assert [(point.id, point.action, point.engineering_unit) for point in device.points] == [
        ("setpoint", "adjust", "°C")
    ]
    assert (ran.status, same.status, other.status) == (0, 0, 3)
    assert sorted(each["kind"] for each in other.document["differences"]) == ["gone", "new"]


def test_a_map_with_mistakes_is_told_before_any_unit_is_asked(tmp_path: Path, discover: Run) -> None:
    table = tmp_path / "map.csv"
    table.write_text("name,table,address\nA,coil,1\nB,koil,2\n")
    with running(pymodbus_units(1)) as ((port, functions),):
        ran = discover("--modbus", f"127.0.0.1:{port}", "--map", str(table), interface=False)
    assert (ran.status, functions, ran.commands) == (1, [], ())
    assert f"{table}:3:3" in ran.err


def test_identification_that_never_ends_is_left_and_nothing_is_sent_twice(discover: Run) -> None:
    async def says(writer: asyncio.StreamWriter, seen: Seen) -> None:
        if seen.pdu[0] == 0x2B:
            number = seen.pdu[3]
            more = bytes((0x2B, 0x0E, seen.pdu[2], 0x83, 0xFF, (number + 1) % 256, 1, number, 2)) + b"\x1b["
            writer.write(frame(more, seen.transaction, seen.unit))
        # function 17 is not answered at all

    device = ScriptedDevice(says)
    with running(scripted_unit(device)) as (port,):
        ran = discover("--modbus", f"127.0.0.1:{port}", "--wait", "0.3", interface=False)
    assert ran.status == 0
    assert len(device.seen) < 20
    assert sum(seen.pdu[0] == 0x11 for seen in device.seen) == 1
    assert {seen.pdu[0] for seen in device.seen} == _READS_WHAT_IT_IS
    assert all(line.isprintable() for line in ran.out.split("\n"))


def test_a_gateway_that_is_not_there_is_told(discover: Run) -> None:
    ran = discover("--modbus", f"127.0.0.1:{free_port()}", "--unit", "1-9", interface=False)
    assert ran.status == 4
    assert "no connection can be made" in ran.err
