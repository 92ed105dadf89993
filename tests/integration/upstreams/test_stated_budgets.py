"""A budget that the inventory states for a place holds for all devices behind it together, whatever theirs say."""

import asyncio
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from broker.model.place import Budget, EndpointBudget
from broker.model.vocabulary import Result
from broker.model.way import SerialWay
from tests.integration.upstreams.asking import QUICK, VIEW, WRITE, asked, modbus_device, pdu, tcp_device, upstreams
from tests.integration.upstreams.scripted_device import ScriptedDevice, Seen, frame, good_reply, honest, scripted


class Gate:
    """Answers only when it is opened; `most` is the largest number of requests outstanding, by unit and in all."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = asyncio.Event()
        self.outstanding: list[int] = []
        self.most = 0
        self.most_of_one_unit = 0

    async def __call__(self, writer: asyncio.StreamWriter, seen: Seen) -> None:
        self.outstanding.append(seen.unit)
        self.most = max(self.most, len(self.outstanding))
        self.most_of_one_unit = max(self.most_of_one_unit, self.outstanding.count(seen.unit))
        self.waiting.set()
        await self.open.wait()
        self.outstanding.remove(seen.unit)
        writer.write(frame(good_reply(seen.pdu), seen.transaction, seen.unit))


def stated(port: int, **budget: float) -> tuple[EndpointBudget]:
    return (EndpointBudget(f"127.0.0.1:{port}", replace(QUICK, **budget)),)


def gaps(device: ScriptedDevice) -> list[float]:
    return [later.at - earlier.at for earlier, later in pairwise(device.seen)]


def test_more_connections_than_any_device_bears_serve_the_devices_side_by_side() -> None:
    async def play() -> None:
        gate = Gate()
        async with scripted(gate) as gateway:
            devices = [tcp_device(gateway.port, f"d{n}", unit=n) for n in (1, 2, 3)]
            async with upstreams(*devices, endpoints=stated(gateway.port, connections=2)) as ways:
                asks = [asked(ways.upstream(d.key), pdu(d, VIEW)) for _ in range(4) for d in devices]
                while gate.most < 2:
                    gate.waiting.clear()
                    await gate.waiting.wait()
                gate.open.set()
                assert {relayed.result for relayed in await asyncio.gather(*asks)} == {Result.DONE}
                assert (gateway.most_open, gate.most, gate.most_of_one_unit) == (2, 2, 1)

    asyncio.run(play())


def test_fewer_connections_than_a_device_bears_are_not_exceeded() -> None:
    async def play() -> None:
        budget = replace(QUICK, connections=3)
        async with scripted() as gateway:
            device = tcp_device(gateway.port, budget=budget)
            async with upstreams(device, endpoints=stated(gateway.port, connections=1)) as ways:
                lane = ways.upstream(device.key)
                assert lane.direct
                await asyncio.gather(*(asked(lane, pdu(device, VIEW)) for _ in range(9)))
                assert (gateway.connections, gateway.most_open) == (1, 1)

    asyncio.run(play())


@pytest.mark.parametrize("limit", [{"operations_per_second": 25.0}, {"gap_seconds": 0.04}])
def test_a_stated_pace_holds_for_every_request_to_the_place_even_if_nothing_else_waits(limit: dict[str, float]) -> None:
    async def play() -> None:
        async with scripted() as gateway:
            devices = [tcp_device(gateway.port, f"d{n}", unit=n) for n in (1, 2)]
            async with upstreams(*devices, endpoints=stated(gateway.port, **limit)) as ways:
                for device in devices * 2:
                    assert (await asked(ways.upstream(device.key), pdu(device, VIEW))).result == Result.DONE
                assert min(gaps(gateway)) > 0.035

    asyncio.run(play())


def test_a_device_is_held_to_its_own_pace_as_well() -> None:
    async def play() -> None:
        async with scripted() as gateway:
            slow = tcp_device(gateway.port, budget=replace(QUICK, operations_per_second=25.0))
            async with upstreams(slow, endpoints=stated(gateway.port, connections=4)) as ways:
                await asyncio.gather(*(asked(ways.upstream(slow.key), pdu(slow, VIEW)) for _ in range(3)))
                assert min(gaps(gateway)) > 0.035

    asyncio.run(play())


def test_the_stated_time_without_a_request_closes_the_connection() -> None:
    async def play() -> None:
        async with scripted() as gateway:
            device = tcp_device(gateway.port, budget=replace(QUICK, idle_seconds=60.0))
            async with upstreams(device, endpoints=stated(gateway.port, idle_seconds=0.1)) as ways:
                await asked(ways.upstream(device.key), pdu(device, VIEW))
                started = time.monotonic()
                await gateway.closed.wait()
                assert time.monotonic() - started < 5

    asyncio.run(play())


def test_a_limit_lowered_meanwhile_closes_what_is_too_much_and_cuts_no_request() -> None:
    async def play() -> None:
        gate = Gate()
        budget = replace(QUICK, connections=3, response_timeout_seconds=5.0)
        async with scripted(gate) as gateway:
            device = tcp_device(gateway.port, budget=budget)
            async with upstreams(device, endpoints=stated(gateway.port, connections=3)) as ways:
                lane = ways.upstream(device.key)
                assert lane.direct
                flying = [asked(lane, pdu(device, WRITE)) for _ in range(3)]
                while gate.most < 3:
                    gate.waiting.clear()
                    await gate.waiting.wait()
                await ways.replace([device], stated(gateway.port, connections=1))
                assert not lane.direct
                gate.open.set()
                assert {relayed.result for relayed in await asyncio.gather(*flying)} == {Result.DONE}
                assert ways.states()[0].connected == 1
                gateway.script = honest
                await asyncio.gather(*(asked(lane, pdu(device, VIEW)) for _ in range(6)))
                assert ways.states()[0].connected == 1
                assert ways.upstream(device.key) is lane
                assert lane.direct
                assert gateway.connections == 3

    asyncio.run(play())


def test_without_a_stated_budget_any_more_the_place_bears_what_its_devices_do() -> None:
    async def play() -> None:
        async with scripted() as gateway:
            device = tcp_device(gateway.port)
            async with upstreams(device, endpoints=stated(gateway.port, gap_seconds=3.0)) as ways:
                lane = ways.upstream(device.key)
                await asked(lane, pdu(device, VIEW))
                waiting = asked(lane, pdu(device, VIEW))
                await ways.replace([device])
                assert lane.direct
                assert (await waiting).result == Result.DONE
                assert (await asked(lane, pdu(device, VIEW))).result == Result.DONE

    asyncio.run(play())


def test_a_serial_line_keeps_its_silence_whatever_is_stated() -> None:
    async def play() -> None:
        line = modbus_device(SerialWay("/dev/null", baud=9600))
        async with upstreams(line, endpoints=(EndpointBudget("/dev/null", Budget()),)) as ways:
            endpoint = ways.upstream(line.key).endpoint
            assert endpoint.limit.gap_seconds > 0.003

    asyncio.run(play())
