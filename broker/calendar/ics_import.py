"""Windows out of an iCalendar file, strictly: what a window cannot say exactly is an error, and nothing is guessed.

`icalendar` takes lines apart; times are computed by ourselves, as for every window.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from icalendar import Timezone

from broker.calendar.ics_export import KIND_PROPERTY, EntryKind
from broker.calendar.ics_lines import Component, IcsError, Property, decode_ics
from broker.calendar.recurrence import recurrence_findings, split_rule
from broker.calendar.spans import occurrence_findings
from broker.calendar.zones import to_epoch, zone, zone_names
from broker.model.schedule import Occurrence
from broker.settings.findings import did_you_mean

MOST_EVENTS = 500
LONGEST_DESCRIPTION = 500
LONGEST_ID = 50
DAY_SECONDS = 86_400
_LOCAL = re.compile(r"\d{8}T\d{6}", re.ASCII)
_DURATION = re.compile(
    r"\+?P(?=[\dT])(?:(\d{1,4})W)?(?:(\d{1,5})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?)?"
)
_EXACT_ZONES = frozenset({"UTC", "Etc/UTC"})
# How far ahead a zone's definition in the file is compared with ours.
_COMPARED_YEARS = 10
_DEFINING = frozenset(
    {"UID", "DTSTART", "DTEND", "DURATION", "RRULE", "SUMMARY", "STATUS", "RECURRENCE-ID", KIND_PROPERTY}
)
_TELLING = frozenset(
    {
        *("ATTACH", "ATTENDEE", "CATEGORIES", "CLASS", "COLOR", "COMMENT", "CONTACT", "CREATED", "DESCRIPTION"),
        *("DTSTAMP", "GEO", "LAST-MODIFIED", "LOCATION", "ORGANIZER", "PRIORITY", "RELATED-TO", "RESOURCES"),
        *("SEQUENCE", "TRANSP", "URL"),
    }
)
"""They say nothing about when; whoever wrote them loses nothing that a window has."""
_CHANGING = {
    "EXDATE": "a window cannot leave out single dates",
    "RDATE": "a window cannot have dates beside its rule",
    "EXRULE": "a window has one rule",
}


@dataclass(frozen=True, slots=True)
class ImportedWindow:
    """A window (or freeze) as the file has it, and the line of its event."""

    line: int
    id: str
    description: str
    occurrence: Occurrence


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file has: windows only if there are no errors."""

    windows: tuple[ImportedWindow, ...]
    errors: tuple[IcsError, ...]


def import_windows(octets: bytes, kind: EntryKind = EntryKind.WINDOW) -> Imported:
    """All events of a file as windows, or what keeps them from being that; `kind` may also be freezes."""
    try:
        calendar = decode_ics(octets)
        _check_calendar(calendar)
    except IcsError as error:
        return Imported((), (error,))
    zones = _Zones(calendar)
    windows: list[ImportedWindow] = []
    errors: list[IcsError] = []
    for event in (part for part in calendar.components if part.name == "VEVENT"):
        try:
            windows.append(_window(event, zones, kind))
        except IcsError as error:
            errors.append(error)
    if not windows and not errors:
        errors.append(IcsError(0, "the calendar has no event"))
    return Imported((), tuple(errors)) if errors else Imported(tuple(_with_own_ids(windows)), ())


def _check_calendar(calendar: Component) -> None:
    """Raises IcsError."""
    version, method, scale = (calendar.one(name) for name in ("VERSION", "METHOD", "CALSCALE"))
    if version is None or version.value != "2.0":
        raise IcsError(version.line if version else calendar.line, "the calendar is not of VERSION 2.0")
    if method is not None and method.value.upper() not in ("PUBLISH", "REQUEST"):
        raise IcsError(method.line, f"METHOD {method.value} does not tell of events that take place")
    if scale is not None and scale.value.upper() != "GREGORIAN":
        raise IcsError(scale.line, f"CALSCALE {scale.value} is not understood")
    events = 0
    for part in calendar.components:
        if part.name not in ("VEVENT", "VTIMEZONE"):
            raise IcsError(part.line, f"{part.name} cannot be a window", "take everything out but events")
        events += part.name == "VEVENT"
    if events > MOST_EVENTS:
        raise IcsError(0, f"the calendar has more than {MOST_EVENTS} events", "split the file")


