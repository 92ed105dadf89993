"""Calendar files out and in: the same times come back, across clock changes, and what is not exact is refused."""

from datetime import UTC, datetime

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar import Calendar as ForeignCalendar

from broker.calendar.ics_export import Agenda, Entry, EntryKind, agenda, encode_calendar
from broker.calendar.ics_import import import_windows
from broker.calendar.spans import merged_spans
from broker.calendar.zones import zone
from broker.model.place import Device, Grant, Protocol
from broker.model.schedule import Freeze, Occurrence, Scope, Window
from broker.model.vocabulary import Action
from broker.model.way import ModbusTcpWay

NOW = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("192.0.2.1", 502))
BERLIN = """\
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
END:VTIMEZONE
"""


def calendar(event: str, more: str = "") -> bytes:
    inside = f"BEGIN:VEVENT\nUID:1\n{event.strip()}\nEND:VEVENT\n" if event else ""
    return f"BEGIN:VCALENDAR\nVERSION:2.0\n{more}{inside}END:VCALENDAR\n".encode()


def imported(event: str, more: str = "") -> Occurrence:
    result = import_windows(calendar(event, more))
    assert not result.errors, [(error.line, error.message) for error in result.errors]
    return result.windows[0].occurrence


def refused(octets: bytes, kind: EntryKind = EntryKind.WINDOW) -> tuple[int, str]:
    result = import_windows(octets, kind)
    assert not result.windows
    return result.errors[0].line, result.errors[0].message


