"""COV subscriptions: shared at the device, each client's own life, and every notification decided and counted."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.engine.events import Refused
from broker.engine.sessions import NEVER
from broker.engine.subscription import MOST_WAITING, Monitored, Subscription, let_through
from broker.engine.subscriptions import (
    DEVICE_LIFETIME_SECONDS,
    MOST_INCREMENTS,
    RENEW_BEFORE_SECONDS,
    RETRY_SECONDS,
    SPARE,
    TALLY_SECONDS,
    Subscriptions,
)
from broker.model.operation import BacnetProperty, Operation, Request
from broker.model.vocabulary import Action, EndReason, Reason
from tests.unit.engine.playbook import Playbook, allow, deny, session

ZONE = Monitored("analog-value", 1)
FAN = Monitored("binary-output", 2)
PROPERTY = Monitored("analog-value", 1, "present-value")
NOW = 1_795_000_000.0


def view(monitored: Monitored = ZONE) -> Request:
    place = BacnetProperty(monitored.object_type, monitored.instance, "present-value")
    status = BacnetProperty(monitored.object_type, monitored.instance, "status-flags")
    operations = tuple(Operation("bacnet", Action.VIEW, "subscribe-cov", at) for at in (place, status))
    return Request(operations, b"", "digest")


def one(asker, process=7, monitored=ZONE, at=NOW, lifetime=3600.0, client="10.0.0.9:47808", confirmed=False):
    return Subscription(asker, client, process, monitored, view(monitored), 1, at, confirmed, at + lifetime)


def table(**limits):
    return Subscriptions(100, **limits)


def test_the_first_client_has_the_device_asked_under_a_process_of_the_brokers_own():
    held, ana = table(), session()
    errand, tally = held.subscribe(asked := one(ana))
    assert (errand.process, errand.monitored, errand.behalf, errand.lifetime_seconds) == (100, ZONE, asked, 300)
    assert tally is None and len(held) == 1


def test_what_two_clients_subscribe_is_one_subscription_at_the_device():
    held = table()
    first, _ = held.subscribe(one(session()))
    second, _ = held.subscribe(one(session(), process=8))
    assert first.process == second.process
    assert len(held.receivers(100, "analog-value", 1, NOW)) == 2


def test_another_object_or_increment_is_another_subscription_at_the_device():
    held = table()
    wanted = [
        ZONE,
        FAN,
        replace(ZONE, property="present-value"),
        replace(ZONE, property="present-value", increment="2"),
    ]
    processes = [held.subscribe(one(session(), monitored=each))[0].process for each in wanted]
    assert processes == [100, 101, 102, 103]


def test_the_device_is_asked_to_confirm_if_any_client_wants_that():
    held = table()
    assert not held.subscribe(one(session()))[0].confirmed
    assert held.subscribe(one(session(), process=8, confirmed=True))[0].confirmed
    assert held.subscribe(one(session(), process=9))[0].confirmed


def test_a_renewal_by_the_same_client_takes_the_place_of_the_first_and_needs_no_room():
    held, ana = table(most_of_session=1), session()
    held.subscribe(one(ana))
    assert held.has_room(ana, "10.0.0.9:47808", 7, ZONE)
    assert not held.has_room(ana, "10.0.0.9:47808", 8, ZONE)
    held.subscribe(later := one(ana, at=NOW + 10))
    assert held.receivers(100, "analog-value", 1, NOW + 10) == (later,)


def test_there_is_room_for_so_many_at_a_device():
    held = table(most_of_device=2)
    for process in (1, 2):
        held.subscribe(one(session(), process))
    assert not held.has_room(session(), "c", 3, ZONE)


def test_a_subscription_is_renewed_at_the_device_before_it_forgets_in_the_session_of_who_is_still_there():
    held, ana, bo = table(), session(), session()
    errand, _ = held.subscribe(one(ana))
    held.subscribe(of_bo := one(bo))
    held.kept(errand, NOW)
    assert held.due(NOW + 100) == ()
    assert held.wake_at() == NOW + 180
    bo.pause()
    (renewal,) = held.due(NOW + 180)
    assert (renewal.behalf.session, renewal.process, renewal.lifetime_seconds) == (ana, 100, DEVICE_LIFETIME_SECONDS)
    assert held.due(NOW + 181) == ()
    held.failed(renewal, NOW + 182)
    bo.resume()
    ana.end(EndReason.PEER_CLOSED)
    (again,) = held.due(NOW + 182 + RETRY_SECONDS)
    assert again.behalf is of_bo


def test_a_renewal_of_which_nobody_tells_what_came_is_due_again_after_a_while():
    held = table()
    held.subscribe(one(session()))
    assert held.due(NOW) == ()
    assert len(held.due(NOW + RETRY_SECONDS)) == 1


def test_only_the_last_client_that_cancels_has_the_device_asked_to_cancel():
    held, ana, bo = table(), session(), session()
    for asker in (ana, bo):
        held.kept(held.subscribe(one(asker))[0], NOW)
    assert held.cancel(ana, "10.0.0.9:47808", 7, ZONE, NOW) == (None, None)
    cancelling, _ = held.cancel(bo, "10.0.0.9:47808", 7, ZONE, NOW)
    assert (cancelling.process, cancelling.lifetime_seconds, cancelling.behalf.session) == (100, None, bo)
    held.kept(cancelling, NOW)
    assert held.wake_at() == NEVER and len(held) == 0
    assert held.orphans(NOW) == ()


def left(ana):
    """A table with one subscription at the device whose only client's session has ended."""
    held = table()
    errand, _ = held.subscribe(asked := one(ana))
    held.kept(errand, NOW)
    ana.end(EndReason.GRANT_ENDED)
    held.end_session(ana, NOW + 1)
    return held, asked


