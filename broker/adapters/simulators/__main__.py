"""Simulated devices in a process of their own; one JSON line says where they are, and they end with standard input."""

import argparse
import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from typing import Any

from broker.adapters.simulators.bacnet_device import BacnetDeviceSimulator
from broker.adapters.simulators.plc import PlcSimulator

_CHILLER_SETPOINT = 70
_METER = {0: 1, 1: 57920, 10: 100}
"""123,456 kWh, pulses of 100 Wh."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m broker.adapters.simulators", description=__doc__)
    port: dict[str, Any] = {"type": int, "action": "append", "default": [], "metavar": "PORT"}
    parser.add_argument("--plc", help="air handling unit on Modbus/TCP (0: any port)", **port)
    parser.add_argument("--meter", help="heat meter on Modbus/TCP", **port)
    parser.add_argument("--bacnet", help="room controller on BACnet/IP", **port)
    parser.add_argument("--rtu", help="chiller on a pseudo-terminal, to which LINK will point", metavar="LINK")
    parser.add_argument("--instance", type=int, default=1001, help="device instance of the first --bacnet")
    parser.add_argument("--holding", type=int, default=200, help="holding registers of each --plc")
    parser.add_argument("--elsewhere", action="store_true", help="on any port, where the one asked for is taken")
    parser.add_argument("--keep", action="store_true", help="stay when standard input ends")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    simulators: list[PlcSimulator | BacnetDeviceSimulator] = []
    ready: dict[str, Any] = {"plc": [], "meter": [], "bacnet": []}

    async def start(kind: str, simulator: PlcSimulator | BacnetDeviceSimulator, port: int) -> None:
        simulators.append(simulator)
        taken = arguments.elsewhere and not _free(port, isinstance(simulator, PlcSimulator))
        ready[kind].append(await simulator.start(0 if taken else port))

    for port in arguments.plc:
        await start("plc", PlcSimulator(arguments.holding), port)
    for port in arguments.meter:
        await start("meter", PlcSimulator(setpoint=None, values=_METER), port)
    for offset, port in enumerate(arguments.bacnet):
        await start("bacnet", BacnetDeviceSimulator(arguments.instance + offset), port)
    if arguments.rtu:
        chiller = PlcSimulator(setpoint=_CHILLER_SETPOINT)
        simulators.append(chiller)
        ready["rtu"] = await chiller.start_rtu(arguments.rtu)
    print(json.dumps(ready), flush=True)
    await _ended(watch_input=not arguments.keep)
    for simulator in simulators:
        await simulator.stop()


def _free(port: int, tcp: bool) -> bool:
    with socket.socket(type=socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as probe:
        if tcp:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _ended(watch_input: bool) -> None:
    """Until SIGTERM or SIGINT arrives, or whoever started us closes our standard input, as its death does."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)

    def read() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            end.set()

    if watch_input:
        with suppress(OSError):  # a file or the null device never ends anything
            loop.add_reader(0, read)
    await end.wait()


def main() -> None:
    """Run what the arguments name."""
    asyncio.run(_run(_arguments()))


if __name__ == "__main__":
    main()
