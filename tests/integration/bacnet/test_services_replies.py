"""Acknowledgements and errors that another implementation encodes are accepted, written down alike, and no others."""

from typing import Any

import pytest
from bacpypes3 import apdu as a
from bacpypes3 import basetypes as b
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.primitivedata import Date, ObjectIdentifier, OctetString, Real, Time, Unsigned
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.bacnet.acknowledgements import SIMPLE, acknowledged
from broker.wire.bacnet.device_errors import decode_refusal
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.services import CONFIRMED_NAMES, decode_confirmed
from broker.wire.bacnet.standard import error_text

AV1 = ObjectIdentifier("analog-value,1")
MOMENT = b.DateTime(date=Date((126, 11, 28, 6)), time=Time((8, 30, 0, 0)))
STAMPS = [b.TimeStamp(dateTime=MOMENT), b.TimeStamp(sequenceNumber=7), b.TimeStamp(time=Time((8, 30, 0, 0)))]
DENIED = b.ErrorType(errorClass="property", errorCode="writeAccessDenied")


def file_read(**access: Any) -> Any:
    return a.AtomicReadFileACK(endOfFile=True, accessMethod=b.AtomicReadFileACKAccessMethodChoice(**access))


ACKS: list[tuple[str, Any, str]] = [
    (
        "0003",
        a.GetAlarmSummaryACK(
            listOfAlarmSummaries=[
                b.GetAlarmSummaryAlarmSummary(
                    objectIdentifier=AV1, alarmState="highLimit", acknowledgedTransitions=[0, 1, 1]
                )
            ]
        ),
        "",
    ),
    ("0003", a.GetAlarmSummaryACK(listOfAlarmSummaries=[]), ""),
    (
        "001d",
        a.GetEventInformationACK(
            listOfEventSummaries=[
                b.GetEventInformationEventSummary(
                    objectIdentifier=AV1,
                    eventState="offnormal",
                    acknowledgedTransitions=[1, 1, 1],
                    eventTimeStamps=STAMPS,
                    notifyType="alarm",
                    eventEnable=[1, 0, 1],
                    eventPriorities=[3, 100, 255],
                )
            ],
            moreEvents=False,
        ),
        "",
    ),
    (
        "0006 c402800002 0e 3100 2104 0f",
        file_read(
            streamAccess=b.AtomicReadFileACKAccessMethodStreamAccess(fileStartPosition=0, fileData=OctetString(b"abcd"))
        ),
        "0006 c402800002 1e 3100 2104 1f",
    ),
    (
        "0006 c402800002 1e 3100 2102 1f",
        file_read(
            recordAccess=b.AtomicReadFileACKAccessMethodRecordAccess(
                fileStartRecord=0, returnedRecordCount=2, fileRecordData=[OctetString(b"ab"), OctetString(b"")]
            )
        ),
        "0006 c402800002 0e 3100 2104 0f",
    ),
    (
        "0007 c402800002 0e 31ff 6261 62 0f",
        a.AtomicWriteFileACK(fileStartPosition=1000),
        "0007 c402800002 1e 31ff 2101 6161 1f",
    ),
    ("000a 0e 0902 0f", a.CreateObjectACK(objectIdentifier=AV1), "000a 0e 1c00800002 0f"),
    (
        "0012 0a03e7 1907",
        a.ConfirmedPrivateTransferACK(vendorID=999, serviceNumber=7, resultBlock=AnyValue(Real(1))),
        "0012 0a03e7 1908",
    ),
    (
        "001a 0c05000001 1983",
        a.ReadRangeACK(
            objectIdentifier="trend-log,1",
            propertyIdentifier="log-buffer",
            resultFlags=[1, 0, 1],
            itemCount=2,
            itemData=AnyValue(Unsigned(3)),
            firstSequenceNumber=40,
        ),
        "001a 0c05000002 1983",
    ),
]
IDS = [type(ack).__name__ + str(n) for n, (_, ack, _) in enumerate(ACKS)]


def asked(octets: str) -> Any:
    request = bytes.fromhex(octets)
    return decode_confirmed(request[1], request[2:])


