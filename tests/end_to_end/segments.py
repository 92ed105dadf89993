"""`python -m tests.end_to_end.segments …`: what runs in the network namespaces of `test_bacnet_segments`.

sniff INTERFACE…       prints what IPv4 and UDP it saw there, as JSON, when its standard input ends
shout ADDRESS          broadcasts an I-Am, as devices do when they start
explore BBMD ADDRESS N an ordinary explorer (bacpypes3) on the IT side, that looks for so many devices: prints what it
                       found and did, as JSON
"""

import asyncio
import json
import os
import select
import socket
import sys
from typing import Any

_ALL_FRAMES = 0x0003
_IPV4, _UDP = b"\x08\x00", 17


def _sniff(*interfaces: str) -> dict[str, list[dict[str, Any]]]:
    seen: dict[str, list[dict[str, Any]]] = {interface: [] for interface in interfaces}
    taps = {}
    for interface in interfaces:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES))
        tap.bind((interface, 0))
        taps[tap] = interface
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([*taps, 0], [], [])
        if 0 in ready and not os.read(0, 1024):
            return seen
        for tap in ready:
            if tap in taps:
                frame = tap.recv(65536)
                if frame[12:14] == _IPV4 and frame[23] == _UDP:
                    seen[taps[tap]].append(_told(frame))


def _told(frame: bytes) -> dict[str, Any]:
    header = 14 + (frame[14] & 0x0F) * 4
    return {
        "from": socket.inet_ntoa(frame[26:30]),
        "to": socket.inet_ntoa(frame[30:34]),
        "broadcast": frame[:6] == b"\xff" * 6,
        "payload": frame[header + 8 :].hex(),
    }


async def _explore(bbmd: str, address: str, devices: str) -> dict[str, Any]:
    from bacpypes3.app import Application
    from bacpypes3.argparse import SimpleArgumentParser

    own = ["--name", "explorer", "--instance", "999", "--address", address, "--foreign", bbmd, "--ttl", "30"]
    app = Application.from_args(SimpleArgumentParser().parse_args(own))
    found: dict[str, Any] = {}
    values = []
    async with asyncio.timeout(60):
        while len(found) < int(devices):
            found |= {str(i_am.iAmDeviceIdentifier): i_am.pduSource for i_am in await app.who_is(timeout=1)}
        for number, at in enumerate(found[name] for name in sorted(found)):
            before = await app.read_property(at, "analog-value,1", "present-value")
            await app.write_property(at, "analog-value,1", "present-value", 21.5 + number, None, 12)
            values.append([before, await app.read_property(at, "analog-value,1", "present-value")])
    app.close()
    return {"found": {name: str(at) for name, at in found.items()}, "values": values}


def _shout(address: str) -> str:
    """An I-Am of device 4242 to all of the segment."""
    i_am = bytes.fromhex("810b0019 0120ffff00ff 1000 c402001092 2205c4 9103 2203e7".replace(" ", ""))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice:
        voice.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        voice.sendto(i_am, (address, 47808))
    return i_am.hex()


def main(kind: str, *arguments: str) -> None:
    """Do what the arguments say, and print what came of it."""
    told: object
    if kind == "explore":
        told = asyncio.run(_explore(*arguments))
    else:
        told = _sniff(*arguments) if kind == "sniff" else _shout(*arguments)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
