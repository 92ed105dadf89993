"""IT side, broker and OT side in namespaces of their own: what was decided crosses, and no broadcast does."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.bacnet_field import NETWORK
from tests.end_to_end.devices import bacnet_device, write_inventory

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and ip(8), for network namespaces"
)
ROOT = Path(__file__).resolve().parents[2]
INSTANCE, FAR_INSTANCE = 1001, 1002
IT, BROKER_IT, BROKER_OT, OT = "10.81.0.2", "10.81.0.1", "10.82.0.1", "10.82.0.2"
ROUTER_OT, ROUTER_FAR, FAR, FAR_MAC = "10.82.0.3", "10.83.0.3", "10.83.0.2", "0a:53:00:02:ba:c0"
OT_NETWORK, FAR_NETWORK = 100, 300
BBMD_PORT = 47809
START_SECONDS = 60.0


def ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True)


class Segments:
    """`it` and `broker` on one bridge, `broker`, `ot` and the field `router` on another, it and `far` on a third; the
    bridges are in `switch`.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._prefix = f"otbs{os.getpid() % 100_000}"
        self._stack = stack
        for name in ("switch", "it", "broker", "ot", "router", "far"):
            ip("netns", "add", self.name(name))
            stack.callback(ip, "netns", "del", self.name(name))
            ip("-n", self.name(name), "link", "set", "lo", "up")
        for bridge in ("br1", "br2", "br3"):
            ip("-n", self.name("switch"), "link", "add", bridge, "type", "bridge")
            ip("-n", self.name("switch"), "link", "set", bridge, "up")
        for port, name, bridge, address in (
            ("it0", "it", "br1", IT),
            ("bi0", "broker", "br1", BROKER_IT),
            ("bo0", "broker", "br2", BROKER_OT),
            ("ot0", "ot", "br2", OT),
            ("ro0", "router", "br2", ROUTER_OT),
            ("rf0", "router", "br3", ROUTER_FAR),
            ("fa0", "far", "br3", FAR),
        ):
            self._plug(port, name, bridge, f"{address}/24")

    def name(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _plug(self, port: str, name: str, bridge: str, address: str) -> None:
        switch = self.name("switch")
        ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", f"e{port}", "netns", self.name(name))
        ip("-n", switch, "link", "set", port, "master", bridge, "up")
        ip("-n", self.name(name), "address", "add", address, "brd", "+", "dev", f"e{port}")
        ip("-n", self.name(name), "link", "set", f"e{port}", "up")

    def start(self, name: str, *command: str, **options: Any) -> subprocess.Popen[str]:
        """A program of this checkout in a namespace."""
        process = subprocess.Popen(
            ("ip", "netns", "exec", self.name(name), sys.executable, "-m", *command), text=True, cwd=ROOT, **options
        )
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.kill)
        return process

    def ready(self, name: str, *command: str) -> subprocess.Popen[str]:
        """The same, once it says that it is ready."""
        process = self.start(name, *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What an explorer on the IT side found and did, and what was seen on the wire meanwhile."""
    folder = tmp_path_factory.mktemp("segments")
    with ExitStack() as stack:
        plant = Segments(stack)
        sniffer = plant.ready("switch", "tests.end_to_end.segments", "sniff", "it0", "ot0", "bo0", "fa0")
        served = "tests.integration.discover.served"
        router = (f"{ROUTER_OT}/24", str(OT_NETWORK), f"{ROUTER_FAR}/24", str(FAR_NETWORK))
        plant.ready("ot", served, "device", f"{OT}/24", str(INSTANCE), "Vav", BROKER_OT)
        plant.ready("far", served, "device", f"{FAR}/24", str(FAR_INSTANCE), "Far", BROKER_OT)
        plant.ready("router", served, "router", *router)
        device, far = bacnet_device("vav-1", 47808, INSTANCE), bacnet_device("vav-2", 47808, FAR_INSTANCE)
        device["upstream"]["bacnet_ip"]["host"] = OT
        far["upstream"]["bacnet_ip"] |= {"host": ROUTER_OT, "network": FAR_NETWORK, "address": FAR_MAC}
        sites = [{"id": "plant", "bacnet": {"network": NETWORK}}]
        inventory = write_inventory(folder / "inventory", [device, far], sites=sites)
        state = folder / "state"
        log = stack.enter_context((folder / "broker.log").open("w"))
        broker = ["broker.cli.otbroker", "dev", "--dir", str(state), "--inventory", str(inventory)]
        plant.start("broker", *broker, stdout=log, stderr=log)
        _wait_for(state / "dev.json")
        connect = ["broker.cli.otb", "--dev", str(state), "--as", "vendor-ana", "connect", "plant", "--bacnet"]
        listen = ["--listen", f"{BROKER_IT}:{BBMD_PORT}", "--allow-remote"]
        plant.start("broker", *connect, *listen, stdout=log, stderr=log)
        shout = ["tests.end_to_end.segments", "shout", "10.82.0.255"]
        shouted, _ = plant.start("ot", *shout, stdout=subprocess.PIPE).communicate(timeout=20)
        explorer = ["tests.end_to_end.segments", "explore", f"{BROKER_IT}:{BBMD_PORT}", f"{IT}/24", "2"]
        out, _ = plant.start("it", *explorer, stdout=subprocess.PIPE).communicate(timeout=90)
        seen, _ = sniffer.communicate(timeout=20)
        yield {"explorer": json.loads(out), "shouted": json.loads(shouted), **json.loads(seen)}


def _wait_for(path: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not path.exists():
        assert time.monotonic() < end, "the broker did not start"
        time.sleep(0.05)


def test_an_explorer_works_across_the_broker(crossed: dict[str, Any]) -> None:
    """Also with a device behind a router of the field, on the same virtual network as the other."""
    assert crossed["explorer"]["found"] == {
        f"device,{instance}": f"{NETWORK}:0x{instance:06x}" for instance in (INSTANCE, FAR_INSTANCE)
    }
    assert crossed["explorer"]["values"] == [[20.0, 21.5], [20.0, 22.5]]


def test_nothing_of_the_it_side_reaches_the_ot_side_but_unicasts_of_the_broker(crossed: dict[str, Any]) -> None:
    inward = [packet for packet in crossed["bo0"] if packet["from"] not in (OT, ROUTER_OT)]
    assert {(packet["from"], packet["to"], packet["broadcast"]) for packet in inward} == {
        (BROKER_OT, OT, False),
        (BROKER_OT, ROUTER_OT, False),
    }
    who_is = "1008"
    assert not any(packet["payload"].endswith(who_is) for packet in inward)
    assert {packet["from"] for packet in crossed["ot0"]} <= {OT, ROUTER_OT, BROKER_OT}


def test_a_device_behind_a_router_hears_the_broker_and_nobody_else(crossed: dict[str, Any]) -> None:
    """The router puts the broker's own address in (6.5.2); of the IT side there is nothing."""
    heard = [packet["payload"] for packet in crossed["fa0"] if packet["to"] == FAR]
    assert heard
    broker = f"{OT_NETWORK:04x}06" + socket.inet_aton(BROKER_OT).hex()
    for payload in heard:
        assert payload[:4] == "810a"
        assert payload[8:].startswith(f"010c{broker}")


def test_nothing_of_the_ot_side_comes_out(crossed: dict[str, Any]) -> None:
    heard = [packet["payload"] for packet in crossed["ot0"] if packet["from"] == OT and packet["broadcast"]]
    assert heard == [crossed["shouted"]]
    assert {packet["from"] for packet in crossed["it0"]} <= {IT, BROKER_IT}
    assert all("c402001092" not in packet["payload"] for packet in crossed["it0"])
    outward = [packet for packet in crossed["it0"] if packet["from"] == BROKER_IT]
    assert outward
    assert not any(packet["broadcast"] for packet in outward)
