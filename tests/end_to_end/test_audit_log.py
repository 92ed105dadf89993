"""What is done in BACnet stands in the ledger to be read, and in an audit log of OT that nobody here wrote."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.cli.building import ANA, BMS
from tests.end_to_end.bacnet_field import explorer, found_by, rusty_devices, write_site
from tests.end_to_end.conftest import Start
from tests.end_to_end.development import Development, until
from tests.integration.otb.conftest import Connected, stop

DEVICE, LOG = 2002, 2009
VAV = f"plant/vav-{DEVICE}"
EVERYTHING = ["view", "discover", "adjust", "config", "install"]
PASSWORD = "not to be told"


class Log:
    """The Audit Log object of a rusty-bacnet device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0

    def add(self, server: Any) -> None:
        server.add_file(1, "program", "config")
        server.add_notification_class(1, "alarms")
        server.add_audit_log(1, "audit", str(self.folder / str(id(server))))
        server.configure_audit_notification_sink(1, policy="allow_all")

    def entries(self) -> list[dict[str, Any]]:
        """What it was told of the device, the oldest first."""
        return asyncio.run(self._queried())

    async def _queried(self) -> list[dict[str, Any]]:
        import rusty_bacnet as rusty

        device = rusty.ObjectIdentifier(rusty.ObjectType.DEVICE, DEVICE)
        parameters = {"kind": "by_target", "target_device_identifier": device, "successful_actions_only": 0}
        query = {
            "audit_log": rusty.ObjectIdentifier(rusty.ObjectType.AUDIT_LOG, 1),
            "query_parameters": parameters,
            "requested_count": 3,  # more do not fit into one message
        }
        found: dict[int, dict[str, Any]] = {}
        async with rusty.BACnetClient("127.0.0.1", 0) as client:
            while True:
                answer = await client.audit_log_query_typed(f"127.0.0.1:{self.port}", query)
                fresh = {each["sequence_number"]: each["record"]["datum"] for each in answer["records"]}
                if not fresh.keys() - found.keys():
                    return [found[number]["audit_notification"] for number in sorted(found)]
                found |= fresh
                query["start_at_sequence_number"] = min(found)  # the newest come first


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def plant(start_shared: Start, tmp_path_factory: pytest.TempPathFactory, log: Log) -> Iterator[Development]:
    everywhere = {"sites": ["plant"]}
    grants = [
        {"id": "ana-all", "subjects": [ANA], "scope": everywhere, "actions": EVERYTHING},
        {"id": "bms-view", "subjects": [BMS], "scope": everywhere, "actions": ["view", "discover"]},
    ]
    with rusty_devices(DEVICE, LOG, made=log.add) as ports:
        log.port = ports[1]
        folder = tmp_path_factory.mktemp("plant")
        site = write_site(folder, ports, DEVICE, LOG, audit_log=LOG, grants=grants, criticality="high")
        plant = start_shared("--inventory", str(site))
        yield plant
        plant.stop()


def test_who_wrote_and_who_was_denied_stands_in_the_log_with_the_record_that_proves_it(
    plant: Development, log: Log
) -> None:
    api = plant.api()
    was = api.read(VAV, "zone-setpoint").body["points"]["zone-setpoint"]["value"]
    assert api.write(VAV, {"zone-setpoint": {"value": 20.5, "priority": 10}}).status == 200
    assert api.write(VAV, {"zone-setpoint": {"value": 26.5, "priority": 10}}).status == 403
    assert plant.api("bms-sync").write(VAV, {"zone-setpoint": {"value": 19, "priority": 12}}).status == 403
    done, too_much, not_allowed = until(lambda: found if len(found := log.entries()) == 3 else None)
    assert [str(each["operation"]) for each in (done, too_much, not_allowed)] == ["AuditOperation.WRITE"] * 3
    assert str(done["target_object"]) == str(too_much["target_object"]) == "ObjectIdentifier(ANALOG_VALUE, 1)"
    assert done["target_property"]["property_identifier"].to_raw() == 85
    assert [each["target_priority"] for each in (done, too_much, not_allowed)] == [10, 10, 12]
    assert (done["target_value"], done["result"]) == (bytes.fromhex("4441a40000"), None)
    assert was == 0
    assert done["current_value"] == bytes.fromhex("4400000000")
    for each in (too_much, not_allowed):
        assert [word.to_raw() for word in each["result"]] == [4, 85]  # security, access-denied
    assert done["source_comment"].startswith(f"{ANA} (")
    assert not_allowed["source_comment"].startswith(f"{BMS} (")
    assert "denied value_above_limit" in too_much["source_comment"]
    for each, result in ((done, "done"), (too_much, "denied"), (not_allowed, "denied")):
        (outcome,) = plant.records("outcome", intent=record_in(each))
        assert outcome["result"] == result
    until(lambda: 'otbroker_audit_log_told_total{site="plant"} 3.0' in plant.ops("/metrics")[1])


def record_in(entry: dict[str, Any]) -> int:
    return int(entry["source_comment"].partition(" record ")[2].partition(",")[0])


