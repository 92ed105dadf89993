"""Networks behind routers of the field: what one bears, all devices on it share, whatever the router bears."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from broker.model.operation import Relayed
from broker.model.place import Budget, Device, EndpointBudget, Protocol
from broker.model.vocabulary import Result
from broker.model.way import BacnetIpWay, BacnetScWay
from broker.wire.bacnet.apdu import ConfirmedRequest
from broker.wire.bacnet.meaning import compose_read
from broker.wire.bacnet.npdu import Address, Npdu
from tests.contract.sc_field import identity
from tests.integration.upstreams.asking import QUICK, asked, upstreams
from tests.integration.upstreams.sc_network import PKI, ScNetwork, play, sc_network, temperature
from tests.integration.upstreams.test_bacnet_port import POINT, Place, Station, acknowledged, unicast

PATIENT = replace(QUICK, response_timeout_seconds=10.0, connect_timeout_seconds=10.0)
ROUTER = bytes.fromhex("0200000000d1")


class Router:
    """Keeps what it is asked until it is told to answer."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Address, Npdu, ConfirmedRequest, Place]] = []
        self.order: list[Address] = []
        self.station = Station(self._asked)

    def _asked(self, station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
        assert npdu.destination is not None
        self.order.append(npdu.destination)
        self.waiting.append((npdu.destination, npdu, request, caller))

    def answer(self) -> None:
        """The request that has waited longest."""
        there, _, request, caller = self.waiting.pop(0)
        self.station.send(unicast(acknowledged(request, 20), source=there), caller)

    async def until(self, outstanding: int) -> None:
        """So many requests are here."""
        while len(self.waiting) < outstanding:
            self.station.arrived.clear()
            await self.station.arrived.wait()

    def by_network(self) -> dict[int, int]:
        numbers = [there.network for there, *_ in self.waiting]
        return {number: numbers.count(number) for number in numbers}


@asynccontextmanager
async def routing() -> AsyncIterator[Router]:
    router = Router()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: router.station, local_addr=("127.0.0.1", 0)
    )
    try:
        yield router
    finally:
        transport.close()


def behind(port: int, network: int, address: int, budget: Budget = PATIENT) -> Device:
    way = BacnetIpWay("127.0.0.1", port, 1000 + network + address, network, bytes((address,)))
    return Device("plant", f"d{network}-{address}", "hvac", Protocol.BACNET, way, points=(POINT,), budget=budget)


def router_bears(port: int, connections: int) -> EndpointBudget:
    return EndpointBudget(f"127.0.0.1:{port}", replace(QUICK, connections=connections))


def network_bears(port: int, network: int, **budget: float) -> EndpointBudget:
    return EndpointBudget(f"127.0.0.1:{port}", replace(QUICK, **budget), network)  # type: ignore[arg-type]


async def served(router: Router, asks: "list[asyncio.Future[Relayed]]") -> None:
    """All that is asked is answered, one after the other."""
    for _ in asks:
        await router.until(1)
        router.answer()
    assert {relayed.result for relayed in await asyncio.gather(*asks)} == {Result.DONE}


def test_each_network_bears_one_request_at_a_time_though_the_router_bears_more() -> None:
    async def story() -> None:
        async with routing() as router:
            port = router.station.port
            devices = [behind(port, network, address) for network in (20, 21) for address in (1, 2, 3)]
            async with upstreams(*devices, endpoints=(router_bears(port, 8),)) as ways:
                asks = [asked(ways.upstream(d.key), compose_read(d, (POINT,))[0]) for d in devices for _ in range(2)]
                await router.until(2)
                assert router.by_network() == {20: 1, 21: 1}
                for _ in asks:
                    await router.until(1)
                    assert max(router.by_network().values()) == 1
                    router.answer()
                assert {relayed.result for relayed in await asyncio.gather(*asks)} == {Result.DONE}

    play(story)


def test_what_is_stated_for_a_network_holds_and_can_change() -> None:
    async def story() -> None:
        async with routing() as router:
            port = router.station.port
            devices = [behind(port, 20, address) for address in (1, 2, 3)]
            both = router_bears(port, 8), network_bears(port, 20, connections=2)
            async with upstreams(*devices, endpoints=both) as ways:
                asks = [asked(ways.upstream(d.key), compose_read(d, (POINT,))[0]) for d in devices]
                await router.until(2)
                assert router.by_network() == {20: 2}
                await ways.replace(devices, (router_bears(port, 8), network_bears(port, 20, connections=3)))
                await router.until(3)
                await served(router, asks)

    play(story)


def test_a_request_that_ends_without_a_reply_makes_room_for_the_next() -> None:
    async def story() -> None:
        async with routing() as router:
            port = router.station.port
            quick = [behind(port, 20, address, QUICK) for address in (1, 2)]
            async with upstreams(*quick, endpoints=(router_bears(port, 4),)) as ways:
                asks = [asked(ways.upstream(d.key), compose_read(d, (POINT,))[0]) for d in quick]
                assert {relayed.result for relayed in await asyncio.gather(*asks)} <= {Result.NO_REPLY, Result.NOT_SENT}
                router.waiting.clear()
                await served(router, [asked(ways.upstream(quick[0].key), compose_read(quick[0], (POINT,))[0])])

    play(story)


def test_the_pace_of_a_network_holds_for_all_on_it_together() -> None:
    async def story() -> None:
        async with routing() as router:
            port = router.station.port
            devices = [behind(port, 20, address) for address in (1, 2)]
            paced = network_bears(port, 20, connections=2, operations_per_second=20.0)
            async with upstreams(*devices, endpoints=(router_bears(port, 8), paced)) as ways:
                began = asyncio.get_running_loop().time()
                asks = [asked(ways.upstream(d.key), compose_read(d, (POINT,))[0]) for d in devices for _ in range(2)]
                await served(router, asks)
                assert asyncio.get_running_loop().time() - began >= 3 * 0.05

    play(story)


def test_devices_behind_a_router_of_a_bacnet_sc_network_take_turns_though_each_has_a_way_of_its_own() -> None:
    waiting: list[tuple[bytes, Npdu]] = []
    order: list[bytes] = []

    def answer(network: ScNetwork, destination: bytes, npdu: Npdu) -> None:
        assert npdu.destination is not None
        order.append(npdu.destination.mac)
        waiting.append((destination, npdu))

    def device(hub: str, address: int) -> Device:
        way = BacnetScWay(hub, 1000 + address, vmac=ROUTER, network=20, address=bytes((address,)))
        return Device("plant", f"d{address}", "hvac", Protocol.BACNET, way, points=(POINT,), budget=PATIENT)

    async def story() -> None:
        async with sc_network(answer) as network:
            devices = [device(f"wss://localhost:{network.port}/", address) for address in (1, 2, 3)]
            async with upstreams(*devices, sc_identity=identity(PKI)) as ways:
                await next(iter(ways._sc_ports.values())).ready()
                asks = [asked(ways.upstream(d.key), compose_read(d, (POINT,))[0]) for d in devices for _ in range(2)]
                for _ in asks:
                    await network.until(lambda: waiting)
                    assert len(waiting) == 1
                    destination, npdu = waiting.pop()
                    network.say(destination, temperature(npdu)._replace(source=npdu.destination))
                await asyncio.gather(*asks)
                assert order[:3] != [b"\x01"] * 3
                assert {mac: order.count(mac) for mac in order} == {b"\x01": 2, b"\x02": 2, b"\x03": 2}

    play(story)
