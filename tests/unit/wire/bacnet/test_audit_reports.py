"""What an audit log is told, as another implementation reads it, and never more than fits or may be told."""

from dataclasses import replace

import pytest
from bacpypes3.basetypes import AuditNotification
from bacpypes3.constructeddata import SequenceOf
from bacpypes3.pdu import PDUData
from bacpypes3.primitivedata import Real, TagList
from hypothesis import given
from hypothesis import strategies as st

from broker.model.operation import UNCONFIRMED
from broker.model.place import BacnetAddress, Confidential, Device, Point, Protocol
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay
from broker.settings.bacnet_place_checks import LEAST_AUDITED_APDU
from broker.wire.bacnet.audit_reports import (
    AuditReport,
    Target,
    encode_audit_notification,
    encode_report,
    error_of,
    fitting,
    targets_of,
)
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.meaning import compose_write
from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.standard import error_numbers
from broker.wire.bacnet.tags import Tag

MOMENT = (2026, 11, 28, 6, 21, 45, 7, 50)
SOURCE = bytes((192, 0, 2, 9, 0xBA, 0xC0))
REAL = Tag("application", 4, bytes.fromhex("41ac0000"))
SETPOINT = Item("analog-value", 1, "present-value", None, (REAL,), 8)
REPORT = AuditReport(
    MOMENT, SOURCE, "jana@acme.example (acme), record 4711", 1001, Target("write", SETPOINT), b"\x44\x41\xa0\x00\x00"
)


class Told(AuditNotification):
    """bacpypes3 cannot read on where an optional choice is left out, as the target's time is."""


Told._order = [name for name in AuditNotification._order if name != "targetTimestamp"]
LISTED = SequenceOf(Told)


def read(bare: bytes) -> list[AuditNotification]:
    """What bacpypes3 makes of it."""
    assert bare[:3] == b"\x00\x20\x0e" and bare[-1:] == b"\x0f"
    found = LISTED.decode(TagList.decode(PDUData(bare[3:-1])))
    assert bytes(found.encode().encode().pduData) == bare[3:-1], "all of it, and written down alike"
    return list(found)


def test_another_implementation_reads_who_did_what_to_what():
    (told,) = read(
        encode_audit_notification([encode_report(REPORT._replace(error="property/write-access-denied"), 1476)])
    )
    assert str(told.sourceComment) == "jana@acme.example (acme), record 4711"
    date, time = told.sourceTimestamp.dateTime.date, told.sourceTimestamp.dateTime.time
    assert (tuple(date), tuple(time)) == ((126, 11, 28, 6), (21, 45, 7, 50))
    assert (int(told.sourceDevice.address.networkNumber), bytes(told.sourceDevice.address.macAddress)) == (0, SOURCE)
    assert str(told.operation) == "write"
    assert str(told.targetDevice.device) == "device,1001"
    assert str(told.targetObject) == "analog-value,1"
    assert (int(told.targetProperty.propertyIdentifier), told.targetProperty.propertyArrayIndex) == (85, None)
    assert int(told.targetPriority) == 8
    assert told.targetValue.cast_out(Real) == 21.5
    assert told.currentValue.cast_out(Real) == 20.0
    assert (int(told.result.errorClass), int(told.result.errorCode)) == (2, 40)


TEXTS = st.text(max_size=400)
ITEMS = st.builds(
    Item,
    st.sampled_from(("analog-value", "binary-output", "file", "200")),
    st.integers(0, 0x3FFFFE),
    st.sampled_from((None, "present-value", "priority-array", "600")),
    st.none() | st.integers(0, 0xFFFFFFFF),
    st.none() | st.lists(st.just(REAL), max_size=90).map(tuple),
    st.none() | st.integers(1, 16),
)
ERRORS = st.sampled_from(("", "security/access-denied", "communication/timeout"))
WORDS = st.sampled_from(("read", "write", "create", "delete", "life-safety", "general", "device-reset"))
REPORTS = st.builds(
    AuditReport,
    st.just(MOMENT),
    st.binary(min_size=1, max_size=6),
    TEXTS,
    st.integers(0, 0x3FFFFE),
    st.builds(Target, WORDS, ITEMS),
    st.binary(max_size=0) | st.just(b"\x44\x41\xa0\x00\x00"),
    ERRORS,
)


