"""BACnet/SC towards the field: hubs that fail, come back, refuse, or are not who they should be."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.adapters.bacnet_sc_port import ScIdentity
from broker.adapters.upstreams import Upstreams
from broker.errors import ConfigError
from broker.model.operation import Relayed
from broker.model.place import BacnetAddress, Budget, Device, Point, Protocol
from broker.model.vocabulary import Action, EndReason, Result
from broker.model.way import BacnetScWay
from broker.wire.bacnet.meaning import compose_read, compose_write
from broker.wire.meaning import values_of
from tests.contract.sc_field import field_pki, identity
from tests.integration.bacnet_sc.hub_stage import HUB, Node, ana, serving_hub
from tests.integration.tls.pki import Pki
from tests.integration.upstreams.asking import asked, upstreams
from tests.ports import free_port

TEMPERATURE = Point("temperature", BacnetAddress("analog-input", 1))
SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
PKI = field_pki()


def device(*ports: int, budget: Budget | None = None) -> Device:
    """A device that answers in the hub's own name."""
    hubs = [f"wss://localhost:{port}/" for port in ports]
    way = BacnetScWay(hubs[0], 1001, hubs[1] if len(hubs) > 1 else "", HUB.vmac)
    budget = budget or Budget(connect_timeout_seconds=10.0, response_timeout_seconds=10.0)
    return Device("plant", "vav-1", "hvac", Protocol.BACNET, way, budget=budget)


def read(ways: Upstreams, at: Device) -> "asyncio.Future[Relayed]":
    return asked(ways.upstream(at.key), compose_read(at, (TEMPERATURE,))[0])


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())


def answer(stage, place: int = -1) -> None:
    """What a device says to the read that came last."""
    stream = stage.streams[place]
    mac, npdu = stream.npdus[-1]
    invoke = npdu[4]
    stream.write(mac, bytes.fromhex("0100") + bytes((0x30, invoke)) + bytes.fromhex("0c0c0000000119553e4441a800003f"))


async def served(stage, ways: Upstreams, at: Device) -> None:
    """One read and its answer; while there is no connection, nothing is sent and the read is asked for again."""
    relayed = Relayed(Result.NOT_SENT)
    while relayed.result == Result.NOT_SENT:
        seen = sum(len(stream.npdus) for stream in stage.streams)
        reading = read(ways, at)
        arrival = asyncio.ensure_future(stage.until(lambda: sum(len(s.npdus) for s in stage.streams) > seen))  # noqa: B023
        await asyncio.wait((reading, arrival), return_when=asyncio.FIRST_COMPLETED)
        if arrival.done():
            answer(stage)
        arrival.cancel()
        relayed = await reading
        await asyncio.sleep(0.05)
    assert relayed.result == Result.DONE, relayed
    assert values_of(at, compose_read(at, (TEMPERATURE,))[0], relayed.payload) == (("temperature", "21"),)


def test_a_hub_that_went_away_and_came_back_is_connected_to_again() -> None:
    async def story() -> None:
        async with serving_hub(PKI) as stage, upstreams(device(stage.port), sc_identity=identity(PKI)) as ways:
            at = device(stage.port)
            await served(stage, ways, at)
            stage.streams[0].close(EndReason.BROKER_STOPPED)
            await stage.until(lambda: stage.streams[0].ended and len(stage.streams) == 2)
            await served(stage, ways, at)

    play(story)


def test_a_write_that_was_sent_when_the_hub_went_away_is_unknown_and_never_sent_again() -> None:
    async def story() -> None:
        async with serving_hub(PKI) as stage, upstreams(device(stage.port), sc_identity=identity(PKI)) as ways:
            at = device(stage.port)
            writing = asked(ways.upstream(at.key), compose_write(at, SETPOINT, "19.5"))
            await stage.until(lambda: stage.streams and stage.streams[0].npdus)
            stage.streams[0].close(EndReason.BROKER_STOPPED)
            assert (await writing).result == Result.UNKNOWN
            await stage.until(lambda: len(stage.streams) == 2)
            await served(stage, ways, at)
            assert len(stage.streams[0].npdus) == 1
            assert len(stage.streams[1].npdus) == 1

    play(story)


