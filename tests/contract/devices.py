"""Modbus devices to hold the same contract against: our simulator, and devices nobody here wrote."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from broker.adapters.simulators.plc import PlcSimulator
from broker.adapters.simulators.pseudo_line import PseudoLine
from broker.model.way import ModbusTcpWay, RtuOverTcpWay, SerialWay, Way
from tests.end_to_end.peers import libmodbus_program
from tests.ports import free_port

Opened = Callable[[], AbstractAsyncContextManager[Way]]


@asynccontextmanager
async def simulated_tcp() -> AsyncIterator[Way]:
    plc = PlcSimulator(setpoint=None)
    yield ModbusTcpWay("127.0.0.1", await plc.start())
    await plc.stop()


@asynccontextmanager
async def simulated_line() -> AsyncIterator[Way]:
    plc = PlcSimulator(setpoint=None)
    yield SerialWay(await plc.start_rtu())
    await plc.stop()


async def _pymodbus(framer: FramerType, port: int) -> ModbusTcpServer:
    bits = [SimData(0, values=[False] * 64, datatype=DataType.BITS)]
    registers = [SimData(0, values=list(range(200)), datatype=DataType.REGISTERS)]
    device = SimDevice(1, simdata=(bits, list(bits), registers, list(registers)))
    server = ModbusTcpServer(device, framer=framer, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    return server


@asynccontextmanager
async def pymodbus_tcp() -> AsyncIterator[Way]:
    port = free_port()
    server = await _pymodbus(FramerType.SOCKET, port)
    yield ModbusTcpWay("127.0.0.1", port)
    await server.shutdown()


@asynccontextmanager
async def pymodbus_rtu_over_tcp() -> AsyncIterator[Way]:
    port = free_port()
    server = await _pymodbus(FramerType.RTU, port)
    yield RtuOverTcpWay("127.0.0.1", port)
    await server.shutdown()


@asynccontextmanager
async def _libmodbus(*arguments: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(libmodbus_program(), *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 10) == b"ready\n"
    try:
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def libmodbus_tcp() -> AsyncIterator[Way]:
    port = free_port()
    async with _libmodbus("tcp", str(port)):
        yield ModbusTcpWay("127.0.0.1", port)


@asynccontextmanager
async def libmodbus_line() -> AsyncIterator[Way]:
    line = PseudoLine()
    try:
        async with _libmodbus("rtu", line.device_path):
            yield SerialWay(line.path)
    finally:
        line.close()


MODBUS_DEVICES: dict[str, Opened] = {
    "PlcSimulator, TCP": simulated_tcp,
    "PlcSimulator, RTU on a line": simulated_line,
    "pymodbus, TCP": pymodbus_tcp,
    "pymodbus, RTU over TCP": pymodbus_rtu_over_tcp,
    "libmodbus in C, TCP": libmodbus_tcp,
    "libmodbus in C, RTU on a line": libmodbus_line,
}
