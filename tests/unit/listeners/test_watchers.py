"""Watchers are few, their queues bounded, and only sessions that somebody watches have an observer."""

import asyncio
from types import SimpleNamespace

from broker.listeners.watchers import MAX_WAITING_EVENTS, MAX_WATCHERS, MAX_WATCHERS_OF_SUBJECT, Watchers
from broker.model.vocabulary import Action, EndReason
from tests.unit.engine.playbook import request, session

CLOCK = SimpleNamespace(now=lambda: 5.0)


def test_only_a_watched_session_has_an_observer():
    watchers, live = Watchers(CLOCK), session()
    watchers.follow(live)
    assert live.observer is None
    other = watchers.add("bo", "ses-other")
    watchers.follow(live)
    assert live.observer is None
    everything = watchers.add("bo", "")
    watchers.follow(live)
    assert live.observer is not None
    watchers.remove(everything)
    watchers.follow(live)
    assert live.observer is None
    watchers.remove(other)


def test_watchers_are_at_most_so_many_of_a_subject_and_of_all():
    watchers = Watchers(CLOCK)
    assert all(watchers.add("bo", "") for _ in range(MAX_WATCHERS_OF_SUBJECT))
    assert watchers.add("bo", "") is None
    others = [watchers.add(f"subject-{n}", "") for n in range(MAX_WATCHERS)]
    assert sum(watcher is not None for watcher in others) == MAX_WATCHERS - MAX_WATCHERS_OF_SUBJECT
    watchers.remove(others[0])
    assert watchers.add("cy", "") is not None


def test_a_slow_watcher_is_told_how_much_it_missed_and_another_misses_nothing():
    async def story():
        watchers, live = Watchers(CLOCK), session()
        slow, fast = watchers.add("bo", ""), watchers.add("cy", "")
        watchers.follow(live)
        took = 0
        for _ in range(MAX_WAITING_EVENTS + 7):
            live.observer(live, request(Action.VIEW), "done", "", (), ())
            took += len((await fast.take(10, 1.0))[0])
        assert took == MAX_WAITING_EVENTS + 7
        first, lost = await slow.take(10, 1.0)
        assert (len(first), lost) == (10, 0)
        rest, lost = await slow.take(1000, 1.0)
        assert (len(rest), lost) == (MAX_WAITING_EVENTS - 10, 7)
        assert await slow.take(10, 0.001) == ([], 0)

    asyncio.run(story())


def test_a_watcher_of_one_session_is_told_of_its_end_and_then_has_ended():
    async def story():
        watchers, live = Watchers(CLOCK), session()
        one, everything = watchers.add("bo", live.id), watchers.add("bo", "")
        live.end(EndReason.WINDOW_CLOSED)
        watchers.follow(live)
        watchers.closed(live)
        assert [seen.change for seen in (await one.take(10, 1.0))[0]] == ["closed"]
        assert await one.take(10, 1.0) == ([], 0)
        assert (one.ended, everything.ended, live.observer) == (EndReason.WINDOW_CLOSED, None, None)

    asyncio.run(story())
