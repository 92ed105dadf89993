"""What waits for an audit log: in order, bounded, tried a few times, and every report is told or counted as lost."""

from hypothesis import given
from hypothesis import strategies as st

from broker.engine.audit_outbox import (
    ATTEMPTS,
    LONGEST_PAUSE_SECONDS,
    MOST_DENIALS_WAITING,
    MOST_WAITING,
    NEVER,
    TOO_MANY,
    AuditCount,
    AuditOutbox,
)


def three(waiting):
    return min(3, len(tuple(waiting)))


def reports(count):
    return [str(number).encode() for number in range(count)]


def filled(count):
    outbox = AuditOutbox()
    for report in reports(count):
        outbox.offer(report, 10.0)
    return outbox


def test_one_message_at_a_time_takes_the_oldest_in_their_order():
    outbox = filled(5)
    assert outbox.take(three, 10.0) == (b"0", b"1", b"2")
    assert (outbox.due_at, outbox.take(three, 11.0)) == (NEVER, ())
    outbox.delivered(11.0)
    assert outbox.take(three, 11.0) == (b"3", b"4")
    outbox.delivered(12.0)
    assert (outbox.told, outbox.lost, outbox.waiting, outbox.due_at) == (5, 0, 0, NEVER)


def test_what_was_not_taken_is_tried_again_later_and_later_and_then_lost():
    outbox, now, pauses = filled(2), 10.0, []
    for _ in range(ATTEMPTS):
        assert outbox.take(three, now) == (b"0", b"1")
        outbox.failed("timeout", now, final=False)
        pauses.append(outbox.due_at - now)
        now = now + pauses[-1] if outbox.waiting else now
    assert pauses[:-1] == [2.0, 4.0, 8.0][: ATTEMPTS - 1]
    assert (outbox.told, outbox.lost, outbox.waiting) == (0, 2, 0)


def test_a_log_that_stays_down_is_left_alone_for_longer_even_with_new_reports():
    outbox, now = AuditOutbox(), 0.0
    for number in range(20):
        outbox.offer(b"r", now)
        now = max(now, outbox.due_at)
        assert outbox.take(three, now)
        outbox.failed("timeout", now, final=number % 2 == 0)
    outbox.offer(b"r", now)
    assert outbox.due_at - now == LONGEST_PAUSE_SECONDS


def test_what_the_log_refuses_is_lost_at_once():
    outbox = filled(4)
    outbox.take(three, 10.0)
    outbox.failed("reject-unrecognized-service", 10.0, final=True)
    assert (outbox.lost, outbox.waiting) == (3, 1)
    assert outbox.count(12.0) == AuditCount(0, 3, "reject-unrecognized-service", 2.0)


def test_nobody_can_push_out_what_was_told_of_him_before():
    outbox = filled(MOST_WAITING + 7)
    assert (outbox.waiting, outbox.lost) == (MOST_WAITING, 7)
    assert outbox.take(three, 10.0)[0] == b"0"
    assert outbox.count(10.0) == AuditCount(0, 7, TOO_MANY, 0.0)


def test_denials_leave_room_for_what_is_done():
    outbox = AuditOutbox()
    for _ in range(MOST_DENIALS_WAITING + 3):
        outbox.offer(b"denied", 10.0, denial=True)
    outbox.offer(b"done", 10.0)
    assert (outbox.waiting, outbox.lost) == (MOST_DENIALS_WAITING + 1, 3)


def test_each_is_counted_once():
    outbox = filled(2)
    assert outbox.count(10.0) is None
    outbox.take(three, 10.0)
    outbox.delivered(11.0)
    assert outbox.count(15.0) == AuditCount(2, 0, "", 4.0)
    assert outbox.count(16.0) is None


STEPS = st.lists(st.sampled_from(("offer", "take", "delivered", "failed", "refused", "count", "give up")), max_size=200)


@given(STEPS)
def test_whatever_happens_every_report_waits_or_was_told_or_was_lost_and_counted(steps):
    outbox, offered, now, told, lost = AuditOutbox(), 0, 0.0, 0, 0
    for step in steps:
        now += 1.0
        if step == "offer":
            outbox.offer(str(offered).encode(), now)
            offered += 1
        elif step == "take":
            outbox.take(three, now)
        elif step == "give up":
            outbox.give_up("broker_stopped", now)
        elif step == "count":
            counted = outbox.count(now)
            told, lost = told + (counted.told if counted else 0), lost + (counted.lost if counted else 0)
        elif outbox.busy(now) and outbox.due_at == NEVER:
            if step == "delivered":
                outbox.delivered(now)
            else:
                outbox.failed("timeout", now, final=step == "refused")
        assert outbox.waiting + outbox.told + outbox.lost == offered
    counted = outbox.count(now)
    told, lost = told + (counted.told if counted else 0), lost + (counted.lost if counted else 0)
    assert (told, lost) == (outbox.told, outbox.lost)
