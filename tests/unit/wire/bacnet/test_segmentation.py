import heapq
from itertools import count
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.wire.bacnet.apdu import (
    MORE_THAN_64,
    Abort,
    AbortReason,
    ComplexAck,
    ConfirmedRequest,
    SegmentAck,
    decode_apdu,
    encode_apdu,
)
from broker.wire.bacnet.segmentation import SegmentLimits, SegmentReceiver, SegmentSender, fits
from tests.unit.wire.bacnet import messages

LIMITS = SegmentLimits(proposed_window=4, window=4, segment_seconds=5.0, retries=3, whole_seconds=300.0)
REQUEST = ConfirmedRequest(7, 16, bytes(range(200)), 480, 4, True)
ACK = ComplexAck(7, 14, bytes(range(200)))


class Network:
    """Carries APDUs between one sender and one receiver; `fate` says after how many seconds each copy arrives."""

    def __init__(self, sender, receiver, fate) -> None:
        self.sender, self.receiver, self._fate = sender, receiver, fate
        self._order = count()
        self._under_way: list = []
        self.now = 0.0
        self.sent: list = []

    def run(self) -> None:
        self._send(self.sender.start(self.now))
        while self._under_way or self.sender.wake_at is not None or self.receiver.wake_at is not None:
            self._step()

    def _step(self) -> None:
        wakes = [end.wake_at for end in (self.sender, self.receiver) if end.wake_at is not None]
        if self._under_way and (not wakes or self._under_way[0][0] <= min(wakes)):
            self.now, _, octets = heapq.heappop(self._under_way)
            self._deliver(decode_apdu(octets))
            return
        self.now = min(wakes)
        self._send(self.sender.wake(self.now))
        self.receiver.wake(self.now)

    def _deliver(self, apdu) -> None:
        match apdu:
            case SegmentAck():
                self._send(self.sender.acknowledged(apdu, self.now))
            case ConfirmedRequest() | ComplexAck():
                self._send(self.receiver.received(apdu, self.now))

    def _send(self, apdus) -> None:
        for apdu in apdus:
            self.sent.append(apdu)
            for delay in self._fate(apdu):
                heapq.heappush(self._under_way, (self.now + delay, next(self._order), encode_apdu(apdu)))

    def segments(self) -> list:
        return [apdu for apdu in self.sent if isinstance(apdu, ConfirmedRequest | ComplexAck)]

    def acknowledgements(self) -> list:
        return [apdu for apdu in self.sent if isinstance(apdu, SegmentAck)]


def long_messages() -> st.SearchStrategy:
    def long(random: Random):
        octets = random.randbytes(random.choice((1, 200, 1000, 5000, 20000)))
        draw = random.choice((messages.confirmed_request, messages.complex_ack))
        return draw(random)._replace(parameters=octets, segmented=False, more=False, sequence=0, window=0)

    return messages.randoms().map(long)


windows = st.sampled_from((1, 2, 3, 4, 16, 64, 127))
sizes = st.sampled_from((50, 128, 480, 1476))


@given(long_messages(), sizes, windows, windows)
def test_a_message_of_any_length_comes_whole_over_a_good_network_with_nothing_sent_twice(
    message, size: int, offered: int, accepted: int
) -> None:
    sender = SegmentSender(message, size, None, LIMITS._replace(proposed_window=offered))
    receiver = SegmentReceiver(LIMITS._replace(window=accepted))
    network = Network(sender, receiver, lambda apdu: (0.01,))
    network.run()
    assert receiver.whole == message
    assert sender.done and sender.all_sent and sender.failed is None
    payload = size - (6 if isinstance(message, ConfirmedRequest) else 5)
    segments = ceil(len(message.parameters) / payload)
    assert len(network.segments()) == segments
    assert max(len(encode_apdu(segment)) for segment in network.segments()) <= size
    window = min(offered, accepted)
    assert len(network.acknowledgements()) == 1 + ceil((segments - 1) / window)
    assert {ack.window for ack in network.acknowledgements()} == {window}
    assert not any(ack.negative for ack in network.acknowledgements())
    assert {ack.from_server for ack in network.acknowledgements()} == {isinstance(message, ConfirmedRequest)}