def utc(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# In


def test_four_hours_stay_four_hours_in_the_night_in_which_clocks_change() -> None:
    found = imported(
        "DTSTART;TZID=Europe/Berlin:20261018T220000\nDURATION:PT4H\nRRULE:FREQ=WEEKLY;BYDAY=SU\nSUMMARY:Night"
    )
    assert found == Occurrence("2026-10-18T22:00:00", "Europe/Berlin", 4 * 3600, None, "FREQ=WEEKLY;BYDAY=SU")
    # The field's trap is the night of Saturday 24th to Sunday 25th October 2026, in which an hour comes twice.
    crossing = imported("DTSTART;TZID=Europe/Berlin:20261024T220000\nDURATION:PT4H")
    assert merged_spans(crossing, NOW, NOW + 60 * DAY) == [(utc("2026-10-24T20:00Z"), utc("2026-10-25T00:00Z"))]


def test_an_end_by_the_clock_is_the_moment_that_the_clock_shows() -> None:
    found = imported("DTSTART;TZID=Europe/Berlin:20261024T220000\nDTEND;TZID=Europe/Berlin:20261025T040000")
    assert found.duration_seconds == 7 * 3600


def test_an_end_of_a_series_gives_every_date_the_same_exact_length() -> None:
    found = imported(
        "DTSTART;TZID=Europe/Berlin:20261024T220000\nDTEND;TZID=Europe/Berlin:20261025T040000\nRRULE:FREQ=WEEKLY"
    )
    assert found.duration_seconds == 7 * 3600


def test_a_day_once_is_as_long_as_that_day_is() -> None:
    assert imported("DTSTART;TZID=Europe/Berlin:20261025T000000\nDURATION:P1D").duration_seconds == 25 * 3600
    assert imported("DTSTART;TZID=Europe/Berlin:20261025T000000\nDURATION:PT24H").duration_seconds == 24 * 3600
    assert imported("DTSTART:20261025T000000Z\nDURATION:P1D\nRRULE:FREQ=WEEKLY").duration_seconds == 24 * 3600


def test_ends_may_be_in_another_zone() -> None:
    found = imported("DTSTART;TZID=Europe/Berlin:20261118T220000\nDTEND:20261119T000000Z")
    assert found.duration_seconds == 3 * 3600


def test_what_does_not_say_when_is_passed_over() -> None:
    event = "\n".join(
        (
            "DTSTART:20261118T220000Z",
            "DURATION:PT1H",
            "STATUS:CONFIRMED",
            "X-MICROSOFT-CDO-BUSYSTATUS:BUSY",
            "DESCRIPTION:long text that is",
            "  folded",
            "BEGIN:VALARM",
            "ACTION:DISPLAY",
            "TRIGGER:-PT15M",
            "END:VALARM",
        )
    )
    assert imported(event).starts == "2026-11-18T22:00:00"


def test_ids_come_from_summaries_and_are_unique() -> None:
    event = "BEGIN:VEVENT\nDTSTART:20261118T220000Z\nDURATION:PT1H\nSUMMARY:{}\nEND:VEVENT\n"
    inside = "".join(event.format(text) for text in ("Lüftung\\, Süd", "Lüftung\\, Süd", "   "))
    result = import_windows(f"BEGIN:VCALENDAR\nVERSION:2.0\n{inside}END:VCALENDAR\n".encode())
    assert [(window.id, window.description) for window in result.windows] == [
        ("luftung-sud", "Lüftung, Süd"),
        ("luftung-sud-2", "Lüftung, Süd"),
        ("event", ""),
    ]


TIMED = "DTSTART;TZID=Europe/Berlin:20261118T220000\nDURATION:PT1H\n"


@pytest.mark.parametrize(
    ("event", "line", "words"),
    [
        ("DTSTART:20261118T220000\nDURATION:PT1H", 5, "different moment in every time zone"),
        ("DTSTART;VALUE=DATE:20261118", 5, "whole day"),
        ("DTSTART;TZID=W. Europe Standard Time:20261118T220000\nDURATION:PT1H", 5, "not an IANA time zone"),
        ("DTSTART;TZID=Europe/Berlin:20261118T220000Z\nDURATION:PT1H", 5, "at once"),
        ("DTSTART:20261318T220000Z\nDURATION:PT1H", 5, "not a date and time"),
        ("DTSTART:20261118T220000Z", 3, "neither DTEND nor DURATION"),
        ("DURATION:PT1H", 3, "no DTSTART"),
        (TIMED + "DTEND:20261119T220000Z", 6, "DTEND and DURATION"),
        ("DTSTART:20261118T220000Z\nDTEND:20261118T220000Z", 6, "ends before it starts"),
        ("DTSTART:20261118T220000Z\nDURATION:-PT1H", 6, "not a duration"),
        ("DTSTART:20261118T220000Z\nDURATION:P", 6, "not a duration"),
        ("DTSTART;TZID=Europe/Berlin:20261118T220000\nDURATION:P1D\nRRULE:FREQ=WEEKLY", 6, "23 or 25 hours"),
        (TIMED + "RRULE:FREQ=WEEKLY;BYDAY=MO", 7, "starts is no date of the rule"),
        (TIMED + "RRULE:FREQ=WEEKLY;UNTIL=20270101", 7, "not in UTC"),
        (TIMED + "RRULE:FREQ=WEEKLY;UNTIL=20270101T000000", 7, "not in UTC"),
        (TIMED + "RRULE:FREQ=MINUTELY", 7, "too fine"),
        (TIMED + "RRULE:FREQ=DAILY;BYSECOND=1", 7, "BYSECOND cannot be used"),
        (TIMED + "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY", 8, "more than once"),
        (TIMED + "RRULE:FREQ=DAILY\nEXDATE;TZID=Europe/Berlin:20261119T220000", 8, "leave out single dates"),
        (TIMED + "RDATE:20261119T220000Z", 7, "dates beside its rule"),
        (TIMED + "RECURRENCE-ID:20261119T220000Z", 7, "a single date of a series"),
        (TIMED + "STATUS:CANCELLED", 7, "no window"),
        (TIMED + "STATUS:TENTATIVE", 7, "no window"),
        (TIMED + "SHIFTED-BY:PT1H", 7, "not known whether SHIFTED-BY"),
        (TIMED + "X-OTBROKER-KIND:freeze", 7, "this is a freeze, not a window"),
        (TIMED + "X-OTBROKER-KIND:grant", 7, "this is a grant"),
        (TIMED + "SUMMARY:a\u202eb", 7, "cannot be seen"),
        (TIMED + "SUMMARY:a\x07b", 7, "control character"),
        (TIMED + "BEGIN:VTODO\nEND:VTODO", 7, "VTODO means in an event"),
        ("DTSTART;FOO=1:20261118T220000Z\nDURATION:PT1H", 5, "FOO"),
        ("DTSTART:18991118T220000Z\nDURATION:PT1H", 3, "out of range"),
        ("DTSTART:20261118T220000Z\nDURATION:PT0S", 3, "out of range"),
        ("no colon", 5, "form NAME"),
    ],
)
def test_what_a_window_cannot_say_exactly_is_an_error_that_names_its_line(event: str, line: int, words: str) -> None:
    found, message = refused(calendar(event))
    assert words in message
    assert found == line


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "not one calendar"),
        (b"\xff\xfe", "not text"),
        (calendar(TIMED) * 2, "not one calendar"),
        (calendar(TIMED)[:-14], "has no end"),
        (calendar(TIMED) + b"X:1\n", "not one calendar"),
        (calendar(TIMED, "METHOD:CANCEL\n"), "METHOD CANCEL"),
        (calendar(TIMED, "BEGIN:VTODO\nEND:VTODO\n"), "VTODO cannot be a window"),
        (calendar(TIMED).replace(b"2.0", b"1.0"), "VERSION 2.0"),
        (calendar(""), "no event"),
        (calendar(TIMED + "X-A:" + "x" * 70_000), "too long"),
        (b"x" * (1024 * 1024 + 1), "octets"),
        (calendar(TIMED, "BEGIN:A\nBEGIN:B\nBEGIN:C\nBEGIN:D\n"), "too deep"),
    ],
)
def test_a_file_that_is_no_plain_calendar_is_refused(octets: bytes, words: str) -> None:
    assert words in refused(octets)[1]


