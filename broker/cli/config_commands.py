"""`otbroker config …`: look at, check, compare and approve settings and inventory."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.access.change_words import sentence
from broker.access.changes import access_changes
from broker.adapters.host_journal import HostJournal
from broker.cli.applied import approve, read_in_force
from broker.cli.config_files import (
    LoadedSettings,
    describe,
    load_inventory,
    load_settings,
    problems_together,
)
from broker.cli.inventory_files import read_inventory
from broker.cli.policies import policy_folder, policy_problems
from broker.cli.program import DEFAULT_SETTINGS
from broker.cli.webhook_secrets import secret_problems
from broker.cli.window_import import describe_import, run_import
from broker.errors import ConfigError, Problem
from broker.model.place import Inventory
from broker.settings.reference import json_schema, markdown

if TYPE_CHECKING:
    from broker.identity.profile import Finding

_MAXIMUM_CERTIFICATE_OCTETS = 1024 * 1024
_KINDS = ("settings", "inventory", "bacnet-actions")

Subparsers = Any  # argparse names its own type privately


def add_config_commands(subparsers: Subparsers) -> None:
    """Add `config` and what belongs to it; each sets `run`, a function of the parsed arguments with the exit status."""
    config = subparsers.add_parser("config", help="check, show, compare and approve settings and inventory")
    commands = config.add_subparsers(dest="config_command", required=True, metavar="COMMAND")
    schema = _command(commands, "schema", _schema, "print the schema of settings and inventory")
    schema.add_argument("kind", nargs="?", choices=_KINDS, default="settings")
    schema.add_argument("--format", choices=("json", "markdown"), default="json")
    check = _command(commands, "check", _check, "name everything that is wrong; exit status 1 if anything is")
    check.add_argument("file", nargs="?", metavar="FILE", help=f"settings (default: {DEFAULT_SETTINGS})")
    check.add_argument("--inventory", metavar="DIR", help="check this inventory; without FILE, nothing else")
    show = _command(commands, "show", _show, "print effective values and where each came from")
    difference = _command(commands, "diff", _diff, "show who gains and who loses access")
    difference.add_argument("old", nargs="?", metavar="OLD", help="inventory folder (default: what is in force)")
    difference.add_argument("new", nargs="?", metavar="NEW", help="inventory folder (default: that of the settings)")
    apply = _command(commands, "apply", _apply, "approve the inventory as it is now, gains included")
    apply.add_argument("--revision", help="approve only if the inventory still is this revision, as shown by diff")
    certificate = _command(commands, "check-certificate", _check_certificate, "explain what would be refused and why")
    certificate.add_argument("file", metavar="FILE", help="PEM chain, leaf first, or DER certificate")
    certificate.add_argument("--inventory", metavar="DIR", help="inventory folder (default: that of the settings)")
    importing = _command(commands, "import-windows", run_import, "turn events of a calendar file into windows")
    describe_import(importing)
    for command in (show, difference, apply, certificate):
        command.add_argument("--settings", metavar="FILE", default=DEFAULT_SETTINGS, help="default: %(default)s")
    for command in (check, show, difference, apply, certificate, importing):
        command.add_argument("--format", choices=("text", "json"), default="text")


def _command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], int], help_text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    parser.set_defaults(run=_reporting(run))
    return parser


def _reporting(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The same command, with configuration that cannot be used as a list of problems and exit status 1."""

    def reporting(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except ConfigError as error:
            problems = error.problems or (Problem("", 0, 0, error.public, error.detail),)
            return _report(problems, arguments.format, sys.stderr)

    return reporting


def _schema(arguments: argparse.Namespace) -> int:
    if arguments.format == "markdown":
        sys.stdout.write(markdown(arguments.kind))
    else:
        _print_json(json_schema(arguments.kind))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    problems: list[Problem] = []
    loaded = None
    if arguments.file or not arguments.inventory:
        loaded = _collect(load_settings, arguments.file or DEFAULT_SETTINGS, problems)
        problems += loaded.warnings if loaded else ()
    folder = arguments.inventory or (loaded.settings.inventory if loaded else None)
    if folder:
        reading = read_inventory(Path(folder))
        problems += reading.problems
        if loaded and reading.inventory:
            problems += problems_together(loaded, reading.inventory)
    if loaded:
        problems += policy_problems(policy_folder(loaded.settings))
        problems += secret_problems(loaded)
    return _report(problems, arguments.format, sys.stdout)


def _collect(load: Callable[[str], LoadedSettings], path: str, problems: list[Problem]) -> LoadedSettings | None:
    try:
        return load(path)
    except ConfigError as error:
        problems += error.problems
        return None


def _show(arguments: argparse.Namespace) -> int:
    loaded = load_settings(arguments.settings)
    rows = [
        {"key": key, "value": value, "from": loaded.origins.get(key, "default")}
        for key, value in flattened(loaded.settings.model_dump(mode="json"))
    ]
    if arguments.format == "json":
        _print_json(rows)
        return 0
    width = max(len(f"{row['key']}: {_shown(row['value'])}") for row in rows)
    for row in rows:
        text = f"{row['key']}: {_shown(row['value'])}"
        sys.stdout.write(f"{text:<{width}}  # {row['from']}\n")
    return 0


def flattened(value: object, path: str = "") -> list[tuple[str, object]]:
    """Every single value by dotted path; empty lists and mappings count as values."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    rows = [row for key, part in inside for row in flattened(part, f"{path}.{key}" if path else str(key))]
    return rows or [(path, value)]


def _diff(arguments: argparse.Namespace) -> int:
    if arguments.new:
        return _print_changes(load_inventory(arguments.old), load_inventory(arguments.new), arguments.format)
    loaded = load_settings(arguments.settings)
    old = load_inventory(arguments.old) if arguments.old else _in_force(loaded)
    return _print_changes(old, load_inventory(loaded.settings.inventory), arguments.format)


def _in_force(loaded: LoadedSettings) -> Inventory:
    inventory = read_in_force(loaded.settings.state_dir)
    if inventory is None:
        hint = f"no broker ever ran with the state folder {loaded.settings.state_dir}"
        raise ConfigError("nothing_in_force", "There is nothing to compare with.", hint)
    return inventory


def _apply(arguments: argparse.Namespace) -> int:
    loaded = load_settings(arguments.settings)
    inventory = load_inventory(loaded.settings.inventory)
    if arguments.revision not in (None, inventory.revision):
        public = "The inventory is not the one that was reviewed; nothing was approved."
        raise ConfigError("revision_differs", public, f"it is {inventory.revision} now")
    old = read_in_force(loaded.settings.state_dir)
    with HostJournal(Path(loaded.settings.state_dir)).telling("config apply", revision=inventory.revision):
        approve(loaded.settings.state_dir, inventory.revision)
    _print_changes(old or inventory, inventory, arguments.format)
    if arguments.format == "text":
        sys.stdout.write("approved\n")
    return 0


def _print_changes(old: Inventory, new: Inventory, form: str) -> int:
    changes = access_changes(old, new)
    if form == "json":
        listed = [dataclasses.asdict(change) for change in changes]
        _print_json({"old": old.revision, "new": new.revision, "changes": listed})
        return 0
    for change in changes:
        sys.stdout.write(f"{sentence(change)}\n")
    if not changes:
        sys.stdout.write("nobody gains or loses access\n")
    sys.stdout.write(f"revision {new.revision}\n")
    return 0


def _check_certificate(arguments: argparse.Namespace) -> int:
    from broker.identity.certificate import Trust
    from broker.identity.explanation import explain_certificate

    inventory = load_inventory(arguments.inventory or load_settings(arguments.settings).settings.inventory)
    try:
        with Path(arguments.file).open("rb") as file:
            raw = file.read(_MAXIMUM_CERTIFICATE_OCTETS)
    except OSError as error:
        raise ConfigError("file_unreadable", f"{arguments.file} cannot be read.", error.strerror or "") from None
    if b"PRIVATE KEY-----" in raw and b"BEGIN CERTIFICATE-----" not in raw:
        public = f"{arguments.file}: this is a private key, not a certificate."
        raise ConfigError("certificate_malformed", public, "give the certificate; the key stays with its owner")
    findings = explain_certificate(raw, Trust(inventory.organisations), time.time())
    if arguments.format == "json":
        _print_json({"accepted": not findings, "findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        _print_findings(findings)
    return 1 if findings else 0


def _print_findings(findings: Sequence["Finding"]) -> None:
    for finding in findings:
        sys.stdout.write(f"{finding.code}: {finding.problem}\n  what to do: {finding.remedy}\n")
    if not findings:
        sys.stdout.write("accepted\n")


def _report(problems: Sequence[Problem], form: str, text_stream: Any) -> int:
    """Print problems; the exit status. JSON always goes to standard output."""
    count = sum(not problem.warning for problem in problems)
    if form == "json":
        _print_json({"ok": not count, "problems": [dataclasses.asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            text_stream.write(f"{describe(problem)}\n")
        text_stream.write(f"{count} problem{'' if count == 1 else 's'}\n" if count else "no problems\n")
    return 1 if count else 0


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
