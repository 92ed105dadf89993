"""Devices on a BACnet/SC network: at which hub they are asked, which node is believed to be one, whose word counts."""

import asyncio
from collections.abc import Callable

import pytest

from broker.adapters import bacnet_sc_port
from broker.adapters.upstreams import Upstreams
from broker.model.operation import Relayed
from broker.model.place import BacnetAddress, Budget, Device, Point, Protocol
from broker.model.vocabulary import Result
from broker.model.way import BacnetScWay
from broker.wire.bacnet.meaning import compose_read
from broker.wire.bacnet.npdu import Address, Npdu
from tests.contract.sc_field import DEVICE_VMAC, foreign_device, foreign_hub, identity
from tests.integration.upstreams.asking import asked, upstreams
from tests.integration.upstreams.sc_network import PKI, ScNetwork, i_am, play, reads, sc_network, temperature
from tests.ports import free_port

TEMPERATURE = Point("temperature", BacnetAddress("analog-input", 1))
REAL, OTHER = bytes.fromhex("0200000000d1"), bytes.fromhex("0200000000d2")
QUICK = Budget(connect_timeout_seconds=2.0, response_timeout_seconds=1.0)
PATIENT = Budget(connect_timeout_seconds=10.0, response_timeout_seconds=10.0)


def device(*ports: int, vmac: bytes = b"", budget: Budget = PATIENT, **behind: object) -> Device:
    hubs = [f"wss://localhost:{port}/" for port in ports]
    way = BacnetScWay(hubs[0], 1001, hubs[1] if len(hubs) > 1 else "", vmac, **behind)  # type: ignore[arg-type]
    return Device("plant", "vav-1", "hvac", Protocol.BACNET, way, budget=budget)


def read(ways: Upstreams, at: Device) -> "asyncio.Future[Relayed]":
    return asked(ways.upstream(at.key), compose_read(at, (TEMPERATURE,))[0])


async def done(ways: Upstreams, at: Device) -> None:
    """A read that comes out; while there is no connection, or none that lasts, it is asked for again."""
    while (await read(ways, at)).result != Result.DONE:
        await asyncio.sleep(0.02)


def nodes(*vmacs: bytes) -> Callable[[ScNetwork, bytes, Npdu], None]:
    """Nodes that all say they are the device, and answer what is asked of them."""

    def answer(network: ScNetwork, destination: bytes, npdu: Npdu) -> None:
        if not reads(npdu):
            for vmac in vmacs:
                network.say(vmac, Npdu(i_am(1001)), to_all=True)
        elif destination in vmacs:
            network.say(destination, temperature(npdu))

    return answer


def test_the_failover_hub_serves_when_the_primary_one_lets_us_in_and_drops_us() -> None:
    async def story() -> None:
        async with sc_network(nodes(REAL)) as primary, sc_network(nodes(REAL)) as failover:
            primary.letting_in = False
            at = device(primary.port, failover.port, vmac=REAL)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)
                assert primary.connected
                assert not any(reads(npdu) for _, npdu in primary.heard)
                assert [destination for destination, _ in failover.heard] == [REAL]

    play(story)


def test_from_the_failover_hub_the_way_leads_back_to_the_primary_one_without_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bacnet_sc_port, "_PRIMARY_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(bacnet_sc_port, "_STEADY_SECONDS", 0.1)
    monkeypatch.setattr(bacnet_sc_port, "_LOOK_SECONDS", 0.1)

    async def story() -> None:
        async with sc_network(nodes(REAL)) as primary, sc_network(nodes(REAL)) as failover:
            primary.letting_in = False
            at = device(primary.port, failover.port, vmac=REAL)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)
                tries = primary.connected
                await primary.until(lambda: primary.connected > tries + 1)  # tried again, and once more
                assert (await read(ways, at)).result == Result.DONE
                assert failover.connected == 1

                primary.letting_in = True
                while not primary.heard:
                    assert (await read(ways, at)).result == Result.DONE
                    await asyncio.sleep(0.01)
                asked_there = len(failover.heard)
                for _ in range(3):
                    assert (await read(ways, at)).result == Result.DONE
                assert len(failover.heard) == asked_there
                assert failover.connected == 1

    play(story)


def test_when_the_failover_hub_goes_the_primary_one_that_has_just_come_back_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bacnet_sc_port, "_PRIMARY_AGAIN_SECONDS", 0.1)

    async def story() -> None:
        async with sc_network(nodes(REAL)) as primary, sc_network(nodes(REAL)) as failover:
            primary.letting_in = False
            at = device(primary.port, failover.port, vmac=REAL)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)
                primary.letting_in, tries = True, primary.connected
                await primary.until(lambda: primary.connected > tries)
                failover.drop()
                await done(ways, at)
                assert (len(primary.heard), failover.connected) == (1, 1)

    play(story)


def test_of_a_failover_hub_alone_that_is_there_devices_are_served() -> None:
    async def story() -> None:
        async with sc_network(nodes(REAL)) as failover:
            at = device(free_port(), failover.port, vmac=REAL)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)

    play(story)


def test_what_a_device_said_when_it_was_found_is_known_from_the_first_request_on() -> None:
    def answer(network: ScNetwork, _: bytes, npdu: Npdu) -> None:
        network.say(REAL, temperature(npdu) if reads(npdu) else Npdu(i_am(1001, 480)), to_all=not reads(npdu))

    async def story() -> None:
        async with sc_network(answer) as network:
            at = device(network.port)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)
                assert ways.upstream(at.key).longest_apdu() == 480

    play(story)


