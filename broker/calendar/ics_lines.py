"""An iCalendar file as lines and components (RFC 5545, 3.1 and 3.6), each with the number of its line in the file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from icalendar.parser import Contentline

LARGEST_FILE = 1024 * 1024
LONGEST_LINE = 65_536
DEEPEST = 4
_BREAK = re.compile(r"\r\n|\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class IcsError(ValueError):
    """What is wrong with a file, and in which line (counted from 1; 0: the whole file)."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Property:
    """One property; `value` is as it stands in the file, `text` with the escapes of 3.3.11 undone."""

    line: int
    name: str
    parameters: dict[str, str | list[str]]
    value: str
    text: str


@dataclass(slots=True)
class Component:
    """One component with its properties and the components in it; `source` are its lines, unfolded."""

    line: int
    name: str
    properties: list[Property] = field(default_factory=list)
    components: list["Component"] = field(default_factory=list)
    source: list[str] = field(default_factory=list)

    def all(self, name: str) -> list[Property]:
        """The properties of that name."""
        return [found for found in self.properties if found.name == name]

    def one(self, name: str) -> Property | None:
        """The property of that name, which may be there once. Raises IcsError."""
        found = self.all(name)
        if len(found) > 1:
            raise IcsError(found[1].line, f"{name} is there more than once")
        return found[0] if found else None


def decode_ics(octets: bytes) -> Component:
    """The calendar in a file. Raises IcsError."""
    if len(octets) > LARGEST_FILE:
        raise IcsError(0, f"the file has more than {LARGEST_FILE} octets")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IcsError(0, "the file is not text in UTF-8") from None
    return _assembled(_unfolded(text))


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first line; empty ones, which some programs leave, are passed over."""
    first, whole = 0, ""
    for number, line in enumerate(_BREAK.split(text), start=1):
        if _CONTROL.search(line):
            raise IcsError(number, "the line holds a control character")
        if line[:1] in (" ", "\t") and first:
            whole += line[1:]
        else:
            if whole:
                yield first, whole
            first, whole = number, line
        if len(whole) > LONGEST_LINE:
            raise IcsError(first, "the line is too long")
    if whole:
        yield first, whole


def _assembled(lines: Iterator[tuple[int, str]]) -> Component:
    """Exactly one calendar. Raises IcsError."""
    outermost = Component(0, "")
    open_ones = [outermost]
    for number, line in lines:
        found = _property(number, line)
        if found.name == "BEGIN":
            inner = Component(number, found.value.upper())
            open_ones[-1].components.append(inner)
            open_ones.append(inner)
            if len(open_ones) > DEEPEST:
                raise IcsError(number, "components lie too deep in each other")
        elif found.name == "END":
            if found.value.upper() != open_ones[-1].name or len(open_ones) == 1:
                raise IcsError(number, f"END:{found.value} ends nothing that is open")
            open_ones[-1].source.append(line)
            ended = open_ones.pop()
            open_ones[-1].source += ended.source if len(open_ones) > 1 else []
            continue
        else:
            open_ones[-1].properties.append(found)
        open_ones[-1].source.append(line)
    if len(open_ones) > 1:
        raise IcsError(open_ones[-1].line, f"{open_ones[-1].name} has no end")
    if [part.name for part in outermost.components] != ["VCALENDAR"] or outermost.properties:
        raise IcsError(0, "the file is not one calendar", "it begins with BEGIN:VCALENDAR and ends with END:VCALENDAR")
    return outermost.components[0]


def _property(number: int, line: str) -> Property:
    try:
        content = Contentline(line)  # type: ignore[no-untyped-call]
        name, parameters, value = content.raw_parts()
        text = content.parts()[2]
    except (ValueError, AssertionError):
        raise IcsError(number, "the line is not of the form NAME;PARAMETER=VALUE:VALUE") from None
    return Property(number, name.upper(), {key.upper(): given for key, given in parameters.items()}, value, text)
