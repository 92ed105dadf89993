"""Times in words: local time and UTC together, and how far away."""

import time
from datetime import UTC, datetime, tzinfo

from broker.cli.people.exits import CommandError, Exit

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def epoch_of(text: object) -> float | None:
    """Epoch seconds of an RFC 3339 time or of a number; None for anything else."""
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, int | float):
        return float(text)
    try:
        moment = datetime.fromisoformat(str(text))
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None


def moment(when: object, zone: tzinfo | None = None) -> str:
    """`Sat 2026-11-28 09:00 CET (08:00 UTC)`; what is not a time comes back as it is."""
    epoch = epoch_of(when)
    if epoch is None:
        return "-" if when is None else str(when)
    try:
        utc = datetime.fromtimestamp(epoch, UTC)
        local = utc.astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return str(when)
    seconds = ":%S" if local.second else ""
    told = local.strftime(f"%a %Y-%m-%d %H:%M{seconds} ") + _zone_name(local)
    if not local.utcoffset():
        return told
    same_day = local.date() == utc.date()
    return f"{told} ({utc.strftime(f'%H:%M{seconds}' if same_day else f'%a %H:%M{seconds}')} UTC)"


def rfc3339(name: str, text: str) -> str:
    """A time that somebody gave as `--name`, with offset; one without is taken as local. Raises CommandError."""
    try:
        given = datetime.fromisoformat(text)
        return given.astimezone().isoformat() if given.tzinfo is None else given.isoformat()
    except (ValueError, OverflowError, OSError):
        hint = "Write 2026-11-28T08:00, for local time, or 2026-11-28T08:00:00Z."
        raise CommandError("usage", f"--{name} {text} is not a time.", hint, Exit.USAGE) from None


def clock_time(when: object, zone: tzinfo | None = None) -> str:
    """Only the time of day, local, with seconds."""
    epoch = epoch_of(when)
    return "-" if epoch is None else datetime.fromtimestamp(epoch, UTC).astimezone(zone).strftime("%H:%M:%S")


def distance(when: object, now: float | None = None) -> str:
    """`in 3 d 4 h` or `5 min ago`."""
    epoch = epoch_of(when)
    if epoch is None:
        return ""
    seconds = epoch - (time.time() if now is None else now)
    told = duration(abs(seconds))
    return f"in {told}" if seconds >= 0 else f"{told} ago"


def duration(seconds: float) -> str:
    """The two largest parts of a time: `3 d 4 h`, `59 s`."""
    left = round(seconds)
    parts: list[str] = []
    for length, name in _STEPS:
        if left >= length or (name == "s" and not parts):
            parts.append(f"{left // length} {name}")
            left %= length
        elif parts:
            break
    return " ".join(parts[:2])


def _zone_name(local: datetime) -> str:
    """The short name of a zone; its offset where the name is a sentence, as on Windows."""
    name = local.tzname() or ""
    if not local.utcoffset():
        return "UTC"
    return name if name.isalpha() and name.isascii() and len(name) <= 5 else local.strftime("%z")