def test_the_failover_hub_serves_while_the_primary_is_not_there() -> None:
    async def story() -> None:
        async with serving_hub(PKI) as stage:
            at = device(free_port(), stage.port)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await served(stage, ways, at)

    play(story)


def test_a_vmac_that_is_taken_is_exchanged_for_another() -> None:
    async def story() -> None:
        async with serving_hub(PKI) as stage:
            taken = identity(PKI).vmac
            holder = await Node.connected(stage, ana(PKI), taken, b"x" * 16)
            at = device(stage.port)
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                await served(stage, ways, at)
                (mac, _) = stage.streams[-1].npdus[-1]
                assert mac != taken
                assert mac[0] & 0x0F == 0x02
                assert stage.frames == ["duplicate_vmac"]
            await holder.leave()

    play(story)


def test_a_hub_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    async def story() -> None:
        strangers = Pki(tmp_path)
        async with serving_hub(PKI) as stage:
            quick = Budget(connect_timeout_seconds=1.0, response_timeout_seconds=1.0)
            at = device(stage.port, budget=quick)
            own = replace(identity(PKI), authority=strangers.root_file)
            async with upstreams(at, sc_identity=own) as ways:
                assert (await read(ways, at)).result == Result.NOT_SENT
            assert not stage.streams

    play(story)


def test_a_hub_that_does_not_let_us_in_leaves_devices_unreachable_and_nothing_sent() -> None:
    async def story() -> None:
        async with serving_hub(PKI) as stage:
            stage.authenticator.refusing = "certificate_revoked"
            at = device(stage.port, budget=Budget(connect_timeout_seconds=1.0, response_timeout_seconds=1.0))
            async with upstreams(at, sc_identity=identity(PKI)) as ways:
                assert (await read(ways, at)).result == Result.NOT_SENT

    play(story)


def test_a_redirect_is_not_followed() -> None:
    async def story() -> None:
        async with serving_hub(PKI) as stage:
            asked_for: list[bytes] = []

            async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                asked_for.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(f"HTTP/1.1 302 Found\r\nLocation: wss://localhost:{stage.port}/\r\n\r\n".encode())
                await writer.drain()
                writer.close()

            context = await _server_context()
            server = await asyncio.start_server(elsewhere, "127.0.0.1", 0, ssl=context)
            port = server.sockets[0].getsockname()[1]
            at = device(port, budget=Budget(connect_timeout_seconds=1.5, response_timeout_seconds=1.0))
            async with server, upstreams(at, sc_identity=identity(PKI)) as ways:
                assert (await read(ways, at)).result == Result.NOT_SENT
            assert asked_for
            assert not stage.streams
            assert not stage.refused

    play(story)


async def _server_context():
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PKI.server.certificate, PKI.server.key)
    return context


def test_a_quiet_connection_is_kept_by_heartbeats() -> None:
    async def story() -> None:
        async with serving_hub(PKI) as stage:
            at = device(stage.port)
            async with upstreams(at, sc_identity=identity(PKI, heartbeat_seconds=0.1)) as ways:
                await served(stage, ways, at)
                (spoke,) = stage.floor.callers
                for _ in range(3):
                    due = spoke.due
                    while spoke.due == due:  # the hub hears something, though nobody asks anything
                        await asyncio.sleep(0.02)
                await served(stage, ways, at)
                assert len(stage.streams) == 1

    play(story)


def test_without_a_certificate_of_its_own_the_broker_has_no_way_to_a_hub(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(ConfigError, match="sc_identity_missing"):
            async with upstreams(device(1)):
                pass
        missing = ScIdentity(b"o" * 16, HUB.vmac, tmp_path / "no.pem", tmp_path / "no.key", PKI.root_file)
        with pytest.raises(ConfigError, match="tls_files"):
            async with upstreams(device(1), sc_identity=missing):
                pass

    play(story)
