"""Windows are exact in UTC where they have a duration, and end by the clock where they have an `until`."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.calendar.spans import merged_spans, occurrence_findings
from broker.calendar.zones import to_epoch, tzdata_version, zone, zone_names
from broker.model.schedule import Occurrence

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca")
DAY = 86400


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def spans(occurrence: Occurrence, since: str, until: str) -> list[tuple[str, str]]:
    found = merged_spans(occurrence, epoch(since), epoch(until))
    return [tuple(datetime.fromtimestamp(t, UTC).strftime("%m-%dT%H:%M") for t in span) for span in found]


def daily(zone_name: str, clock: str, **end: object) -> Occurrence:
    return Occurrence(f"2026-01-01T{clock}:00", zone_name, recurrence="FREQ=DAILY", **end)


@pytest.mark.parametrize("zone_name", ZONES)
@pytest.mark.parametrize("hour", range(24))
def test_a_duration_lasts_exactly_so_long_on_every_night_of_two_years(zone_name: str, hour: int) -> None:
    occurrence = daily(zone_name, f"{hour:02}:30", duration_seconds=4 * 3600)
    found = merged_spans(occurrence, epoch("2026-01-02"), epoch("2028-01-01"))
    assert {closes - opens for opens, closes in found} == {4 * 3600}
    assert len(found) in (729, 730)


def test_the_october_change_does_not_lengthen_a_duration() -> None:
    night = Occurrence("2026-10-24T22:00:00", "Europe/Berlin", duration_seconds=6 * 3600)
    assert spans(night, "2026-10-24", "2026-10-26") == [("10-24T20:00", "10-25T02:00")]


@pytest.mark.parametrize(
    ("starts", "until", "hours"),
    [
        ("2026-10-24T22:00:00", "06:00:00", 9),
        ("2026-03-28T22:00:00", "06:00:00", 7),
        ("2026-06-01T22:00:00", "06:00:00", 8),
    ],
)
def test_an_until_ends_by_the_clock_whatever_the_night_is_long(starts: str, until: str, hours: int) -> None:
    ((opens, closes),) = merged_spans(
        Occurrence(starts, "Europe/Berlin", until_wall_clock=until), 0, epoch("2030-01-01")
    )
    assert closes - opens == hours * 3600


def test_a_start_that_does_not_exist_takes_the_offset_from_before_the_gap() -> None:
    """RFC 5545, 3.3.5: 02:30 on the night of the change is 01:30 UTC, shown as 03:30."""
    gap = Occurrence("2026-03-29T02:30:00", "Europe/Berlin", duration_seconds=3600)
    assert spans(gap, "2026-03-28", "2026-03-30") == [("03-29T01:30", "03-29T02:30")]


def test_a_start_that_happens_twice_is_the_first() -> None:
    """RFC 5545, 3.3.5."""
    fold = Occurrence("2026-10-25T02:30:00", "Europe/Berlin", duration_seconds=3600)
    assert spans(fold, "2026-10-24", "2026-10-26") == [("10-25T00:30", "10-25T01:30")]


def test_lord_howe_changes_by_half_an_hour() -> None:
    nights = daily("Australia/Lord_Howe", "22:00", until_wall_clock="06:00:00")
    lengths = {c - o for o, c in merged_spans(nights, epoch("2026-01-02"), epoch("2027-01-01"))}
    assert lengths == {8 * 3600, 8 * 3600 + 1800, 8 * 3600 - 1800}


def test_casablanca_changes_around_ramadan() -> None:
    nights = Occurrence("2025-01-01T22:00:00", "Africa/Casablanca", None, "06:00:00", "FREQ=DAILY")
    lengths = [c - o for o, c in merged_spans(nights, epoch("2025-01-02"), epoch("2026-01-01"))]
    assert sorted(set(lengths)) == [7 * 3600, 8 * 3600, 9 * 3600]
    assert lengths.count(7 * 3600) == lengths.count(9 * 3600) == 1


def test_kolkata_never_changes() -> None:
    nights = daily("Asia/Kolkata", "22:00", until_wall_clock="06:00:00")
    assert {c - o for o, c in merged_spans(nights, epoch("2026-01-02"), epoch("2027-01-01"))} == {8 * 3600}


def test_an_end_that_the_gap_puts_before_the_start_gives_no_window() -> None:
    """02:30 does not exist and is read as 03:30; a window until 03:15 has no moment then."""
    occurrence = Occurrence(
        "2026-03-28T02:30:00", "Europe/Berlin", until_wall_clock="03:15:00", recurrence="FREQ=DAILY"
    )
    days = [opens[:5] for opens, _ in spans(occurrence, "2026-03-28", "2026-03-31")]
    assert days == ["03-28", "03-30"]


def test_a_window_across_midnight_is_one_span_and_ends_on_the_next_day() -> None:
    night = Occurrence("2026-11-22T22:00:00", "UTC", until_wall_clock="02:00:00")
    assert spans(night, "2026-11-22", "2026-11-24") == [("11-22T22:00", "11-23T02:00")]


def test_an_until_at_the_time_of_the_start_is_a_whole_day() -> None:
    day = Occurrence("2026-11-22T08:00:00", "UTC", until_wall_clock="08:00:00")
    assert spans(day, "2026-11-22", "2026-11-24") == [("11-22T08:00", "11-23T08:00")]


def test_touching_and_overlapping_repetitions_are_one_span() -> None:
    touching = daily("Europe/Berlin", "00:00", until_wall_clock="00:00:00")
    ((opens, closes),) = merged_spans(touching, epoch("2026-03-01"), epoch("2026-04-01"))
    assert opens < epoch("2026-03-02")
    assert closes >= epoch("2026-04-01")
    overlapping = Occurrence("2026-01-01T00:00:00", "UTC", duration_seconds=7200, recurrence="FREQ=HOURLY;COUNT=3")
    assert spans(overlapping, "2025-12-31", "2026-01-02") == [("01-01T00:00", "01-01T04:00")]


def test_count_and_until_end_a_rule() -> None:
    three = Occurrence("2026-11-01T08:00:00", "UTC", duration_seconds=3600, recurrence="FREQ=DAILY;COUNT=3")
    assert [o for o, _ in spans(three, "2026-10-01", "2027-01-01")] == ["11-01T08:00", "11-02T08:00", "11-03T08:00"]
    day = Occurrence("2026-11-01T08:00:00", "UTC", duration_seconds=3600, recurrence="FREQ=DAILY;UNTIL=20261102")
    assert [o for o, _ in spans(day, "2026-10-01", "2027-01-01")] == ["11-01T08:00", "11-02T08:00"]


@pytest.mark.parametrize(("until", "count"), [("20261102T070000Z", 2), ("20261102T065959Z", 1), ("20261102T080000", 2)])
def test_an_until_of_a_rule_in_utc_is_not_taken_for_local_time(until: str, count: int) -> None:
    occurrence = Occurrence(
        "2026-11-01T08:00:00", "Europe/Berlin", duration_seconds=60, recurrence=f"FREQ=DAILY;UNTIL={until}"
    )
    assert len(spans(occurrence, "2026-10-01", "2027-01-01")) == count


@settings(deadline=None, max_examples=150)
@given(
    zone_name=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
    seconds=st.integers(1, 31 * DAY),
)
def test_every_one_off_opens_at_its_local_time_and_lasts_exactly(zone_name: str, start: datetime, seconds: int) -> None:
    start = start.replace(microsecond=0)
    occurrence = Occurrence(start.isoformat(), zone_name, duration_seconds=seconds)
    ((opens, closes),) = merged_spans(occurrence, 0, epoch("2035-01-01"))
    assert closes - opens == seconds
    shown = datetime.fromtimestamp(opens, zone(zone_name)).replace(tzinfo=None, fold=0)
    exists = datetime.fromtimestamp(to_epoch(start, zone_name), zone(zone_name)).replace(tzinfo=None) == start
    assert shown == start if exists else shown > start


@settings(deadline=None, max_examples=60)
@given(
    zone_name=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2026, 12, 31)),
    rule=st.sampled_from(
        [
            "FREQ=DAILY;INTERVAL=3",
            "FREQ=WEEKLY;BYDAY=SU,WE",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;WKST=SU",
            "FREQ=HOURLY;INTERVAL=5",
            "FREQ=DAILY;BYHOUR=6,18",
            "FREQ=MONTHLY;BYDAY=-1FR",
        ]
    ),
    ahead=st.integers(0, 2000),
)
def test_looking_later_finds_the_same_spans_as_looking_from_the_start(
    zone_name: str, start: datetime, rule: str, ahead: int
) -> None:
    start = start.replace(microsecond=0, second=0)
    occurrence = Occurrence(start.isoformat(), zone_name, duration_seconds=1800, recurrence=rule)
    since = start.replace(tzinfo=UTC).timestamp() + ahead * DAY
    until = since + 60 * DAY
    whole = merged_spans(occurrence, start.replace(tzinfo=UTC).timestamp() - 2 * DAY, until)
    assert merged_spans(occurrence, since, until) == [span for span in whole if span[1] > since]


def faults(**changes: object) -> list[str]:
    given = {"starts": "2026-11-22T18:00:00", "zone": "Europe/Berlin", "duration_seconds": 3600} | changes
    return [finding.message for finding in occurrence_findings(Occurrence(**given)) if not finding.warning]


def test_a_sound_window_has_no_fault() -> None:
    assert faults() == []
    assert faults(recurrence="FREQ=WEEKLY;BYDAY=SU") == []
    assert faults(duration_seconds=None, until_wall_clock="22:00:00") == []
    assert faults(duration_seconds=None, until_wall_clock="2026-11-23T01:00:00") == []


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("FREQ=SECONDLY", "too fine"),
        ("FREQ=MINUTELY", "too fine"),
        ("FREQ=FORTNIGHTLY", "not a frequency"),
        ("BYDAY=MO", "not a frequency"),
        ("FREQ=DAILY;BYSECOND=1", "cannot be used"),
        ("FREQ=DAILY;BYMINUTE=1", "cannot be used"),
        ("FREQ=YEARLY;BYEASTER=1", "cannot be used"),
        ("FREQ=DAILY;BYMONTHDAY=30;BYMONTH=2", "cannot be used"),
        ("FREQ=DAILY;INTERVAL=0", "out of range"),
        ("FREQ=DAILY;INTERVAL=100000", "out of range"),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", "cannot be combined"),
        ("FREQ=DAILY;COUNT=10001", "out of range"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "exclude"),
        ("FREQ=HOURLY;BYHOUR=99", "out of range"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "out of range"),
        ("FREQ=WEEKLY;BYDAY=2MO", "takes no number"),
        ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "never happens"),
        ("FREQ=DAILY;UNTIL=20200101", "never happens"),
        ("FREQ=DAILY;UNTIL=soon", "cannot be read"),
        ("FREQ=DAILY;FREQ=DAILY", "given twice"),
        ("FREQ=WEEKLY;BYDAY=XX", "cannot be read"),
        ("every sunday", "cannot be read"),
    ],
)
def test_rules_that_are_wrong_or_could_run_long_are_refused(rule: str, word: str) -> None:
    (fault,) = faults(recurrence=rule)
    assert word in fault


def test_a_start_that_is_no_date_of_its_rule_is_a_warning_that_names_the_first() -> None:
    occurrence = Occurrence("2026-11-22T18:00:00", "UTC", duration_seconds=60, recurrence="FREQ=WEEKLY;BYDAY=MO")
    (finding,) = occurrence_findings(occurrence)
    assert finding.warning
    assert "2026-11-23" in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {"zone": "Europe/Berln"},
        {"zone": "../../etc/passwd"},
        {"duration_seconds": None},
        {"until_wall_clock": "22:00:00"},
        {"duration_seconds": 0},
        {"duration_seconds": 32 * DAY, "recurrence": "FREQ=YEARLY"},
        {"starts": "1812-01-01T00:00:00"},
        {"duration_seconds": None, "until_wall_clock": "2026-11-22T17:00:00"},
        {"duration_seconds": None, "until_wall_clock": "2026-11-23T01:00:00", "recurrence": "FREQ=DAILY"},
    ],
)
def test_times_that_cannot_be_computed_with_are_refused(changes: dict[str, object]) -> None:
    assert faults(**changes)


def test_zones_come_from_the_package_whose_version_is_recorded() -> None:
    """The host's own data must not be used: a host without any gives the same answers."""
    path = zoneinfo.TZPATH
    try:
        zoneinfo.reset_tzpath(to=())
        zone.cache_clear()
        assert zone("Europe/Berlin").utcoffset(datetime(2026, 7, 1)) == timedelta(hours=2)
    finally:
        zoneinfo.reset_tzpath(to=path)
    assert tzdata_version().startswith("20")
    assert set(ZONES) <= zone_names()
