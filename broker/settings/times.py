"""Local times, moments and durations as the inventory writes them."""

import re
from datetime import datetime, time
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_DURATION = re.compile(r"PT(?=\d)(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,8})S)?")


def _local_time(text: str) -> str:
    moment = _datetime(text, "a local date and time, such as 2026-11-28T08:00:00")
    if moment.tzinfo is not None:
        raise ValueError("must be a local time without offset; the offset follows from zone")
    if moment.microsecond:
        raise ValueError("must be whole seconds")
    return moment.isoformat()


def _datetime(text: str, form: str) -> datetime:
    try:
        if "T" not in text and " " not in text:
            raise ValueError
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be {form}") from None


def _until(text: str) -> str:
    if "T" in text or "-" in text:
        return _local_time(text)
    try:
        clock = time.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time of day, such as 22:00, or a local date and time") from None
    if clock.tzinfo is not None or clock.microsecond or ":" not in text:
        raise ValueError("must be a time of day without offset, such as 22:00")
    return clock.isoformat()


def _moment(raw: object) -> object:
    if not isinstance(raw, str):
        return raw
    moment = _datetime(raw, "a date and time with offset, such as 2026-12-31T23:59:59+01:00 or …Z")
    if moment.tzinfo is None:
        raise ValueError("must have an offset from UTC, such as +01:00 or Z, because it is one moment everywhere")
    return moment.timestamp()


def _duration(raw: object) -> object:
    if not isinstance(raw, str):
        return raw
    match = _DURATION.fullmatch(raw)
    if match is None:
        # RFC 5545, 3.3.6: days and weeks are nominal and may last 23 or 25 hours; a duration here is exact.
        raise ValueError("must be hours, minutes and seconds such as PT4H or PT1H30M (a day is PT24H)")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


LocalTime = Annotated[
    str, AfterValidator(_local_time), WithJsonSchema({"type": "string", "format": "local date and time"})
]
Until = Annotated[
    str, AfterValidator(_until), WithJsonSchema({"type": "string", "format": "time of day, or local date and time"})
]
Moment = Annotated[
    float, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date and time with offset"})
]
Duration = Annotated[int, BeforeValidator(_duration), WithJsonSchema({"type": "string", "format": "duration"})]
