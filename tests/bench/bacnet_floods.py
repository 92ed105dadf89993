"""What one BACnet client can do to another through the same local port, and whether notifications get lost.

storm           another client sends 10,000 Who-Is a second while reads are measured; beside the same without
subscriptions   504 objects are subscribed, each changes several times; notifications that arrived of those sent
"""

import select
import socket
import subprocess
import sys
import time
from typing import Any

from tests.bench.bacnet import INSTANCE, SITE_NETWORK, load, serving

STORM_PER_SECOND = 10_000
STORM_SECONDS = 10.0
DEVICES, OBJECTS = 8, 63  # each holds 64 subscriptions
CHANGES = 4
LIFETIME_SECONDS = 600
QUIET_SECONDS = 3.0
WHO_IS = bytes.fromhex("810b0008 0100 1008".replace(" ", ""))
STORM = f"""
import socket, sys, time
way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
way.bind(("127.0.0.1", 0))
place, began, sent = ("127.0.0.1", int(sys.argv[1])), time.perf_counter(), 0
while (elapsed := time.perf_counter() - began) < {STORM_SECONDS + 2}:
    while sent < elapsed * {STORM_PER_SECOND}:
        way.sendto({WHO_IS!r}, place)
        sent += 1
    time.sleep(0.001)
"""
"""One more client."""


def storm(port: int) -> dict[str, Any]:
    """Reads of one client without and with another's storm."""
    where = (f"127.0.0.1:{port}", 1, STORM_SECONDS, SITE_NETWORK, INSTANCE.to_bytes(3, "big"))
    alone = load(*where)
    flood = subprocess.Popen([sys.executable, "-c", STORM, str(port)])
    beside = load(*where)
    flood.wait()
    if alone is None or beside is None:
        raise SystemExit("no load")
    ratio = round(beside["p50_us"] / alone["p50_us"], 2)
    return {"alone": alone, "beside the storm": beside, "p50 with / without": ratio}


def subscriptions(port: int, change: Any) -> dict[str, Any]:
    """Subscribe, let everything change (`change(value)` changes all objects), and count what came."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        client.bind(("127.0.0.1", 0))
        place = ("127.0.0.1", port)
        wanted = [(device, number) for device in range(DEVICES) for number in range(1, OBJECTS + 1)]
        acknowledged = sum(_subscribed(client, place, *each, heard) for each in wanted)
        heard.clear()
        for turn in range(CHANGES):
            change(30.0 + turn)
            _listen(client, heard)
    sent = acknowledged * CHANGES
    return {"subscribed": acknowledged, "changes": sent, "notifications": len(heard)}


def _subscribed(client: socket.socket, place: tuple[str, int], device: int, number: int, heard: list[bytes]) -> bool:
    """Whether the device acknowledged; what comes meanwhile is counted."""
    address = SITE_NETWORK.to_bytes(2, "big") + b"\x03" + (INSTANCE + device).to_bytes(3, "big") + b"\xff"
    process = b"\x0a" + (device * OBJECTS + number).to_bytes(2, "big")
    monitored = b"\x1c" + (2 << 22 | number).to_bytes(4, "big")
    terms = b"\x29\x00\x3a" + LIFETIME_SECONDS.to_bytes(2, "big")
    invoke = number % 256
    apdu = bytes((0x00, 0x05, invoke, 0x05)) + process + monitored + terms
    npdu = b"\x01\x24" + address + apdu
    client.sendto(b"\x81\x0a" + (len(npdu) + 4).to_bytes(2, "big") + npdu, place)
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        if select.select([client], [], [], 0.5)[0]:
            answered = _take(client.recv(1500), heard)
            if answered is not None and answered[1] == invoke:
                return answered[0] & 0xF0 == 0x20
    return False


def _listen(client: socket.socket, heard: list[bytes]) -> None:
    """Until nothing came for a while."""
    while select.select([client], [], [], QUIET_SECONDS)[0]:
        _take(client.recv(1500), heard)


def _take(datagram: bytes, heard: list[bytes]) -> bytes | None:
    """Count a notification; the APDU of anything else."""
    control, at = datagram[5], 6
    for flag in (0x20, 0x08):
        if control & flag:
            at += 3 + datagram[at + 2]
    apdu = datagram[at + (1 if control & 0x20 else 0) :]
    if apdu[:2] != b"\x10\x02":
        return apdu
    heard.append(apdu)
    return None


def measure(folder: Any) -> dict[str, Any]:
    """Both."""
    with serving(folder, DEVICES, OBJECTS) as (port, change):
        return {"storm": storm(port), "subscriptions": subscriptions(port, change)}