def test_what_nobody_needs_any_more_is_cancelled_once_by_the_brokers_own_right():
    held, asked = left(session())
    (errand,) = held.orphans(NOW + 1)
    assert errand == (100, ZONE, asked, False, None, True)
    assert held.orphans(NOW + 1) == ()
    held.kept(errand, NOW + 2)
    assert held.orphans(NOW + 2) == () and held.wake_at() == NEVER


def test_what_others_still_need_is_not_cancelled():
    held, ana, bo = table(), session(), session()
    for asker in (ana, bo):
        held.kept(held.subscribe(one(asker))[0], NOW)
    held.end_session(ana, NOW)
    assert held.orphans(NOW) == ()


def test_who_comes_while_it_is_being_cancelled_gets_another_number_that_the_cancellation_does_not_end():
    held, _ = left(session())
    (cancelling,) = held.orphans(NOW + 1)
    errand, _ = held.subscribe(one(session(), at=NOW + 1))
    assert errand.process == 101
    held.kept(errand, NOW + 2)
    held.kept(cancelling, NOW + 2)
    assert len(held.receivers(101, "analog-value", 1, NOW + 3)) == 1


def test_what_the_device_acknowledges_after_its_client_has_gone_is_cancelled_then():
    held, ana = table(), session()
    errand, _ = held.subscribe(one(ana))
    held.end_session(ana, NOW)
    assert held.orphans(NOW) == ()
    held.kept(errand, NOW + 1)
    assert [each.process for each in held.orphans(NOW + 1)] == [100]


def test_a_cancellation_that_fails_is_not_repeated_and_the_device_forgets_by_itself():
    held, _ = left(session())
    (errand,) = held.orphans(NOW + 1)
    held.failed(errand, NOW + 5)
    assert held.orphans(NOW + 5) == ()
    assert held.wake_at() == NOW + DEVICE_LIFETIME_SECONDS
    held.expire(NOW + DEVICE_LIFETIME_SECONDS)
    assert held.wake_at() == NEVER


@pytest.mark.parametrize(("tried", "again"), [(True, 0), (False, 1)])
def test_what_a_client_may_not_cancel_any_more_the_broker_does(tried, again):
    held, ana = table(), session()
    held.kept(held.subscribe(one(ana))[0], NOW)
    cancelling, _ = held.cancel(ana, "10.0.0.9:47808", 7, ZONE, NOW)
    held.failed(cancelling, NOW, tried=tried)
    assert [each.own_right for each in held.orphans(NOW)] == [True] * again


def test_what_the_device_refused_or_has_forgotten_needs_no_cancellation():
    held, ana = table(), session()
    errand, _ = held.subscribe(refused := one(ana))
    held.failed(errand, NOW)
    held.end(refused, NOW)
    assert (held.orphans(NOW), held.wake_at()) == ((), NEVER)
    held, _ = left(session())
    assert held.orphans(NOW + DEVICE_LIFETIME_SECONDS) == ()