@given(long_messages(), sizes, windows, windows, messages.randoms(), st.floats(0, 0.5))
def test_a_network_that_loses_doubles_and_reorders_never_makes_another_message_of_it(
    message, size: int, offered: int, accepted: int, random: Random, loss: float
) -> None:
    def fate(apdu) -> list[float]:
        copies = 0 if random.random() < loss else random.choice((1, 1, 1, 2, 3))
        return [0.01 * random.choice((1, 1, 1.5)) for _ in range(copies)]

    sender = SegmentSender(message, size, None, LIMITS._replace(proposed_window=offered))
    receiver = SegmentReceiver(LIMITS._replace(window=accepted))
    network = Network(sender, receiver, fate)
    network.run()
    assert receiver.whole in (None, message)
    assert (receiver.whole is None) <= (sender.failed is not None)
    assert not (sender.done and sender.failed)
    assert sender.done <= (receiver.whole == message)
    assert network.now <= LIMITS.whole_seconds + 1


@given(long_messages(), sizes, windows, windows, messages.randoms(), st.sets(st.integers(0, 60), max_size=3))
def test_as_many_losses_as_there_are_retries_keep_no_message_from_coming(
    message, size: int, offered: int, accepted: int, random: Random, lost: set[int]
) -> None:
    numbers = count()

    def fate(apdu) -> list[float]:
        if next(numbers) in lost:
            return []
        return [0.01 * random.choice((1, 1, 1.5)) for _ in range(random.choice((1, 1, 1, 2)))]

    sender = SegmentSender(message, size, None, LIMITS._replace(proposed_window=offered))
    receiver = SegmentReceiver(LIMITS._replace(window=accepted))
    Network(sender, receiver, fate).run()
    assert sender.done
    assert receiver.whole == message


def test_doubled_datagrams_do_not_multiply() -> None:
    message = ACK._replace(parameters=bytes(45 * 400))
    network = Network(SegmentSender(message, 50, None, LIMITS), SegmentReceiver(LIMITS), lambda apdu: (0.01, 0.01))
    network.run()
    assert network.receiver.whole == message
    assert len(network.segments()) == 400
    assert len(network.acknowledgements()) <= 2 * (1 + 100)


def started(message=REQUEST, size: int = 50, most: int | None = None, limits: SegmentLimits = LIMITS):
    sender = SegmentSender(message, size, most, limits)
    (first,) = sender.start(0.0)
    return sender, first


def sequences(apdus) -> list[int]:
    return [apdu.sequence for apdu in apdus]


def ack_of(sequence: int, window: int = 4, negative: bool = False) -> SegmentAck:
    return SegmentAck(7, sequence, window, negative, from_server=True)


def test_one_segment_goes_first_then_as_many_as_the_peer_takes() -> None:
    sender, first = started()
    assert first == REQUEST._replace(parameters=bytes(range(44)), segmented=True, more=True, sequence=0, window=4)
    assert not sender.all_sent
    assert sequences(sender.acknowledged(ack_of(0, window=2), 0.1)) == [1, 2]
    last = sender.acknowledged(ack_of(2, window=4), 0.2)
    assert sequences(last) == [3, 4]
    assert [segment.more for segment in last] == [True, False]
    assert sender.all_sent and not sender.done
    assert sender.acknowledged(ack_of(4), 0.3) == ()
    assert sender.done and sender.wake_at is None


def test_a_peer_never_gets_a_larger_window_than_was_proposed() -> None:
    sender, _ = started(limits=LIMITS._replace(proposed_window=2))
    assert len(sender.acknowledged(ack_of(0, window=127), 0.1)) == 2


def test_a_negative_acknowledgement_brings_what_is_missing_again() -> None:
    sender, _ = started()
    assert sequences(sender.acknowledged(ack_of(0), 0.1)) == [1, 2, 3, 4]
    assert sequences(sender.acknowledged(ack_of(2, negative=True), 0.2)) == [3, 4]


