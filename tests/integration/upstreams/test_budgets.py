"""Budgets: what an endpoint and a device behind it bear is never exceeded, and who must wait waits within bounds."""

import asyncio
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from broker.errors import ConfigError, DeviceUnavailableError
from broker.model.operation import Relayed
from broker.model.place import Budget
from broker.model.vocabulary import Reason, Result
from broker.model.way import RtuOverTcpWay, SerialWay
from tests.end_to_end.modbus_caller import frame
from tests.integration.upstreams.asking import QUICK, VIEW, WRITE, asked, modbus_device, pdu, tcp_device, upstreams
from tests.integration.upstreams.scripted_device import ScriptedDevice, Seen, good_reply, honest, scripted


def after(seconds: float, most: list[int]):
    """Answers late, and keeps the largest number of requests that were outstanding at the same time in `most`."""
    outstanding = 0

    async def script(writer: asyncio.StreamWriter, seen: Seen) -> None:
        nonlocal outstanding
        outstanding += 1
        most.append(outstanding)
        await asyncio.sleep(seconds)
        outstanding -= 1
        writer.write(frame(good_reply(seen.pdu), seen.transaction, seen.unit))

    return script


async def never(writer: asyncio.StreamWriter, seen: Seen) -> None:
    return None


def gaps(device: ScriptedDevice) -> list[float]:
    times = [seen.at for seen in device.seen]
    return [later - earlier for earlier, later in pairwise(times)]


def test_two_devices_behind_one_gateway_share_its_one_connection_and_wait_for_each_other() -> None:
    async def play() -> None:
        most: list[int] = []
        async with scripted(after(0.005, most)) as gateway:
            devices = [tcp_device(gateway.port, f"d{n}", unit=n) for n in (1, 2)]
            async with upstreams(*devices) as ways:
                lanes = [ways.upstream(device.key) for device in devices]
                futures = [asked(lanes[n % 2], pdu(devices[0], f"030{n:03x}0001")) for n in range(20)]
                assert all(relayed.result == Result.DONE for relayed in await asyncio.gather(*futures))
                assert (gateway.most_open, max(most)) == (1, 1)
                assert [seen.unit for seen in gateway.seen[:6]] == [1, 2, 1, 2, 1, 2]
                assert len(ways.states()) == 1

    asyncio.run(play())


def test_a_budget_of_more_connections_is_used_and_not_exceeded() -> None:
    async def play() -> None:
        most: list[int] = []
        budget = replace(QUICK, connections=3)
        async with scripted(after(0.02, most)) as gateway, upstreams(tcp_device(gateway.port, budget=budget)) as ways:
            lane = ways.upstream("plant/ahu-1")
            relayed = await asyncio.gather(*(asked(lane, pdu(lane.device, VIEW)) for _ in range(12)))
            assert {each.result for each in relayed} == {Result.DONE}
            assert (gateway.connections, gateway.most_open, max(most)) == (3, 3, 3)

    asyncio.run(play())


def test_a_device_of_one_connection_behind_a_gateway_of_three_has_one_request_outstanding() -> None:
    async def play() -> None:
        most: list[int] = []
        async with scripted(after(0.01, most)) as gateway:
            roomy = tcp_device(gateway.port, "roomy", 1, replace(QUICK, connections=3))
            narrow = tcp_device(gateway.port, "narrow", 2, QUICK)
            async with upstreams(roomy, narrow) as ways:
                lane = ways.upstream("plant/narrow")
                await asyncio.gather(*(asked(lane, pdu(narrow, VIEW)) for _ in range(8)))
                assert max(most) == 1

    asyncio.run(play())


def test_a_full_queue_refuses_at_once_and_sends_nothing() -> None:
    async def play() -> None:
        budget = replace(QUICK, queue=2)
        async with scripted(never) as device, upstreams(tcp_device(device.port, budget=budget)) as ways:
            lane = ways.upstream("plant/ahu-1")
            first = asked(lane, pdu(lane.device, VIEW))
            await device.arrived.wait()
            queued = [asked(lane, pdu(lane.device, WRITE)) for _ in range(2)]
            refused = await asked(lane, pdu(lane.device, WRITE))
            assert (refused.result, refused.code) == (Result.NOT_SENT, Reason.BUDGET_EXHAUSTED)
            device.script = honest
            assert (await first).result == Result.NO_REPLY
            assert [relayed.result for relayed in await asyncio.gather(*queued)] == [Result.DONE] * 2
            assert device.writes_seen == 2

    asyncio.run(play())


