"""The calendar says what is open, frozen and next, and keeps its word until `changes_at`."""

import random
from datetime import UTC, datetime

import pytest

from broker.calendar import calendar as calendar_module
from broker.calendar.calendar import HORIZON_SECONDS, Calendar
from broker.model.place import Device, Protocol
from broker.model.schedule import Freeze, Occurrence, Scope, Window
from broker.model.way import ModbusTcpWay

HOUR, DAY = 3600.0, 86400.0


def device(name: str = "ahu-1", **changes: object) -> Device:
    given = {"site": "plant", "id": name, "segment": "hvac", "protocol": Protocol.MODBUS} | changes
    return Device(way=ModbusTcpWay("127.0.0.1", 502), **given)


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def window(name: str, starts: str, hours: float, rule: str = "", zone: str = "UTC", **scope: object) -> Window:
    occurrence = Occurrence(starts, zone, duration_seconds=int(hours * 3600), recurrence=rule)
    return Window(name, Scope(**scope), occurrence)


def freeze(name: str, starts: str, hours: float, views: bool = True, **scope: object) -> Freeze:
    return Freeze(name, Scope(**scope), Occurrence(starts, "UTC", duration_seconds=int(hours * 3600)), views)


NOW = epoch("2026-11-22T12:00:00")


def test_before_inside_and_after_a_window() -> None:
    calendar = Calendar([window("w", "2026-11-22T18:00:00", 4)], [])
    opens, closes = epoch("2026-11-22T18:00:00"), epoch("2026-11-22T22:00:00")
    before = calendar.state(device(), "acme", NOW)
    assert (before.open, before.next and before.next.id, before.changes_at) == ((), "w", opens)
    inside = calendar.state(device(), "acme", opens)
    assert [(i.id, i.opens, i.closes) for i in inside.open] == [("w", opens, closes)]
    assert inside.changes_at == closes
    assert inside.next is None
    after = calendar.state(device(), "acme", closes)
    assert after.open == ()
    assert after.changes_at > closes + DAY


def test_windows_that_touch_follow_each_other_without_a_gap() -> None:
    calendar = Calendar(
        [
            window("a", "2026-11-22T12:00:00", 2),
            window("b", "2026-11-22T14:00:00", 2),
            window("c", "2026-11-22T15:00:00", 3),
        ],
        [],
    )
    state = calendar.state(device(), "acme", NOW)
    assert state.changes_at == NOW + 2 * HOUR
    assert [interval.id for interval in calendar.state(device(), "acme", NOW + 2 * HOUR).open] == ["b"]
    assert calendar.state(device(), "acme", NOW + 6 * HOUR).open == ()


def test_an_endless_window_is_bounded_by_the_horizon() -> None:
    calendar = Calendar([window("always", "2026-01-01T00:00:00", 24, "FREQ=DAILY")], [])
    state = calendar.state(device(), "acme", NOW)
    assert state.open[0].closes >= NOW + HORIZON_SECONDS


def test_a_freeze_holds_beside_an_open_window_and_says_whether_viewing_is_frozen() -> None:
    windows = [window("w", "2026-11-22T10:00:00", 10)]
    freezes = [freeze("f", "2026-11-22T13:00:00", 1), freeze("g", "2026-11-22T13:30:00", 1, views=False)]
    calendar = Calendar(windows, freezes)
    assert calendar.state(device(), "acme", NOW).changes_at == NOW + HOUR
    frozen = calendar.state(device(), "acme", NOW + HOUR)
    assert [i.id for i in frozen.open] == ["w"]
    assert [i.id for i in frozen.frozen] == ["f"]
    assert (frozen.views_frozen, frozen.changes_at) == (False, NOW + 1.5 * HOUR)
    both = calendar.state(device(), "acme", NOW + 1.5 * HOUR)
    assert (both.views_frozen, len(both.frozen), both.changes_at) == (True, 2, NOW + 2 * HOUR)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ({}, True),
        ({"sites": ("plant",)}, True),
        ({"sites": ("other",)}, False),
        ({"devices": ("plant/ahu-1",)}, True),
        ({"devices": ("plant/ahu-2",)}, False),
        ({"labels": (("system", "hvac"),)}, True),
        ({"labels": (("system", "hvac"), ("floor", "1"))}, False),
        ({"organisations": ("acme",)}, True),
        ({"organisations": ("other",)}, False),
        ({"sites": ("plant",), "devices": ("plant/ahu-2",)}, False),
    ],
)
def test_a_scope_covers_what_matches_each_given_key(scope: dict[str, object], covered: bool) -> None:
    calendar = Calendar([window("w", "2026-11-22T10:00:00", 10, **scope)], [])
    state = calendar.state(device(labels=(("system", "hvac"),)), "acme", NOW)
    assert bool(state.open) is covered