@given(st.lists(REPORTS, min_size=1, max_size=6), st.sampled_from((206, 480, 1024, 1476)))
def test_whatever_is_told_fits_and_is_read_alike_by_both(reports: list[AuditReport], max_apdu: int):
    encoded = [encode_report(report, max_apdu) for report in reports]
    count = fitting(encoded, max_apdu)
    bare = encode_audit_notification(encoded[:count])
    assert len(bare) + 2 <= max_apdu
    ours = decode_confirmed(bare[1], bare[2:])
    theirs = read(bare)
    assert len(ours.items) == len(theirs) == count
    assert ours.octets == bare[2:], "in its shortest form"
    for item, told, report in zip(ours.items, theirs, reports, strict=False):
        asked = report.target.item
        index = asked.index if asked.property else None
        assert (item.object_type, item.instance, item.property, item.index, item.priority) == (
            *(asked.object_type, asked.instance, asked.property, index, asked.priority),
        )
        assert (told.targetProperty is None) is (asked.property is None)
        assert (told.result is None) is (not report.error)
        assert (
            str(told.sourceComment or "")[:10]
            == "".join(c if c.isprintable() else "\ufffd" for c in report.comment)[:10]
        )


def test_what_does_not_fit_leaves_the_values_first_and_who_it_was_last():
    long = REPORT._replace(comment="jana@acme.example " + "x" * 500, error="security/access-denied")
    (told,) = read(encode_audit_notification([encode_report(long, LEAST_AUDITED_APDU)]))
    assert (told.targetValue, told.currentValue) == (None, None)
    assert str(told.sourceComment).startswith("jana@acme.example x") and str(told.sourceComment).endswith("\u2026")


def test_a_message_takes_as_many_reports_as_fit_and_always_one():
    one = encode_report(REPORT, 1476)
    assert fitting([one] * 50, 1476) == (1476 - 6) // len(one)
    assert fitting([one], 50) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("property/write-access-denied", "property/write-access-denied"),
        ("abort-out-of-resources", "communication/abort-out-of-resources"),
        ("reject-invalid-parameter-datatype", "communication/reject-other"),
        ("reject-77", "communication/reject-other"),
        ("timeout", "communication/timeout"),
        ("reply_invalid", "communication/timeout"),
        (UNCONFIRMED, "communication/timeout"),
        ("", "communication/timeout"),
    ],
)
def test_every_code_of_a_result_is_an_error_of_bacnet(code: str, error: str):
    assert error_of(code) == error
    error_numbers(error)


TEMPERATURE = Point("zone", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
VAV = Device("plant", "vav", "floor", Protocol.BACNET, BacnetIpWay("192.0.2.1", 47808, 1001), (TEMPERATURE,))


def test_an_operation_is_told_by_object_property_index_priority_and_value():
    (target,) = targets_of(compose_write(VAV, TEMPERATURE, 21.5, 8))
    assert target == Target("write", SETPOINT)
    element = bytes.fromhex("000f0c00800001195729083e4441ac00003f")  # WriteProperty of priority-array[8]
    (target,) = targets_of(interpret(VAV, element))
    assert target.item[:4] == ("analog-value", 1, "priority-array", 8)


def test_what_has_no_reply_is_told_as_something_done_to_the_device():
    (target,) = targets_of(interpret(VAV, bytes.fromhex("1006a47e0b1d07b40c000000")))  # TimeSynchronization
    assert (target.operation, target.item[:3]) == ("general", ("device", 1001, None))


def test_of_something_confidential_no_value_is_told():
    secret = replace(TEMPERATURE, confidential=Confidential.SECRET)
    (target,) = targets_of(compose_write(VAV, secret, 21.5, 8))
    assert target.item == SETPOINT._replace(value=None)


@pytest.mark.parametrize(
    ("bare", "word"),
    [
        ("0011 0905 1901 2d0700736563726574", "device-disable-comm"),
        ("0011 1900 2d0700736563726574", "device-enable-comm"),
        ("0014 0900 1d0700736563726574", "device-reset"),
        ("0014 0902 1d0700736563726574", "device-backup"),
        ("0014 0904 1d0700736563726574", "device-restore"),
    ],
)
def test_passwords_are_never_told(bare: str, word: str):
    (target,) = targets_of(interpret(VAV, bytes.fromhex(bare)))
    assert (target.operation, target.item[:3], target.item.value) == (word, ("device", 1001, None), None)
    assert b"secret" not in encode_report(REPORT._replace(target=target), 1476)