class _Zones:
    """The zones that a file names. Ours count, and a definition of the file must say the same."""

    def __init__(self, calendar: Component) -> None:
        self._defined = {
            name.value: part
            for part in calendar.components
            if part.name == "VTIMEZONE" and (name := part.one("TZID")) is not None
        }
        self._compared: set[str] = set()

    def known(self, of: Property, name: str, year: int) -> str:
        """The IANA zone of that name. Raises IcsError."""
        if name not in zone_names():
            raise IcsError(of.line, f"'{name}' is not an IANA time zone", did_you_mean(name, zone_names()))
        if name in self._defined and name not in self._compared:
            self._compare(name, self._defined[name], year)
            self._compared.add(name)
        return name

    @staticmethod
    def _compare(name: str, defined: Component, year: int) -> None:
        """Both must have the same offset at noon of every day, and at every hour around a change. Raises IcsError."""
        try:
            read = Timezone.from_ical("\r\n".join((*defined.source, "")))
            assert isinstance(read, Timezone)
            theirs, ours = read.to_tz(lookup_tzid=False), zone(name)
            differs = next((at for at in _moments(ours, year) if theirs.utcoffset(at) != ours.utcoffset(at)), None)
        except Exception as error:
            raise IcsError(defined.line, f"the definition of {name} cannot be read", str(error)) from None
        if differs is not None:
            hint = f"at {differs} there, by the time zone data in use here"
            raise IcsError(defined.line, f"the file defines {name} otherwise than it is", hint)


def _moments(ours: tzinfo, year: int) -> Iterator[datetime]:
    """Local times to compare zones at, but for those that are skipped or come twice."""
    noon, end = datetime(year, 1, 1, 12), datetime(year + _COMPARED_YEARS, 1, 1)
    while noon < end:
        following = noon + timedelta(days=1)
        changes = ours.utcoffset(noon) != ours.utcoffset(following)
        hours = (noon + timedelta(hours=hour) for hour in range(24 if changes else 1))
        yield from (at for at in hours if ours.utcoffset(at) == ours.utcoffset(at.replace(fold=1)))
        noon = following


def _window(event: Component, zones: _Zones, kind: EntryKind) -> ImportedWindow:
    """Raises IcsError."""
    _check_event(event, kind)
    begins = event.one("DTSTART")
    if begins is None:
        raise IcsError(event.line, "the event has no DTSTART")
    starts, zone_name = _time(begins, zones)
    rule = event.one("RRULE")
    recurrence = "" if rule is None else _recurrence(rule, starts, zone_name)
    seconds = _seconds(event, starts, zone_name, bool(recurrence), zones)
    occurrence = Occurrence(starts.isoformat(), zone_name, seconds, None, recurrence)
    for finding in occurrence_findings(occurrence):
        raise IcsError(event.line, finding.message, finding.hint)
    description = _description(event)
    return ImportedWindow(event.line, _slug(description), description, occurrence)


def _check_event(event: Component, kind: EntryKind) -> None:
    """Nothing that would change when it is, or whether. Raises IcsError."""
    for found in event.properties:
        if found.name in _CHANGING:
            raise IcsError(found.line, f"{found.name}: {_CHANGING[found.name]}", "make events of their own of it")
        if found.name == "RECURRENCE-ID":
            raise IcsError(found.line, "a single date of a series was changed", "make an event of its own of it")
        if found.name not in _DEFINING | _TELLING and not found.name.startswith("X-"):
            raise IcsError(found.line, f"it is not known whether {found.name} changes when the event is")
    for part in event.components:
        if part.name != "VALARM":
            raise IcsError(part.line, f"it is not known what {part.name} means in an event")
    status, ours = event.one("STATUS"), event.one(KIND_PROPERTY)
    if status is not None and status.value.upper() != "CONFIRMED":
        raise IcsError(status.line, f"an event that is {status.value} is no window", "confirm it or take it out")
    if ours is not None and ours.value != kind.value:
        hint = "import freezes with --freezes; grants are not imported"
        raise IcsError(ours.line, f"this is a {ours.value}, not a {kind.value}", hint)


