"""A small inventory, changes to it, and the broker that reviews them."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from broker.cli.config_files import load_settings
from broker.cli.serving import prepare
from broker.wiring.broker import Broker

INVENTORY = """\
sites: [{id: plant}]
segments: [{id: hvac, site: plant}]
devices:
  - id: ahu-1
    site: plant
    segment: hvac
    protocol: modbus
    upstream: {modbus_tcp: {host: 127.0.0.1, port: 9}, unit_id: 1}
    unit_id: 1
grants:
  - {id: ana, subjects: [ana@acme.example], scope: {sites: [plant]}, actions: [view]}
"""
GAIN = "  - {id: bo, subjects: [bo@plant.example], scope: {sites: [plant]}, actions: [view]}\n"


def built(folder: Path) -> Broker:
    return prepare(load_settings(folder / "dev" / "broker.yaml"), folder / "dev" / "organisations")[0]


async def recorded(broker: Broker, kind: str) -> list[dict[str, Any]]:
    """All records of that kind so far, oldest first, once they are in the file."""
    settled: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    if not broker.ledger.settle(False, settled.set_result):
        await settled
    found = [orjson.loads(raw) for raw in broker.ledger.records(0, broker.ledger.size)]
    return [record for record in found if record["kind"] == kind]