@pytest.mark.parametrize("sequence", [0, 5, 6, 100, 255])
def test_an_acknowledgement_of_what_is_not_under_way_changes_nothing(sequence: int) -> None:
    sender, _ = started()
    sender.acknowledged(ack_of(0), 0.1)
    before = sender.wake_at
    assert sender.acknowledged(ack_of(sequence), 4.0) == ()
    assert sender.wake_at == before
    assert not sender.done


def test_a_peer_that_acknowledges_within_a_window_gets_nothing_twice() -> None:
    sender, _ = started(REQUEST._replace(parameters=bytes(44 * 10)))
    assert sequences(sender.acknowledged(ack_of(0), 0.1)) == [1, 2, 3, 4]
    assert sequences(sender.acknowledged(ack_of(1), 0.2)) == [5]
    assert sequences(sender.acknowledged(ack_of(3), 0.3)) == [6, 7]
    assert sender.acknowledged(ack_of(4, window=1), 0.4) == ()
    assert sequences(sender.wake(5.4)) == [5]
    assert sequences(sender.acknowledged(ack_of(7), 5.5)) == [8, 9]


def test_an_acknowledgement_from_the_wrong_side_changes_nothing() -> None:
    sender, _ = started()
    assert sender.acknowledged(ack_of(0)._replace(from_server=False), 0.1) == ()
    sender, _ = started(ACK)
    assert sender.acknowledged(ack_of(0), 0.1) == ()
    assert sequences(sender.acknowledged(ack_of(0)._replace(from_server=False), 0.1)) == [1, 2, 3, 4]


@pytest.mark.parametrize("window", [0, 128, 255])
def test_a_window_that_cannot_be_aborts(window: int) -> None:
    for message, from_server in ((REQUEST, False), (ACK, True)):
        sender, first = started(message)
        ack = SegmentAck(7, 0, window, False, from_server=not from_server)
        assert sender.acknowledged(ack, 0.1) == (Abort(7, AbortReason.WINDOW_SIZE_OUT_OF_RANGE, from_server),)
        assert sender.failed == AbortReason.WINDOW_SIZE_OUT_OF_RANGE
        receiver = SegmentReceiver(LIMITS)
        (abort,) = receiver.received(first._replace(window=window), 0.0)
        assert abort == Abort(7, AbortReason.WINDOW_SIZE_OUT_OF_RANGE, not from_server)
        receiver = SegmentReceiver(LIMITS)
        receiver.received(first, 0.0)
        (abort,) = receiver.received(first._replace(sequence=1, window=window), 0.0)
        assert abort.reason == receiver.failed == AbortReason.WINDOW_SIZE_OUT_OF_RANGE


def test_a_silent_peer_gets_the_window_again_three_times_and_no_more() -> None:
    sender, _ = started()
    sender.acknowledged(ack_of(0), 0.0)
    assert sender.wake(4.9) == ()
    for again in (5.0, 10.0, 15.0):
        assert sequences(sender.wake(again)) == [1, 2, 3, 4]
    assert sender.wake(20.0) == ()
    assert sender.failed == AbortReason.TSM_TIMEOUT
    assert sender.wake_at is None
    assert sender.acknowledged(ack_of(4), 20.1) == ()


def test_progress_gives_the_retries_back_but_never_more_time_than_there_is_for_the_whole() -> None:
    sender, _ = started(REQUEST._replace(parameters=bytes(44 * 300)), limits=LIMITS._replace(whole_seconds=60.0))
    now, sequence = 0.0, 0
    while sender.failed is None:
        now = sender.wake_at
        if sender.wake(now):
            sender.acknowledged(ack_of(sequence % 256, window=1), now)
            sequence += 1
    assert now == 60.0
    assert sender.failed == AbortReason.TSM_TIMEOUT


def test_what_the_peer_could_not_hold_is_not_begun() -> None:
    sender = SegmentSender(REQUEST, 50, 4, LIMITS)
    assert sender.start(0.0) == ()
    assert sender.failed == AbortReason.APDU_TOO_LONG
    sender = SegmentSender(ACK, 50, 4, LIMITS)
    assert sender.start(0.0) == (Abort(7, AbortReason.BUFFER_OVERFLOW, from_server=True),)
    for enough in (8, MORE_THAN_64, None):
        assert started(ACK, most=enough)[0].failed is None
    long = ACK._replace(parameters=bytes(45 * 66))
    assert started(long, most=MORE_THAN_64)[0].failed is None