def test_the_next_window_appears_when_it_comes_within_the_horizon() -> None:
    start = datetime.fromtimestamp(NOW + HORIZON_SECONDS + 10 * DAY, UTC).replace(tzinfo=None).isoformat()
    calendar = Calendar([window("far", start, 1)], [])
    state = calendar.state(device(), "acme", NOW)
    assert state.next is None
    assert state.changes_at == NOW + 10 * DAY
    later = calendar.state(device(), "acme", NOW + 10 * DAY)
    assert later.next is not None
    assert later.next.id == "far"


def test_no_state_differs_before_its_changes_at() -> None:
    """Walks a year at random moments: a fresh calendar says the same as the cached one."""
    windows = [
        window("nights", "2026-01-01T22:00:00", 8, "FREQ=DAILY", "Europe/Berlin"),
        window("sunday", "2026-01-04T20:00:00", 6, "FREQ=WEEKLY;BYDAY=SU", "America/New_York"),
        window("once", "2026-07-01T00:00:00", 48),
        window("ends", "2026-01-01T06:00:00", 1, "FREQ=DAILY;UNTIL=20260801T000000Z", "Asia/Kolkata"),
    ]
    freezes = [freeze("f", "2026-03-28T00:00:00", 72), freeze("g", "2026-12-20T00:00:00", 400)]
    calendar, random_ = Calendar(windows, freezes), random.Random(7)
    now = epoch("2026-01-10")
    while now < epoch("2027-01-10"):
        state = calendar.state(device(), "acme", now)
        assert state.changes_at > now
        later = now + random_.random() * (state.changes_at - now)
        fresh = Calendar(windows, freezes).state(device(), "acme", later)
        assert (state.open, state.frozen, state.next) == (fresh.open, fresh.frozen, fresh.next)
        now = state.changes_at if random_.random() < 0.5 else state.changes_at + random_.random() * 3 * DAY


def test_a_rare_window_is_not_missed_by_who_asks_only_at_changes() -> None:
    calendar = Calendar([window("leap", "2024-02-29T12:00:00", 1, "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29")], [])
    now, seen, asked = epoch("2024-03-01"), [], 0
    while now < epoch("2033-01-01"):
        state = calendar.state(device(), "acme", now)
        seen += [interval.opens for interval in state.open]
        now, asked = state.changes_at, asked + 1
    assert seen == [epoch("2028-02-29T12:00:00"), epoch("2032-02-29T12:00:00")]
    assert asked < 200


def test_an_answer_is_computed_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    compute = Calendar._compute
    monkeypatch.setattr(Calendar, "_compute", lambda self, *a: calls.append(a) or compute(self, *a))
    calendar = Calendar([window("w", "2026-11-22T18:00:00", 4)], [])
    first = calendar.state(device(), "acme", NOW)
    assert calendar.state(device(), "acme", NOW + 5 * HOUR) is first
    assert len(calls) == 1
    calendar.state(device(), "acme", first.changes_at)
    calendar.state(device(), "acme", NOW - 1)
    assert len(calls) == 3


def test_the_cache_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar_module, "_CACHED_STATES", 10)
    calendar = Calendar([], [])
    for number in range(100):
        calendar.state(device(), f"organisation-{number}", NOW)
    assert len(calendar._states) <= 10


def test_an_hourly_rule_is_expanded_in_bounded_time() -> None:
    calendar = Calendar([window("h", "1990-01-01T00:00:00", 0.5, "FREQ=HOURLY")], [])
    state = calendar.state(device(), "acme", NOW)
    assert state.open[0].opens == NOW
    assert state.changes_at == NOW + HOUR / 2
