"""Reads through the broker beside bacpypes3's own router and a client that asks the device itself; in one run.

    direct            load -> device in Rust
    bacpypes3 router  load -> two networks joined by bacpypes3 -> the same device
    broker            load -> `otb connect --bacnet` -> tunnel -> broker (decided, recorded) -> the same device

Rounds are interleaved so that a drifting machine hurts all alike; medians and ratios count, absolute figures do not.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.plant import START_SECONDS, ready
from tests.ports import free_udp_port

SECONDS = 3.0
ROUNDS = 3
OUTSTANDING = (1, 16)
INSTANCE = 1001
SITE_NETWORK = 2001
ROUTED_NETWORK = 200
FIGURES = ("reads_per_s", "p50_us", "p99_us")

DEVICE = """
import asyncio, sys
from rusty_bacnet import BACnetServer, ObjectIdentifier, ObjectType, PropertyIdentifier, PropertyValue
async def main():
    objects, servers = range(1, int(sys.argv[1]) + 1), []
    for instance, port in enumerate(map(int, sys.argv[3:]), int(sys.argv[2])):
        servers.append(BACnetServer(instance, f"bench {instance}", interface="127.0.0.1", port=port))
        for number in objects:
            servers[-1].add_analog_value(number, f"setpoint {number}")
        await servers[-1].start()
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        for number, server in ((number, server) for number in objects for server in servers):
            await server.write_property_local(
                ObjectIdentifier(ObjectType.ANALOG_VALUE, number), PropertyIdentifier.PRESENT_VALUE,
                PropertyValue.real(float(line)), 16, source_object=None,
            )
        print("changed", flush=True)
asyncio.run(main())
"""
"""Each line of its input is a value that all of its objects then have."""
ROUTER = """
import asyncio, sys
from bacpypes3.comm import bind
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address
async def main():
    nsap, nse = NetworkServiceAccessPoint(), NetworkServiceElement()
    bind(nse, nsap)
    for port, network in ((sys.argv[1], 100), (sys.argv[2], 200)):
        address = IPv4Address(f"127.0.0.1:{port}")
        nsap.bind(NormalLinkLayer(address), net=network, address=address)
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def inventory(folder: Path, device_ports: Sequence[int]) -> Path:
    """Devices with a budget as large as the load."""
    place = folder / "inventory"
    place.mkdir()
    devices = "".join(map(_device, range(INSTANCE, INSTANCE + len(device_ports)), device_ports))
    (place / "bench.yaml").write_text(f"""sites: [{{id: plant, bacnet: {{network: {SITE_NETWORK}}}}}]
segments: [{{id: hvac, site: plant}}]
devices:
{devices}windows:
  - {{id: now, scope: {{sites: [plant]}}, starts: 2020-01-01T00:00:00, zone: UTC, duration: PT87000H}}
grants:
  - {{id: ana, subjects: [ana@acme.example], scope: {{sites: [plant]}}, actions: [view, adjust]}}
""")
    return place


def _device(instance: int, port: int) -> str:
    return f"""  - id: vav-{instance}
    site: plant
    segment: hvac
    protocol: bacnet
    upstream: {{bacnet_ip: {{host: 127.0.0.1, port: {port}, instance: {instance}}}}}
    budget: {{connections: 64, queue: 4096}}
    points:
      - {{id: setpoint, object: analog-value, instance: 1, minimum: 0, maximum: 100, priority: [8, 16], action: adjust}}
"""


@contextmanager
def _program(source: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """A Python program that says when it is ready, as a process of its own."""
    command = [sys.executable, "-c", source, *map(str, arguments)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{arguments}: did not start")
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def serving(folder: Path, devices: int, objects: int) -> Iterator[tuple[int, Callable[[float], None]]]:
    """Devices with so many objects each behind a broker: the local port, and what changes all of the objects."""
    ports = [free_udp_port() for _ in range(devices)]
    with _program(DEVICE, objects, INSTANCE, *ports) as device, _broker(folder, ports) as port:

        def change(value: float) -> None:
            assert device.stdin is not None
            assert device.stdout is not None
            device.stdin.write(f"{value}\n")
            device.stdin.flush()
            device.stdout.readline()

        yield port, change


@contextmanager
def _broker(folder: Path, device_ports: Sequence[int]) -> Iterator[int]:
    """A broker, and the local port of `otb connect --bacnet` in front of it."""
    state, port = folder / "state", free_udp_port()
    command = [sys.executable, "-m", "broker.cli.otbroker", "dev", "--dir", str(state)]
    command += ["--inventory", str(inventory(folder, device_ports))]
    connect = [sys.executable, "-m", "broker.cli.otb", "--dev", str(state), "--as", "vendor-ana", "connect"]
    connect += ["plant", "--bacnet", "--listen", f"127.0.0.1:{port}"]
    environment = {**os.environ, "HOME": str(folder)}
    with (folder / "broker.log").open("wb") as log:
        broker = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        tunnel = None
        try:
            ready(state / "dev.json", broker)
            tunnel = subprocess.Popen(connect, stdout=log, stderr=log, env=environment)
            _wait_for_device(port)
            yield port
        finally:
            for process in (tunnel, broker):
                if process is not None:
                    process.terminate()
                    process.wait(30)


def _wait_for_device(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        found = load(f"127.0.0.1:{port}", 1, 0.2, SITE_NETWORK, INSTANCE.to_bytes(3, "big"))
        if found is not None and not found["failures"]:
            return
    raise SystemExit("the broker does not answer; see broker.log")


def load(place: str, outstanding: int, seconds: float, network: int = 0, address: bytes = b"") -> dict[str, Any] | None:
    command = [sys.executable, "-m", "tests.bench.bacnet_load", place, str(outstanding), str(seconds)]
    command += [str(network), address.hex()] if network else []
    done = subprocess.run(command, capture_output=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def compare(folder: Path) -> dict[str, Any]:
    """Medians of each way at each number of outstanding reads, and the broker's ratios to the others."""
    device_port, client_side, device_side = free_udp_port(), free_udp_port(), free_udp_port()
    with (
        _program(DEVICE, 1, INSTANCE, device_port),
        _program(ROUTER, client_side, device_side),
        _broker(folder, [device_port]) as broker_port,
    ):
        routed = bytes((127, 0, 0, 1)) + device_port.to_bytes(2, "big")
        ways: dict[str, tuple[str, int, bytes]] = {
            "direct": (f"127.0.0.1:{device_port}", 0, b""),
            "bacpypes3 router": (f"127.0.0.1:{client_side}", ROUTED_NETWORK, routed),
            "broker": (f"127.0.0.1:{broker_port}", SITE_NETWORK, INSTANCE.to_bytes(3, "big")),
        }
        return {str(outstanding): _compared(ways, outstanding) for outstanding in OUTSTANDING}


def _compared(ways: dict[str, tuple[str, int, bytes]], outstanding: int) -> dict[str, Any]:
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (place, network, address) in ways.items():
            found = load(place, outstanding, SECONDS, network, address)
            if found is None:
                raise SystemExit(f"{name}: no load")
            rounds[name].append(found)
    figures: dict[str, Any] = {
        name: {key: statistics.median(each[key] for each in found) for key in (*FIGURES, "failures", "lost")}
        for name, found in rounds.items()
    }
    for other in ("direct", "bacpypes3 router"):
        figures[f"broker / {other}"] = {
            key: round(figures["broker"][key] / figures[other][key], 3) for key in ("reads_per_s", "p50_us")
        }
    return figures