@given(st.lists(st.builds(SegmentAck, st.just(7), messages.randoms().map(messages.octet), st.integers(0, 255))))
def test_no_acknowledgements_whatever_make_a_sender_send_what_is_not_in_the_message(acks) -> None:
    sender, first = started(ACK)
    sent = [first]
    for ack in acks:
        apdus = sender.acknowledged(ack, 1.0)
        assert len(apdus) <= LIMITS.window
        sent += apdus
    for segment in sent:
        if isinstance(segment, ComplexAck):
            assert segment.parameters == ACK.parameters[segment.sequence * 45 :][:45]
    assert sender.all_sent or not sender.done


def pieces(message=REQUEST, size: int = 50) -> list:
    sender, first = started(message, size, limits=LIMITS._replace(proposed_window=127))
    return [first, *sender.acknowledged(SegmentAck(7, 0, 127, False, isinstance(message, ConfirmedRequest)), 0.0)]


def test_a_receiver_acknowledges_the_first_segment_each_window_and_the_last() -> None:
    receiver = SegmentReceiver(LIMITS._replace(window=2))
    answers = [receiver.received(segment, 0.0) for segment in pieces()]
    assert answers == [(ack_of(0, 2),), (), (ack_of(2, 2),), (), (ack_of(4, 2),)]
    assert receiver.whole == REQUEST
    assert receiver.wake_at is None


def test_a_missing_segment_is_asked_for_and_everything_behind_it_let_go() -> None:
    receiver = SegmentReceiver(LIMITS)
    zero, one, two, three, four = pieces()
    receiver.received(zero, 0.0)
    assert receiver.received(two, 0.0) == (ack_of(0, negative=True),)
    assert receiver.received(three, 0.0) == (ack_of(0, negative=True),)
    assert [receiver.received(segment, 0.0) for segment in (one, two, three)] == [(ack_of(1),), (), ()]
    assert receiver.received(four, 0.0) == (ack_of(4),)
    assert receiver.whole == REQUEST


def test_a_duplicate_is_let_go_and_one_of_the_newest_acknowledged_again() -> None:
    receiver = SegmentReceiver(LIMITS)
    zero, one, two, three, four = pieces(REQUEST)
    assert receiver.received(zero, 0.0) == receiver.received(zero, 0.0) == (ack_of(0),)
    assert [receiver.received(segment, 0.0) for segment in (one, one, zero, two, one, two, three)] == [()] * 7
    assert receiver.received(four, 0.0) == receiver.received(four, 0.0) == (ack_of(4),)
    assert receiver.whole == REQUEST


def test_a_whole_message_is_acknowledged_again_and_never_changed() -> None:
    receiver = SegmentReceiver(LIMITS._replace(window=2))
    for segment in pieces():
        receiver.received(segment, 0.0)
    again = (*pieces(), pieces()[0]._replace(parameters=b"else", sequence=5, more=False))
    answers = [receiver.received(segment, 50.0) for segment in again]
    assert answers == [(ack_of(0, 2),), (), (ack_of(2, 2),), (), (ack_of(4, 2),), ()]
    assert receiver.whole == REQUEST


@given(long_messages(), sizes, windows, windows)
def test_a_client_that_begins_anew_while_its_answer_takes_time_gets_to_the_end_again(
    message, size: int, offered: int, accepted: int
) -> None:
    receiver = SegmentReceiver(LIMITS._replace(window=accepted))
    for _ in range(2):
        sender = SegmentSender(message, size, None, LIMITS._replace(proposed_window=offered))
        Network(sender, receiver, lambda apdu: (0.01,)).run()
        assert sender.done
        assert receiver.whole == message


def test_more_octets_or_segments_than_allowed_abort() -> None:
    for limits in (LIMITS._replace(octets=199), LIMITS._replace(segments=4)):
        receiver = SegmentReceiver(limits)
        *others, last = pieces()
        for segment in others:
            receiver.received(segment, 0.0)
        assert receiver.received(last, 0.0) == (Abort(7, AbortReason.BUFFER_OVERFLOW, from_server=True),)
        assert receiver.failed == AbortReason.BUFFER_OVERFLOW
        assert receiver.whole is None
        assert receiver.received(last, 0.0) == ()
    for limits in (LIMITS._replace(octets=200), LIMITS._replace(segments=5)):
        receiver = SegmentReceiver(limits)
        for segment in pieces():
            receiver.received(segment, 0.0)
        assert receiver.whole == REQUEST


