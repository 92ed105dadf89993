"""Whoever is not proven yet may try so often from one address, and so many at a time may from all."""

from contextlib import ExitStack

import pytest

from broker.api.problems import Problem
from broker.api.source_pace import MOST_SOURCES
from broker.api.strangers import BURST, MOST_AT_ONCE, PER_SECOND, Strangers


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


def test_no_more_addresses_are_remembered_than_there_is_room_for():
    strangers = Strangers(Clock())
    for number in range(MOST_SOURCES + 50):
        with strangers.admitted(f"2001:db8::{number:x}:1"):
            pass
    assert len(strangers._pace._sources) == MOST_SOURCES