@pytest.mark.parametrize(("request_", "ack", "other"), ACKS, ids=IDS)
def test_an_acknowledgement_of_what_was_asked_is_written_down_alike_and_of_anything_else_refused(
    request_: str, ack: Any, other: str
) -> None:
    octets = bytes(ack.encode().pduData)
    assert acknowledged(asked(request_), octets) == octets
    if other:
        with pytest.raises(FrameError) as refused:
            acknowledged(asked(other), octets)
        assert refused.value.code == "reply_mismatch"


@pytest.mark.parametrize(("request_", "ack", "_other"), ACKS, ids=IDS)
def test_an_acknowledgement_cut_anywhere_is_refused_or_a_shorter_one(request_: str, ack: Any, _other: str) -> None:
    octets = bytes(ack.encode().pduData)
    for end in range(len(octets)):
        try:
            assert acknowledged(asked(request_), octets[:end]) == octets[:end]
        except FrameError:
            continue
    with pytest.raises(FrameError):
        acknowledged(asked(request_), octets + b"\x91\x05")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ACKS), st.binary(max_size=60))
def test_arbitrary_octets_are_an_acknowledgement_or_refused(ack: tuple[str, Any, str], octets: bytes) -> None:
    try:
        again = acknowledged(asked(ack[0]), octets)
    except FrameError:
        return
    assert acknowledged(asked(ack[0]), again) == again


def test_each_decoded_service_is_acknowledged_in_one_way() -> None:
    brings = {12, 14, *(bytes.fromhex(request)[1] for request, _, _ in ACKS)}
    assert not SIMPLE & brings
    for number in range(len(CONFIRMED_NAMES)):
        try:
            decode_confirmed(number, b"\x0f")
        except FrameError as error:
            assert (error.code == "service_not_allowed") is (number not in SIMPLE | brings)


def error(cls: Any, **more: Any) -> Any:
    return cls(errorType=DENIED, **more)


ERRORS: list[tuple[int, Any, Reference | None]] = [
    (12, a.Error(service_choice=12, errorClass="property", errorCode="writeAccessDenied"), None),
    (8, error(a.ChangeListError, service_choice=8, firstFailedElementNumber=2), None),
    (9, error(a.ChangeListError, service_choice=9, firstFailedElementNumber=0), None),
    (10, error(a.CreateObjectError, firstFailedElementNumber=1), None),
    (18, error(a.ConfirmedPrivateTransferError, vendorID=999, serviceNumber=7), None),
    (
        18,
        error(a.ConfirmedPrivateTransferError, vendorID=999, serviceNumber=7, errorParameters=AnyValue(Real(1))),
        None,
    ),
    (
        16,
        error(
            a.WritePropertyMultipleError,
            firstFailedWriteAttempt=b.ObjectPropertyReference(
                objectIdentifier=AV1, propertyIdentifier="priority-array", propertyArrayIndex=8
            ),
        ),
        Reference(2, 1, 87, 8),
    ),
]


@pytest.mark.parametrize(("service", "refusal", "failed"), ERRORS, ids=[str(n) for n in range(len(ERRORS))])
def test_an_error_is_understood_and_written_down_alike(service: int, refusal: Any, failed: Reference | None) -> None:
    octets = bytes(refusal.encode().pduData)
    found = decode_refusal(service, octets)
    assert (error_text(*found.error), found.first_failed) == ("property/write-access-denied", failed)
    assert found.octets == octets
    for wrong in (octets[:-1], octets + b"\x00", b""):
        with pytest.raises(FrameError):
            decode_refusal(service, wrong)


def test_subscribing_to_several_may_fail_at_one() -> None:
    octets = bytes.fromhex("1e 0c00800001 1e 0955 1f 2e 9102 9128 2f 1f")
    found = decode_refusal(30, octets)
    assert (error_text(*found.error), found.octets) == ("property/write-access-denied", octets)
    whole = bytes.fromhex("0e 9105 911d 0f")
    assert decode_refusal(30, whole).octets == whole


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 40), st.binary(max_size=40))
def test_arbitrary_octets_are_an_error_or_refused(service: int, octets: bytes) -> None:
    try:
        found = decode_refusal(service, octets)
    except FrameError:
        return
    assert decode_refusal(service, found.octets) == found


def test_a_long_log_is_read_in_one_reply() -> None:
    octets = bytes.fromhex("0c05000001 1983 3a05a0 4a1388 5e") + bytes.fromhex("2101") * 5000 + b"\x5f"
    assert acknowledged(asked("001a 0c05000001 1983"), octets) == octets
