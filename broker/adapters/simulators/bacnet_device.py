"""A BACnet/IP device on bacpypes3: a room controller with a commandable setpoint and what it measures."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bacpypes3.apdu import WritePropertyRequest
from bacpypes3.errors import ExecutionError
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogInputObject, AnalogValueObjectCmd
from bacpypes3.local.binary import BinaryValueObject
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import IPv4Address

from broker.adapters.simulators.plant_behaviour import Temperature

_FIRST_SETPOINT = 21.0
_VENDOR = 999
_TICK_SECONDS = 1.0
_STATE = {"outOfService": False, "eventState": "normal", "statusFlags": [0, 0, 0, 0]}
"""What each object has beside its value; without status flags the stack refuses subscriptions (13.1, table 13-1)."""
_MEASURED = ("analog-input", "present-value")


class PropertyWrite(NamedTuple):
    """A WriteProperty that reached the device, carried out or not."""

    object_type: str
    instance: int
    property: str
    priority: int | None


class _CommandableBinaryValue(Commandable, BinaryValueObject):  # type: ignore[misc]
    """One that can be subscribed to, which bacpypes3's own is not."""


class _Application(NormalApplication):  # type: ignore[misc]
    """Measures before every read and once a second, and notes every write before the stack carries it out."""

    write_log: list[PropertyWrite]
    measure: Callable[[], None]
    ticking: asyncio.TimerHandle

    def tick(self) -> None:
        """Measure without being asked, as who subscribed asks nothing."""
        self.measure()
        self.ticking = asyncio.get_running_loop().call_later(_TICK_SECONDS, self.tick)

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - named by bacpypes3
        self.measure()
        await super().do_ReadPropertyRequest(apdu)

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802 - named by bacpypes3
        self.measure()
        await super().do_ReadPropertyMultipleRequest(apdu)

    async def do_WritePropertyRequest(self, apdu: WritePropertyRequest) -> None:  # noqa: N802 - named by bacpypes3
        kind, instance = apdu.objectIdentifier
        written = str(apdu.propertyIdentifier)
        self.write_log.append(PropertyWrite(str(kind), int(instance), written, apdu.priority))
        if (str(kind), written) == _MEASURED:
            raise ExecutionError("property", "write-access-denied")
        await super().do_WritePropertyRequest(apdu)


class BacnetDeviceSimulator:
    """Device `instance`: analog-value 1 (commandable setpoint), binary-value 1 (commandable), analog-inputs 1 and 2.

    `write_log` holds every write that arrived. One event loop may hold several on different ports.
    """

    def __init__(self, instance: int = 1001, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.write_log: list[PropertyWrite] = []
        self._instance = instance
        self._temperature = Temperature(_FIRST_SETPOINT, monotonic)
        self._application: _Application | None = None

    async def start(self, port: int = 0) -> int:
        """Serve on 127.0.0.1; the UDP port."""
        port = port or _free_port()
        device = DeviceObject(
            objectIdentifier=("device", self._instance),
            objectName=f"simulated-{self._instance}",
            vendorIdentifier=_VENDOR,
        )
        application = _Application(device, IPv4Address(f"127.0.0.1:{port}"))
        application.write_log = self.write_log
        self._add_objects(application)
        self._application = application
        await asyncio.gather(*application.normal.server._transport_tasks)
        application.tick()
        return port

    async def stop(self) -> None:
        """Close the socket."""
        if self._application is not None:
            self._application.ticking.cancel()
            self._application.close()
            self._application = None

    def _add_objects(self, application: _Application) -> None:
        setpoint = AnalogValueObjectCmd(
            objectIdentifier=("analog-value", 1),
            objectName="zone-setpoint",
            **_STATE,
            presentValue=_FIRST_SETPOINT,
            relinquishDefault=_FIRST_SETPOINT,
            units="degrees-celsius",
            covIncrement=0.1,
        )
        zone = AnalogInputObject(
            objectIdentifier=("analog-input", 1),
            objectName="zone-temp",
            **_STATE,
            presentValue=_FIRST_SETPOINT,
            units="degrees-celsius",
            covIncrement=0.1,
        )
        flow = AnalogInputObject(
            objectIdentifier=("analog-input", 2),
            objectName="air-flow",
            **_STATE,
            presentValue=120.5,
            units="liters-per-second",
            covIncrement=1.0,
        )
        occupied = _CommandableBinaryValue(
            objectIdentifier=("binary-value", 1),
            objectName="occupied",
            **_STATE,
            presentValue="active",
            relinquishDefault="active",
        )
        for described in (setpoint, zone, flow, occupied):
            application.add_object(described)
        application.measure = lambda: self._measure(setpoint, zone)

    def _measure(self, setpoint: Any, zone: Any) -> None:
        self._temperature.follow(float(setpoint.presentValue))
        zone.presentValue = round(self._temperature.degrees(), 1)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
