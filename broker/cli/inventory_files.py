"""The inventory's folder: all files read, merged and checked together, with every problem in its place."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from broker.calendar.spans import occurrence_findings
from broker.cli.organisation_files import read_organisation, shared_trust
from broker.cli.yaml_documents import Document, read_file
from broker.errors import Problem
from broker.model.place import Inventory, Organisation
from broker.settings.canonical import with_revision
from broker.settings.findings import Finding, did_you_mean
from broker.settings.grant_checks import grant_findings
from broker.settings.inventory_checks import Names, inventory_findings
from broker.settings.inventory_file import InventoryFile
from broker.settings.inventory_places import device_model
from broker.settings.words import findings_of

MAXIMUM_FILES = 1000
KINDS = tuple(InventoryFile.model_fields)
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    kind: TypeAdapter(cast("Any", info.annotation)) for kind, info in InventoryFile.model_fields.items()
}
_YAML_KEYS = {"duration_seconds": "duration", "until_wall_clock": "until"}


@dataclass(slots=True)
class InventoryReading:
    """What was read: the inventory if there is one, and all problems, warnings included.

    `named_files` are the certificates and revocation lists that organisations name, wherever they lie.
    """

    inventory: Inventory | None
    problems: tuple[Problem, ...]
    named_files: tuple[Path, ...] = ()


@dataclass(slots=True)
class _Reading:
    problems: list[Problem] = field(default_factory=list)
    entries: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    origins: defaultdict[str, list[tuple[Document, int]]] = field(default_factory=lambda: defaultdict(list))
    defined: dict[tuple[str, str], tuple[Document, int]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    named_files: list[Path] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Note a finding whose path begins with kind and place in the merged inventory."""
        kind, place, *rest = finding.path
        assert isinstance(kind, str)
        assert isinstance(place, int)
        document, local = self.origins[kind][place]
        moved = Finding((kind, local, *rest), finding.message, finding.hint, finding.warning, finding.at_key)
        self.problems.append(document.problem(moved))


def read_inventory(folder: Path, extra_organisations: Sequence[Organisation] = ()) -> InventoryReading:
    """Read a folder; `extra_organisations` come from elsewhere and may be referred to like its own."""
    reading = _Reading()
    for path in _paths(folder, reading):
        document = read_file(path)
        reading.problems += document.problems
        _take(document, reading)
    entries: dict[str, Any] = {kind: tuple(reading.entries[kind]) for kind in KINDS}
    whole = InventoryFile.model_construct(**entries)
    reading.names.add(whole)
    reading.names.organisations.update(organisation.id for organisation in extra_organisations)
    organisations = _organisations(whole, extra_organisations, reading)
    for finding in (*inventory_findings(whole, reading.names), *grant_findings(whole, reading.names)):
        reading.add(finding)
    _check_times(whole, reading)
    problems = tuple(sorted(reading.problems, key=lambda p: (p.file, p.line, p.column)))
    if any(not problem.warning for problem in problems):
        return InventoryReading(None, problems, tuple(reading.named_files))
    return InventoryReading(_inventory(whole, organisations), problems, tuple(reading.named_files))


def _paths(folder: Path, reading: _Reading) -> list[Path]:
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith("."))
    except OSError as error:
        reading.problems.append(Problem(str(folder), 0, 0, f"the folder cannot be read: {error.strerror}"))
        return []
    files = [path for path in found if path.is_file()]
    if not files:
        reading.problems.append(Problem(str(folder), 0, 0, "there is no *.yaml file in this folder"))
    if len(files) > MAXIMUM_FILES:
        reading.problems.append(Problem(str(folder), 0, 0, f"there are more than {MAXIMUM_FILES} files in this folder"))
        return []
    return files


def _take(document: Document, reading: _Reading) -> None:
    if document.value is None:
        return
    if not isinstance(document.value, dict):
        message = "the file must be a mapping of lists"
        reading.problems.append(document.problem(Finding((), message, f"keys are {', '.join(KINDS)}")))
        return
    for kind, entries in document.value.items():
        if kind not in KINDS:
            finding = Finding((kind,), f"unknown key '{kind}'", did_you_mean(kind, KINDS), at_key=True)
            reading.problems.append(document.problem(finding))
        elif entries is not None and not isinstance(entries, list):
            reading.problems.append(document.problem(Finding((kind,), f"'{kind}' must be a list (lines of '- ')")))
        else:
            for place, entry in enumerate(entries or ()):
                _take_entry(document, kind, place, entry, reading)


