"""Many callers, slow callers and callers who ask much at once do not harm one another."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from broker.cli.building import BMS
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, ModbusCaller, until
from tests.end_to_end.devices import ScriptedDevice, modbus_device, write_inventory
from tests.end_to_end.modbus_caller import frame, read_registers, write_register
from tests.end_to_end.tunnel_caller import TunnelCaller

IDLE = 300
PIPELINED = 200


@dataclass
class Plant:
    development: Development
    device: ScriptedDevice


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    def numbered(connection: socket.socket, asked: object) -> None:
        """Every register holds its own address."""
        transaction, unit, pdu = asked  # type: ignore[misc]
        start, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        words = b"".join((start + n).to_bytes(2, "big") for n in range(count))
        connection.sendall(frame(bytes((3, 2 * count)) + words if pdu[0] == 3 else pdu[:5], transaction, unit))

    device = ScriptedDevice(numbered)
    inventory = write_inventory(tmp_path_factory.mktemp("inventory"), [modbus_device("ahu-1", device.port, 1)])
    yield Plant(start_shared("--inventory", str(inventory)), device)


def test_hundreds_of_idle_connections_are_held_and_then_served(plant: Plant) -> None:
    context = plant.development.tls("bms-sync")
    port = plant.development.modbus_port
    callers = [ModbusCaller(port, context, "ahu-1.plant") for _ in range(IDLE)]
    try:
        assert f"{IDLE}" in plant.development.ops("/metrics")[1]
        for number, caller in enumerate(callers):
            assert caller.ask(read_registers(number)) == bytes((3, 2)) + number.to_bytes(2, "big")
    finally:
        for caller in callers:
            caller.close()


def test_pipelined_requests_are_answered_in_order_allowed_and_denied_alike(plant: Plant) -> None:
    with plant.development.modbus() as caller:
        asked = [read_registers(n) if n % 5 else write_register(n, 1) for n in range(PIPELINED)]
        caller.send(b"".join(frame(pdu, transaction=n) for n, pdu in enumerate(asked)))
        for n in range(PIPELINED):
            reply = caller.receive()
            assert reply.transaction == n
            assert reply.pdu == (bytes((3, 2)) + n.to_bytes(2, "big") if n % 5 else b"\x86\x01")


def test_requests_cut_anywhere_are_put_together(plant: Plant) -> None:
    with plant.development.modbus("bms-sync") as caller:
        for octet in frame(read_registers(7), transaction=9):
            caller.send(bytes((octet,)))
        assert caller.receive().pdu == b"\x03\x02\x00\x07"


@pytest.mark.parametrize("politely", [True, False])
def test_a_caller_who_half_closes_gets_the_replies_to_what_it_asked(plant: Plant, politely: bool) -> None:
    with plant.development.modbus("bms-sync") as caller:
        caller.send(b"".join(frame(read_registers(n), transaction=n) for n in range(20)))
        caller.half_close(politely=politely)
        for n in range(20):
            assert caller.receive().transaction == n
        caller.closed_within(5)


def test_a_caller_who_never_reads_its_replies_disturbs_nobody(plant: Plant) -> None:
    context = plant.development.tls("bms-sync")
    with ModbusCaller(plant.development.modbus_port, context, "ahu-1.plant", receive_octets=2048) as slow:
        slow.socket.settimeout(1.0)
        flood = b"".join(frame(read_registers(n % 50, 120), transaction=n) for n in range(500))
        try:
            for _ in range(40):
                slow.send(flood)
        except (TimeoutError, OSError):
            pass
        with plant.development.modbus() as caller:
            began = time.monotonic()
            for n in range(20):
                assert caller.ask(read_registers(n)) == bytes((3, 2)) + n.to_bytes(2, "big")
            assert time.monotonic() - began < 2.0
        with TunnelCaller(plant.development, "vendor-ana", "plant/ahu-1") as tunnel:
            assert tunnel.ask(write_register(10, 180))[0] == 6


def test_a_fuzzer_gets_an_answer_to_everything_and_a_bounded_number_of_records(plant: Plant) -> None:
    before = len(plant.development.records("frame_refused"))
    with plant.development.modbus("bms-sync") as caller:
        for _ in range(150):
            assert caller.ask(b"\x03\x00") == b"\x83\x03"
    assert len(plant.development.records("frame_refused")) - before <= 60
    until(lambda: sum(r["count"] for r in plant.development.records("denials_suppressed", subject=BMS)) >= 90)


def test_equal_denials_are_recorded_up_to_the_quota_and_counted_beyond_it(plant: Plant) -> None:
    asked, subject = 500, "ana@acme.example"

    def outcomes() -> int:
        return len(plant.development.records("outcome", result="denied"))

    def counted() -> int:
        return sum(r["count"] for r in plant.development.records("denials_suppressed", subject=subject))

    recorded, suppressed = outcomes(), counted()
    with plant.development.modbus("vendor-ana") as caller:
        for _ in range(asked):
            assert caller.ask(write_register(150, 1)) == b"\x86\x01"
    until(lambda: outcomes() - recorded + counted() - suppressed >= asked)
    assert outcomes() - recorded <= 300
    assert outcomes() - recorded + counted() - suppressed == asked
