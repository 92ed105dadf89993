"""Whoever is not proven yet may try so often from one address, and so many at a time may from all."""

from contextlib import ExitStack

import pytest

from broker.api.problems import Problem
from broker.api.source_pace import MOST_SOURCES, SourcePace
from broker.api.strangers import BURST, MOST_AT_ONCE, MOST_OF_SOURCE, PER_SECOND, TOGETHER, Strangers


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def tries(strangers, source="192.0.2.1", most=1000):
    for count in range(most):
        try:
            with strangers.admitted(f"{source}:{count}"):
                pass
        except Problem as problem:
            assert problem.code == "too_many_calls"
            assert int(problem.headers["Retry-After"]) == round(1 / PER_SECOND)
            return count
    return most


def test_an_address_has_so_many_tries_and_then_one_every_few_seconds():
    clock = Clock()
    strangers = Strangers(clock)
    assert tries(strangers) == BURST
    assert tries(strangers, "192.0.2.2") == BURST
    clock.now += 1 / PER_SECOND
    assert tries(strangers) == 1
    clock.now += 3600
    assert tries(strangers) == BURST


def test_so_many_are_under_way_at_once_and_each_makes_room_whatever_becomes_of_it():
    strangers = Strangers(Clock())
    with ExitStack() as stack:
        for number in range(MOST_AT_ONCE):
            stack.enter_context(strangers.admitted(f"192.0.2.{number}:1"))
        with pytest.raises(Problem), strangers.admitted("198.51.100.1:1"):
            pass
    for _ in range(2 * MOST_AT_ONCE):
        with pytest.raises(KeyError), strangers.admitted(f"198.51.100.{_}:1"):
            raise KeyError


def test_one_source_holds_few_of_the_places_and_leaves_the_others_theirs():
    strangers = Strangers(Clock())
    with ExitStack() as stack:
        for number in range(MOST_OF_SOURCE):
            stack.enter_context(strangers.admitted(f"[2001:db8::{number}]:{number}"))
        with pytest.raises(Problem), strangers.admitted("[2001:db8::ffff]:1"):
            pass
        with strangers.admitted("[2001:db8:0:1::1]:1"):
            pass
    with strangers.admitted("[2001:db8::1]:1"):
        pass
    assert not strangers._under_way


def test_all_addresses_of_a_network_of_64_bits_share_their_tries():
    pace = SourcePace(10.0, 1.0, Clock(), together=32.0)
    admitted = [pace.admits(f"[2001:db8:1:2:{number:x}::1]:{number}") for number in range(100)]
    assert admitted == [True] * 10 + [False] * 90
    assert pace.admits("[2001:db8:1:3::1]:1")


def test_however_many_sources_there_are_they_have_no_more_together():
    clock = Clock()
    strangers = Strangers(clock)
    for _ in range(3):
        admitted = sum(tries(strangers, f"[2001:db8:{net:x}::1]", 1) for net in range(2 * MOST_SOURCES))
        assert admitted <= BURST * TOGETHER
    assert admitted == 0, "those who were forgotten come again as if they were new"
    clock.now += 3.0
    assert sum(tries(strangers, f"[2001:db8:{net:x}::1]", 1) for net in range(MOST_SOURCES)) == round(TOGETHER)


def test_a_source_that_has_no_tries_left_uses_up_none_of_the_others():
    pace = SourcePace(2.0, 1.0, Clock(), together=2.0)
    for number in range(100):
        pace.admits(f"192.0.2.1:{number}")
    assert [pace.admits(f"192.0.2.2:{number}") for number in range(3)] == [True, True, False]


def test_no_more_sources_are_remembered_than_there_is_room_for():
    pace = SourcePace(1.0, 1.0, Clock(), together=32.0)
    for number in range(MOST_SOURCES + 50):
        pace.admits(f"[2001:db8:{number:x}::1]:1")
    assert len(pace._sources) == MOST_SOURCES


def test_without_a_bucket_for_all_nobody_is_held_back_for_what_others_do():
    pace = SourcePace(2.0, 1.0, Clock(), together=None)
    for number in range(200):
        assert [pace.admits(f"192.0.2.{number}:1") for _ in range(3)] == [True, True, False]
