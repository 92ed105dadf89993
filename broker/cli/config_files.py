"""Settings and inventory from files: all problems at once, each with file, line, column and what would be right."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from broker.cli.inventory_files import read_inventory
from broker.cli.yaml_documents import Document, read_file
from broker.errors import ConfigError, Problem
from broker.model.place import Inventory, Organisation
from broker.model.way import BacnetScWay
from broker.settings.broker_file import Settings
from broker.settings.fields import PathKind
from broker.settings.findings import Finding, did_you_mean
from broker.settings.findings import Path as Place
from broker.settings.inventory_checks import listeners_collide
from broker.settings.words import findings_of

_SHOWN_PATH = 200
_ELSEWHERE = "say where it is: `--config FILE`, or `otbroker config … FILE`; a development broker's is .dev/broker.yaml"


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and where each given value stands (`file:line` by dotted path; what is absent has its default)."""

    settings: Settings
    origins: dict[str, str]
    warnings: tuple[Problem, ...]
    document: Document


def load_settings(path: str | Path) -> LoadedSettings:
    """Read the broker's YAML. Raises ConfigError `settings_invalid` with all problems."""
    document = read_file(Path(path))
    if not Path(path).exists():
        document.problems[:] = [replace(problem, hint=_ELSEWHERE) for problem in document.problems]
    settings = None if document.problems else _settings(document)
    findings = () if settings is None else (*_path_findings(settings), *_untold(settings))
    found = [document.problem(finding) for finding in findings]
    problems = tuple(sorted((*document.problems, *found), key=lambda p: (p.line, p.column)))
    raise_if_any(problems, "settings_invalid", str(path))
    assert settings is not None
    return LoadedSettings(settings, _origins(document), problems, document)


def load_inventory(folder: str | Path, extra_organisations: Sequence[Organisation] = ()) -> Inventory:
    """Read the inventory's folder. Raises ConfigError `inventory_invalid` with all problems."""
    reading = read_inventory(Path(folder), extra_organisations)
    raise_if_any(reading.problems, "inventory_invalid", str(folder))
    assert reading.inventory is not None
    return reading.inventory


def raise_if_any(problems: Sequence[Problem], code: str, what: str) -> None:
    """Raises ConfigError if one of the problems is more than a warning."""
    count = sum(not problem.warning for problem in problems)
    if count:
        public = f"{count} problem{'s' if count > 1 else ''} in the configuration"
        raise ConfigError(code, public, f"{what}: {describe(problems[0])}", tuple(problems))


def describe(problem: Problem) -> str:
    """One problem in one line."""
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    kind = "warning: " if problem.warning else ""
    return (f"{place}: " if place else "") + kind + problem.message + (f" ({problem.hint})" if problem.hint else "")


def problems_together(loaded: LoadedSettings, inventory: Inventory) -> tuple[Problem, ...]:
    """What is wrong between settings and inventory, though each is right by itself."""
    checks = (_unit_id_findings, _hub_findings, _node_findings, _segment_findings, _listener_findings)
    findings = tuple(finding for check in checks for finding in check(loaded.settings, inventory))
    known = {organisation.id for organisation in inventory.organisations}
    unknown = [
        Finding(("issuers", place, "organisation"), f"the inventory has no organisation '{issuer.organisation}'")
        for place, issuer in enumerate(loaded.settings.issuers)
        if issuer.organisation not in known
    ]
    glass = loaded.settings.break_glass
    unknown += [
        Finding(("break_glass", "sites", place), f"the inventory has no site '{site}'")
        for place, site in enumerate(glass.sites if glass is not None else ())
        if site not in inventory.sites
    ]
    unknown += [
        Finding(place, f"the inventory has no organisation '{name}'")
        for place, name in _enrolling(loaded.settings)
        if name not in known
    ]
    return tuple(loaded.document.problem(finding) for finding in (*findings, *unknown))


def _enrolling(settings: Settings) -> Iterator[tuple[Place, str]]:
    """The organisations that enrolment issues for, each where it stands."""
    authorities = () if settings.enrolment is None else settings.enrolment.authorities
    for number, authority in enumerate(authorities):
        yield ("enrolment", "authorities", number, "organisation"), authority.organisation


def _settings(document: Document) -> Settings | None:
    folder = str(Path(document.file).parent.absolute())
    value: Any = document.value if document.value is not None else {}
    try:
        return Settings.model_validate(value, context={"folder": folder})
    except ValidationError as error:
        schema = _schema()
        document.problems += [document.problem(finding) for finding in findings_of(error.errors(), schema)]
    return None


@cache
def _schema() -> dict[str, Any]:
    return Settings.model_json_schema()


def _path_findings(settings: Settings) -> Iterator[Finding]:
    for place, kind, path in _paths(settings, ()):
        fault = _path_fault(kind, Path(path))
        if fault is not None:
            yield Finding(place, *fault)


def _untold(settings: Settings) -> Iterator[Finding]:
    if settings.break_glass is not None and not settings.notifications:
        message = "an emergency alarms nobody: there is no channel that would carry the notice"
        yield Finding(("break_glass",), message, "add one to `notifications`", warning=True)


