"""An audit log on the real way to devices: told from where it hears the broker, and nobody's business if it is down."""

import asyncio
import json
import socket
from typing import Any

from broker.adapters.bacnet_port import BacnetIpPort, OwnPlace
from broker.adapters.clock import SystemClock
from broker.adapters.upstreams import Upstreams
from broker.engine.audit_reporting import Fared
from broker.engine.in_force import InForce
from broker.engine.sessions import Session
from broker.listeners.audit_desk import AuditDesk
from broker.model.place import BacnetNetwork, Device, Inventory
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Result
from broker.wire.bacnet.apdu import ConfirmedRequest
from broker.wire.bacnet.meaning import compose_write
from broker.wire.bacnet.npdu import Npdu
from broker.wire.bacnet.services import decode_confirmed
from tests.integration.upstreams.asking import asked, said, upstreams
from tests.integration.upstreams.test_bacnet_port import (
    POINT,
    Place,
    Station,
    device,
    honest,
    reading,
    station,
)

ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme")
TRANSMISSIONS = 3


class Ledger:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, record: bytes, *, intent: bool = False) -> int:
        self.records.append(json.loads(record))
        return len(self.records)

    def settle(self, durable: bool, settled: object) -> bool:
        return True


def desk_of(ways: Upstreams, *devices: Device) -> tuple[AuditDesk, Ledger]:
    networks = (BacnetNetwork("plant", 2001, audit_log="log"),)
    in_force = InForce(Inventory("i", ("plant",), (), devices, (), (), (), (), bacnet_networks=networks))
    ledger = Ledger()
    return AuditDesk(SystemClock(), ledger, lambda: in_force, ways.upstream, "plant/ledger"), ledger  # type: ignore[arg-type]


def tell(desk: AuditDesk, vav: Device) -> None:
    session = Session("ses-1", ANA, vav, "tunnel", "", 0.0)
    desk.tell(session, compose_write(vav, POINT, 20, 10), [Fared(0, 7, Result.DONE)])


def test_a_log_is_told_of_the_place_from_which_it_hears_the_broker() -> None:
    notified: asyncio.Queue[bytes] = asyncio.Queue()

    def take(log: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
        notified.put_nowait(request.parameters)
        honest(0)(log, npdu, request, caller)

    async def play() -> None:
        async with station(honest(1)) as one, station(take) as other:
            vav, log = device(one.port, "vav"), device(other.port, "log")
            async with upstreams(vav, log) as ways:
                desk, ledger = desk_of(ways, vav, log)
                await asked(ways.upstream("plant/vav"), reading(vav))
                tell(desk, vav)
                parameters = await notified.get()
                address, port = other.callers[0]
                assert socket.inet_aton(address) + port.to_bytes(2, "big") in parameters
                (item,) = decode_confirmed(32, parameters).items
                assert (item.object_type, item.instance, item.property, item.priority) == (
                    *("analog-value", 1, "present-value", 10),
                )
                await desk.stop()
        assert [(record["kind"], record["told"]) for record in ledger.records] == [("audit_log_told", 1)]

    asyncio.run(play())


def test_a_log_that_is_silent_hears_one_notification_again_and_keeps_no_device_waiting() -> None:
    heard: list[tuple[int, bytes]] = []
    enough = asyncio.Event()

    def silent(log: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
        heard.append((request.invoke, request.parameters))
        if len(heard) == TRANSMISSIONS:
            enough.set()

    async def play() -> None:
        async with station(honest(1)) as one, station(silent) as other:
            vav, log = device(one.port, "vav"), device(other.port, "log")
            async with upstreams(vav, log) as ways:
                desk, ledger = desk_of(ways, vav, log)
                tell(desk, vav)
                await other.arrived.wait()
                tell(desk, vav)
                relayed = await asked(ways.upstream("plant/vav"), reading(vav))
                assert dict(said(reading(vav), relayed))["setpoint"] == "1"
                assert desk.outboxes["plant"].waiting == 2
                await enough.wait()
                await desk.stop()
        assert len(set(heard)) == 1, "the same under the same invoke id, by which a log knows it again"
        (missed,) = ledger.records
        assert (missed["kind"], missed["told"], missed["lost"]) == ("audit_log_missed", 0, 2)

    asyncio.run(play())


def test_the_address_of_the_broker_is_that_of_the_settings_or_else_what_routes_to_the_log() -> None:
    fixed = BacnetIpPort(SystemClock(), OwnPlace("127.0.0.2", 47900))
    assert fixed.own_mac("127.0.0.1") == bytes((127, 0, 0, 2, 0xBB, 0x1C))
    routed = BacnetIpPort(SystemClock())
    assert routed.own_mac("127.0.0.1") == bytes((127, 0, 0, 1, 0, 0))
    assert routed.own_mac("bms.plant.example") == bytes(6)
