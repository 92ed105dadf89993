"""What is open and frozen now, for one device and organisation, and until when that stays so."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from broker.calendar.spans import merged_spans
from broker.model.place import Device
from broker.model.schedule import CalendarState, Freeze, Interval, Window

HORIZON_SECONDS = 400 * 86400
"""How far ahead the next window is looked for."""

_BACK_SECONDS = 32 * 86400
_AHEAD_SECONDS = HORIZON_SECONDS + 30 * 86400
_CACHED_STATES = 65536


class Calendar:
    """All windows and freezes of one inventory; keeps no clock, so `now` (epoch seconds) is always given."""

    def __init__(self, windows: Iterable[Window], freezes: Iterable[Freeze]) -> None:
        self._windows = tuple(_Timeline(window) for window in windows)
        self._freezes = tuple(_Timeline(freeze) for freeze in freezes)
        self._states: dict[tuple[object, ...], tuple[float, CalendarState]] = {}

    def state(self, device: Device, organisation: str, now: float) -> CalendarState:
        """What holds at `now`; computed once and kept until `changes_at`."""
        key = (device.site, device.id, device.labels, organisation)
        known = self._states.get(key)
        if known is not None and known[0] <= now < known[1].changes_at:
            return known[1]
        state = self._compute(device, organisation, now)
        if len(self._states) >= _CACHED_STATES:
            self._states.clear()
        self._states[key] = (now, state)
        return state

    def occurrence(self, window: str, device: Device, organisation: str, now: float) -> Interval | None:
        """When that window is open for them: now, or next within the horizon."""
        for timeline in _applying(self._windows, device, organisation):
            if timeline.id == window:
                look = timeline.look(now)
                found = look.current or look.following
                return found if found is not None and found.opens <= now + HORIZON_SECONDS else None
        return None

    def _compute(self, device: Device, organisation: str, now: float) -> CalendarState:
        windows = [t.look(now) for t in _applying(self._windows, device, organisation)]
        freezing = [(t.freezes_views, t.look(now)) for t in _applying(self._freezes, device, organisation)]
        horizon = now + HORIZON_SECONDS
        upcoming = min((w.following for w in windows if w.following), key=_by_opening, default=None)
        changes = [look.changes_at for look in windows] + [look.changes_at for _, look in freezing]
        if upcoming is not None and upcoming.opens > horizon:
            changes.append(upcoming.opens - HORIZON_SECONDS)
            upcoming = None
        return CalendarState(
            open=tuple(w.current for w in windows if w.current),
            frozen=tuple(look.current for _, look in freezing if look.current),
            next=upcoming,
            changes_at=min(changes, default=horizon),
            views_frozen=any(views and look.current is not None for views, look in freezing),
        )


@dataclass(frozen=True, slots=True)
class _Look:
    current: Interval | None
    following: Interval | None
    changes_at: float


class _Timeline:
    """The spans of one window or freeze, expanded for a stretch of time and again when that is used up."""

    def __init__(self, entry: Window | Freeze) -> None:
        self.scope = entry.scope
        self.freezes_views = isinstance(entry, Freeze) and not entry.views
        self.id = entry.id
        self._occurrence = entry.occurrence
        self._intervals: list[Interval] = []
        self._opens: list[float] = []
        self._from = self._to = 0.0

    def look(self, now: float) -> _Look:
        """What is open at `now`, what opens next, and when either changes."""
        if not self._from <= now < self._to:
            self._expand(now)
        place = bisect_right(self._opens, now)
        last = self._intervals[place - 1] if place else None
        current = last if last is not None and now < last.closes else None
        following = self._intervals[place] if place < len(self._intervals) else None
        ends = [self._to, *([current.closes] if current else ()), *([following.opens] if following else ())]
        return _Look(current, following, min(ends))

    def _expand(self, now: float) -> None:
        """Expand so that everything within the horizon of any moment in [`_from`, `_to`) is known."""
        self._from, self._to = now, now + _AHEAD_SECONDS - HORIZON_SECONDS
        spans = merged_spans(self._occurrence, now - _BACK_SECONDS, now + _AHEAD_SECONDS)
        self._intervals = [Interval(self.id, opens, closes) for opens, closes in spans]
        self._opens = [interval.opens for interval in self._intervals]


def _applying(timelines: tuple[_Timeline, ...], device: Device, organisation: str) -> list[_Timeline]:
    return [
        t
        for t in timelines
        if t.scope.concerns(organisation) and t.scope.covers(device.site, device.key, device.labels)
    ]


def _by_opening(interval: Interval) -> float:
    return interval.opens
