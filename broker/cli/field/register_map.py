"""A register map, as vendors give it in a table, as Modbus points: CSV with a head that names its columns.

Every line is a point; columns are those of a point of the inventory, and `name` and `register`. What is wrong is said
with file, line and column.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from broker.cli.field.names import LONGEST, label, labels
from broker.cli.field.proposal import ProposedPoint, plain
from broker.errors import ConfigError, Problem
from broker.settings.findings import did_you_mean
from broker.settings.inventory_points import ModbusPointEntry
from broker.settings.point_checks import modbus_point_findings, overlap_findings
from broker.settings.words import findings_of

MOST_OCTETS = 4 * 1024 * 1024
MOST_LINES = 20_000
COLUMNS = {
    "name": "what it is called; its id is made of it",
    "id": "its id, where that is to be another",
    "table": "coil, discrete-input, input-register or holding-register",
    "address": "zero-based protocol address, decimal or 0x…",
    "register": "instead of table and address: 5 or 6 digits as manuals write them, such as 40001",
    "type": "bool, uint16, int16, uint32, int32, uint64, int64, float32, float64, bit or string",
    "count": "registers of a string",
    "bit": "0 to 15, of type bit",
    "word_order": "big or little",
    "byte_order": "big or little",
    "scale": "engineering units for each raw step",
    "offset": "engineering value of raw 0",
    "unit": "engineering unit",
    "minimum": "least value that may be written",
    "maximum": "greatest value that may be written",
    "allowed": "the only values that may be written, with | between them",
    "action": "class of a write; empty: read only",
    "description": "what it is, for people",
}
_TABLES = {"0": "coil", "1": "discrete-input", "3": "input-register", "4": "holding-register"}
Place = tuple[int, Mapping[str, int]]


def read_register_map(path: Path) -> tuple[ProposedPoint, ...]:
    """The points. Raises ConfigError with all that is wrong."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_OCTETS + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError("map_unreadable", f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise _refused([Problem(str(path), line, column, "the file is not UTF-8 text")]) from None
    if len(raw) > MOST_OCTETS:
        raise _refused([Problem(str(path), 0, 0, f"the file is larger than {MOST_OCTETS} octets")])
    reading = _Map(str(path), text)
    if reading.problems:
        raise _refused(sorted(reading.problems, key=lambda problem: (problem.line, problem.column)))
    return reading.points


def _refused(problems: Sequence[Problem]) -> ConfigError:
    return ConfigError("map_invalid", f"{len(problems)} problems in the register map.", problems=tuple(problems))


