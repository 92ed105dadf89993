"""BACnet devices that nobody here wrote, an inventory with their site's network, and explorers in front of `otb`."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.devices import bacnet_device, write_inventory

NETWORK = 2001


@contextmanager
def rusty_devices(*instances: int, made: Callable[[Any], None] = lambda server: None) -> Iterator[list[int]]:
    """rusty-bacnet devices on a loop of their own, each with a setpoint and a temperature; their ports. `made` adds to
    each what else it shall have.
    """
    rusty = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    ports = [free_port() for _ in instances]
    servers = [
        rusty.BACnetServer(instance, f"device {instance}", interface="127.0.0.1", port=port)
        for instance, port in zip(instances, ports, strict=True)
    ]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def each(name: str) -> None:
        for server in servers:
            await getattr(server, name)()

    for server in servers:
        server.add_analog_value(1, "setpoint")
        server.add_analog_input(1, "temperature", present_value=22.5)
        made(server)
    asyncio.run_coroutine_threadsafe(each("start"), loop).result(10)
    yield ports
    asyncio.run_coroutine_threadsafe(each("stop"), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@contextmanager
def noted_device(instance: int) -> Iterator[int]:
    """A device of bacpypes3 whose analog-input 1 has a property of its maker's (5120); its port."""
    pytest.importorskip("bacpypes3", reason="needs bacpypes3")
    port = free_port()
    program = Path(__file__).parents[1] / "peers" / "noted_device.py"
    device = subprocess.Popen(
        [sys.executable, str(program), str(port), str(instance)], stdout=subprocess.PIPE, text=True
    )
    assert device.stdout is not None
    assert device.stdout.readline() == "ready\n"
    yield port
    device.terminate()
    device.wait(5)
    device.stdout.close()


def write_site(
    folder: Path,
    ports: list[int],
    *instances: int,
    audit_log: int | None = None,
    criticality: str = "low",
    **others: Any,
) -> Path:
    """The inventory of site `plant` with these devices (`vav-INSTANCE`) and its BACnet network; what is written to a
    setpoint is released when access ends. `audit_log` is the instance that is told who did what.
    """
    devices = [
        bacnet_device(f"vav-{instance}", port, instance) for instance, port in zip(instances, ports, strict=True)
    ]
    for device in devices:
        device["points"][0]["on_leave"] = "release"
        device["criticality"] = criticality
    network = {"network": NETWORK} | ({} if audit_log is None else {"audit_log": f"vav-{audit_log}"})
    return write_inventory(folder, devices, sites=[{"id": "plant", "bacnet": network}], **others)


@asynccontextmanager
async def explorer(port: int) -> AsyncIterator[Any]:
    """bacpypes3's own application, registered as a foreign device at the local port of `otb connect`."""
    from bacpypes3.app import Application
    from bacpypes3.argparse import SimpleArgumentParser

    own = ["--name", "explorer", "--instance", "999", "--address", f"127.0.0.1:{free_port()}"]
    foreign = ["--foreign", f"127.0.0.1:{port}", "--ttl", "30"]
    app = Application.from_args(SimpleArgumentParser().parse_args([*own, *foreign]))
    try:
        async with asyncio.timeout(30):
            yield app
    finally:
        app.close()


async def found_by(app: Any, *instances: int) -> dict[int, Any]:
    """The addresses of the devices that answer, once these have; a first Who-Is may go before the registration."""
    found: dict[int, Any] = {}
    while not set(instances) <= set(found):
        found |= {i_am.iAmDeviceIdentifier[1]: i_am.pduSource for i_am in await app.who_is(timeout=1)}
    return found


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
