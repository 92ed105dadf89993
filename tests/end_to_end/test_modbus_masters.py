"""Ordinary Modbus masters reach a C device behind the broker, and nothing that was refused does."""

import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pymodbus.client import ModbusTlsClient

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development
from tests.end_to_end.devices import Recorder, ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import (
    digest_of,
    digest_of_frame,
    frame,
    read_registers,
    write_register,
    write_registers,
)
from tests.end_to_end.peers import libmodbus_device, npm_package, plaintext_port, program


@dataclass
class Plant:
    development: Development
    device: Recorder
    other: ScriptedDevice


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    with libmodbus_device() as port:
        device, other = Recorder(port), ScriptedDevice()
        devices = [modbus_device("ahu-1", device.port, 1), modbus_device("ahu-2", other.port, 2)]
        yield Plant(start_shared("--inventory", str(write_inventory(folder, devices))), device, other)


class Naming(ssl.SSLContext):
    """A client context that names the device, which pymodbus' synchronous client leaves to its context."""

    name: str | None = None

    def wrap_socket(self, sock: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, **{**options, "server_hostname": self.name})


@pytest.mark.parametrize("name", ["ahu-1.plant", None])
def test_pymodbus_reads_and_writes_over_tls_with_a_name_and_without(plant: Plant, name: str | None) -> None:
    persona = plant.development.persona("vendor-ana")
    context = Naming(ssl.PROTOCOL_TLS_CLIENT)
    context.name = name
    context.check_hostname = name is not None
    context.load_verify_locations(plant.development.folder / "ca.pem")
    context.load_cert_chain(persona.certificate, persona.key)
    client = ModbusTlsClient("127.0.0.1", port=plant.development.modbus_port, sslctx=context, timeout=5, retries=0)
    assert client.connect()
    try:
        assert client.read_holding_registers(3, count=4, device_id=1).registers == [3, 4, 5, 6]
        assert not client.write_register(10, 205, device_id=1).isError()
        assert client.read_holding_registers(10, count=1, device_id=1).registers == [205]
        assert client.write_register(10, 300, device_id=1).exception_code == 1
    finally:
        client.close()
    assert write_register(10, 205) in plant.device.seen
    assert write_register(10, 300) not in plant.device.seen
    assert plant.development.outcomes_of(digest_of(write_register(10, 205)))[-1]["result"] == "done"
    assert plant.development.outcomes_of(digest_of(write_register(10, 300)))[-1]["result"] == "denied"


def test_mbpoll_through_socat_reads_writes_and_is_refused(plant: Plant) -> None:
    persona = plant.development.persona("vendor-ana")
    with plaintext_port(plant.development, persona, "ahu-1.plant") as port:

        def mbpoll(*arguments: str) -> str:
            command = [program("mbpoll"), "-0", "-1", "-m", "tcp", "-p", str(port), "-a", "1", "-t", "4"]
            done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30)
            return done.stdout + done.stderr

        assert "[20]: \t20\n[21]: \t21\n" in mbpoll("-r", "20", "-c", "2", "127.0.0.1")
        assert "Written 1 references" in mbpoll("-r", "10", "127.0.0.1", "195")
        assert "Illegal function" in mbpoll("-r", "10", "127.0.0.1", "100")
    assert write_register(10, 195) in plant.device.seen
    assert write_register(10, 100) not in plant.device.seen


PIPELINING = """
const ModbusRTU = require("modbus-serial");
const client = new ModbusRTU();
client.connectTCP("127.0.0.1", { port: Number(process.argv[1]) }).then(async () => {
    client.setID(1);
    client.setTimeout(10000);
    const asked = [];
    for (let n = 0; n < 60; n++) asked.push(client.readHoldingRegisters(n, 1).then((got) => got.data[0]));
    const refused = client.writeRegister(11, 5).then(() => "written", (error) => error.modbusCode);
    console.log(JSON.stringify({ read: await Promise.all(asked), refused: await refused }));
    client.close(() => process.exit(0));
}).catch((error) => { console.error(error); process.exit(1); });
"""


