"""Devices that answer wrongly harm nobody, and a write is never sent twice."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development
from tests.end_to_end.devices import Script, ScriptedDevice, good_reply, honest, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import Reply, digest_of, frame, read_registers, write_register

SECRET = bytes.fromhex("5ec2e7")
TIMEOUT_SECONDS = 0.6


@dataclass
class Plant:
    development: Development
    device: ScriptedDevice


@pytest.fixture(scope="module")
def shared_plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Plant:
    device = ScriptedDevice()
    budget = {"response_timeout_seconds": TIMEOUT_SECONDS}
    inventory = write_inventory(
        tmp_path_factory.mktemp("inventory"), [modbus_device("ahu-1", device.port, 1, budget=budget)]
    )
    return Plant(start_shared("--inventory", str(inventory)), device)


@pytest.fixture
def plant(shared_plant: Plant) -> Iterator[Plant]:
    """The device forgets what it saw, and is honest again afterwards."""
    shared_plant.device.seen.clear()
    yield shared_plant
    shared_plant.device.script = honest


def answering(octets: Callable[[Reply], bytes]) -> Script:
    def script(connection: socket.socket, asked: Reply) -> None:
        connection.sendall(octets(asked))

    return script


def late(connection: socket.socket, asked: Reply) -> None:
    time.sleep(TIMEOUT_SECONDS + 0.3)
    connection.sendall(frame(good_reply(asked.pdu), asked.transaction, asked.unit))


def silent(connection: socket.socket, asked: Reply) -> None:
    """Nothing."""


def hang_up(connection: socket.socket, asked: Reply) -> None:
    connection.shutdown(socket.SHUT_RDWR)


ODD: dict[str, Script] = {
    "another transaction": answering(lambda a: frame(good_reply(a.pdu), a.transaction ^ 1, a.unit)),
    "another unit": answering(lambda a: frame(good_reply(a.pdu), a.transaction, a.unit + 1)),
    "another function": answering(lambda a: frame(b"\x04\x02" + SECRET[:2], a.transaction, a.unit)),
    "too short": answering(lambda a: frame(good_reply(a.pdu)[:-1], a.transaction, a.unit)),
    "too long": answering(lambda a: frame(good_reply(a.pdu) + SECRET, a.transaction, a.unit)),
    "another protocol": answering(lambda a: frame(good_reply(a.pdu), a.transaction, a.unit, protocol=7)),
    "a length beyond the limit": answering(lambda a: frame(good_reply(a.pdu), a.transaction, a.unit, length=60_000)),
    "garbage": answering(lambda a: SECRET * 100),
}
NOTHING: dict[str, Script] = {"late": late, "silent": silent, "hang-up": hang_up}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_reply_to_a_read_is_an_exception_and_nothing_of_it_passes(plant: Plant, kind: str) -> None:
    plant.device.script = ODD[kind]
    start = 20 + list(ODD).index(kind)
    with plant.development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(start)) == b"\x83\x04"
        plant.device.script = honest
        assert caller.ask(read_registers(60)) == b"\x03\x02\x00\xb4"
    (outcome,) = plant.development.outcomes_of(digest_of(read_registers(start)))
    assert outcome["result"] == "bad_reply"
    assert plant.device.seen == [read_registers(start), read_registers(60)]


@pytest.mark.parametrize("kind", NOTHING)
def test_no_reply_to_a_read_is_exception_0b(plant: Plant, kind: str) -> None:
    plant.device.script = NOTHING[kind]
    start = 40 + list(NOTHING).index(kind)
    with plant.development.modbus("bms-sync") as caller:
        assert caller.ask(read_registers(start)) == b"\x83\x0b"
        plant.device.script = honest
        assert caller.ask(read_registers(61)) == b"\x03\x02\x00\xb4"
    (outcome,) = plant.development.outcomes_of(digest_of(read_registers(start)))
    assert outcome["result"] == "no_reply"


@pytest.mark.parametrize("kind", {**ODD, **NOTHING})
def test_a_write_without_a_proper_reply_is_unknown_and_never_sent_again(plant: Plant, kind: str) -> None:
    scripts = {**ODD, **NOTHING}
    plant.device.script = scripts[kind]
    write = write_register(10, 170 + list(scripts).index(kind))
    with plant.development.modbus() as caller:
        assert caller.ask(write) == b"\x86\x04"
        plant.device.script = honest
        assert caller.ask(read_registers(62)) == b"\x03\x02\x00\xb4"
    (outcome,) = plant.development.outcomes_of(digest_of(write))
    assert outcome["result"] == "unknown"
    assert plant.device.writes_seen == [write]


def test_a_write_by_the_api_without_reply_is_504_unknown_and_sent_once(plant: Plant) -> None:
    plant.device.script = silent
    answer = plant.development.api().write("plant/ahu-1", {"supply-temp-setpoint": 21})
    assert (answer.status, answer.body["outcome"]) == (504, "unknown")
    assert plant.device.writes_seen == [write_register(10, 210)]


def test_two_replies_are_never_taken_for_two_answers(plant: Plant) -> None:
    def twice(connection: socket.socket, asked: Reply) -> None:
        good = frame(good_reply(asked.pdu), asked.transaction, asked.unit)
        forged = frame(b"\x03\x02\x5e\xc2", (asked.transaction + 1) & 0xFFFF, asked.unit)
        connection.sendall(good + forged)

    plant.device.script = twice
    with plant.development.modbus("bms-sync") as caller:
        for start in (70, 71, 72):
            assert caller.ask(read_registers(start)) in (b"\x03\x02\x00\xb4", b"\x83\x04")
        plant.device.script = honest
        assert caller.ask(read_registers(73)) == b"\x03\x02\x00\xb4"


def test_the_devices_own_exception_is_passed_on_and_recorded(plant: Plant) -> None:
    plant.device.script = answering(lambda a: frame(bytes((a.pdu[0] | 0x80, 2)), a.transaction, a.unit))
    with plant.development.modbus() as caller:
        assert caller.ask(read_registers(80)) == b"\x83\x02"
        assert caller.ask(write_register(10, 199)) == b"\x86\x02"
    (outcome,) = plant.development.outcomes_of(digest_of(write_register(10, 199)))
    assert outcome["result"] == "device_refused"
    assert plant.device.writes_seen == [write_register(10, 199)]


def test_a_device_that_is_gone_is_exception_0a_and_comes_back(plant: Plant) -> None:
    port = plant.device.port
    with plant.development.modbus() as caller:
        assert caller.ask(read_registers(90)) == b"\x03\x02\x00\xb4"
        plant.device.close()
        caller.ask(read_registers(91))
        assert caller.ask(read_registers(92)) == b"\x83\x0a"
        assert caller.ask(write_register(10, 200)) == b"\x86\x0a"
        (outcome,) = plant.development.outcomes_of(digest_of(write_register(10, 200)))
        assert outcome["result"] == "not_sent"
        plant.device = ScriptedDevice(port=port)
        end = time.monotonic() + 15
        while caller.ask(read_registers(93)) != b"\x03\x02\x00\xb4":
            assert time.monotonic() < end
            time.sleep(0.2)
