"""When work may be done, and when it may not: the words of windows and freezes; `calendar` computes with them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """What something applies to; empty in every field means everything. A device matches if each given field does.

    `devices` are `site/device` keys; `labels` are key/value pairs of which all must be there; `organisations` is
    matched against the subject's organisation, the other fields against the device.
    """

    sites: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    organisations: tuple[str, ...] = ()

    def covers(self, site: str, device: str, labels: tuple[tuple[str, str], ...]) -> bool:
        """Whether a device lies in it (`device` is its `site/device` key); says nothing about organisations."""
        return (
            (not self.sites or site in self.sites)
            and (not self.devices or device in self.devices)
            and all(label in labels for label in self.labels)
        )

    def concerns(self, organisation: str) -> bool:
        """Whether it holds for subjects of that organisation."""
        return not self.organisations or organisation in self.organisations


@dataclass(frozen=True, slots=True)
class Occurrence:
    """How a window or freeze lies in time; exactly one of `duration_seconds` and `until_wall_clock` is given.

    `starts` is a local time without offset, ISO 8601 (`2026-11-28T08:00:00`), in IANA zone `zone`. `recurrence` is an
    RFC 5545 RRULE value or empty (once). `until_wall_clock` is `HH:MM[:SS]`, the first such local time after the start,
    or, for a one-off, a full local date and time.
    """

    starts: str
    zone: str
    duration_seconds: int | None = None
    until_wall_clock: str | None = None
    recurrence: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which work may be done on what `scope` names."""

    id: str
    scope: Scope
    occurrence: Occurrence
    description: str = ""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing but viewing may be done, whatever a window or grant says; `views`: is viewing allowed."""

    id: str
    scope: Scope
    occurrence: Occurrence
    views: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """A half-open span of time, [opens, closes) in epoch seconds UTC, of the window or freeze `id`."""

    id: str
    opens: float
    closes: float


@dataclass(frozen=True, slots=True)
class CalendarState:
    """What the calendar says for one device and organisation at one moment, and until when that stays so.

    `open` and `frozen` hold now; `next` is the next window to open (None: none within the horizon);
    `changes_at` is the earliest moment at which any of this may differ.
    """

    open: tuple[Interval, ...]
    frozen: tuple[Interval, ...]
    next: Interval | None
    changes_at: float
    views_frozen: bool = False