@pytest.mark.parametrize(
    "strange",
    [
        pieces()[1]._replace(service=15),
        pieces()[1]._replace(segmented=False),
        ComplexAck(7, 16, b"x", True, True, 1, 4),
    ],
)
def test_what_is_no_part_of_the_message_begun_aborts_it(strange) -> None:
    receiver = SegmentReceiver(LIMITS)
    receiver.received(pieces()[0], 0.0)
    (abort,) = receiver.received(strange, 0.0)
    assert abort.reason == receiver.failed == AbortReason.INVALID_APDU_IN_THIS_STATE


def test_a_message_begins_with_its_first_segment() -> None:
    receiver = SegmentReceiver(LIMITS)
    assert receiver.received(pieces(ACK)[1], 0.0) == (Abort(7, AbortReason.INVALID_APDU_IN_THIS_STATE, False),)
    assert receiver.failed == AbortReason.INVALID_APDU_IN_THIS_STATE
    receiver = SegmentReceiver(LIMITS)
    assert receiver.received(pieces(REQUEST)[1], 0.0) == ()
    assert receiver.failed == AbortReason.INVALID_APDU_IN_THIS_STATE


def test_a_receiver_waits_four_times_as_long_as_a_sender() -> None:
    receiver = SegmentReceiver(LIMITS)
    receiver.received(pieces()[0], 10.0)
    receiver.wake(29.9)
    assert receiver.failed is None
    receiver.wake(30.0)
    assert receiver.failed == AbortReason.TSM_TIMEOUT
    assert receiver.received(pieces()[1], 30.1) == ()


def test_repetition_does_not_keep_a_receiver_waiting() -> None:
    receiver = SegmentReceiver(LIMITS)
    zero, _, two, *_ = pieces()
    receiver.received(zero, 0.0)
    for now in range(1, 20):
        receiver.received((zero, two)[now % 2], float(now))
    assert receiver.wake_at == 20.0


def test_one_segment_now_and_then_ends_when_the_time_for_the_whole_is_over() -> None:
    receiver = SegmentReceiver(LIMITS._replace(whole_seconds=60.0))
    segments = pieces(REQUEST._replace(parameters=bytes(44 * 20)))
    now = 0.0
    for segment in segments:
        receiver.received(segment, now)
        now += 19.0
        if now >= receiver.wake_at:
            break
    receiver.wake(now)
    assert (now, receiver.wake_at, receiver.failed) == (76.0, None, AbortReason.TSM_TIMEOUT)


def test_a_message_in_one_piece_fits_or_not() -> None:
    assert fits(ComplexAck(1, 12, bytes(47)), 50) and not fits(ComplexAck(1, 12, bytes(48)), 50)
    assert fits(ConfirmedRequest(1, 12, bytes(46)), 50) and not fits(ConfirmedRequest(1, 12, bytes(47)), 50)
    for message in (ComplexAck(1, 12, bytes(47)), ConfirmedRequest(1, 12, bytes(46))):
        assert len(encode_apdu(message)) == 50


def test_a_lost_report_of_a_missing_segment_does_not_stop_what_came_late() -> None:
    """Segment 2 comes behind 3; that it was missing is said, and that gets lost."""
    receiver = SegmentReceiver(LIMITS)
    segments = [ACK._replace(parameters=b"x", segmented=True, more=True, sequence=n, window=4) for n in range(4)]
    for number in (0, 1):
        receiver.received(segments[number], 0.0)
    (missing,) = receiver.received(segments[3], 0.0)
    assert isinstance(missing, SegmentAck)
    assert (missing.negative, missing.sequence) == (True, 1)
    (late,) = receiver.received(segments[2], 0.0)
    assert isinstance(late, SegmentAck)
    assert (late.negative, late.sequence) == (False, 2)