def test_a_device_is_found_by_its_instance_and_from_then_on_only_where_it_was_found() -> None:
    async def story() -> None:
        async with sc_network(nodes(REAL)) as network:
            at = device(network.port)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)
                await done(ways, at)
                assert [destination for destination, npdu in network.heard if reads(npdu)] == [REAL, REAL]

    play(story)


def test_two_nodes_that_say_they_are_the_device_are_in_dispute_and_neither_is_asked_anything() -> None:
    disputes: list[tuple[str, tuple[bytes, ...]]] = []

    async def story() -> None:
        async with sc_network(nodes(OTHER, REAL)) as network:
            at = device(network.port, budget=QUICK)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                ways.disputed = lambda key, places: disputes.append((key, places))
                relayed = await read(ways, at)
                assert (relayed.result, relayed.code) == (Result.NOT_SENT, "device_down")
                assert not any(reads(npdu) for _, npdu in network.heard)

    play(story)
    assert disputes == [("plant/vav-1", (REAL, OTHER))]


def test_a_node_that_later_says_it_is_the_device_ends_the_belief_until_the_dispute_is_over() -> None:
    async def story() -> None:
        async with sc_network(nodes(REAL)) as network:
            at = device(network.port, budget=QUICK)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)
                network.answer = nodes(REAL, OTHER)
                network.say(OTHER, Npdu(i_am(1001)), to_all=True)
                network.say(REAL, Npdu(bytes.fromhex("1007")))  # heard in order: what was said before has been taken
                port = next(iter(ways._sc_ports.values()))
                while port._places._bound:
                    await asyncio.sleep(0.01)
                asked_before = sum(reads(npdu) for _, npdu in network.heard)
                for _ in range(3):
                    assert (await read(ways, at)).result == Result.NOT_SENT
                assert sum(reads(npdu) for _, npdu in network.heard) == asked_before

                network.answer = nodes(OTHER)  # it has moved, and answers alone
                await done(ways, at)
                assert [destination for destination, npdu in network.heard if reads(npdu)][-1] == OTHER

    play(story)


def test_a_device_that_has_moved_is_found_at_its_new_place_and_no_request_is_lost_over_that() -> None:
    async def story() -> None:
        async with sc_network(nodes(REAL)) as network:
            at = device(network.port)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)
                network.answer = nodes(OTHER)
                network.say(OTHER, Npdu(i_am(1001)), to_all=True)
                port = next(iter(ways._sc_ports.values()))
                while port._places._bound:
                    await asyncio.sleep(0.01)
                reading = [read(ways, at) for _ in range(3)]
                assert {relayed.result for relayed in await asyncio.gather(*reading)} == {Result.DONE}
                assert [place for place, npdu in network.heard if reads(npdu)] == [REAL, OTHER, OTHER, OTHER]

    play(story)


def test_what_a_node_tells_everybody_is_no_reply() -> None:
    def answer(network: ScNetwork, destination: bytes, npdu: Npdu) -> None:
        network.say(REAL, temperature(npdu), to_all=True)

    async def story() -> None:
        async with sc_network(answer) as network:
            at = device(network.port, vmac=REAL, budget=QUICK)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                ready = next(iter(ways._sc_ports.values()))
                await ready.ready()
                assert (await read(ways, at)).result == Result.NO_REPLY

    play(story)


@pytest.mark.parametrize("vmac", [REAL, b""])
def test_a_device_behind_a_router_is_asked_and_heard_by_its_address_there(vmac: bytes) -> None:
    there = Address(20, b"\x0c")

    def answer(network: ScNetwork, destination: bytes, npdu: Npdu) -> None:
        if not reads(npdu):
            assert npdu.destination == Address(20, b"")
            network.say(OTHER, Npdu(i_am(1001), source=Address(20, b"\x0d")), to_all=True)  # another address
            network.say(REAL, Npdu(i_am(1001), source=there), to_all=True)
        elif (destination, npdu.destination) == (REAL, there):
            network.say(REAL, temperature(npdu))  # the router's own word
            network.say(REAL, temperature(npdu)._replace(source=there))

    async def story() -> None:
        async with sc_network(answer) as network:
            at = device(network.port, vmac=vmac, network=20, address=b"\x0c")
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)

    play(story)


def test_hubs_and_devices_in_rust_are_left_and_come_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bacnet_sc_port, "_PRIMARY_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(bacnet_sc_port, "_STEADY_SECONDS", 0.1)

    async def story() -> None:
        port = free_port()
        async with foreign_hub(PKI) as failover, foreign_device(PKI, await failover.url(), 1001):
            way = BacnetScWay(f"wss://127.0.0.1:{port}", 1001, await failover.url())
            at = Device("plant", "vav-1", "hvac", Protocol.BACNET, way, points=(TEMPERATURE,), budget=PATIENT)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await done(ways, at)  # found by its instance, through the failover hub
                hubs = next(iter(ways._sc_ports.values()))
                standing_in = hubs._link
                async with (
                    foreign_hub(PKI, f"127.0.0.1:{port}") as primary,
                    foreign_device(PKI, await primary.url(), 1001, DEVICE_VMAC),
                ):
                    while hubs._link is standing_in:
                        await asyncio.sleep(0.05)
                    await done(ways, at)
                back_again = hubs._link
                while hubs._link is back_again or hubs._link is None:
                    await asyncio.sleep(0.05)
                await done(ways, at)

    play(story)
