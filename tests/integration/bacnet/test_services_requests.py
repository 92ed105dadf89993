"""Requests that another implementation encodes are understood as meant, written down alike, and refused if changed."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from bacpypes3 import apdu as a
from bacpypes3 import basetypes as b
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.primitivedata import (
    Boolean,
    Date,
    Null,
    ObjectIdentifier,
    OctetString,
    Real,
    Time,
    Unsigned,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.bacnet.items import Decoded, Item
from broker.wire.bacnet.property_services import MOST_READ, MOST_WRITTEN
from broker.wire.bacnet.services import CONFIRMED_NAMES, UNCONFIRMED_NAMES, decode_confirmed, decode_unconfirmed
from broker.wire.bacnet.tags import decode_tags

AV1 = ObjectIdentifier("analog-value,1")
DEVICE = ObjectIdentifier("device,1001")
MOMENT = b.DateTime(date=Date((126, 11, 28, 6)), time=Time((8, 30, 0, 0)))
STAMP = b.TimeStamp(dateTime=MOMENT)
REAL = decode_tags(bytes.fromhex("4441ac0000"))


def reference(name: str, index: int | None = None) -> b.PropertyReference:
    return b.PropertyReference(propertyIdentifier=name, propertyArrayIndex=index)


def told(name: str, value: Any, index: int | None = None, priority: int | None = None) -> b.PropertyValue:
    return b.PropertyValue(propertyIdentifier=name, propertyArrayIndex=index, value=AnyValue(value), priority=priority)


def item(name: str | None = None, index: int | None = None, value: Any = None, priority: int | None = None) -> Item:
    return Item("analog-value", 1, name, index, value, priority)


def cov(cls: Any) -> Any:
    return cls(
        subscriberProcessIdentifier=18,
        initiatingDeviceIdentifier=DEVICE,
        monitoredObjectIdentifier=AV1,
        timeRemaining=250,
        listOfValues=[told("present-value", Real(21.5)), told("status-flags", b.StatusFlags([0, 0, 0, 0]))],
    )


def shown_by_digest(octets: bytes) -> dict[str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(octets).digest()).rstrip(b"=").decode()
    return {"octets": str(len(octets)), "digest": digest}


def private(cls: Any, parameters: Any = None) -> Any:
    return cls(vendorID=999, serviceNumber=7, serviceParameters=parameters)


def message(cls: Any, kind: Any = None) -> Any:
    return cls(textMessageSourceDevice=DEVICE, messageClass=kind, messagePriority="urgent", message="pump off")


COV_ITEMS = (item("present-value", value=REAL), item("status-flags", value=decode_tags(bytes.fromhex("820400"))))
COV_FACTS = {"process-identifier": "18", "initiating-device": "1001", "time-remaining": "250"}
PRIVATE_FACTS = {"vendor-identifier": "999", "service-number": "7"}
MESSAGE_FACTS = {"source-device": "1001", "message-priority": "urgent", "message": "pump off"}
TIME_FACTS = {"time": "2026-11-28 08:30:00.00"}

MESSAGES: list[tuple[Any, Sequence[Item], dict[str, str]]] = [
    (
        a.AcknowledgeAlarmRequest(
            acknowledgingProcessIdentifier=3,
            eventObjectIdentifier=AV1,
            eventStateAcknowledged="offnormal",
            timeStamp=STAMP,
            acknowledgmentSource="jane",
            timeOfAcknowledgment=b.TimeStamp(sequenceNumber=9),
        ),
        (item(),),
        {
            "process-identifier": "3",
            "event-state": "offnormal",
            "event-time": "2026-11-28 08:30:00.00",
            "source": "jane",
            "acknowledgment-time": "sequence 9",
        },
    ),
    (cov(a.ConfirmedCOVNotificationRequest), COV_ITEMS, COV_FACTS),
    (cov(a.UnconfirmedCOVNotificationRequest), COV_ITEMS, COV_FACTS),
    (a.GetAlarmSummaryRequest(), (), {}),
    (a.GetEventInformationRequest(), (), {}),
    (a.GetEventInformationRequest(lastReceivedObjectIdentifier=AV1), (), {"last-received": "analog-value,1"}),
    (
        a.SubscribeCOVRequest(
            subscriberProcessIdentifier=18,
            monitoredObjectIdentifier=AV1,
            issueConfirmedNotifications=True,
            lifetime=300,
        ),
        (item(),),
        {"process-identifier": "18", "confirmed": "true", "lifetime": "300"},
    ),
    (
        a.SubscribeCOVRequest(subscriberProcessIdentifier=18, monitoredObjectIdentifier=AV1),
        (item(),),
        {"process-identifier": "18", "cancels": "true"},
    ),
    (
        a.SubscribeCOVPropertyRequest(
            subscriberProcessIdentifier=18,
            monitoredObjectIdentifier=AV1,
            issueConfirmedNotifications=False,
            lifetime=0,
            monitoredPropertyIdentifier="priority-array[8]",
            covIncrement=0.5,
        ),
        (item("priority-array", 8),),
        {"process-identifier": "18", "confirmed": "false", "lifetime": "unlimited", "cov-increment": "0.5"},
    ),
    (
        a.AtomicReadFileRequest(
            fileIdentifier="file,2",
            accessMethod=b.AtomicReadFileRequestAccessMethodChoice(
                streamAccess=b.AtomicReadFileRequestAccessMethodChoiceStreamAccess(
                    fileStartPosition=100, requestedOctetCount=400
                )
            ),
        ),
        (Item("file", 2),),
        {"access": "stream", "file-start": "100", "file-count": "400"},
    ),
    (
        a.AtomicWriteFileRequest(
            fileIdentifier="file,2",
            accessMethod=b.AtomicWriteFileRequestAccessMethodChoice(
                streamAccess=b.AtomicWriteFileRequestAccessMethodChoiceStreamAccess(
                    fileStartPosition=-1, fileData=OctetString(bytes(300))
                )
            ),
        ),
        (Item("file", 2),),
        {"access": "stream", "file-start": "-1", "file-count": "300"} | shown_by_digest(bytes(300)),
    ),
    (
        a.AtomicWriteFileRequest(
            fileIdentifier="file,2",
            accessMethod=b.AtomicWriteFileRequestAccessMethodChoice(
                recordAccess=b.AtomicWriteFileRequestAccessMethodChoiceRecordAccess(
                    fileStartRecord=4, recordCount=2, fileRecordData=[OctetString(b"ab"), OctetString(b"c")]
                )
            ),
        ),
        (Item("file", 2),),
        {"access": "record", "file-start": "4", "file-count": "2"} | shown_by_digest(b"abc"),
    ),
    (
        a.AddListElementRequest(
            objectIdentifier="notification-class,1",
            propertyIdentifier="recipient-list",
            listOfElements=AnyValue(b.Recipient(device=DEVICE)),
        ),
        (Item("notification-class", 1, "recipient-list", None, decode_tags(bytes.fromhex("0c020003e9"))),),
        {},
    ),
    (
        a.RemoveListElementRequest(
            objectIdentifier="calendar,1",
            propertyIdentifier="date-list",
            propertyArrayIndex=1,
            listOfElements=AnyValue(Unsigned(1)),
        ),
        (Item("calendar", 1, "date-list", 1, decode_tags(b"\x21\x01")),),
        {},
    ),
    (
        a.CreateObjectRequest(
            objectSpecifier=a.CreateObjectRequestObjectSpecifier(objectType="analog-value"),
            listOfInitialValues=[told("present-value", Real(21.5), priority=9)],
        ),
        (Item("analog-value", None), Item("analog-value", None, "present-value", None, REAL, 9)),
        {},
    ),
    (
        a.CreateObjectRequest(objectSpecifier=a.CreateObjectRequestObjectSpecifier(objectIdentifier=AV1)),
        (item(),),
        {},
    ),
    (a.DeleteObjectRequest(objectIdentifier=AV1), (item(),), {}),
    (
        a.ReadPropertyRequest(objectIdentifier=AV1, propertyIdentifier="present-value"),
        (item("present-value"),),
        {},
    ),
    (
        a.ReadPropertyRequest(objectIdentifier="900,4194303", propertyIdentifier=700, propertyArrayIndex=70000),
        (Item("900", 4194303, "700", 70000),),
        {},
    ),
    (
        a.ReadPropertyMultipleRequest(
            listOfReadAccessSpecs=[
                b.ReadAccessSpecification(
                    objectIdentifier=AV1,
                    listOfPropertyReferences=[reference("all"), reference("priority-array", 0)],
                ),
                b.ReadAccessSpecification(objectIdentifier=DEVICE, listOfPropertyReferences=[reference("object-list")]),
            ]
        ),
        (item("all"), item("priority-array", 0), Item("device", 1001, "object-list")),
        {},
    ),
    (
        a.WritePropertyRequest(
            objectIdentifier=AV1, propertyIdentifier="present-value", propertyValue=AnyValue(Real(21.5)), priority=8
        ),
        (item("present-value", value=REAL, priority=8),),
        {},
    ),
    (
        a.WritePropertyRequest(
            objectIdentifier="schedule,1",
            propertyIdentifier="effective-period",
            propertyValue=AnyValue(b.DateRange(startDate=Date((126, 1, 1, 255)), endDate=Date((126, 12, 31, 255)))),
        ),
        (Item("schedule", 1, "effective-period", None, decode_tags(bytes.fromhex("a47e0101ffa47e0c1fff"))),),
        {},
    ),
    (
        a.WritePropertyMultipleRequest(
            listOfWriteAccessSpecs=[
                b.WriteAccessSpecification(
                    objectIdentifier=AV1,
                    listOfProperties=[
                        told("present-value", Real(21.5), priority=10),
                        told("priority-array", Null(()), index=3),
                    ],
                ),
                b.WriteAccessSpecification(
                    objectIdentifier="binary-output,2", listOfProperties=[told("out-of-service", Boolean(True))]
                ),
            ]
        ),
        (
            item("present-value", value=REAL, priority=10),
            item("priority-array", 3, decode_tags(b"\x00")),
            Item("binary-output", 2, "out-of-service", None, decode_tags(b"\x11")),
        ),
        {},
    ),
    (
        a.DeviceCommunicationControlRequest(timeDuration=5, enableDisable="disableInitiation", password="s3cret!"),
        (),
        {"time-duration": "5", "enable-disable": "disable-initiation", "password": "present"},
    ),
    (
        a.DeviceCommunicationControlRequest(enableDisable="enable"),
        (),
        {"time-duration": "unlimited", "enable-disable": "enable"},
    ),
    (
        a.ReinitializeDeviceRequest(reinitializedStateOfDevice="warmstart", password="s3cret!"),
        (),
        {"reinitialized-state": "warmstart", "password": "present"},
    ),
    (private(a.ConfirmedPrivateTransferRequest), (), PRIVATE_FACTS),
    (
        private(a.UnconfirmedPrivateTransferRequest, AnyValue(Real(1))),
        (),
        PRIVATE_FACTS | {"parameters": "present"} | shown_by_digest(bytes.fromhex("443f800000")),
    ),
    (
        message(a.ConfirmedTextMessageRequest, b.ConfirmedTextMessageRequestMessageClass(numeric=4)),
        (),
        MESSAGE_FACTS | {"message-class": "4"},
    ),
    (message(a.UnconfirmedTextMessageRequest), (), MESSAGE_FACTS),
    (
        a.ReadRangeRequest(
            objectIdentifier="trend-log,1",
            propertyIdentifier="log-buffer",
            range=b.Range(byPosition=b.RangeByPosition(referenceIndex=1, count=-20)),
        ),
        (Item("trend-log", 1, "log-buffer"),),
        {"range-by": "position", "range-start": "1", "range-count": "-20"},
    ),
    (
        a.ReadRangeRequest(
            objectIdentifier="trend-log,1",
            propertyIdentifier="log-buffer",
            range=b.Range(byTime=b.RangeByTime(referenceTime=MOMENT, count=20)),
        ),
        (Item("trend-log", 1, "log-buffer"),),
        {"range-by": "time", "range-start": "2026-11-28 08:30:00.00", "range-count": "20"},
    ),
    (
        a.ReadRangeRequest(objectIdentifier="trend-log,1", propertyIdentifier="log-buffer"),
        (Item("trend-log", 1, "log-buffer"),),
        {},
    ),
    (
        a.LifeSafetyOperationRequest(
            requestingProcessIdentifier=1,
            requestingSource="jane",
            request="silence",
            objectIdentifier="life-safety-zone,1",
        ),
        (Item("life-safety-zone", 1),),
        {"process-identifier": "1", "source": "jane", "request": "silence"},
    ),
    (
        a.IAmRequest(
            iAmDeviceIdentifier=DEVICE, maxAPDULengthAccepted=1476, segmentationSupported="segmentedBoth", vendorID=999
        ),
        (Item("device", 1001),),
        {"max-apdu": "1476", "segmentation": "segmented-both", "vendor-identifier": "999"},
    ),
    (
        a.IHaveRequest(deviceIdentifier=DEVICE, objectIdentifier=AV1, objectName="setpoint"),
        (Item("device", 1001), item()),
        {"object-name": "setpoint"},
    ),
    (a.TimeSynchronizationRequest(time=MOMENT), (), TIME_FACTS),
    (a.UTCTimeSynchronizationRequest(time=MOMENT), (), TIME_FACTS),
    (
        a.WhoHasRequest(
            limits=a.WhoHasLimits(deviceInstanceRangeLowLimit=1, deviceInstanceRangeHighLimit=9),
            object=a.WhoHasObject(objectIdentifier=AV1),
        ),
        (item(),),
        {"low-limit": "1", "high-limit": "9"},
    ),
    (a.WhoHasRequest(object=a.WhoHasObject(objectName="setpoint")), (), {"object-name": "setpoint"}),
    (a.WhoIsRequest(), (), {}),
    (
        a.WhoIsRequest(deviceInstanceRangeLowLimit=0, deviceInstanceRangeHighLimit=4194303),
        (),
        {"low-limit": "0", "high-limit": "4194303"},
    ),
]
BY_HAND = {
    # 13.16, with two objects, an increment and a time stamp
    "subscribe-cov-property-multiple": (
        30,
        "0912 1901 2a012c 390a 4e 0c00800001 1e 0e 0955 0f 1c3f000000 2901 0e 0957 1908 0f 2900 1f 4f",
        (
            item("present-value")._replace(facts=(("cov-increment", "0.5"), ("timestamped", "true"))),
            item("priority-array", 8)._replace(facts=(("timestamped", "false"),)),
        ),
        {"process-identifier": "18", "confirmed": "true", "lifetime": "300", "max-notification-delay": "10"},
    ),
    # 13.17
    "confirmed-cov-notification-multiple": (
        31,
        "0912 1c020003e9 29fa 3e a47e0b1c06 b4081e0000 3f 4e 0c00800001 1e 0955 2e 4441ac0000 2f 3c081e0000 1f 4f",
        (item("present-value", value=REAL),),
        COV_FACTS | {"timestamp": "2026-11-28 08:30:00.00"},
    ),
    # 13.19: jane wrote 21.5 at priority 8
    "confirmed-audit-notification": (
        32,
        "0e 1e 2e a47e0b1c06 b4081e0000 2f 1f 2e 0c020003e8 2f 4901 5d050061626364 ae 0c020003e9 af bc00800001"
        " ce 0955 cf d908 ee 4441ac0000 ef 0f",
        (item("present-value", value=REAL, priority=8),),
        {"operations": "write", "operation-count": "1"},
    ),
}


def named(message_: Any) -> str:
    return type(message_).__name__


def decoded(message_: Any) -> tuple[bytes, Decoded]:
    octets = bytes(message_.encode().pduData)
    decode = decode_confirmed if isinstance(message_, a.ConfirmedRequestPDU) else decode_unconfirmed
    return octets, decode(message_.service_choice, octets)


@pytest.mark.parametrize(
    ("request_", "items", "facts"), MESSAGES, ids=[named(m) + str(n) for n, (m, *_) in enumerate(MESSAGES)]
)
def test_a_message_means_what_was_meant_and_is_written_down_alike(
    request_: Any, items: Sequence[Item], facts: dict[str, str]
) -> None:
    octets, found = decoded(request_)
    assert found.octets == octets
    assert found.items == tuple(items)
    assert dict(found.facts) == facts
    assert found.service.replace("-", "") == named(request_).removesuffix("Request").lower()


@pytest.mark.parametrize("name", BY_HAND)
def test_a_message_that_the_other_implementation_does_not_know_means_what_the_standard_says(name: str) -> None:
    service, octets, items, facts = BY_HAND[name]
    found = decode_confirmed(service, bytes.fromhex(octets))
    assert (found.service, found.octets) == (name, bytes.fromhex(octets))
    assert found.items == items
    assert dict(found.facts) == facts


@pytest.mark.parametrize(
    "request_", [m for m, *_ in MESSAGES], ids=[named(m) + str(n) for n, (m, *_) in enumerate(MESSAGES)]
)
def test_a_message_with_an_octet_less_or_a_tag_more_is_refused_or_another_canonical_one(request_: Any) -> None:
    octets, _ = decoded(request_)
    decode = decode_confirmed if isinstance(request_, a.ConfirmedRequestPDU) else decode_unconfirmed
    for end in range(len(octets)):
        try:
            shorter = decode(request_.service_choice, octets[:end])
        except FrameError as error:
            assert error.code == "malformed"
            continue
        assert shorter.octets == octets[:end]  # what may be left out was
    with pytest.raises(FrameError):
        decode(request_.service_choice, octets + b"\xf8\xfe")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([m for m, *_ in MESSAGES]), st.data())
def test_a_changed_message_is_refused_or_written_down_as_it_was_understood(request_: Any, data: st.DataObject) -> None:
    octets, _ = decoded(request_)
    changed = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    decode = decode_confirmed if isinstance(request_, a.ConfirmedRequestPDU) else decode_unconfirmed
    try:
        found = decode(request_.service_choice, bytes(changed))
    except FrameError:
        return
    again = decode(request_.service_choice, found.octets)
    assert (again, again.octets) == (found, found.octets)
    assert len(found.octets) <= len(changed)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 255), st.binary(max_size=60))
def test_arbitrary_octets_are_a_message_or_refused(service: int, octets: bytes) -> None:
    for decode in (decode_confirmed, decode_unconfirmed):
        try:
            decode(service, octets)
        except FrameError as error:
            assert error.code in ("malformed", "unrecognized_service", "service_not_allowed")


def test_every_service_of_the_standard_is_known_by_name_and_no_other_number_is() -> None:
    refused = {}
    for names, decode in ((CONFIRMED_NAMES, decode_confirmed), (UNCONFIRMED_NAMES, decode_unconfirmed)):
        for number in range(256):
            try:
                decode(number, b"\x0f")
            except FrameError as error:
                refused[(decode, number)] = error.code
            assert (refused.get((decode, number)) == "unrecognized_service") == (number >= len(names))
    closed = {names[n] for (d, n), code in refused.items() if code == "service_not_allowed" for names in (_names(d),)}
    assert {"vt-open", "authenticate", "request-key", "audit-log-query", "write-group"} <= closed
    theirs = {n: str(a.ConfirmedServiceChoice(n)) for n in set(a.ConfirmedServiceChoice._enum_map.values())}
    assert {n: plain(name) for n, name in theirs.items()} == {n: plain(CONFIRMED_NAMES[n]) for n in theirs}
    theirs = {
        n: str(a.UnconfirmedServiceChoice(n)).replace("who-iam", "who-am-i")
        for n in set(a.UnconfirmedServiceChoice._enum_map.values())
    }
    assert {n: plain(name) for n, name in theirs.items()} == {n: plain(UNCONFIRMED_NAMES[n]) for n in theirs}


def _names(decode: object) -> tuple[str, ...]:
    return CONFIRMED_NAMES if decode is decode_confirmed else UNCONFIRMED_NAMES


def plain(name: str) -> str:
    return name.replace("-", "").lower()


def test_a_password_is_sent_on_and_told_nowhere() -> None:
    for request_ in (
        a.DeviceCommunicationControlRequest(enableDisable="disable", password="s3cret!"),
        a.ReinitializeDeviceRequest(reinitializedStateOfDevice="coldstart", password="s3cret!"),
    ):
        octets, found = decoded(request_)
        assert b"s3cret!" in found.octets
        assert b"s3cret!" not in found.shown
        assert octets.startswith(found.shown)
        assert "s3cret!" not in repr(found)
        with pytest.raises(FrameError) as refused:
            decode_confirmed(request_.service_choice, octets + b"\x09\x01")
        assert "s3cret!" not in str(refused.value)


@pytest.mark.parametrize("length", [0, 81])
def test_a_password_of_a_length_that_cannot_be_is_refused(length: int) -> None:
    content = bytes(1) + b"x" * length
    tag = b"\x19\x00" if length == 0 else b"\x1d" + bytes((length + 1,)) + content
    with pytest.raises(FrameError):
        decode_confirmed(20, b"\x09\x01" + tag)


def test_lists_have_bounds() -> None:
    one = bytes.fromhex("0c00800001 1e" + "0955" * MOST_READ + "1f")
    assert len(decode_confirmed(14, one).items) == MOST_READ
    with pytest.raises(FrameError):
        decode_confirmed(14, one + bytes.fromhex("0c00800001 1e 0955 1f"))
    written = bytes.fromhex("0c00800001 1e" + "0955 2e 00 2f" * MOST_WRITTEN + "1f")
    assert len(decode_confirmed(16, written).items) == MOST_WRITTEN
    with pytest.raises(FrameError):
        decode_confirmed(16, written + bytes.fromhex("0c00800001 1e 0955 2e 00 2f 1f"))


@pytest.mark.parametrize(
    ("service", "octets", "why"),
    [
        (12, "0c00800001 1908", "one property is read, not all of them"),
        (14, "", "nothing is read"),
        (14, "0c00800001 1e 1f", "nothing of an object is read"),
        (14, "0c00800001 1e 0908 1901 1f", "an element of all properties"),
        (15, "0c00800001 1955 3e 00 3f 4900", "priority 0"),
        (15, "0c00800001 1955 3e 00 3f 4911", "priority 17"),
        (15, "0c00800001 1955 4908", "no value"),
        (15, "1955 0c00800001 3e 00 3f", "in another order"),
        (5, "0912 1c00800001 3a012c", "a lifetime without choice of confirmation"),
        (5, "0912 1c00800001 2902 3a012c", "neither confirmed nor unconfirmed"),
        (6, "c400800001 0e 3100 2101 0f", "a file that is none"),
        (10, "0e 1c00bfffff 0f", "an object with the instance that none has"),
        (17, "1903", "an enumeration without that number"),
        (20, "0908", "an enumeration without that number"),
        (26, "0c05000001 1983 3e 2101 3100 3f", "no item at all"),
        (27, "0901 1500 ", "cut off"),
    ],
)
def test_what_the_standard_does_not_allow_is_refused(service: int, octets: str, why: str) -> None:
    with pytest.raises(FrameError) as refused:
        decode_confirmed(service, bytes.fromhex(octets))
    assert refused.value.code == "malformed", why


@pytest.mark.parametrize(
    ("service", "octets"),
    [
        (8, "0901"),
        (8, "0909 1901"),
        (8, "0900 1b400000"),
        (6, "a47e0b1cff b4081effff"),
        (0, "c400800001 2205c4 9103 2103e7"),
    ],
)
def test_announcements_and_moments_that_cannot_be_are_refused(service: int, octets: str) -> None:
    with pytest.raises(FrameError):
        decode_unconfirmed(service, bytes.fromhex(octets))


def test_what_needs_fewer_octets_is_written_down_in_fewer() -> None:
    longer = bytes.fromhex("0c00800001 1a0055 2b000003")
    found = decode_confirmed(12, longer)
    assert found.octets == bytes.fromhex("0c00800001 1955 2903")
    assert found.items == (item("present-value", 3),)