def test_what_a_native_tool_changes_can_be_read_in_the_ledger_and_passwords_and_files_only_recognised(
    plant: Development, log: Log
) -> None:
    told_before = len(log.entries())
    link = Connected(["plant", "--bacnet", "--dev", plant.folder, "--as", "vendor-ana"])
    try:
        asyncio.run(change_everything(link.port))
    finally:
        stop(link.process, 2)
    element, first, second, listed, file, private, clock, silenced = changes(plant)
    assert element["what"] == "config notification-class,1 priority[1] = 7"
    assert element["intent"]["before"] == {"notification-class,1 priority[1]": "255"}
    assert (element["outcome"]["result"], element["outcome"]["code"]) == ("device_refused", DENIED)
    assert (first["what"], second["what"]) == (
        "adjust zone-setpoint @11 = 22",
        "config analog-value,1 description = hello",
    )
    assert first["intent"]["before"] == {"zone-setpoint": "20.5"}
    assert (second["intent"]["place"], second["intent"]["before"]) == (1, {"analog-value,1 description": ""})
    assert listed["what"] == (
        "config notification-class,1 recipient-list = 1111111 00:00:00.00 23:59:59.99 0x0c02000009 1 false 111"
    )
    assert listed["intent"]["before"] == {"notification-class,1 recipient-list": "[]"}
    assert "file,1 (access stream, digest " in file["what"] and "octets 140)" in file["what"]
    assert "parameters present" in private["what"] and "octets 14," in private["what"]
    assert "time 2026-11-29 12:00:00.00" in clock["what"]
    assert (clock["outcome"]["result"], clock["outcome"]["code"]) == ("unknown", "unconfirmed")
    assert "enable-disable disable-initiation, password present" in silenced["what"]
    entries = until(lambda: found if len(found := log.entries()[told_before:]) == 8 else None)
    words = [str(entry["operation"]).partition(".")[2] for entry in entries]
    assert words == [*["WRITE"] * 5, "GENERAL", "GENERAL", "DEVICE_DISABLE_COMM"]
    assert entries[0]["target_property"]["property_array_index"] == 1
    assert [record_in(entry) for entry in entries] == [
        each["intent"]["index"] for each in (element, first, second, listed, file, private, clock, silenced)
    ]
    assert PASSWORD not in str(entries)
    kept = [path for path in plant.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(kept) > 20
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


DENIED = "property/write-access-denied"


def changes(plant: Development) -> list[dict[str, Any]]:
    """What was intended through the tunnel: the record, its outcome, and what `otb audit` says of it."""
    from broker.cli.people.record_words import operation_words

    (session,) = plant.records("session_opened", listener="tunnel", device=VAV)
    found = []
    for intent in plant.records("intent", session=session["session"]):
        (decision,) = plant.records("decision", index=intent["decision"])
        (outcome,) = plant.records("outcome", intent=intent["index"])
        asked = decision["input"]["operation"]
        if asked["writes"]:
            found.append({"intent": intent, "outcome": outcome, "what": operation_words(asked)})
    return found


async def change_everything(port: int) -> None:
    """One array element, several properties, an element of a list, a file, something of a vendor's, the clock,
    and silence.
    """
    from bacpypes3 import apdu
    from bacpypes3.basetypes import (
        AtomicWriteFileRequestAccessMethodChoice,
        AtomicWriteFileRequestAccessMethodChoiceStreamAccess,
        DateTime,
        DaysOfWeek,
        Destination,
        EventTransitionBits,
        PropertyValue,
        Recipient,
        WriteAccessSpecification,
    )
    from bacpypes3.constructeddata import Any as AnyValue
    from bacpypes3.constructeddata import SequenceOf
    from bacpypes3.primitivedata import CharacterString, ObjectIdentifier, OctetString, Real, Unsigned

    values = [
        PropertyValue(propertyIdentifier="present-value", value=AnyValue(Real(22.0)), priority=11),
        PropertyValue(propertyIdentifier="description", value=AnyValue(CharacterString("hello"))),
    ]
    setpoint, alarms = ObjectIdentifier("analog-value,1"), ObjectIdentifier("notification-class,1")
    destination = Destination(
        validDays=DaysOfWeek([1] * 7),
        fromTime=(0, 0, 0, 0),
        toTime=(23, 59, 59, 99),
        recipient=Recipient(device=ObjectIdentifier("device,9")),
        processIdentifier=1,
        issueConfirmedNotifications=False,
        transitions=EventTransitionBits([1, 1, 1]),
    )
    stream = AtomicWriteFileRequestAccessMethodChoiceStreamAccess(
        fileStartPosition=0, fileData=OctetString(b"firmware-bytes" * 10)
    )
    requests = [
        apdu.WritePropertyRequest(
            objectIdentifier=alarms,
            propertyIdentifier="priority",
            propertyArrayIndex=1,
            propertyValue=AnyValue(Unsigned(7)),
        ),
        apdu.WritePropertyMultipleRequest(
            listOfWriteAccessSpecs=[WriteAccessSpecification(objectIdentifier=setpoint, listOfProperties=values)]
        ),
        apdu.AddListElementRequest(
            objectIdentifier=alarms,
            propertyIdentifier="recipient-list",
            listOfElements=AnyValue(SequenceOf(Destination)([destination])),
        ),
        apdu.AtomicWriteFileRequest(
            fileIdentifier=ObjectIdentifier("file,1"),
            accessMethod=AtomicWriteFileRequestAccessMethodChoice(streamAccess=stream),
        ),
        apdu.ConfirmedPrivateTransferRequest(
            vendorID=999, serviceNumber=5, serviceParameters=AnyValue(OctetString(b"vendor's own"))
        ),
        apdu.TimeSynchronizationRequest(time=DateTime(date=(126, 11, 29, 7), time=(12, 0, 0, 0))),
        apdu.DeviceCommunicationControlRequest(timeDuration=1, enableDisable="disable-initiation", password=PASSWORD),
    ]
    async with explorer(port) as app:
        device = (await found_by(app, DEVICE))[DEVICE]
        for request in requests:
            request.pduDestination = device
            try:
                await app.request(request)
            except apdu.ErrorRejectAbortNack:
                continue  # what the device says to it is its own affair
