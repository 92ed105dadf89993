"""One window or freeze as spans of UTC: starts are local, durations are added in UTC, ends by the clock are local."""

import itertools
from collections.abc import Iterator
from datetime import datetime, time, timedelta

from broker.calendar.recurrence import local_starts, recurrence_findings
from broker.calendar.zones import to_epoch, to_local, zone_names
from broker.model.schedule import Occurrence
from broker.settings.findings import Finding, did_you_mean

Span = tuple[float, float]

LONGEST_RECURRING_SECONDS = 31 * 86400
LONGEST_ONCE_SECONDS = 3660 * 86400
_EARLIEST, _LATEST = datetime(1990, 1, 1), datetime(2200, 1, 1)
# A local time and its UTC reading differ by less than a day; a gap or fold moves it by at most another.
_SLACK = timedelta(days=2)


def occurrence_findings(occurrence: Occurrence) -> tuple[Finding, ...]:
    """What is wrong with a window's times, by field of `Occurrence`; empty if it can be computed with."""
    findings = [*_zone_findings(occurrence.zone), *_length_findings(occurrence)]
    starts = datetime.fromisoformat(occurrence.starts)
    if not _EARLIEST <= starts < _LATEST:
        findings.append(Finding(("starts",), "starts is out of range", "between 1990 and 2199"))
    elif occurrence.recurrence and not findings:
        found = recurrence_findings(occurrence.recurrence, starts, occurrence.zone)
        findings += [finding.under(("recurrence",)) for finding in found]
    elif not findings and _end(occurrence, starts, to_epoch(starts, occurrence.zone)) <= _start(occurrence, starts):
        findings.append(Finding(("until_wall_clock",), "it ends before it starts", "give a later until"))
    return tuple(findings)


def merged_spans(occurrence: Occurrence, since: float, until: float) -> list[Span]:
    """All spans that end after `since` and start before `until`, in order, joined where they touch or overlap."""
    merged: list[Span] = []
    for opens, closes in sorted(_spans(occurrence, since, until)):
        if merged and opens <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], closes))
        else:
            merged.append((opens, closes))
    return merged


def _spans(occurrence: Occurrence, since: float, until: float) -> Iterator[Span]:
    for start in _starts(occurrence, since, until):
        opens = to_epoch(start, occurrence.zone)
        closes = _end(occurrence, start, opens)
        # An end by the clock inside a gap can fall before its start: such a night has no window.
        if opens < closes and closes > since and opens < until:
            yield opens, closes


def _starts(occurrence: Occurrence, since: float, until: float) -> Iterator[datetime]:
    first = datetime.fromisoformat(occurrence.starts)
    if not occurrence.recurrence:
        return iter((first,))
    reach = timedelta(seconds=occurrence.duration_seconds or 86400) + _SLACK
    earliest = to_local(since, occurrence.zone) - reach
    latest = to_local(until, occurrence.zone) + _SLACK
    starts = local_starts(occurrence.recurrence, first, occurrence.zone, earliest)
    return itertools.takewhile(lambda start: start <= latest, starts)


def _start(occurrence: Occurrence, start: datetime) -> float:
    return to_epoch(start, occurrence.zone)


def _end(occurrence: Occurrence, start: datetime, opens: float) -> float:
    if occurrence.duration_seconds is not None:
        return opens + occurrence.duration_seconds
    clock = occurrence.until_wall_clock or ""
    if "T" in clock:
        return to_epoch(datetime.fromisoformat(clock), occurrence.zone)
    end = datetime.combine(start.date(), time.fromisoformat(clock))
    return to_epoch(end if end > start else end + timedelta(days=1), occurrence.zone)


def _zone_findings(name: str) -> Iterator[Finding]:
    if name not in zone_names():
        yield Finding(("zone",), f"'{name}' is not an IANA time zone", did_you_mean(name, zone_names()))


def _length_findings(occurrence: Occurrence) -> Iterator[Finding]:
    seconds, clock = occurrence.duration_seconds, occurrence.until_wall_clock
    if (seconds is None) == (clock is None):
        yield Finding((), "a window needs exactly one of duration and until", "duration: PT4H, or until: 22:00")
    longest = LONGEST_RECURRING_SECONDS if occurrence.recurrence else LONGEST_ONCE_SECONDS
    if seconds is not None and not 0 < seconds <= longest:
        yield Finding(("duration_seconds",), "the duration is out of range", f"at most {longest // 3600} hours")
    if clock is not None and "T" in clock and occurrence.recurrence:
        yield Finding(("until_wall_clock",), "a recurring window cannot end on one date", "give a time: until: 22:00")