def test_of_one_property_a_device_is_asked_for_so_many_increments_and_no_more():
    held, ana = table(), session()
    places = [replace(ZONE, property="present-value", increment=str(each)) for each in range(MOST_INCREMENTS + 1)]
    for place in places[:-1]:
        assert held.has_room(session(), "c", 1, place)
        held.kept(held.subscribe(one(ana, monitored=place))[0], NOW)
    # Each took the place of the one before, which is cancelled, and takes room until it is.
    assert not held.has_room(ana, "10.0.0.9:47808", 7, places[-1])
    assert held.has_room(ana, "10.0.0.9:47808", 7, places[-2])
    assert held.has_room(ana, "10.0.0.9:47808", 7, FAN)
    for errand in held.orphans(NOW):
        held.kept(errand, NOW)
    assert held.has_room(ana, "10.0.0.9:47808", 7, places[-1])


def test_what_is_not_there_can_be_cancelled():
    assert table().cancel(session(), "c", 7, ZONE, NOW) == (None, None)


def test_one_client_does_not_cancel_what_another_has():
    held, ana = table(), session()
    held.subscribe(one(ana))
    for asker, client, process in ((session(), "10.0.0.9:47808", 7), (ana, "10.0.0.8:47808", 7), (ana, "c", 8)):
        held.cancel(asker, client, process, ZONE, NOW)
    assert len(held) == 1


def test_after_its_session_a_subscription_is_nobodys_though_the_device_still_reports():
    held, ana = table(), session()
    errand, _ = held.subscribe(one(ana))
    held.kept(errand, NOW)
    held.end_session(ana, NOW + 1)
    assert held.receivers(100, "analog-value", 1, NOW + 1) == ()
    assert held.due(NOW + 200) == ()
    taken_up, _ = held.subscribe(one(session(), at=NOW + 2))
    assert taken_up.process == 100


def test_a_session_that_has_ended_receives_nothing_even_before_that_is_told():
    held, ana = table(), session()
    held.subscribe(one(ana))
    ana.end(EndReason.GRANT_ENDED)
    assert held.receivers(100, "analog-value", 1, NOW) == ()


def test_one_of_several_clients_of_a_session_may_leave():
    held, ana = table(), session()
    held.subscribe(one(ana, client="a"))
    held.subscribe(kept := one(ana, client="b"))
    held.end_session(ana, NOW, "a")
    assert held.receivers(100, "analog-value", 1, NOW) == (kept,)


@pytest.mark.parametrize(("object_type", "instance"), [("analog-value", 2), ("analog-input", 1)])
def test_a_notification_about_something_else_is_for_nobody(object_type, instance):
    held = table()
    held.subscribe(one(session()))
    assert held.receivers(100, object_type, instance, NOW) == ()
    assert held.receivers(99, "analog-value", 1, NOW) == ()


def test_a_subscription_is_over_when_its_time_is():
    held = table()
    held.subscribe(one(session(), lifetime=60.0))
    assert held.wake_at() == NOW + RETRY_SECONDS
    assert held.receivers(100, "analog-value", 1, NOW + 60) == ()
    held.expire(NOW + 60)
    assert len(held) == 0


@pytest.mark.parametrize(("lifetime", "after", "told"), [(60.0, 0.0, 60), (60.0, 59.9, 1), (NEVER, 99.0, 0)])
def test_a_client_is_told_the_time_that_remains_of_its_own(lifetime, after, told):
    assert one(session(), lifetime=lifetime).remaining(NOW + after) == told


@pytest.mark.parametrize(("name", "shown"), [("present-value", True), ("status-flags", True), ("description", False)])
def test_only_values_of_what_is_decided_may_be_passed_on(name, shown):
    assert one(session()).shows(name, None) is shown


def passed(subscription, decision):
    return Playbook(Decide=lambda c: decision).play(let_through(subscription))


def test_every_notification_is_decided_and_counted_and_told_when_the_session_ends():
    held, ana = table(), session()
    held.subscribe(asked := one(ana))
    assert passed(asked, allow()) == (allow(),) * 2
    assert isinstance(passed(asked, deny(Reason.WINDOW_CLOSED)), Refused)
    assert passed(asked, allow()) == (allow(),) * 2
    (tally,) = held.end_session(ana, NOW + 5)
    assert (tally.passed, tally.withheld, tally.decision, tally.since, tally.until) == (2, 1, 1, NOW, NOW + 5)
    assert (tally.session, tally.device, tally.monitored) == ("ses-1", "plant/ahu-1", ZONE)


