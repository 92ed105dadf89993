"""A device's own listener follows the inventory: it opens, moves, closes, and waits for a port that is taken."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from broker.wiring.broker import Broker
from tests.end_to_end.modbus_caller import ModbusCaller, read_registers
from tests.integration.wiring.reviewing import INVENTORY, built, recorded
from tests.ports import free_port

DEVICE = """\
  - id: {id}
    site: plant
    segment: hvac
    protocol: modbus
    upstream: {{modbus_tcp: {{host: 127.0.0.1, port: 9}}, unit_id: {unit}}}
    unit_id: {unit}
    listen: 127.0.0.1:{port}
"""
GRANTS = "grants:\n"
DEVICE_DOWN = b"\x83\x0a"


def write(folder: Path, **ports: int) -> None:
    """The devices `a`, `b` … with these ports beside the device that has no listener of its own."""
    rows = "".join(DEVICE.format(id=name, unit=10 + ord(name), port=port) for name, port in ports.items())
    (folder / "inventory" / "all.yaml").write_text(INVENTORY.replace(GRANTS, rows + GRANTS))


def called(folder: Path, port: int, persona: str = "vendor-ana") -> ModbusCaller:
    context = ssl.create_default_context(cafile=str(folder / "dev" / "ca.pem"))
    context.check_hostname = False
    if persona:
        name = folder / "dev" / "personas" / persona
        context.load_cert_chain(name.with_suffix(".pem"), name.with_suffix(".key"))
    return ModbusCaller(port, context, None)


async def served(folder: Path, port: int, name: str) -> ModbusCaller:
    """A caller who reached that device at that port: it is down, and only its own unit id leads to it."""
    caller = await asyncio.to_thread(called, folder, port)
    assert await asyncio.to_thread(caller.ask, read_registers(0), 10 + ord(name)) == DEVICE_DOWN
    return caller


async def is_closed(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


def part(broker: Broker) -> tuple[bool, str]:
    return broker.readiness()["listeners"]


def play(
    folder: Path,
    script: Callable[[Broker], Awaitable[None]],
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run,
) -> None:
    path = folder / "dev" / "broker.yaml"
    path.write_text(path.read_text().replace('"gains": "review"', '"gains": "apply"'))

    async def scenario() -> None:
        broker = built(folder)
        await broker.start()
        try:
            await script(broker)
        finally:
            await broker.stop()

    run(scenario())


def loops() -> list[Callable[[Coroutine[Any, Any, None]], None]]:
    try:
        import uvloop
    except ImportError:
        return [asyncio.run]
    return [asyncio.run, uvloop.run]


def test_a_new_one_opens_and_one_taken_away_closes_with_its_sessions(reviewed: Path) -> None:
    a, b = free_port(), free_port()

    async def script(broker: Broker) -> None:
        assert await is_closed(a)
        write(reviewed, a=a, b=b)
        await broker.reload.look()
        with await served(reviewed, a, "a") as ended, await served(reviewed, b, "b") as bystander:
            write(reviewed, b=b)
            await broker.reload.look()
            assert await asyncio.to_thread(ended.closed_within, 3) < 3
            assert await is_closed(a)
            assert await asyncio.to_thread(bystander.ask, read_registers(0), 10 + ord("b")) == DEVICE_DOWN
            (opened,) = [r for r in await recorded(broker, "session_opened") if r["device"] == "plant/a"]
            (closed,) = await recorded(broker, "session_closed")
            assert (closed["session"], closed["reason"]) == (opened["session"], "inventory_changed")
            assert part(broker) == (True, "open")

    play(reviewed, script)


def test_a_caller_without_a_session_is_let_go_of_too(reviewed: Path) -> None:
    a = free_port()
    write(reviewed, a=a)

    async def script(broker: Broker) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", a)
        while not broker.modbus.connections:
            await asyncio.sleep(0)
        write(reviewed)
        await broker.reload.look()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()

    play(reviewed, script)


@pytest.mark.parametrize("run", loops())
def test_changed_addresses_move_even_if_two_devices_change_places(
    reviewed: Path, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    a, b, c = free_port(), free_port(), free_port()
    write(reviewed, a=a, b=b)

    async def script(broker: Broker) -> None:
        with await served(reviewed, a, "a") as before:
            write(reviewed, a=c, b=b)
            await broker.reload.look()
            await asyncio.to_thread(before.closed_within, 3)
            assert await is_closed(a)
        (await served(reviewed, c, "a")).close()
        write(reviewed, a=b, b=c)
        await broker.reload.look()
        await broker.reload.look()
        (await served(reviewed, b, "a")).close()
        (await served(reviewed, c, "b")).close()
        assert await recorded(broker, "reload_refused") == []

    play(reviewed, script, run)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_port_that_is_taken_is_told_once_and_tried_again_while_the_others_serve(
    reviewed: Path, caplog: pytest.LogCaptureFixture, from_the_start: bool
) -> None:
    blocker = socket.create_server(("127.0.0.1", 0))
    a, b = int(blocker.getsockname()[1]), free_port()
    fault = f"the listener 127.0.0.1:{a} of plant/a cannot be opened: Address already in use"
    if from_the_start:
        write(reviewed, a=a, b=b)

    async def script(broker: Broker) -> None:
        write(reviewed, a=a, b=b)
        await broker.reload.look()
        await broker.reload.look()
        assert part(broker) == (False, fault)
        (refused,) = await recorded(broker, "reload_refused")
        assert (refused["what"], refused["problems"]) == ("listeners", [fault])
        told = [record for record in caplog.records if fault in record.getMessage()]
        assert [record.levelno for record in told] == [logging.ERROR]
        (await served(reviewed, b, "b")).close()
        blocker.close()
        await broker.reload.look()
        assert part(broker) == (True, "open")
        (await served(reviewed, a, "a")).close()

    with blocker:
        play(reviewed, script)


def test_what_a_closed_listener_refused_stays_counted(reviewed: Path) -> None:
    a = free_port()
    write(reviewed, a=a)

    async def script(broker: Broker) -> None:
        try:
            with await asyncio.to_thread(called, reviewed, a, "") as nobody:
                await asyncio.to_thread(nobody.closed_within, 3)
        except OSError:
            pass
        counted = broker.figures()["connections_refused"]
        assert sum(count for (name, _), count in counted.items() if name == "modbus_tls") == 1
        write(reviewed)
        await broker.reload.look()
        assert broker.figures()["connections_refused"] == counted

    play(reviewed, script)