def test_modbus_serial_pipelines_and_every_reply_belongs_to_its_request(plant: Plant) -> None:
    place = npm_package("modbus-serial")
    persona = plant.development.persona("vendor-ana")
    with plaintext_port(plant.development, persona, "ahu-1.plant") as port:
        done = subprocess.run(
            [program("node"), "-e", PIPELINING, str(port)], cwd=place, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [value for n, value in enumerate(said["read"]) if n != 10] == [n for n in range(60) if n != 10]
    assert said["refused"] == 1
    assert write_register(11, 5) not in plant.device.seen


@pytest.mark.parametrize(
    "pdu",
    [
        pytest.param(write_register(10, 159), id="below the limit"),
        pytest.param(write_register(10, 221), id="above the limit"),
        pytest.param(write_registers(10, 200, 1), id="beyond the point"),
        pytest.param(write_register(12, 200), id="an undescribed register"),
        pytest.param(write_register(30, 1), id="part of a point"),
        pytest.param(write_register(0, 200), id="a point that is only read"),
        pytest.param(bytes.fromhex("05000aff00"), id="a coil nobody described"),
        pytest.param(bytes.fromhex("16000a0000ffff"), id="a mask"),
        pytest.param(bytes.fromhex("1700000001000c0001020001"), id="a write inside a read"),
        pytest.param(bytes.fromhex("08000100 00"), id="restart communications"),
    ],
)
def test_what_is_denied_is_exception_01_recorded_and_never_reaches_the_device(plant: Plant, pdu: bytes) -> None:
    before = len(plant.device.seen)
    with plant.development.modbus() as caller:
        assert caller.ask(pdu) == bytes((pdu[0] | 0x80, 1))
    assert len(plant.device.seen) == before
    outcomes = plant.development.outcomes_of(digest_of(pdu))
    assert outcomes
    assert {outcome["result"] for outcome in outcomes} == {"denied"}


@pytest.mark.parametrize("unit", [2, 3, 247])
def test_a_unit_that_a_name_does_not_lead_to_is_exception_01_and_recorded(plant: Plant, unit: int) -> None:
    before = len(plant.device.seen), len(plant.other.seen)
    with plant.development.modbus() as caller:
        assert caller.ask(read_registers(7, unit), unit=unit) == b"\x83\x01"
    assert (len(plant.device.seen), len(plant.other.seen)) == before
    plant.development.eventually("frame_refused", code="unit_unknown", digest=digest_of_frame(read_registers(7, unit)))


def test_without_a_name_the_unit_chooses_the_device_and_broadcast_chooses_none(plant: Plant) -> None:
    with plant.development.modbus(sni=None) as caller:
        assert caller.ask(read_registers(3), unit=1) == b"\x03\x02\x00\x03"
        assert caller.ask(read_registers(3), unit=2) == b"\x03\x02\x00\xb4"
        before = len(plant.device.seen), len(plant.other.seen)
        assert caller.ask(write_register(10, 180), unit=0) == b"\x86\x01"
    assert (len(plant.device.seen), len(plant.other.seen)) == before
    plant.development.eventually("frame_refused", code="unit_unknown", digest=digest_of_frame(write_register(10, 180)))


@pytest.mark.parametrize(
    ("pdu", "exception"),
    [
        (bytes.fromhex("03000000"), 3),
        (bytes.fromhex("0300000000"), 3),
        (bytes.fromhex("030000007e"), 3),
        (bytes.fromhex("03ffff0002"), 3),
        (bytes.fromhex("0300000001ff"), 3),
        (bytes.fromhex("050001 1234"), 3),
        (bytes.fromhex("10000a000103010203"), 3),
        (bytes.fromhex("06000a"), 3),
        (bytes.fromhex("5a01"), 1),
        (bytes.fromhex("64"), 1),
    ],
)
def test_a_malformed_request_is_answered_recorded_and_goes_nowhere(plant: Plant, pdu: bytes, exception: int) -> None:
    before = len(plant.device.seen)
    with plant.development.modbus() as caller:
        assert caller.ask(pdu) == bytes((pdu[0] | 0x80, exception))
        assert caller.ask(read_registers(3)) == b"\x03\x02\x00\x03"
    assert len(plant.device.seen) == before + 1
    refused = plant.development.eventually("frame_refused", digest=digest_of_frame(pdu))
    assert (refused["direction"], refused["size"], refused["device"]) == ("caller", len(pdu), "plant/ahu-1")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(frame(read_registers(0), protocol=1), id="another protocol"),
        pytest.param(frame(read_registers(0), length=1), id="too short"),
        pytest.param(frame(read_registers(0), length=300), id="too long"),
    ],
)
def test_what_is_no_frame_closes_the_connection_and_is_recorded(plant: Plant, octets: bytes) -> None:
    before = len(plant.device.seen)
    with plant.development.modbus() as caller:
        assert caller.ask(read_registers(3)) == b"\x03\x02\x00\x03"
        caller.send(octets)
        caller.closed_within(2)
        peer = f"127.0.0.1:{caller.local_port}"
    assert len(plant.device.seen) == before + 1
    opened = plant.development.eventually("session_opened", peer=peer)
    closed = plant.development.eventually("session_closed", session=opened["session"])
    assert closed["reason"] == "frame_refused"
    plant.development.eventually("frame_refused", session=opened["session"])
