"""RFC 5545 recurrence rules, bounded: what a rule may say is limited so that no search for a next date runs long."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from dateutil.rrule import rrule, rrulestr

from broker.calendar.zones import to_epoch
from broker.settings.findings import Finding, did_you_mean

MAXIMUM_INTERVAL = 400
MAXIMUM_COUNT = 10_000

_SHORT = frozenset({"BYDAY", "BYHOUR", "BYMONTH"})
_LONG = _SHORT | {"BYMONTHDAY", "BYSETPOS"}
_LIMITS: dict[str, frozenset[str]] = {
    "HOURLY": _SHORT,
    "DAILY": _SHORT,
    "WEEKLY": _SHORT,
    "MONTHLY": _LONG,
    "YEARLY": _LONG,
}
_RANGES = {"BYHOUR": (0, 23), "BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYSETPOS": (-366, 366)}
_ALWAYS = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"})
_PERIODS = {"HOURLY": timedelta(hours=1), "DAILY": timedelta(days=1), "WEEKLY": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class Until:
    """The last moment at which an occurrence may start: a local date, a local time, or a UTC time; inclusive."""

    text: str

    def admits(self, local: datetime, zone: str) -> bool:
        """Whether an occurrence may start at that local time."""
        if self.text.endswith("Z"):
            return to_epoch(local, zone) <= self._moment("%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if "T" in self.text:
            return local <= self._moment("%Y%m%dT%H%M%S")
        return local.date() <= self.day

    @property
    def day(self) -> date:
        """Its date."""
        return datetime.strptime(self.text[:8], "%Y%m%d").date()

    def _moment(self, form: str) -> datetime:
        return datetime.strptime(self.text, form)

    def verify(self) -> None:
        """Raises ValueError if the text is none of the three forms."""
        self.admits(datetime(2000, 1, 1), "UTC")


def split_rule(recurrence: str) -> dict[str, str]:
    """The parts of an RRULE value, upper case. Raises ValueError with a sentence."""
    parts: dict[str, str] = {}
    for part in recurrence.upper().removeprefix("RRULE:").split(";"):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise ValueError(f"'{part}' is not of the form NAME=VALUE")
        if name in parts:
            raise ValueError(f"{name} is given twice")
        parts[name] = value
    return parts


def recurrence_findings(recurrence: str, starts: datetime, zone: str) -> tuple[Finding, ...]:
    """What is wrong with a rule; empty if it can be used. Warns if `starts` is not itself an occurrence."""
    try:
        parts = split_rule(recurrence)
        fault = _grammar_fault(parts) or _size_fault(parts)
        if fault is not None:
            return (fault,)
        first = next(local_starts(recurrence, starts, zone, starts), None)
    except (ValueError, OverflowError) as error:
        return (Finding((), f"the rule cannot be read: {error}", "write it like FREQ=WEEKLY;BYDAY=SU"),)
    if first is None:
        return (Finding((), "the rule never happens", "look at COUNT, UNTIL, BYMONTH and BYMONTHDAY"),)
    if first != starts:
        return (Finding((), f"starts is no date of the rule: its first is {first.isoformat()}", warning=True),)
    return ()


def local_starts(recurrence: str, starts: datetime, zone: str, since: datetime) -> Iterator[datetime]:
    """Local start times from `since` on, in order, without end unless the rule has one."""
    parts = split_rule(recurrence)
    until = Until(parts.pop("UNTIL")) if "UNTIL" in parts else None
    rule = _rule(parts, _nearest_start(parts, starts, since))
    for start in rule:
        if until is not None and not until.admits(start, zone):
            return
        if start >= since:
            yield start


def _rule(parts: dict[str, str], starts: datetime) -> rrule:
    rule = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=starts)
    assert isinstance(rule, rrule)
    return rule


def _nearest_start(parts: dict[str, str], starts: datetime, since: datetime) -> datetime:
    """A later start with the same dates from `since` on, so that old rules are not walked from their beginning."""
    period = _PERIODS.get(parts["FREQ"])
    if period is None or "COUNT" in parts or since <= starts:
        return starts
    step = period * int(parts.get("INTERVAL", "1"))
    return starts + step * ((since - starts) // step)


def _grammar_fault(parts: dict[str, str]) -> Finding | None:
    frequency = parts.get("FREQ", "")
    if frequency in ("SECONDLY", "MINUTELY"):
        return Finding((), f"FREQ={frequency} is too fine for a window", "the finest is FREQ=HOURLY")
    if frequency not in _LIMITS:
        return Finding((), f"FREQ={frequency or '?'} is not a frequency", did_you_mean(frequency, _LIMITS))
    for name in parts:
        if name not in _ALWAYS and name not in _LIMITS[frequency]:
            allowed = ", ".join(sorted(_LIMITS[frequency]))
            return Finding((), f"{name} cannot be used with FREQ={frequency}", f"it may be limited by {allowed}")
    if "COUNT" in parts and "UNTIL" in parts:
        return Finding((), "COUNT and UNTIL exclude each other", "keep one of them (RFC 5545, 3.3.10)")
    return None


def _size_fault(parts: dict[str, str]) -> Finding | None:
    """Bounds without which a search for the next date could run through thousands of years."""
    interval, count = int(parts.get("INTERVAL", "1")), int(parts.get("COUNT", "1"))
    if not 1 <= interval <= MAXIMUM_INTERVAL:
        return Finding((), f"INTERVAL={interval} is out of range", f"between 1 and {MAXIMUM_INTERVAL}")
    if not 1 <= count <= MAXIMUM_COUNT:
        return Finding((), f"COUNT={count} is out of range", f"between 1 and {MAXIMUM_COUNT}")
    if interval > 1 and parts["FREQ"] in ("HOURLY", "DAILY") and any(name.startswith("BY") for name in parts):
        return Finding((), f"INTERVAL cannot be combined with BY… in FREQ={parts['FREQ']}", "use FREQ=WEEKLY;BYDAY=…")
    if "UNTIL" in parts:
        Until(parts["UNTIL"]).verify()
    return _range_fault(parts)


def _range_fault(parts: dict[str, str]) -> Finding | None:
    for name, (lowest, highest) in _RANGES.items():
        for text in parts[name].split(",") if name in parts else ():
            if not lowest <= int(text) <= highest or (lowest and not int(text)):
                return Finding((), f"{name}={text} is out of range", f"between {lowest} and {highest}")
    if parts["FREQ"] not in ("MONTHLY", "YEARLY") and any(c.isdigit() for c in parts.get("BYDAY", "")):
        return Finding((), f"BYDAY takes no number with FREQ={parts['FREQ']}", "write BYDAY=MO, or use FREQ=MONTHLY")
    return None
