"""A BACnet device of bacpypes3 at 127.0.0.1:PORT, whose analog-input 1 has a property of its maker's (5120)."""

import asyncio
import sys

from bacpypes3.app import Application
from bacpypes3.argparse import SimpleArgumentParser
from bacpypes3.basetypes import PropertyIdentifier
from bacpypes3.local.analog import AnalogInputObject
from bacpypes3.primitivedata import CharacterString
from bacpypes3.vendor import get_vendor_info

VENDOR = 999


class OwnPropertyIdentifier(PropertyIdentifier):
    """The standard's, and the maker's."""

    _enum_map = {"makerNote": 5120}  # noqa: RUF012 (as bacpypes3 wants it)
    makerNote = 5120


get_vendor_info(VENDOR).property_identifier = OwnPropertyIdentifier


class NotedInput(AnalogInputObject):
    """An input with a note of its maker's."""

    _vendor_id = VENDOR
    makerNote: CharacterString


async def serve(port: str, instance: str) -> None:
    """Be that device until ended."""
    own = ["--name", "noted", "--instance", instance, "--address", f"127.0.0.1:{port}"]
    app = Application.from_args(SimpleArgumentParser().parse_args(own))
    held = {"statusFlags": [0, 0, 0, 0], "eventState": "normal", "outOfService": False, "units": "degreesCelsius"}
    noted = {"objectIdentifier": ("analog-input", 1), "objectName": "temperature", "presentValue": 22.5}
    app.add_object(NotedInput(**noted, **held, makerNote="calibrated"))
    print("ready", flush=True)
    await asyncio.Future()


asyncio.run(serve(*sys.argv[1:3]))