def test_what_is_counted_for_long_is_told_and_counted_anew():
    held = table()
    held.subscribe(asked := one(session(), lifetime=NEVER))
    passed(asked, allow())
    assert held.expire(NOW + TALLY_SECONDS - 1) == ()
    (tally,) = held.expire(NOW + TALLY_SECONDS)
    assert (tally.passed, tally.until) == (1, NOW + TALLY_SECONDS)
    assert held.expire(NOW + 3 * TALLY_SECONDS) == ()


def test_what_was_counted_before_a_renewal_is_told():
    held, ana = table(), session()
    held.subscribe(first := one(ana))
    passed(first, allow())
    _, tally = held.subscribe(one(ana, at=NOW + 9))
    assert (tally.passed, tally.until) == (1, NOW + 9)


class Clients(RuleBasedStateMachine):
    """Whatever clients, the device and time do, the table stays within itself and loses no count."""

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.held = Subscriptions(0xFFFFFFFE, most_of_session=4, most_of_device=6)
        self.sessions = [session() for _ in range(3)]
        self.errands = []
        self.counted = self.told = 0

    def note(self, *tallies):
        self.told += sum(tally.passed + tally.withheld for tally in tallies if tally is not None)

    places = st.sampled_from([ZONE, FAN, replace(ZONE, property="present-value", increment="1")])

    @rule(who=st.integers(0, 2), process=st.integers(1, 3), place=places, lifetime=st.sampled_from([1.0, 500.0, NEVER]))
    def subscribe(self, who, process, place, lifetime):
        if self.held.has_room(self.sessions[who], "c", process, place):
            asked = one(self.sessions[who], process, place, self.now, lifetime, "c")
            errand, tally = self.held.subscribe(asked)
            self.errands.append(errand)
            self.note(tally)

    @rule(who=st.integers(0, 2), process=st.integers(1, 3), place=places)
    def cancel(self, who, process, place):
        errand, tally = self.held.cancel(self.sessions[who], "c", process, place, self.now)
        self.errands += [errand] if errand else []
        self.note(tally)

    @rule(answered=st.booleans())
    def device_answers(self, answered):
        if self.errands:
            (self.held.kept if answered else self.held.failed)(self.errands.pop(0), self.now)

    @rule()
    def the_broker_cancels(self):
        self.errands += self.held.orphans(self.now)

    @rule(seconds=st.sampled_from([0.5, 60.0, 400.0, 1000.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.errands += self.held.due(self.now)
        self.note(*self.held.expire(self.now))

    @rule(who=st.integers(0, 2))
    def session_ends(self, who):
        self.sessions[who].end(EndReason.PEER_CLOSED)
        self.note(*self.held.end_session(self.sessions[who], self.now))
        self.sessions[who] = session()

    @rule(allowed=st.booleans())
    def device_reports(self, allowed):
        for process in tuple(self.held._processes):
            for at in (ZONE, FAN):
                for receiver in self.held.receivers(process, at.object_type, at.instance, self.now):
                    assert receiver.session.ended is None and self.now < receiver.ends
                    passed(receiver, allow() if allowed else deny())
                    self.counted += 1

    @invariant()
    def it_is_within_itself(self):
        held = self.held
        assert len(held) <= 6
        assert len(held._held) <= len(held._processes) <= 6
        assert all(held._processes[each.process] is each for each in held._held.values())
        assert held._increments.total() == len(held._processes)
        assert all(1 <= process <= 0xFFFFFFFF for process in held._processes)
        assert sum(len(each.clients) for each in held._held.values()) == len(held)
        assert sum(len(each) for each in held._of_session.values()) == len(held)
        waiting = sum(each.passed + each.withheld for each in held._clients.values())
        assert self.counted == self.told + waiting

    def teardown(self):
        for asker in self.sessions:
            self.note(*self.held.end_session(asker, self.now))
        assert (len(self.held), self.told) == (0, self.counted)
        self.held.expire(self.now + 301)
        assert (self.held._held, self.held._processes, self.held._of_session) == ({}, {}, {})
        assert self.held.orphans(self.now + 301) == () and not self.held._deserted


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_notifications_are_decided_one_after_the_other_so_that_none_overtakes_another():
    asked = one(session())
    assert [asked.offer(number) for number in (1, 2, 3)] == [True, False, False]
    assert [asked.take() for _ in range(3)] == [(1, True), (2, True), (3, False)]
    assert asked.offer(4) and asked.take() == (4, False)


def test_of_more_than_there_is_room_for_the_newest_are_kept_and_the_others_counted():
    asked = one(session())
    for number in range(MOST_WAITING + 3):
        asked.offer(number)
    assert (len(asked.waiting), asked.withheld) == (MOST_WAITING, 3)
    assert (asked.waiting[0], asked.waiting[1], asked.waiting[-1]) == (0, 4, MOST_WAITING + 2)


def test_what_waits_when_a_subscription_ends_is_withheld_and_what_is_being_decided_too():
    held, ana = table(), session()
    held.subscribe(asked := one(ana))
    asked.offer("a")
    asked.offer("b")

    def ended_meanwhile(command):
        tallies.extend(held.end_session(ana, NOW))
        return allow()

    tallies = []
    found = Playbook(Decide=lambda c: ended_meanwhile(c)).play(let_through(asked))
    assert isinstance(found, Refused)
    assert (asked.take(), [(tally.passed, tally.withheld) for tally in tallies]) == ((None, False), [(0, 2)])


def test_while_all_sessions_are_paused_nothing_is_renewed_and_nobody_is_woken_at_once_again():
    held, ana = table(), session()
    held.subscribe(one(ana, lifetime=NEVER))
    ana.pause()
    assert held.due(NOW + RETRY_SECONDS) == ()
    assert held.wake_at() > NOW + RETRY_SECONDS
    ana.resume()
    assert len(held.due(NOW + 2 * RETRY_SECONDS)) == 1


def of_several(asker, process=7, confirmed=False, monitored=PROPERTY, at=NOW):
    asked = one(asker, process, monitored, at, confirmed=confirmed)
    asked.multiple = asked.held_back = True
    return asked


def test_what_is_subscribed_with_others_is_apart_from_what_is_subscribed_alone_and_each_form_from_the_other():
    held, ana = table(), session()
    wanted = [one(ana, monitored=PROPERTY), of_several(ana), of_several(ana, confirmed=True)]
    for each in wanted:
        held.subscribe(each)
    assert len(held) == 3
    held.cancel(ana, "10.0.0.9:47808", 7, PROPERTY, NOW, True)
    assert [each.over for each in wanted] == [False, False, True]


def test_until_it_enters_what_is_reserved_is_nobodys_to_cancel_and_leaves_the_place_to_what_was_there():
    held, ana = table(), session()
    held.subscribe(known := of_several(ana))
    known.held_back = False
    held.reserve(fresh := of_several(ana))
    assert held.of_several(ana, "10.0.0.9:47808", 7) == (known,)
    held.end(fresh, NOW)
    assert (known.over, len(held)) == (False, 1)
    held.reserve(later := of_several(ana, at=NOW + 9))
    held.enter(later, NOW + 9)
    held.prolong(later)
    assert (known.over, len(held)) == (True, 1)


def test_what_is_reserved_ends_with_its_session_and_takes_its_room_until_then():
    held, ana = table(most_of_session=1), session()
    held.reserve(fresh := of_several(ana))
    assert not held.has_room(ana, "c", 8, FAN)
    held.end_session(ana, NOW)
    assert fresh.over and held.has_room(ana, "c", 8, FAN)
    assert held.end(fresh, NOW) is None


def test_what_is_subscribed_again_has_some_room_beyond_and_not_more():
    held, ana = table(most_of_session=1), session()
    held.subscribe(of_several(ana))
    for _ in range(SPARE):
        assert held.has_room(ana, "10.0.0.9:47808", 7, PROPERTY, False)
        held.reserve(of_several(ana))
    assert not held.has_room(ana, "10.0.0.9:47808", 7, PROPERTY, False)


def test_what_one_client_may_not_ask_for_does_not_have_others_renewed_before_it_is_time():
    held, ana = table(), session()
    held.kept(held.subscribe(one(ana))[0], NOW)
    errand, _ = held.subscribe(refused := one(session(), process=9))
    held.failed(errand, NOW, tried=False)
    held.end(refused, NOW)
    assert held.wake_at() == NOW + DEVICE_LIFETIME_SECONDS - RENEW_BEFORE_SECONDS
