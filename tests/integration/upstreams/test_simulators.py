"""The simulated devices: they behave like a plant, fail as they are told, and run in a process of their own."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from broker.adapters.simulators.plant_behaviour import Temperature
from broker.adapters.simulators.plc import Fault, PlcSimulator, Write
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import Result
from broker.model.way import BacnetIpWay, SerialWay
from broker.wire.bacnet.meaning import compose_read
from tests.integration.upstreams.asking import VIEW, WRITE, asked, modbus_device, pdu, said, tcp_device, upstreams

FAULTS = {
    Fault.NONE: (Result.DONE, Result.DONE, 1),
    Fault.SILENT: (Result.NO_REPLY, Result.UNKNOWN, 1),
    Fault.SLOW: (Result.NO_REPLY, Result.UNKNOWN, 1),
    Fault.EXCEPTION: (Result.DEVICE_REFUSED, Result.DEVICE_REFUSED, 0),
    Fault.WRONG_TRANSACTION: (Result.BAD_REPLY, Result.UNKNOWN, 1),
    Fault.GARBAGE: (Result.BAD_REPLY, Result.UNKNOWN, 1),
    Fault.CLOSE: (Result.NO_REPLY, Result.UNKNOWN, 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_the_plc_is_seen_as_what_it_is_and_a_write_is_carried_out_once_at_most(fault: Fault) -> None:
    async def play() -> None:
        plc = PlcSimulator(slow_seconds=0.6)
        device = tcp_device(await plc.start())
        async with upstreams(device) as ways:
            lane = ways.upstream(device.key)
            plc.fault = fault
            view = await asked(lane, pdu(device, VIEW))
            write = await asked(lane, pdu(device, WRITE))
            plc.fault = Fault.NONE
            assert (await asked(lane, pdu(device, VIEW))).result == Result.DONE
            if fault is Fault.SLOW:
                await asyncio.sleep(0.6)
            assert (view.result, write.result, len(plc.write_log)) == FAULTS[fault]
            assert all(write == Write(6, 10, (200,)) for write in plc.write_log)
        await plc.stop()

    asyncio.run(play())


def test_a_temperature_follows_its_setpoint_a_tenth_of_a_degree_a_second_and_stays_there() -> None:
    now = [100.0]
    temperature = Temperature(19.0, lambda: now[0])
    assert temperature.degrees() == 19.0
    temperature.follow(18.0)
    now[0] += 5
    assert temperature.degrees() == pytest.approx(18.5)
    temperature.follow(21.0)
    now[0] += 10
    assert temperature.degrees() == pytest.approx(19.5)
    now[0] += 1000
    assert temperature.degrees() == 21.0


def test_the_supply_temperature_moves_after_the_setpoint_was_written() -> None:
    async def play() -> None:
        now = [0.0]
        plc = PlcSimulator(monotonic=lambda: now[0])
        device = tcp_device(await plc.start())
        async with upstreams(device) as ways:
            lane = ways.upstream(device.key)
            assert (await asked(lane, pdu(device, "0300000001"))).payload == bytes.fromhex("030200be")
            await asked(lane, pdu(device, "10000a00010200c8"))
            now[0] = 5.0
            assert (await asked(lane, pdu(device, "0400000001"))).payload == bytes.fromhex("040200c3")
            now[0] = 60.0
            assert (await asked(lane, pdu(device, "0300000001"))).payload == bytes.fromhex("030200c8")
        await plc.stop()

    asyncio.run(play())


def test_simulators_in_a_process_of_their_own_say_where_they_are_and_end_with_their_input(tmp_path: Path) -> None:
    async def play() -> None:
        link = tmp_path / "chiller"
        command = [
            "-m",
            "broker.adapters.simulators",
            "--plc",
            "0",
            "--meter",
            "0",
            "--bacnet",
            "0",
            "--rtu",
            str(link),
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None and process.stdin is not None
        at = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        plc, meter = tcp_device(at["plc"][0]), tcp_device(at["meter"][0], "meter-1")
        chiller = modbus_device(SerialWay(at["rtu"]), "chiller-1")
        vav = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", at["bacnet"][0], 1001))
        zone = Point("zone-temp", BacnetAddress("analog-input", 1))
        reading = compose_read(vav, (zone,))[0]
        async with upstreams(plc, meter, chiller, vav) as ways:
            answers = await asyncio.gather(
                asked(ways.upstream(plc.key), pdu(plc, VIEW)),
                asked(ways.upstream(meter.key), pdu(meter, "0300000002")),
                asked(ways.upstream(chiller.key), pdu(chiller, VIEW)),
                asked(ways.upstream(vav.key), reading),
            )
        assert [answer.payload.hex() for answer in answers[:3]] == ["030200be", "03040001e240", "03020046"]
        assert said(reading, answers[3]) == (("zone-temp", "21"),)
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert not link.is_symlink()

    asyncio.run(play())
