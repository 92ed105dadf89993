"""Standing grants that refer to what is not there, or that can never apply."""

from collections.abc import Iterator

from broker.model.vocabulary import Action
from broker.settings.findings import Finding, did_you_mean
from broker.settings.inventory_access import GrantEntry, ScopeEntry
from broker.settings.inventory_checks import Names
from broker.settings.inventory_file import InventoryFile
from broker.settings.inventory_places import BacnetDeviceEntry, ModbusDeviceEntry

_Device = ModbusDeviceEntry | BacnetDeviceEntry
_CLASSES = (Action.ADJUST, Action.CONTROL)


def grant_findings(whole: InventoryFile, names: Names) -> Iterator[Finding]:
    """What is wrong with the grants of an inventory; paths begin at the inventory."""
    for place, grant in enumerate(whole.grants):
        found = [*_who_findings(grant, names), *_where_findings(grant, whole, names)]
        found += _when_findings(grant, whole, names)
        yield from (finding.under(("grants", place)) for finding in found)


def _who_findings(grant: GrantEntry, names: Names) -> Iterator[Finding]:
    if not (grant.subjects or grant.organisations or grant.roles):
        yield Finding((), "the grant names nobody", "give subjects, organisations or roles")
    for key, listed in (("organisations", grant.organisations), ("scope", grant.scope.organisations)):
        for place, name in enumerate(listed):
            if name not in names.organisations:
                path = (key, place) if key == "organisations" else (key, "organisations", place)
                yield Finding(path, f"there is no organisation '{name}'", did_you_mean(name, names.organisations))
    both = grant.organisations and grant.scope.organisations
    if both and not set(grant.organisations) & set(grant.scope.organisations):
        yield _never(("organisations",), "organisations and scope.organisations exclude each other")


def _where_findings(grant: GrantEntry, whole: InventoryFile, names: Names) -> Iterator[Finding]:
    scope = grant.scope
    if not (scope.sites or scope.devices or scope.labels):
        hint = "give sites, devices or labels; a grant for everything is given by naming every site"
        yield Finding(("scope",), "the grant names no device", hint)
        return
    for key in ("sites", "devices"):
        for place, name in enumerate(getattr(scope, key)):
            known = getattr(names, key)
            if name not in known:
                yield Finding(("scope", key, place), f"there is no {key[:-1]} '{name}'", did_you_mean(name, known))
    if "devices" in names.unreadable:
        return
    devices = covered(scope, whole)
    if not devices:
        if all(name in names.devices for name in scope.devices) and all(name in names.sites for name in scope.sites):
            yield _never(("scope",), "no device lies in this scope")
        return
    yield from _point_findings(grant, devices)


def _point_findings(grant: GrantEntry, devices: tuple[_Device, ...]) -> Iterator[Finding]:
    points = {point.id: point for device in devices for point in device.points}
    for place, name in enumerate(grant.points):
        if name not in points:
            message = f"no device in its scope has a point '{name}'"
            yield Finding(("points", place), message, did_you_mean(name, points))
    named = [point for device in devices for point in device.points if not grant.points or point.id in grant.points]
    for place, action in enumerate(grant.actions):
        if named and action in _CLASSES and all(point.action != action for point in named):
            yield _never(("actions", place), f"none of its points is written by '{action}'")


def _when_findings(grant: GrantEntry, whole: InventoryFile, names: Names) -> Iterator[Finding]:
    begins, ends = grant.not_before, grant.not_after
    if begins is not None and ends is not None and ends <= begins:
        yield Finding(("not_after",), "the grant ends before it begins")
    devices = covered(grant.scope, whole)
    scopes = {window.id: window.scope for window in whole.windows}
    for place, name in enumerate(grant.windows):
        if name not in names.windows:
            yield Finding(("windows", place), f"there is no window '{name}'", did_you_mean(name, names.windows))
        elif name in scopes and devices and not any(device_in(scopes[name], device) for device in devices):
            yield _never(("windows", place), f"window '{name}' applies to none of its devices")


def _never(path: tuple[str | int, ...], message: str) -> Finding:
    return Finding(path, message, "the grant can never apply there", warning=True)


def covered(scope: ScopeEntry, whole: InventoryFile) -> tuple[_Device, ...]:
    """The devices that lie in a scope."""
    return tuple(device for device in whole.devices if device_in(scope, device))


def device_in(scope: ScopeEntry, device: _Device) -> bool:
    """Whether a device lies in a scope."""
    return scope.to_model().covers(device.site, device.key, tuple(device.labels.items()))
