"""One confirmed request to a device: sent once, in segments if the device takes them; the whole reply or none."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.model.way import BacnetIpWay, Segmentation
from broker.wire.bacnet.apdu import (
    Abort,
    AbortReason,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    SegmentAck,
    SimpleAck,
    decode_apdu,
)
from broker.wire.bacnet.segmentation import SegmentLimits, SegmentReceiver, SegmentSender
from broker.wire.bacnet.transaction import MOST_SEGMENTS, Transaction

WAY = BacnetIpWay("127.0.0.1", 47808, 1001, max_apdu=50)
SHORT, LONG = b"\x00\x0c" + bytes(10), b"\x00\x10" + bytes(range(200))
INVOKE, TIMEOUT = 7, 2.0


def started(payload: bytes, way: BacnetIpWay = WAY) -> tuple[Transaction, list[bytes]]:
    transaction = Transaction(TIMEOUT)
    return transaction, transaction.start(payload, INVOKE, way, 0.0)


def sent_whole() -> tuple[Transaction, float]:
    """A long request, of which a device acknowledged every segment."""
    transaction, out = started(LONG)
    device, now = SegmentReceiver(SegmentLimits(window=3)), 0.0
    while out:
        answers = [answer for octets in out for answer in device.received(decode_apdu(octets), now)]  # type: ignore[arg-type]
        now += 0.1
        out = [octets for answer in answers for octets in transaction.heard(answer, now)]
    assert device.whole is not None
    assert device.whole.parameters == LONG[2:]
    return transaction, now


def test_a_short_request_goes_in_one_piece_and_says_what_is_taken_in_return() -> None:
    transaction, out = started(SHORT)
    assert [decode_apdu(octets) for octets in out] == [
        ConfirmedRequest(INVOKE, 12, SHORT[2:], 1476, MOST_SEGMENTS, accepts_segments=True)
    ]
    assert (transaction.all_sent, transaction.wake_at) == (True, TIMEOUT)
    transaction.heard(ComplexAck(INVOKE, 12, b"\x01"), 0.1)
    assert transaction.reply == b"\x30\x0c\x01"


@pytest.mark.parametrize("segmentation", [Segmentation.NONE, Segmentation.TRANSMIT])
def test_a_long_request_is_not_sent_to_a_device_that_takes_no_segments(segmentation: Segmentation) -> None:
    transaction, out = started(LONG, replace(WAY, segmentation=segmentation))
    assert (out, transaction.failed, transaction.all_sent) == ([], "request_too_long", False)


def test_a_long_request_goes_in_segments_that_fit_and_is_then_waited_for() -> None:
    transaction, now = sent_whole()
    assert transaction.all_sent
    assert transaction.wake_at == pytest.approx(now + TIMEOUT)
    transaction.heard(SimpleAck(INVOKE, 16), now)
    assert transaction.reply == b"\x20\x10"


def test_only_a_segment_that_was_not_acknowledged_is_sent_again_and_not_for_ever() -> None:
    transaction, first = started(LONG)
    again = []
    while not transaction.failed:
        again += transaction.wake(transaction.wake_at)
    assert again == first * 2
    assert (transaction.failed, transaction.all_sent) == ("timeout", False)


def test_nobody_answers_what_is_not_all_there_but_anybody_may_refuse_it() -> None:
    for apdu in (SimpleAck(INVOKE, 16), ComplexAck(INVOKE, 16, b""), ErrorPdu(INVOKE, 16, b"\x91\x02\x91\x28")):
        transaction, _ = started(LONG)
        (told,) = transaction.heard(apdu, 0.1)
        assert (transaction.failed, transaction.reply) == ("reply_invalid", None)
        assert isinstance(decode_apdu(told), Abort)
    transaction, _ = started(LONG)
    transaction.heard(Abort(INVOKE, AbortReason.SEGMENTATION_NOT_SUPPORTED, from_server=True), 0.1)
    assert (transaction.reply, transaction.all_sent) == (b"\x70\x04", False)


def test_what_a_device_says_of_a_request_of_its_own_is_not_about_ours() -> None:
    transaction, _ = started(SHORT)
    transaction.heard(Abort(INVOKE, 0, from_server=False), 0.1)
    transaction.heard(SegmentAck(INVOKE, 0, 1, from_server=False), 0.1)
    assert (transaction.reply, transaction.failed) == (None, "")


@given(st.integers(1, MOST_SEGMENTS * 40), st.integers(1, 20))
def test_a_long_reply_is_put_together_whatever_the_window(octets: int, window: int) -> None:
    transaction, _ = started(SHORT)
    parameters = bytes(n % 251 for n in range(octets))
    device = SegmentSender(ComplexAck(INVOKE, 12, parameters), 50, limits=SegmentLimits(proposed_window=window))
    out, now = list(device.start(0.0)), 0.0
    while out:
        now += 0.01
        told = [decode_apdu(each) for segment in out for each in transaction.heard(segment, now)]
        out = [each for ack in told for each in device.acknowledged(ack, now)]  # type: ignore[arg-type]
    assert device.done
    assert transaction.reply == b"\x30\x0c" + parameters


def test_a_reply_of_more_segments_than_were_offered_is_aborted() -> None:
    transaction, _ = started(SHORT)
    told: list[bytes] = []
    for number in range(MOST_SEGMENTS + 1):
        told = transaction.heard(ComplexAck(INVOKE, 12, b"x", True, True, number, 1), 0.01 * number)
    assert transaction.failed == "reply_too_long"
    assert decode_apdu(told[0]) == Abort(INVOKE, AbortReason.BUFFER_OVERFLOW)


def test_a_device_that_sends_segment_after_segment_without_end_in_time_is_given_up() -> None:
    transaction, _ = started(SHORT)
    now = 0.0
    for number in range(MOST_SEGMENTS):
        transaction.heard(ComplexAck(INVOKE, 12, b"x", True, True, number, 1), now)
        now += TIMEOUT * 0.9
        transaction.wake(now)
        if transaction.failed:
            break
    assert transaction.failed == "timeout"
    assert now <= 5 * TIMEOUT


@given(st.lists(st.binary(min_size=1, max_size=12), max_size=8), st.booleans())
def test_no_octets_of_a_device_make_it_fail_otherwise(said: list[bytes], long: bool) -> None:
    transaction, _ = started(LONG if long else SHORT)
    for place, octets in enumerate(said):
        try:
            apdu = decode_apdu(octets)
        except FrameError:
            continue
        if isinstance(apdu, ConfirmedRequest) or not hasattr(apdu, "invoke") or transaction.failed or transaction.reply:
            continue
        transaction.heard(apdu, place * 0.1)
    assert not (transaction.failed and transaction.reply)


def test_a_view_of_which_nothing_is_heard_is_sent_again_as_it_was_so_often_and_within_its_time() -> None:
    transaction = Transaction(TIMEOUT, repeats=2)
    sent = transaction.start(SHORT, INVOKE, WAY, 0.0)
    moments = []
    while not transaction.failed:
        moments.append(transaction.wake_at)
        sent += transaction.wake(transaction.wake_at)
    assert len(sent) == 3
    assert set(sent) == set(sent[:1])
    assert moments[-1] == pytest.approx(TIMEOUT)
    assert transaction.failed == "timeout"


def test_a_reply_to_a_repeated_view_is_the_reply() -> None:
    transaction = Transaction(TIMEOUT, repeats=2)
    transaction.start(SHORT, INVOKE, WAY, 0.0)
    assert len(transaction.wake(transaction.wake_at)) == 1
    transaction.heard(ComplexAck(INVOKE, 12, b"\x01"), 1.0)
    assert transaction.reply == b"\x30\x0c\x01"


def test_what_may_change_something_is_never_sent_again() -> None:
    transaction, _ = started(SHORT)
    assert transaction.wake(TIMEOUT) == []
    assert transaction.failed == "timeout"
