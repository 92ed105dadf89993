"""Windows, freezes and grants as an iCalendar file (RFC 5545): every time in UTC, so that no reader can compute it
differently.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

from broker.calendar.spans import merged_spans
from broker.model.place import Device, Grant
from broker.model.schedule import Freeze, Window

MOST_ENTRIES = 2000
MOST_DEVICES_NAMED = 20
# RFC 5545, 3.1: octets of a line, its end not counted.
LONGEST_LINE = 75
KIND_PROPERTY = "X-OTBROKER-KIND"


class EntryKind(StrEnum):
    """What an entry of a calendar is."""

    WINDOW = "window"
    FREEZE = "freeze"
    GRANT = "grant"


@dataclass(frozen=True, slots=True)
class Entry:
    """One stretch of time, epoch seconds; `opens` None: only its end is known."""

    kind: EntryKind
    id: str
    opens: float | None
    closes: float
    description: str = ""
    devices: tuple[str, ...] = ()

    @property
    def at(self) -> float:
        """Where it stands in a calendar."""
        return self.closes if self.opens is None else self.opens


@dataclass(frozen=True, slots=True)
class Agenda:
    """Entries by time, all there are until `complete_until` (epoch seconds)."""

    entries: tuple[Entry, ...]
    complete_until: float


def agenda(
    windows: Iterable[Window],
    freezes: Iterable[Freeze],
    grants: Iterable[Grant],
    devices: Iterable[Device],
    organisation: str,
    since: float,
    until: float,
) -> Agenda:
    """What matters to an organisation's subject that has these grants, on these devices, between two moments."""
    devices = tuple(devices)
    entries = [
        *(e for w in windows for e in _timed(EntryKind.WINDOW, w, devices, organisation, since, until)),
        *(e for f in freezes for e in _timed(EntryKind.FREEZE, f, devices, organisation, since, until)),
        *(entry for grant in grants if (entry := _ending(grant, devices, since, until)) is not None),
    ]
    entries.sort(key=lambda entry: (entry.at, entry.kind, entry.id))
    if len(entries) > MOST_ENTRIES:
        return Agenda(tuple(entries[:MOST_ENTRIES]), entries[MOST_ENTRIES].at)
    return Agenda(tuple(entries), until)


def _timed(
    kind: EntryKind, of: Window | Freeze, devices: tuple[Device, ...], organisation: str, since: float, until: float
) -> Iterator[Entry]:
    reached = tuple(d.key for d in devices if of.scope.covers(d.site, d.key, d.labels))
    if reached and of.scope.concerns(organisation):
        for opens, closes in merged_spans(of.occurrence, since, until):
            yield Entry(kind, of.id, opens, closes, of.description, reached)


def _ending(grant: Grant, devices: tuple[Device, ...], since: float, until: float) -> Entry | None:
    if grant.not_after is None or not since < grant.not_after or (grant.not_before or grant.not_after) >= until:
        return None
    reached = tuple(d.key for d in devices if grant.scope.covers(d.site, d.key, d.labels))
    return Entry(EntryKind.GRANT, grant.id, grant.not_before, grant.not_after, grant.description, reached)


def encode_calendar(told: Agenda, now: float) -> bytes:
    """The file."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//otbroker//otbroker//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        "NAME:OT access",
        f"DESCRIPTION:Windows\\, freezes and grants\\; all there are until {_utc(told.complete_until)}.",
        "REFRESH-INTERVAL;VALUE=DURATION:PT1H",
        *(line for entry in told.entries for line in _event(entry, now)),
        "END:VCALENDAR",
    ]
    return "".join(f"{folded}\r\n" for line in lines for folded in _folded(line)).encode()


def _event(entry: Entry, now: float) -> Iterator[str]:
    named = ", ".join(entry.devices[:MOST_DEVICES_NAMED])
    more = len(entry.devices) - MOST_DEVICES_NAMED
    where = f"{named} and {more} more" if more > 0 else named
    name = f"{entry.kind.capitalize()} {entry.id}"
    yield "BEGIN:VEVENT"
    yield f"UID:{_uid(entry)}"
    yield f"DTSTAMP:{_utc(now)}"
    yield f"DTSTART:{_utc(entry.at)}"
    if entry.opens is not None:
        yield f"DTEND:{_utc(entry.closes)}"
    yield f"SUMMARY:{_text(name if entry.opens is not None else name + ' ends')}"
    yield f"DESCRIPTION:{_text(' — '.join(filter(None, (entry.description, where))))}"
    yield f"CATEGORIES:{entry.kind.upper()}"
    yield f"TRANSP:{'OPAQUE' if entry.kind is EntryKind.FREEZE else 'TRANSPARENT'}"
    yield f"{KIND_PROPERTY}:{entry.kind.value}"
    yield "END:VEVENT"


def _uid(entry: Entry) -> str:
    """The same for the same stretch of time of the same thing, on every broker that has it."""
    told = "\n".join((entry.kind.value, entry.id, _utc(entry.at), *entry.devices))
    return f"{sha256(told.encode()).hexdigest()[:32]}@otbroker"


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y%m%dT%H%M%SZ")


def _text(text: str) -> str:
    """RFC 5545, 3.3.11; what cannot be seen is left out, so that no text can begin a line."""
    shown = "".join(character for character in text.replace("\n", " ") if character.isprintable())
    return shown.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")


def _folded(line: str) -> Iterator[str]:
    """RFC 5545, 3.1: cut between characters, each line after the first beginning with a blank."""
    piece, size = "", 0
    for character in line:
        octets = len(character.encode())
        if size + octets > LONGEST_LINE:
            yield piece
            piece, size = " ", 1
        piece, size = piece + character, size + octets
    yield piece
