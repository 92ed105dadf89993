"""`otbroker config import-windows`: windows of a calendar program as YAML of the inventory."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from broker.calendar.ics_export import EntryKind
from broker.errors import ConfigError, Problem
from broker.settings.inventory_access import FreezeEntry, ScopeEntry, WindowEntry
from broker.settings.words import findings_of

if TYPE_CHECKING:
    from broker.calendar.ics_import import ImportedWindow

_SCOPES = {"site": "sites", "device": "devices", "label": "labels", "organisation": "organisations"}
EVERYTHING = "everything"


def describe_import(command: argparse.ArgumentParser) -> None:
    """Arguments of `import-windows`."""
    command.add_argument("file", metavar="FILE", help="iCalendar file")
    command.add_argument(
        "--scope",
        action="append",
        required=True,
        type=_scope_part,
        metavar="WHAT",
        help="site=ID, device=SITE/DEVICE, label=KEY:VALUE or organisation=ID, repeatable; or the word everything",
    )
    command.add_argument("--freezes", action="store_true", help="the events are freezes, not windows")
    command.add_argument("--output", metavar="FILE", help="new file of the inventory (default: standard output)")


def run_import(arguments: argparse.Namespace) -> int:
    """Write the windows. Raises ConfigError with all that is wrong."""
    # The server is the same program and never needs what reads calendar files.
    from broker.calendar.ics_import import import_windows
    from broker.calendar.ics_lines import LARGEST_FILE

    path = Path(arguments.file)
    kind = EntryKind.FREEZE if arguments.freezes else EntryKind.WINDOW
    imported = import_windows(_read(path, LARGEST_FILE), kind)
    if imported.errors:
        problems = tuple(Problem(str(path), e.line, 1, e.message, e.hint) for e in imported.errors)
        raise ConfigError("calendar_invalid", f"{len(problems)} problems in {path}", problems=problems)
    text = inventory_yaml(imported.windows, kind, _scope(arguments.scope))
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        _write(Path(arguments.output), text)
        print(
            f"{arguments.output}: {len(imported.windows)} {kind.value}s; see `otbroker config diff` for what they give"
        )
    return 0


def inventory_yaml(windows: tuple["ImportedWindow", ...], kind: EntryKind, scope: dict[str, Any]) -> str:
    """A file of the inventory; texts are quoted as in JSON, which YAML reads alike."""
    entry = FreezeEntry if kind is EntryKind.FREEZE else WindowEntry
    lines = [f"{kind.value}s:"]
    for window in windows:
        fields = _fields(window, scope)
        entry.model_validate(fields)
        lines += [f"  {'- ' if place == 0 else '  '}{line}" for place, line in enumerate(_lines(fields))]
    return "\n".join(lines) + "\n"


def _fields(window: "ImportedWindow", scope: dict[str, Any]) -> dict[str, Any]:
    occurrence = window.occurrence
    fields = {
        "id": window.id,
        "description": window.description,
        "scope": scope,
        "starts": occurrence.starts,
        "zone": occurrence.zone,
        "duration": f"PT{occurrence.duration_seconds}S",
        "recurrence": occurrence.recurrence,
    }
    return {name: value for name, value in fields.items() if value}


def _lines(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        yield f"{name}: {json.dumps(value, ensure_ascii=False)}"


def _scope_part(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if text != EVERYTHING and (name not in _SCOPES or not value):
        known = ", ".join(f"{name}=…" for name in _SCOPES)
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {known} or {EVERYTHING}")
    return name, value


def _scope(parts: list[tuple[str, str]]) -> dict[str, Any]:
    """The scope that all windows get. Raises ConfigError."""
    if any(name == EVERYTHING for name, _ in parts):
        if len(parts) > 1:
            raise ConfigError("scope_invalid", "--scope everything excludes any other scope.")
        return {}
    scope: dict[str, Any] = {}
    for name, value in parts:
        if name == "label":
            key, _, told = value.partition(":")
            scope.setdefault("labels", {})[key] = told
        else:
            scope.setdefault(_SCOPES[name], []).append(value)
    try:
        ScopeEntry.model_validate(scope)
    except ValidationError as error:
        said = "; ".join(finding.message for finding in findings_of(error.errors(), ScopeEntry.model_json_schema()))
        raise ConfigError("scope_invalid", f"--scope cannot be used: {said}.") from None
    return scope


def _read(path: Path, most_octets: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most_octets + 1)
    except OSError as error:
        raise ConfigError("calendar_unreadable", f"{path} cannot be read: {error.strerror}.") from None


def _write(path: Path, text: str) -> None:
    """A file that is not there yet. Raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError("output_unwritable", f"{path} cannot be written: {error.strerror}.") from None