def test_who_waits_longer_than_the_devices_time_limits_is_not_sent() -> None:
    async def play() -> None:
        budget = replace(QUICK, connect_timeout_seconds=0.1, response_timeout_seconds=0.1)
        async with scripted(never) as device, upstreams(tcp_device(device.port, budget=budget)) as ways:
            lane = ways.upstream("plant/ahu-1")
            relayed = await asyncio.gather(*(asked(lane, pdu(lane.device, WRITE)) for _ in range(6)))
            results = [(each.result, each.code) for each in relayed]
            assert results[0] == (Result.UNKNOWN, "timeout")
            assert results[-1] == (Result.NOT_SENT, Reason.BUDGET_EXHAUSTED)
            assert device.writes_seen == sum(each.result == Result.UNKNOWN for each in relayed) <= 3

    asyncio.run(play())


def test_a_request_that_waited_is_asked_again_whether_it_is_still_allowed() -> None:
    async def play() -> None:
        most: list[int] = []
        async with scripted(after(0.05, most)) as device, upstreams(tcp_device(device.port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            first = asked(lane, pdu(lane.device, VIEW))
            await device.arrived.wait()
            answer: asyncio.Future[Relayed] = asyncio.get_running_loop().create_future()
            lane.relay(pdu(lane.device, WRITE), answer.set_result, lambda: Reason.SESSION_ENDED)
            assert (await first).result == Result.DONE
            relayed = await answer
            assert (relayed.result, relayed.code) == (Result.NOT_SENT, Reason.SESSION_ENDED)
            assert device.writes_seen == 0

    asyncio.run(play())


def test_operations_per_second_hold_for_each_device_and_do_not_slow_its_neighbour() -> None:
    async def play() -> None:
        async with scripted() as gateway:
            slow = tcp_device(gateway.port, "slow", 1, replace(QUICK, operations_per_second=20))
            quick = tcp_device(gateway.port, "quick", 2, QUICK)
            async with upstreams(slow, quick) as ways:
                futures = [asked(ways.upstream("plant/slow"), pdu(slow, VIEW)) for _ in range(4)]
                futures += [asked(ways.upstream("plant/quick"), pdu(quick, VIEW)) for _ in range(4)]
                await asyncio.gather(*futures)
                slow_times = [seen.at for seen in gateway.seen if seen.unit == 1]
                assert all(b - a > 0.045 for a, b in pairwise(slow_times))
                assert [seen.unit for seen in gateway.seen].index(2) == 1
                assert max(seen.at for seen in gateway.seen if seen.unit == 2) < slow_times[-1]

    asyncio.run(play())


def test_a_gateway_all_of_whose_devices_name_a_rate_is_held_to_it_as_a_whole() -> None:
    async def play() -> None:
        budget = replace(QUICK, operations_per_second=25)
        async with scripted() as gateway:
            devices = [tcp_device(gateway.port, f"d{n}", n, budget) for n in (1, 2)]
            async with upstreams(*devices) as ways:
                await asyncio.gather(*(asked(ways.upstream(d.key), pdu(d, VIEW)) for d in devices for _ in range(3)))
                assert min(gaps(gateway)) > 0.035

    asyncio.run(play())


def test_the_gap_between_a_reply_and_the_next_request_is_kept() -> None:
    async def play() -> None:
        budget = replace(QUICK, gap_seconds=0.03)
        async with scripted() as device, upstreams(tcp_device(device.port, budget=budget)) as ways:
            lane = ways.upstream("plant/ahu-1")
            await asyncio.gather(*(asked(lane, pdu(lane.device, VIEW)) for _ in range(4)))
            assert min(gaps(device)) > 0.028

    asyncio.run(play())


def test_an_idle_connection_is_closed_and_opened_again_when_it_is_needed() -> None:
    async def play() -> None:
        budget = replace(QUICK, idle_seconds=0.1)
        async with scripted() as device, upstreams(tcp_device(device.port, budget=budget)) as ways:
            lane = ways.upstream("plant/ahu-1")
            await asked(lane, pdu(lane.device, VIEW))
            started = time.monotonic()
            await device.closed.wait()
            assert 0.05 < time.monotonic() - started < 1
            assert (await asked(lane, pdu(lane.device, WRITE))).result == Result.DONE
            assert device.connections == 2

    asyncio.run(play())


def test_closing_ends_what_is_in_flight_as_unknown_and_what_is_queued_as_not_sent() -> None:
    async def play() -> None:
        async with scripted(never) as device, upstreams(tcp_device(device.port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            flying = asked(lane, pdu(lane.device, WRITE))
            await device.arrived.wait()
            queued = asked(lane, pdu(lane.device, WRITE))
            await lane.close()
            assert (await flying).result == Result.UNKNOWN
            assert (await queued).result == Result.NOT_SENT
            assert (await asked(lane, pdu(lane.device, VIEW))).result == Result.NOT_SENT
            await device.closed.wait()
            assert device.writes_seen == 1

    asyncio.run(play())


def test_a_changed_inventory_keeps_what_did_not_change_and_cuts_what_did() -> None:
    async def play() -> None:
        async with scripted() as first, scripted(never) as second:
            kept, cut = tcp_device(first.port, "kept"), tcp_device(second.port, "cut")
            async with upstreams(kept, cut) as ways:
                lane = ways.upstream("plant/kept")
                await asked(lane, pdu(kept, VIEW))
                flying = asked(ways.upstream("plant/cut"), pdu(cut, WRITE))
                await second.arrived.wait()
                await ways.replace([replace(kept, description="renamed"), replace(cut, upstream_unit_id=9)])
                assert (await flying).result == Result.UNKNOWN
                assert ways.upstream("plant/kept") is lane
                await asked(lane, pdu(kept, VIEW))
                assert first.connections == 1
                second.script = honest
                await asked(ways.upstream("plant/cut"), pdu(cut, VIEW))
                assert second.seen[-1].unit == 9
                await ways.replace([kept])
                with pytest.raises(DeviceUnavailableError):
                    ways.upstream("plant/cut")

    asyncio.run(play())


def test_a_removed_device_gets_nothing_through_the_connections_of_its_neighbour() -> None:
    async def play() -> None:
        async with scripted() as gateway:
            removed, stays = (tcp_device(gateway.port, f"d{n}", unit=n) for n in (1, 2))
            async with upstreams(removed, stays) as ways:
                lane = ways.upstream(removed.key)
                assert (await asked(lane, pdu(removed, WRITE))).result == Result.DONE
                await ways.replace([stays])
                relayed = await asked(lane, pdu(removed, WRITE))
                assert (relayed.result, relayed.code) == (Result.NOT_SENT, Reason.DEVICE_DOWN)
                assert (await asked(ways.upstream(stays.key), pdu(stays, VIEW))).result == Result.DONE
                assert (gateway.writes_seen, gateway.connections) == (1, 1)

    asyncio.run(play())


def test_a_way_that_cannot_be_is_refused_and_the_old_ones_stay() -> None:
    async def play() -> None:
        async with scripted() as device, upstreams(tcp_device(device.port)) as ways:
            broadcast = modbus_device(RtuOverTcpWay("127.0.0.1", 1), "all", unit=0)
            odd = modbus_device(SerialWay("/dev/null", baud=12345), "odd")
            twice = [modbus_device(SerialWay("/dev/null", baud=baud), f"l{baud}") for baud in (9600, 19200)]
            for wrong in ([broadcast], [odd], twice):
                with pytest.raises(ConfigError):
                    await ways.replace(wrong)
            lane = ways.upstream("plant/ahu-1")
            assert (await asked(lane, pdu(lane.device, VIEW))).result == Result.DONE

    asyncio.run(play())


def test_a_thousand_queued_requests_each_get_one_answer_of_their_own() -> None:
    async def play() -> None:
        budget = Budget(connections=4, queue=1000, response_timeout_seconds=5)

        async def script(writer: asyncio.StreamWriter, seen: Seen) -> None:
            address = seen.pdu[1:3]
            writer.write(frame(b"\x03\x02" + address, seen.transaction, seen.unit))

        async with scripted(script) as device, upstreams(tcp_device(device.port, budget=budget)) as ways:
            lane = ways.upstream("plant/ahu-1")
            futures = [asked(lane, pdu(lane.device, f"03{n:04x}0001")) for n in range(1000)]
            for n, relayed in enumerate(await asyncio.gather(*futures)):
                assert relayed.payload == b"\x03\x02" + n.to_bytes(2, "big")

    asyncio.run(play())