def _paths(section: BaseModel, place: Place) -> Iterator[tuple[Place, PathKind, str]]:
    """Every path that the settings name, and what must be true of it."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        kind = next((mark for mark in info.metadata if isinstance(mark, PathKind)), None)
        if kind is not None and value:
            yield (*place, name), kind, value
        for step, part in _sections(name, value):
            yield from _paths(part, (*place, *step))


def _sections(name: str, value: object) -> Iterator[tuple[Place, BaseModel]]:
    if isinstance(value, BaseModel):
        yield (name,), value
    elif isinstance(value, tuple):
        yield from (((name, number), part) for number, part in enumerate(value) if isinstance(part, BaseModel))


def _path_fault(kind: PathKind, path: Path) -> tuple[str, str] | None:
    if kind is PathKind.MADE:
        return None
    # Somebody may have put the secret itself where its file belongs: it must not be shown.
    if len(str(path)) > _SHOWN_PATH or "\n" in str(path):
        return "this is not a path", "put the text into a file and name the file here"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"{path} cannot be used: {error.strerror}", f"it must be {kind.value}"
    if kind is PathKind.FOLDER:
        return None if stat.S_ISDIR(mode) else (f"{path} is not a folder", "")
    if not stat.S_ISREG(mode):
        return f"{path} is not a file", ""
    if kind is PathKind.SECRET_FILE and mode & stat.S_IRWXO:
        return f"{path} is a secret that every user of this machine can read", f"chmod 600 {path}"
    return None


def _origins(document: Document) -> dict[str, str]:
    """Where each key of the file and each item of a list stands, by dotted path."""
    places = {**document.places, **document.keys}
    return {".".join(str(step) for step in path): f"{document.file}:{line}" for path, (line, _) in places.items()}


def _unit_id_findings(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    devices = {device.key: device for device in inventory.devices}
    for number, listener in enumerate(settings.modbus_tls):
        for unit_id, key in listener.unit_ids.items():
            path = ("modbus_tls", number, "unit_ids", str(unit_id))
            if key not in devices:
                yield Finding(path, f"the inventory has no device '{key}'")
            elif devices[key].protocol != "modbus":
                yield Finding(path, f"'{key}' does not speak Modbus")


def _hub_findings(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    """A hub leads to a site's BACnet network, so there must be one."""
    for number, hub in enumerate(settings.bacnet_sc):
        named: dict[Place, str] = {("bacnet_sc", number, "site"): hub.site}
        named |= {("bacnet_sc", number, "sites", name): site for name, site in hub.sites.items()}
        for place, site in named.items():
            if inventory.bacnet_network(site) is None:
                hint = "give the site `bacnet: {network: …}` in the inventory"
                yield Finding(place, f"the inventory has no BACnet network for the site '{site}'", hint)


def _node_findings(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    """A hub of the field lets nobody in without a certificate."""
    behind = [device.key for device in inventory.devices if isinstance(device.way, BacnetScWay)]
    if behind and settings.bacnet_sc_node is None:
        yield Finding((), f"'{behind[0]}' is behind a BACnet/SC hub", "give bacnet_sc_node with a certificate for it")


def _segment_findings(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    """A UDP port belongs to one segment, which there must be."""
    known = {f"{segment.site}/{segment.id}" for segment in inventory.segments}
    seen: set[str] = set()
    for number, own in enumerate(settings.bacnet_ip.segments):
        place = ("bacnet_ip", "segments", number, "segment")
        if own.segment not in known:
            yield Finding(place, f"the inventory has no segment '{own.segment}'", did_you_mean(own.segment, known))
        elif own.segment in seen:
            yield Finding(place, f"'{own.segment}' has a port already", "one for each segment")
        seen.add(own.segment)
    whole = settings.bacnet_ip
    taken = {(whole.address, whole.port)} if whole.port else set()
    for number, own in enumerate(whole.segments):
        if own.port and (own.address, own.port) in taken:
            hint = "give each an address or a port of its own"
            yield Finding(("bacnet_ip", "segments", number, "port"), "this UDP port is another segment's", hint)
        taken.add((own.address, own.port))


def _listener_findings(settings: Settings, inventory: Inventory) -> Iterator[Finding]:
    """No address and port may be listened on twice."""
    taken = [(device.listen, f"device {device.key}") for device in inventory.devices if device.listen]
    for place, address in _listeners(settings):
        other = next((name for known, name in taken if listeners_collide(known, address)), None)
        if other is not None:
            yield Finding(place, f"{address} already belongs to {other}", "give each its own address or port")
        taken.append((address, ".".join(str(step) for step in place)))


def _listeners(settings: Settings) -> Iterator[tuple[Place, str]]:
    for number, modbus in enumerate(settings.modbus_tls):
        yield ("modbus_tls", number, "port"), _socket_address(modbus.address, modbus.port)
    for number, hub in enumerate(settings.bacnet_sc):
        yield ("bacnet_sc", number, "port"), _socket_address(hub.address, hub.port)
    if settings.https is not None:
        yield ("https", "port"), _socket_address(settings.https.address, settings.https.port)
    yield ("ops", "port"), _socket_address(settings.ops.address, settings.ops.port)


def _socket_address(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
