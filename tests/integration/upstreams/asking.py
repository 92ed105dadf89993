"""Asks an upstream and waits for what became of it; nothing here hides a result."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broker.adapters.bacnet_port import ANYWHERE, OwnPlace
from broker.adapters.bacnet_sc_port import ScIdentity
from broker.adapters.clock import SystemClock
from broker.adapters.lane import Lane
from broker.adapters.upstreams import Upstreams
from broker.model.operation import Relayed, Request
from broker.model.place import Budget, Device, EndpointBudget, Protocol
from broker.model.way import ModbusTcpWay, Way
from broker.wire.bacnet.judging import told
from broker.wire.modbus.meaning import interpret

QUICK = Budget(connect_timeout_seconds=0.5, response_timeout_seconds=0.3)
VIEW = "03000a0001"
WRITE = "06000a00c8"


def modbus_device(way: Way, id_: str = "ahu-1", unit: int = 1, budget: Budget = QUICK) -> Device:
    return Device("plant", id_, "hvac", Protocol.MODBUS, way, upstream_unit_id=unit, budget=budget)


def tcp_device(port: int, id_: str = "ahu-1", unit: int = 1, budget: Budget = QUICK) -> Device:
    return modbus_device(ModbusTcpWay("127.0.0.1", port), id_, unit, budget)


def pdu(device: Device, octets: str) -> Request:
    return interpret(device, bytes.fromhex(octets))


def asked(lane: Lane, request: Request) -> "asyncio.Future[Relayed]":
    """What became of it; a second answer would raise in the event loop and fail the test that follows it."""
    future: asyncio.Future[Relayed] = asyncio.get_running_loop().create_future()
    lane.relay(request, future.set_result)
    assert not future.done(), "an answer came before the call had returned"
    return future


def said(request: Request, relayed: Relayed) -> tuple[tuple[str, str], ...]:
    """The values that a BACnet device told, by point id."""
    return tuple((point, text) for point, word, text in told(request, relayed.payload) if word == "value")


@asynccontextmanager
async def upstreams(
    *devices: Device,
    endpoints: tuple[EndpointBudget, ...] = (),
    bacnet: OwnPlace = ANYWHERE,
    segments: dict[str, OwnPlace] | None = None,
    sc_identity: ScIdentity | None = None,
) -> AsyncIterator[Upstreams]:
    """The ways to these devices; no callback may have failed by the end."""
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    ways = Upstreams(devices, SystemClock(), bacnet, segments=segments, endpoints=endpoints, sc_identity=sc_identity)
    try:
        yield ways
    finally:
        await ways.close()
        await asyncio.sleep(0)
        assert not failures, failures
