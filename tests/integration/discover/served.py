"""`python -m tests.integration.discover.served …`: a BACnet device or router in a network namespace.

device ADDRESS/PREFIX INSTANCE NAME CALLER     prints the services that CALLER sent it, as JSON, when it is ended
router ADDRESS/PREFIX NETWORK ADDRESS/PREFIX NETWORK
"""

import asyncio
import json
import signal
import sys
from typing import Any, ClassVar

from bacpypes3.comm import bind
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.analog import AnalogInputObject, AnalogValueObjectCmd
from bacpypes3.local.device import DeviceObject
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address

_STATE = {"eventState": "normal", "statusFlags": [0, 0, 0, 0], "outOfService": False}


class _Device(NormalApplication):
    """Notes what it is sent."""

    sent: ClassVar[set[str]] = set()
    caller = ""

    async def indication(self, apdu: Any) -> None:
        if self.caller in str(apdu.pduSource):
            self.sent.add(type(apdu).__name__)
        await super().indication(apdu)


async def _serve_device(place: str, instance: str, name: str, caller: str) -> Any:
    _Device.caller = caller
    own = DeviceObject(objectIdentifier=("device", int(instance)), objectName=name, vendorIdentifier=999)
    application = _Device(own, IPv4Address(place))
    await asyncio.gather(*application.normal.server._transport_tasks)
    setpoint = AnalogValueObjectCmd(
        objectIdentifier=("analog-value", 1), objectName="Setpoint", presentValue=20.0, relinquishDefault=20.0,
        units="degrees-celsius", **_STATE,
    )  # fmt: skip
    application.add_object(setpoint)
    application.add_object(
        AnalogInputObject(objectIdentifier=("analog-input", 1), objectName="Temp", presentValue=1.0, **_STATE)
    )
    return application


async def _serve_router(*places: str) -> Any:
    access, element = NetworkServiceAccessPoint(), NetworkServiceElement()
    bind(element, access)
    for place, network in zip(places[::2], places[1::2], strict=True):
        link = NormalLinkLayer(IPv4Address(place))
        await asyncio.gather(*link.server._transport_tasks)
        access.bind(link, net=int(network), address=IPv4Address(place))
    return access


async def _main(kind: str, *how: str) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    kept = await (_serve_device(*how) if kind == "device" else _serve_router(*how))  # type: ignore[call-arg]
    print("ready", flush=True)
    await ended.wait()
    print(json.dumps(sorted(_Device.sent)), flush=True)
    del kept


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