class _Map:
    """One file; everything wrong with it is in `problems`."""

    def __init__(self, file: str, text: str) -> None:
        self.problems: list[Problem] = []
        self.points: tuple[ProposedPoint, ...] = ()
        self._file = file
        lines = text.splitlines()
        if not lines or len(lines) > MOST_LINES:
            self._wrong(0, 0, "the file has no head" if not lines else f"the file has more than {MOST_LINES} lines")
            return
        self._separator = ";" if lines[0].count(";") > lines[0].count(",") else ","
        self._head = self._columns(lines[0])
        if not self.problems:
            self._rows = list(self._read(lines))
            self.points = self._checked()

    def _wrong(self, line: int, column: int, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self._file, line, column, message, hint))

    def _columns(self, line: str) -> list[str]:
        """The names in the head, each with something that is known."""
        names = []
        for name, column in self._fields(1, line):
            word = label(name).replace("-", "_")
            if word not in COLUMNS:
                self._wrong(1, column, f"unknown column '{plain(name)}'", did_you_mean(word, COLUMNS))
            elif word in names:
                self._wrong(1, column, f"column '{word}' is there twice")
            names.append(word)
        if not {"name", "id"} & set(names):
            self._wrong(1, 1, "there is no column 'name' and no column 'id'")
        if "register" not in names and not {"table", "address"} <= set(names):
            self._wrong(1, 1, "there must be the columns 'table' and 'address', or 'register'")
        return names

    def _fields(self, number: int, line: str) -> list[tuple[str, int]]:
        """The fields of a line, each with the column where it starts."""
        try:
            (fields,) = csv.reader([line], delimiter=self._separator, strict=True)
        except (csv.Error, ValueError) as error:
            self._wrong(number, len(line), f"this is no line of fields: {error}", "a field must end in its line")
            return []
        return list(zip(fields, _starts(line, self._separator), strict=False))

    def _read(self, lines: Sequence[str]) -> Iterator[tuple[dict[str, Any], Place]]:
        for number, line in enumerate(lines[1:], 2):
            if not line.strip(self._separator + " \t"):
                continue
            fields = self._fields(number, line)
            if not fields:
                continue
            if len(fields) > len(self._head):
                self._wrong(number, fields[len(self._head)][1], "more fields than the head has columns")
                continue
            starts = {name: column for name, (_, column) in zip(self._head, fields, strict=False)}
            row = {name: text.strip() for name, (text, _) in zip(self._head, fields, strict=False) if text.strip()}
            yield self._place(row, (number, starts)), (number, starts)

    def _place(self, row: dict[str, Any], place: Place) -> dict[str, Any]:
        """Table and address of a number as manuals write them: 40001 is address 0 of the holding registers."""
        register = row.pop("register", None)
        if register is None:
            return row
        table = _TABLES.get(register[:1])
        if not (register.isascii() and register.isdecimal() and len(register) in (5, 6)) or table is None:
            self._at(place, "register", f"'{plain(register)}' is no register number", COLUMNS["register"])
            return row
        number = int(register[1:])
        if not 1 <= number <= 65536:
            self._at(place, "register", f"there is no register {register}", "the first is 1")
        if {"table", "address"} & set(row):
            self._at(place, "register", "give register, or table and address, not both")
        return row | {"table": table, "address": str(number - 1)}

    def _at(self, place: Place, column: object, message: str, hint: str = "") -> None:
        line, starts = place
        known = starts.get(str(column)) or starts.get("register") or 1
        self._wrong(line, known, message, hint)

    def _checked(self) -> tuple[ProposedPoint, ...]:
        ids = self._ids()
        entries: list[tuple[ModbusPointEntry, Place]] = []
        points = []
        for number, (row, place) in enumerate(self._rows):
            fields = self._entry(row, ids.get(number, ""))
            try:
                entry = ModbusPointEntry.model_validate(fields)
            except ValidationError as error:
                for finding in findings_of(error.errors(), ModbusPointEntry.model_json_schema()):
                    self._at(place, finding.path[0] if finding.path else "", finding.message, finding.hint)
                continue
            for finding in modbus_point_findings(entry):
                if not finding.warning:
                    self._at(place, finding.path[0] if finding.path else "", finding.message, finding.hint)
            entries.append((entry, place))
            points.append(ProposedPoint(fields, (f"line {place[0]}",)))
        for finding in overlap_findings([entry for entry, _ in entries]):
            self._at(entries[int(finding.path[0])][1], "address", finding.message, finding.hint)
        return tuple(points)

    def _ids(self) -> dict[int, str]:
        """Those that are given, and those made from names; two lines with one id are wrong."""
        given: dict[int, str] = {}
        for number, (row, place) in enumerate(self._rows):
            identifier = row.get("id")
            if identifier in given.values():
                self._at(place, "id", f"the id '{plain(str(identifier))}' is there twice")
            elif identifier:
                given[number] = identifier
            elif not row.get("name"):
                self._at(place, "name", "a point needs a name or an id")
        named = [
            (number, row.get("name", ""), f"{row.get('table', '')}-{row.get('address', '')}-{row.get('bit', '')}")
            for number, (row, _) in enumerate(self._rows)
        ]
        return labels(named, given)

    def _entry(self, row: Mapping[str, Any], identifier: str) -> dict[str, Any]:
        fields: dict[str, Any] = {"id": identifier[:LONGEST]}
        fields |= {name: value for name, value in row.items() if name not in ("name", "id", "allowed")}
        if "allowed" in row:
            fields["allowed"] = [value.strip() for value in row["allowed"].split("|")]
        if "name" in row and "description" not in row and label(row["name"]) != row["name"]:
            fields["description"] = row["name"]
        for name in ("unit", "description"):
            if name in fields:
                fields[name] = plain(fields[name])
        return fields


def _starts(line: str, separator: str) -> Iterator[int]:
    """The columns where the fields of a line start; a separator inside quotes is none."""
    yield 1
    quoted = False
    for column, character in enumerate(line, 1):
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            yield column + 1
