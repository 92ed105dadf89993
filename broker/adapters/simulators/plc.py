"""A programmable controller on pymodbus, reached by Modbus/TCP or by RTU on a pseudo-terminal."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from broker.adapters.simulators.plant_behaviour import Temperature
from broker.adapters.simulators.pseudo_line import PseudoLine

SETPOINT_ADDRESS = 10
TEMPERATURE_ADDRESS = 0
_TENTHS = 10
_COILS = 64
_WRITES = frozenset((5, 6, 15, 16, 22, 23))
_FIRST_SETPOINT = 190
_AIR_HANDLING = {1: 235, 20: 1, 30: 1, 31: 57920, 40: 0x42FB, 41: 0x0000}
"""Return air of 23.5 °C, fan on, 123,456 kWh, 125.5 Pa across the filter (float32)."""


class Fault(StrEnum):
    """What a faulty device does to every request; writes are carried out all the same, but for `EXCEPTION`."""

    NONE = ""
    SILENT = "silent"
    SLOW = "slow"
    EXCEPTION = "exception"
    WRONG_TRANSACTION = "wrong-transaction"
    GARBAGE = "garbage"
    CLOSE = "close"


class Write(NamedTuple):
    """A write that the device carried out; values are registers or coils in order."""

    function: int
    start: int
    values: tuple[int, ...]


class PlcSimulator:
    """Holding registers 0 to `holding` - 1, each with its own address as its value, as many input registers, 64 coils.

    With a `setpoint` (tenths of a degree) it is an air handling unit: holding register 10 is that setpoint, holding and
    input register 0 the temperature that follows it, and a few other registers measure what such a unit has.
    `values` are registers by address that start otherwise. `fault` may be set at any time; `write_log` holds every
    write that was carried out.
    """

    def __init__(
        self,
        holding: int = 200,
        unit: int = 1,
        *,
        setpoint: int | None = _FIRST_SETPOINT,
        values: Mapping[int, int] = MappingProxyType({}),
        slow_seconds: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fault = Fault.NONE
        self.write_log: list[Write] = []
        self.slow_seconds = slow_seconds
        self._unit = unit
        air = {} if setpoint is None else {**_AIR_HANDLING, SETPOINT_ADDRESS: setpoint, TEMPERATURE_ADDRESS: setpoint}
        self._registers = [{**air, **values}.get(address, address) for address in range(holding)]
        self._temperature = None if setpoint is None else Temperature(setpoint / _TENTHS, monotonic)
        self._server: ModbusTcpServer | ModbusSerialServer | None = None
        self._line: PseudoLine | None = None

    async def start(self, port: int = 0) -> int:
        """Serve Modbus/TCP on 127.0.0.1; the port."""
        port = port or _free_port()
        self._server = ModbusTcpServer(self._device(), address=("127.0.0.1", port), trace_packet=self._packet)
        await self._server.serve_forever(background=True)
        return port

    async def start_rtu(self, link: str = "") -> str:
        """Serve RTU on a pseudo-terminal; its path (`link`, if given, is made a symbolic link to it)."""
        self._line = PseudoLine(link)
        self._server = ModbusSerialServer(
            self._device(),
            framer=FramerType.RTU,
            port=self._line.device_path,
            baudrate=19200,
            trace_packet=self._packet,
        )
        await self._server.serve_forever(background=True)
        return self._line.path

    async def stop(self) -> None:
        """Close the socket or line."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
            self._server = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def _device(self) -> SimDevice:
        bits = [SimData(0, values=[bool(n % 2) for n in range(_COILS)], datatype=DataType.BITS)]
        registers = [SimData(0, values=list(self._registers), datatype=DataType.REGISTERS)]
        return SimDevice(self._unit, simdata=(bits, list(bits), registers, list(registers)), action=self._act)

    async def _act(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Called by pymodbus for every access that is within the tables, before it is carried out."""
        if self.fault is Fault.SLOW:
            await asyncio.sleep(self.slow_seconds)
        if self.fault is Fault.EXCEPTION:
            return ExcCodes.DEVICE_FAILURE
        if values is not None and function in _WRITES:
            self.write_log.append(Write(function, address, tuple(int(value) for value in values)))
            self._note_setpoint(function, address, values)
        elif function in (3, 4) and self._temperature is not None:
            registers[TEMPERATURE_ADDRESS] = round(self._temperature.degrees() * _TENTHS)
        return None

    def _note_setpoint(self, function: int, address: int, values: list[int] | list[bool]) -> None:
        if self._temperature is None or function in (5, 15):
            return
        if address <= SETPOINT_ADDRESS < address + len(values):
            self._temperature.follow(int(values[SETPOINT_ADDRESS - address]) / _TENTHS)

    def _packet(self, sending: bool, octets: bytes) -> bytes:
        """Called by pymodbus with every packet; what it returns goes on instead."""
        if not sending:
            return octets
        if self.fault is Fault.CLOSE:
            self._close_connections()
        if self.fault in (Fault.SILENT, Fault.CLOSE):
            return b""
        if self.fault is Fault.GARBAGE:
            return bytes(octet ^ 0x5A for octet in octets)
        if self.fault is Fault.WRONG_TRANSACTION:
            return bytes((octets[0] ^ 1,)) + octets[1:]
        return octets

    def _close_connections(self) -> None:
        if self._server is not None:
            for connection in tuple(self._server.active_connections.values()):
                connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