def _take_entry(document: Document, kind: str, place: int, raw: Any, reading: _Reading) -> None:
    """Validate one entry by itself, so that a fault in it hides none of the others."""
    try:
        (entry,) = _ADAPTERS[kind].validate_python([raw])
    except ValidationError as error:
        for finding in findings_of(error.errors(), _schema(kind)):
            moved = Finding((kind, place, *finding.path[1:]), finding.message, finding.hint, at_key=finding.at_key)
            reading.problems.append(document.problem(moved))
        _remember(kind, raw, reading.names)
        return
    other, local = reading.defined.setdefault((kind, _key(kind, entry)), (document, place))
    if (other, local) == (document, place):
        reading.entries[kind].append(entry)
        reading.origins[kind].append((document, place))
        return
    reading.names.unreadable.add(kind)
    line, _ = other.place((kind, local))
    message = f"'{_key(kind, entry)}' is already defined at {other.file}:{line}"
    name = "at" if kind == "endpoints" else "id"
    hint = f"each of {kind} has its own {name}"
    reading.problems.append(document.problem(Finding((kind, place, name), message, hint)))


@cache
def _schema(kind: str) -> dict[str, Any]:
    return _ADAPTERS[kind].json_schema()


def _remember(kind: str, raw: Any, names: Names) -> None:
    """The id of an entry that could not be read, so that what refers to it is not called wrong as well."""
    names.unreadable.add(kind)
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str) or not hasattr(names, kind):
        return
    inside = f"{raw.get('site')}/" if kind in ("segments", "devices") else ""
    getattr(names, kind).add(inside + raw["id"])


def _key(kind: str, entry: Any) -> str:
    if kind == "endpoints":
        return str(entry.at) if entry.network is None else f"{entry.at} network {entry.network}"
    return f"{entry.site}/{entry.id}" if kind in ("segments", "devices") else str(entry.id)


def _organisations(whole: InventoryFile, extra: Sequence[Organisation], reading: _Reading) -> tuple[Organisation, ...]:
    organisations = list(extra)
    for place, entry in enumerate(whole.organisations):
        document, _ = reading.origins["organisations"][place]
        folder = Path(document.file).parent
        reading.named_files += [folder / name for name in (*entry.anchors, *entry.crl_files)]
        organisation, findings = read_organisation(entry, folder)
        organisations.append(organisation)
        for finding in findings:
            reading.add(finding.under(("organisations", place)))
        if any(other.id == entry.id for other in extra):
            message = f"the organisation '{entry.id}' is already given elsewhere"
            reading.add(Finding(("organisations", place, "id"), message, "give it another id"))
    for place, finding in shared_trust(organisations):
        # What comes from elsewhere is checked where it comes from.
        if place >= len(extra):
            reading.add(finding.under(("organisations", place - len(extra))))
    return tuple(organisations)


def _check_times(whole: InventoryFile, reading: _Reading) -> None:
    for kind in ("windows", "freezes"):
        for place, window in enumerate(getattr(whole, kind)):
            for finding in occurrence_findings(window.occurrence()):
                path = (kind, place, *(_YAML_KEYS.get(str(step), step) for step in finding.path))
                reading.add(Finding(path, finding.message, finding.hint, finding.warning))


def _inventory(whole: InventoryFile, organisations: tuple[Organisation, ...]) -> Inventory:
    return with_revision(
        Inventory(
            revision="",
            sites=tuple(site.id for site in whole.sites),
            segments=tuple(segment.to_model() for segment in whole.segments),
            devices=tuple(device_model(device) for device in whole.devices),
            organisations=organisations,
            windows=tuple(window.to_model() for window in whole.windows),
            freezes=tuple(freeze.to_model() for freeze in whole.freezes),
            grants=tuple(grant.to_model() for grant in whole.grants),
            endpoints=tuple(endpoint.to_model() for endpoint in whole.endpoints),
            bacnet_networks=tuple(network for site in whole.sites for network in site.networks()),
        )
    )
