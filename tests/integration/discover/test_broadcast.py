"""A look by broadcast, in a segment of its own: devices on it, and behind a router that bacpypes3 is."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from broker.cli.config_files import load_inventory
from broker.model.way import BacnetIpWay

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and ip(8), for network namespaces"
)
ROOT = Path(__file__).resolve().parents[3]
READS = {"WhoIsRequest", "ReadPropertyRequest", "ReadPropertyMultipleRequest"}


def ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True)


class Segment:
    """Namespaces on two bridges: `look` and `near` on the first, `far` on the second, `route` on both."""

    def __init__(self, stack: ExitStack) -> None:
        self._prefix = f"otb{os.getpid() % 100_000}"
        self._stack = stack
        for name in ("switch", "look", "near", "route", "far"):
            ip("netns", "add", self.name(name))
            stack.callback(ip, "netns", "del", self.name(name))
            ip("-n", self.name(name), "link", "set", "lo", "up")
        for bridge in ("br1", "br2"):
            ip("-n", self.name("switch"), "link", "add", bridge, "type", "bridge")
            ip("-n", self.name("switch"), "link", "set", bridge, "up")
        for number, (name, bridge, address) in enumerate(
            [
                ("look", "br1", "10.77.0.1/24"),
                ("near", "br1", "10.77.0.2/24"),
                ("route", "br1", "10.77.0.3/24"),
                ("route", "br2", "10.78.0.3/24"),
                ("far", "br2", "10.78.0.2/24"),
            ]
        ):
            self._plug(f"v{number}", name, bridge, address)

    def name(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _plug(self, port: str, name: str, bridge: str, address: str) -> None:
        switch = self.name("switch")
        ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", f"e{port}", "netns", self.name(name))
        ip("-n", switch, "link", "set", port, "master", bridge, "up")
        ip("-n", self.name(name), "address", "add", address, "brd", "+", "dev", f"e{port}")
        ip("-n", self.name(name), "link", "set", f"e{port}", "up")

    def serve(self, name: str, *how: str) -> subprocess.Popen[str]:
        command = ("ip", "netns", "exec", self.name(name), sys.executable, "-m", "tests.integration.discover.served")
        process = subprocess.Popen((*command, *how), stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def discover(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ("ip", "netns", "exec", self.name("look"), sys.executable, "-m", "broker.cli.otbroker", "discover")
        return subprocess.run((*command, *arguments), capture_output=True, text=True, cwd=ROOT, timeout=100)


@contextmanager
def segment() -> Iterator[Segment]:
    with ExitStack() as stack:
        yield Segment(stack)


def services(process: subprocess.Popen[str]) -> set[str]:
    """What a device was sent, once it is ended."""
    process.terminate()
    out, _ = process.communicate(timeout=20)
    return set(json.loads(out))


def test_who_is_by_broadcast_finds_devices_of_the_segment_and_behind_its_router_and_only_reads(tmp_path: Path) -> None:
    with segment() as plant:
        near = plant.serve("near", "device", "10.77.0.2/24", "1001", "Near", "10.77.0.1")
        far = plant.serve("far", "device", "10.78.0.2/24", "2001", "Far", "10.77.0.1")
        plant.serve("route", "router", "10.77.0.3/24", "77", "10.78.0.3/24", "78")
        (tmp_path / "inventory").mkdir()
        found = tmp_path / "inventory" / "found.yaml"
        ran = plant.discover(
            *("--site", "plant", "--interface", "10.77.0.1/24", "--rate", "1000", "--listen", "1"),
            *("--journal", str(tmp_path / "state"), "--output", str(found)),
        )
        assert ran.returncode == 0, ran.stderr
        for device in (near, far):
            sent = services(device)
            assert "WhoIsRequest" in sent
            assert sent <= READS  # and so no I-Am of ours
    devices = {device.id: device for device in load_inventory(found.parent).devices}
    assert {name: len(device.points) for name, device in devices.items()} == {"near": 2, "far": 2}
    way = devices["near"].way
    assert isinstance(way, BacnetIpWay)
    assert (way.host, way.port, way.instance, way.network) == ("10.77.0.2", 47808, 1001, None)
    way = devices["far"].way
    assert isinstance(way, BacnetIpWay)
    assert (way.host, way.instance, way.network) == ("10.77.0.3", 2001, 78)
    assert way.address == bytes((10, 78, 0, 2)) + (47808).to_bytes(2, "big")