def _time(of: Property, zones: _Zones) -> tuple[datetime, str]:
    """A local time and its zone. Raises IcsError."""
    parameters = dict(of.parameters)
    if parameters.pop("VALUE", "DATE-TIME") != "DATE-TIME":
        raise IcsError(of.line, f"{of.name} is a whole day", "a window has times: give it a DTSTART with a time")
    zone_name = parameters.pop("TZID", "")
    unknown = sorted(name for name in parameters if not name.startswith("X-"))
    if unknown or isinstance(zone_name, list):
        raise IcsError(of.line, f"{of.name} has {', '.join(unknown) or 'several zones'}, which is not understood")
    utc = of.value.endswith("Z")
    text = of.value.removesuffix("Z")
    if not _LOCAL.fullmatch(text):
        raise IcsError(of.line, f"{of.name}:{of.value[:40]} is not a date and time")
    if utc and zone_name:
        raise IcsError(of.line, f"{of.name} is in UTC and in a zone at once")
    if not utc and not zone_name:
        hint = "give it a TZID, such as DTSTART;TZID=Europe/Berlin"
        raise IcsError(of.line, f"{of.name} is a different moment in every time zone", hint)
    try:
        local = datetime.strptime(text, "%Y%m%dT%H%M%S")
    except ValueError:
        raise IcsError(of.line, f"{of.name}:{of.value[:40]} is not a date and time") from None
    return local, "UTC" if utc else zones.known(of, zone_name, local.year)


def _recurrence(rule: Property, starts: datetime, zone_name: str) -> str:
    """The rule as a window has it. Raises IcsError."""
    text = rule.value.upper()
    for finding in recurrence_findings(text, starts, zone_name):
        raise IcsError(rule.line, finding.message, finding.hint)
    until = split_rule(text).get("UNTIL", "Z")
    if not until.endswith("Z"):
        # RFC 5545, 3.3.10: beside a DTSTART in UTC or with a zone it has to be in UTC.
        raise IcsError(rule.line, f"UNTIL={until} is not in UTC, so that its last date is not certain")
    return text


def _seconds(event: Component, starts: datetime, zone_name: str, recurs: bool, zones: _Zones) -> int:
    """The exact length. Raises IcsError."""
    ends, lasts = event.one("DTEND"), event.one("DURATION")
    if ends is not None and lasts is not None:
        raise IcsError(lasts.line, "the event has DTEND and DURATION")
    opens = to_epoch(starts, zone_name)
    if ends is not None:
        # RFC 5545, 3.8.5.3: of a series, DTEND gives every date the same exact length.
        closes = to_epoch(*_time(ends, zones))
        if closes <= opens:
            raise IcsError(ends.line, "the event ends before it starts")
        return int(closes - opens)
    if lasts is None:
        raise IcsError(event.line, "the event has neither DTEND nor DURATION")
    days, seconds = _duration(lasts)
    if days and recurs and zone_name not in _EXACT_ZONES:
        hint = "a window lasts equally long each time: write hours, such as PT24H, or DTEND"
        raise IcsError(lasts.line, "a day of a series lasts 23 or 25 hours when clocks change", hint)
    return int(to_epoch(starts + timedelta(days=days), zone_name) - opens) + seconds


def _duration(of: Property) -> tuple[int, int]:
    """Days, which are nominal, and seconds, which are exact (RFC 5545, 3.3.6). Raises IcsError."""
    match = _DURATION.fullmatch(of.value.upper())
    if match is None or of.parameters:
        raise IcsError(of.line, f"DURATION:{of.value[:40]} is not a duration", "write it like PT4H")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 7 * weeks + days, 3600 * hours + 60 * minutes + seconds


def _description(event: Component) -> str:
    """The summary in one line. Raises IcsError."""
    summary = event.one("SUMMARY")
    if summary is None:
        return ""
    text = " ".join(summary.text.split())
    if not text.isprintable():
        raise IcsError(summary.line, "SUMMARY holds characters that cannot be seen or that turn writing round")
    if len(text) > LONGEST_DESCRIPTION:
        raise IcsError(summary.line, f"SUMMARY has more than {LONGEST_DESCRIPTION} characters")
    return text


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_ID].strip("-") or "event"


def _with_own_ids(windows: list[ImportedWindow]) -> Iterator[ImportedWindow]:
    """In the order of the file, each with an id that no other has."""
    taken: set[str] = set()
    for window in windows:
        wanted, number = window.id, 1
        while wanted in taken:
            number += 1
            wanted = f"{window.id}-{number}"
        taken.add(wanted)
        yield replace(window, id=wanted)