def test_a_zone_that_the_file_defines_as_it_is_is_taken_and_one_defined_otherwise_is_not() -> None:
    assert imported(TIMED, BERLIN).zone == "Europe/Berlin"
    assert imported(TIMED, BERLIN.replace("\n", "\r\n")).zone == "Europe/Berlin"
    for wrong in (("+0200", "+0300"), ("BYMONTH=10", "BYMONTH=9"), ("19701025T030000", "19701025T010000")):
        assert "otherwise than it is" in refused(calendar(TIMED, BERLIN.replace(*wrong)))[1]
    assert "cannot be read" in refused(calendar(TIMED, BERLIN.replace("TZOFFSETTO:+0100", "TZOFFSETTO:x")))[1]


@given(st.binary(max_size=400))
@settings(max_examples=100)
def test_no_file_makes_it_fail_otherwise_than_by_an_error(octets: bytes) -> None:
    import_windows(octets)
    import_windows(calendar("").replace(b"END:VCALENDAR", octets + b"\nEND:VCALENDAR"))


ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"])
RULES = st.sampled_from(
    ["", "FREQ=DAILY", "FREQ=WEEKLY;COUNT=9", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;UNTIL=20270401T000000Z"]
)
STARTS = st.datetimes(datetime(2026, 9, 1), datetime(2027, 4, 30)).map(lambda at: at.replace(microsecond=0))


@given(STARTS, ZONES, RULES, st.integers(1, 48 * 3600))
def test_a_rule_comes_in_as_it_was_written(starts: datetime, name: str, rule: str, seconds: int) -> None:
    if rule.endswith("Z") and starts > datetime(2027, 3, 29):
        return
    event = f"DTSTART;TZID={name}:{starts:%Y%m%dT%H%M%S}\nDURATION:PT{seconds}S"
    found = imported(event + (f"\nRRULE:{rule}" if rule else ""))
    assert found == Occurrence(starts.isoformat(), name, seconds, None, rule)
    ours = [opens for opens, _ in merged_spans(found, NOW - 90 * DAY, NOW + 250 * DAY)]
    if rule and seconds < 22 * 3600 and "UNTIL" not in rule:  # longer ones touch where a day is short
        theirs = rrulestr(rule, dtstart=starts)
        moments = [
            at.replace(tzinfo=zone(name)).timestamp() for at in theirs.between(starts, starts.replace(year=2028), True)
        ]
        assert ours == [moment for moment in moments if moment < NOW + 250 * DAY]


# Out


def windowed(occurrence: Occurrence, identifier: str = "w") -> Window:
    return Window(identifier, Scope(), occurrence, "filters; and, setpoints")


@given(STARTS, ZONES, RULES, st.integers(60, 30 * 3600))
def test_what_goes_out_comes_in_as_the_same_stretches_of_time(
    starts: datetime, name: str, rule: str, seconds: int
) -> None:
    window = windowed(Occurrence(starts.isoformat(), name, seconds, None, rule))
    since, until = NOW - 30 * DAY, NOW + 250 * DAY
    told = agenda([window], [], [], [AHU], "acme", since, until)
    if not told.entries:
        return
    back = import_windows(encode_calendar(told, NOW))
    assert not back.errors
    spans = [
        span for found in back.windows for span in merged_spans(found.occurrence, since - 400 * DAY, until + 400 * DAY)
    ]
    assert spans == merged_spans(window.occurrence, since, until)


def test_another_reader_sees_what_is_meant() -> None:
    window = windowed(Occurrence("2026-10-24T22:00:00", "Europe/Berlin", 4 * 3600), "night")
    freeze = Freeze("christmas", Scope(), Occurrence("2026-10-26T00:00:00", "UTC", 3600))
    ending = Grant("bearing-job", Scope(), (Action.ADJUST,), not_after=NOW + 5 * DAY)
    bounded = Grant("filters", Scope(), (Action.VIEW,), not_before=NOW + DAY, not_after=NOW + 2 * DAY)
    endless = Grant("for-ever", Scope(), (Action.VIEW,))
    told = agenda([window], [freeze], [ending, bounded, endless], [AHU], "acme", NOW, NOW + 60 * DAY)
    octets = encode_calendar(told, NOW)
    assert all(len(line) <= 75 for line in octets.split(b"\r\n"))
    read = ForeignCalendar.from_ical(octets)
    events = {str(event["SUMMARY"]): event for event in read.walk("VEVENT")}
    assert set(events) == {"Window night", "Freeze christmas", "Grant bearing-job ends", "Grant filters"}
    assert events["Window night"].decoded("DTSTART") == datetime(2026, 10, 24, 20, tzinfo=UTC)
    assert events["Window night"].decoded("DTEND") == datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert str(events["Window night"]["DESCRIPTION"]) == "filters; and, setpoints — plant/ahu-1"
    assert events["Grant filters"].decoded("DTEND").timestamp() == NOW + 2 * DAY
    assert len({str(event["UID"]) for event in events.values()}) == 4
    assert not read.errors


def test_what_does_not_concern_the_organisation_or_its_devices_is_not_told() -> None:
    once = Occurrence("2026-10-24T22:00:00", "UTC", 3600)
    windows = [
        Window("other-organisation", Scope(organisations=("other",)), once),
        Window("other-device", Scope(devices=("plant/ahu-2",)), once),
        Window("ours", Scope(devices=("plant/ahu-1",), organisations=("acme",)), once),
    ]
    told = agenda(windows, [], [], [AHU], "acme", NOW, NOW + 60 * DAY)
    assert [entry.id for entry in told.entries] == ["ours"]


def test_a_calendar_that_is_too_long_says_until_when_it_is_whole() -> None:
    window = windowed(Occurrence("2026-10-01T00:00:00", "UTC", 60, None, "FREQ=HOURLY"))
    told = agenda([window], [], [], [AHU], "acme", NOW, NOW + 366 * DAY)
    assert len(told.entries) == 2000
    assert told.complete_until == NOW + 2000 * 3600


@given(st.text(), st.text())
def test_no_text_makes_a_line_of_its_own(identifier: str, description: str) -> None:
    entry = Entry(EntryKind.WINDOW, identifier, NOW, NOW + 60, description, ("plant/ahu-1",))
    octets = encode_calendar(Agenda((entry,), NOW + DAY), NOW)
    read = ForeignCalendar.from_ical(octets)
    assert len(read.walk("VEVENT")) == 1
    assert octets.count(b"\r\nBEGIN:") == 1
    assert all(len(line) <= 75 for line in octets.split(b"\r\n"))
