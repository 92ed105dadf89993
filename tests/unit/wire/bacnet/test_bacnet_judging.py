"""What a device's reply says of a request, and of each of its operations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.model.operation import BacnetProperty, Operation, Relayed, Request, Touch
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import Action, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.judging import judge
from broker.wire.bacnet.meaning import compose_read, compose_write, values_of
from broker.wire.bacnet.replies import decode_read_property_ack
from tests.bacnet_replies import read_reply

DEVICE = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1001))
POINTS = tuple(Point(f"p{n}", BacnetAddress("analog-value", n), Action.ADJUST) for n in (1, 2, 3))
READ, SEVERAL = compose_read(DEVICE, POINTS[:1])[0], compose_read(DEVICE, POINTS)[0]
DONE, REFUSED, UNTRIED = (Result.DONE, ""), Result.DEVICE_REFUSED, (Result.UNATTEMPTED, "")
DENIED = "property/write-access-denied"


def write() -> Request:
    return compose_write(DEVICE, POINTS[0], "20")


def writes(*instances: int) -> Request:
    operations = tuple(
        Operation(
            "bacnet",
            Action.ADJUST,
            "write-property-multiple",
            BacnetProperty("analog-value", n, "present-value"),
            (Touch(POINTS[0], whole=True, value="20"),),
        )
        for n in instances
    )
    return Request(operations, bytes((0x00, 16)), "")


def failed_at(instance: int) -> bytes:
    return bytes.fromhex("50100e910291280f1e0c") + (2 << 22 | instance).to_bytes(4, "big") + bytes.fromhex("19551f")


def fared(relayed: Relayed) -> list[tuple[str, str]]:
    return list(relayed.each)


def test_values_come_with_the_reply_and_the_reply_is_what_the_device_said() -> None:
    relayed = judge(SEVERAL, reply := read_reply(SEVERAL, "20", "21.5", "0"))
    assert relayed == Relayed(Result.DONE, reply)
    assert values_of(DEVICE, SEVERAL, reply) == (("p1", "20"), ("p2", "21.5"), ("p3", "0"))


def test_what_a_property_holds_that_no_point_is_comes_under_its_address_lists_and_arrays_too() -> None:
    element = interpret(DEVICE, bytes.fromhex("000c0c03c00001195629 01".replace(" ", "")))
    reply = b"\x30\x0c" + element.payload[2:] + bytes.fromhex("3e21073f")
    assert values_of(DEVICE, element, reply) == (("notification-class,1 priority[1]", "7"),)
    recipients = interpret(DEVICE, bytes.fromhex("000c0c03c000011966"))
    listed = "820100 b400000000 b4173b3b63 0c02000009 2101 10 8205e0".replace(" ", "")
    reply = b"\x30\x0c" + recipients.payload[2:] + bytes.fromhex(f"3e{listed}3f")
    said = "0000000 00:00:00.00 23:59:59.99 0x0c02000009 1 false 111"
    assert values_of(DEVICE, recipients, reply) == (("notification-class,1 recipient-list", said),)


def test_an_error_inside_a_reply_is_the_outcome_of_its_operation_alone() -> None:
    relayed = judge(SEVERAL, read_reply(SEVERAL, "20", "!object/unknown-object", "0"))
    assert (relayed.result, relayed.code) == (Result.DONE, "")
    assert values_of(DEVICE, SEVERAL, relayed.payload) == (("p1", "20"), ("p3", "0"))
    assert fared(relayed) == [DONE, (REFUSED, "object/unknown-object"), DONE]


def test_a_value_that_has_no_text_is_passed_on_and_gives_no_value() -> None:
    for held in ("447fc00000", "2e44000000002f", ""):
        reply = bytes.fromhex(f"300c0c0080000119553e{held}3f")
        relayed = judge(READ, reply)
        assert (relayed.result, relayed.payload) == (Result.DONE, reply)
        assert values_of(DEVICE, READ, reply) == ((("p1", "[]"),) if not held else ())


def test_a_write_of_several_that_fails_midway_says_what_became_of_each() -> None:
    relayed = judge(writes(1, 2, 3), failed_at(2))
    assert (relayed.result, relayed.code, relayed.payload) == (REFUSED, DENIED, failed_at(2))
    assert fared(relayed) == [DONE, (REFUSED, DENIED), UNTRIED]
    assert fared(judge(writes(1, 2, 3), failed_at(1))) == [(REFUSED, DENIED), UNTRIED, UNTRIED]


def test_where_the_same_place_was_written_twice_either_may_be_the_one_that_failed() -> None:
    relayed = judge(writes(1, 2, 3, 2, 1), failed_at(2))
    unknown = (Result.UNKNOWN, DENIED)
    assert relayed.result == Result.UNKNOWN
    assert fared(relayed) == [DONE, unknown, unknown, unknown, UNTRIED]


def test_an_error_that_does_not_say_which_write_failed_leaves_several_unknown_but_not_one() -> None:
    plain = bytes.fromhex("501091029128")
    assert judge(writes(1, 2), plain) == Relayed(Result.UNKNOWN, plain, code=DENIED)
    assert judge(writes(1), plain) == Relayed(REFUSED, plain, code=DENIED)


def test_an_error_about_what_was_not_written_is_no_reply() -> None:
    with pytest.raises(FrameError):
        judge(writes(1, 2), failed_at(3))


@pytest.mark.parametrize(("reason", "result"), [(4, REFUSED), (11, REFUSED), (8, Result.UNKNOWN), (0, Result.UNKNOWN)])
def test_an_abort_proves_only_for_some_reasons_that_a_write_did_not_run(reason: int, result: Result) -> None:
    assert judge(write(), bytes((0x70, reason))).result == result
    assert judge(READ, bytes((0x70, reason))).result == REFUSED


def test_a_reply_about_other_properties_or_in_another_order_is_none() -> None:
    for found in (POINTS[:2], POINTS[::-1], (*POINTS, POINTS[0])):
        other = compose_read(DEVICE, found)[0]
        with pytest.raises(FrameError):
            judge(SEVERAL, read_reply(other, *["20"] * len(found)))


def test_a_property_told_in_more_octets_than_it_needs_is_passed_on_in_those_it_needs() -> None:
    wide = bytes.fromhex("300c0c008000011a00553e4441ac00003f")
    assert judge(READ, wide).payload == bytes.fromhex("300c0c0080000119553e4441ac00003f")


@given(st.binary(max_size=12))
def test_what_follows_the_question_is_a_value_or_no_reply(held: bytes) -> None:
    reply = bytes.fromhex("300c0c0080000119553e") + held
    for octets in (reply, reply + b"\x3f"):
        try:
            relayed = judge(READ, octets)
        except FrameError:
            continue
        assert judge(READ, relayed.payload).payload == relayed.payload
        assert decode_read_property_ack(relayed.payload[2:]) == decode_read_property_ack(octets[2:])


@given(st.sampled_from((0x20, 0x30, 0x50, 0x60, 0x70)), st.sampled_from((12, 14, 15, 16)), st.binary(max_size=60))
def test_any_octets_are_a_reply_or_a_frame_error(kind: int, choice: int, rest: bytes) -> None:
    reply = bytes((kind, choice)) + (rest if kind in (0x30, 0x50) else b"")
    for request in (READ, SEVERAL, write(), writes(1, 2)):
        try:
            relayed = judge(request, reply)
        except FrameError:
            continue
        assert relayed.payload[:2] == reply[:2]
        assert not relayed.each or len(relayed.each) == len(request.operations)
