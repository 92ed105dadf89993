"""YAML text to plain values with the line and column of each, refusing everything that configuration does not need.

Scalars stay text (`0.1` is never a float, `22:00` never a number, `no` never false); only an unquoted `null`, `~` or
nothing is None. Anchors, aliases, tags, repeated keys, several documents and deep nesting are refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from broker.errors import Problem
from broker.settings.findings import Finding, Path

MAXIMUM_OCTETS = 4 * 1024 * 1024
MAXIMUM_DEPTH = 24
MAXIMUM_VALUES = 500_000

Value = None | str | list["Value"] | dict[str, "Value"]
Place = tuple[int, int]


@dataclass(slots=True, eq=False)
class Document:
    """One file's value, with the place (line, column) of every value and key by its path."""

    file: str
    value: Value = None
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, at_key: bool = False) -> Place:
        """Where a path is; of a path that is not in the file, the nearest place around it."""
        here: Path = ()
        for step in path:
            if (*here, step) in self.places:
                here = (*here, step)
        if at_key and here in self.keys:
            return self.keys[here]
        return self.places.get(here, (0, 0))

    def problem(self, finding: Finding) -> Problem:
        """A finding with its place in this file."""
        line, column = self.place(finding.path, finding.at_key)
        return Problem(self.file, line, column, finding.message, finding.hint, finding.warning)


class _RefusedError(Exception):
    """The text cannot be used any further."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.hint = hint


def read_document(file: str, raw: bytes) -> Document:
    """Read one file's octets; what is wrong is in the document's `problems`, never raised."""
    document = Document(file)
    try:
        _Reading(document, _events(_text(raw))).run()
    except _RefusedError as refused:
        document.problems.append(Problem(file, *refused.place, refused.message, refused.hint))
    return document


def read_file(path: FilePath) -> Document:
    """Read one file, at most MAXIMUM_OCTETS of it."""
    try:
        with path.open("rb") as file:
            return read_document(str(path), file.read(MAXIMUM_OCTETS + 1))
    except OSError as error:
        document = Document(str(path))
        document.problems.append(Problem(str(path), 0, 0, f"the file cannot be read: {error.strerror}"))
        return document


def _text(raw: bytes) -> str:
    if len(raw) > MAXIMUM_OCTETS:
        message = f"the file is larger than {MAXIMUM_OCTETS // 1024**2} MiB"
        raise _RefusedError((0, 0), message, "split it into several files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = (before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        raise _RefusedError(place, "the file is not UTF-8 text", "save it with the encoding UTF-8") from None


def _events(text: str) -> Iterator[Event]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        raise _RefusedError(_mark(error), f"this is not YAML: {error.problem}", _advice(error)) from None
    except (YAMLError, ValueError) as error:
        raise _RefusedError((0, 0), f"this is not YAML: {str(error).splitlines()[0]}") from None


def _mark(error: MarkedYAMLError) -> Place:
    mark = error.problem_mark or error.context_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _advice(error: MarkedYAMLError) -> str:
    if "'\\t'" in str(error.problem):
        return "indent with spaces, not with tabs"
    return f"it went wrong {error.context}" if error.context else "look at indentation and quotes"


class _Reading:
    """One pass over the events; the stack is Python's own, bounded by MAXIMUM_DEPTH."""

    def __init__(self, document: Document, events: Iterator[Event]) -> None:
        self._document = document
        self._events = events
        self._values = 0
        self._documents = 0

    def run(self) -> None:
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise _RefusedError(_start(event), "a second YAML document starts here", "use one document a file")
            elif isinstance(event, NodeEvent):
                self._document.value = self._value(event, ())
            elif isinstance(event, StreamEndEvent):
                return

    def _value(self, event: Event, path: Path) -> Value:
        self._admit(event, path)
        self._document.places[path] = _start(event)
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _admit(self, event: Event, path: Path) -> None:
        """Refuse what makes a text mean something else than it shows, or more than it weighs."""
        self._values += 1
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise _RefusedError(_start(event), "anchors and aliases (& and *) are not allowed", "write the value out")
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(_start(event), "tags (!…) are not allowed", "write the plain value")
        if len(path) > MAXIMUM_DEPTH:
            raise _RefusedError(_start(event), f"nested deeper than {MAXIMUM_DEPTH} levels")
        if self._values > MAXIMUM_VALUES:
            raise _RefusedError(_start(event), f"more than {MAXIMUM_VALUES} values", "split the file into several")

    def _sequence(self, path: Path) -> Value:
        values: list[Value] = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            values.append(self._value(event, (*path, len(values))))
        return values

    def _mapping(self, path: Path) -> Value:
        values: dict[str, Value] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event, path)
            if key in values:
                self._repeated(event, key, (*path, key))
            self._document.keys[(*path, key)] = _start(event)
            values[key] = self._value(next(self._events), (*path, key))
        return values

    def _key(self, event: Event, path: Path) -> str:
        self._admit(event, path)
        if not isinstance(event, ScalarEvent):
            raise _RefusedError(_start(event), "a key must be a word", "quote it if it begins with [ or {")
        return str(event.value)

    def _repeated(self, event: Event, key: str, path: Path) -> None:
        line, column = _start(event)
        hint = f"the first is in line {self._document.keys[path][0]}; keep one"
        self._document.problems.append(Problem(self._document.file, line, column, f"'{key}' is given twice", hint))


def _start(event: Event) -> Place:
    return (event.start_mark.line + 1, event.start_mark.column + 1)


def _scalar(event: ScalarEvent) -> str | None:
    if event.style is None and event.value in ("", "~", "null"):
        return None
    return str(event.value)
