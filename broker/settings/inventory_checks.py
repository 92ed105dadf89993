"""What is wrong between the entries of an inventory: references, names that must be unique, and ways that collide.

Paths begin at the merged inventory: ("devices", 3, "segment"). An entry that could not be read at all is known by its
id only, so that one mistake is not reported everywhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from broker.model.way import BacnetIpWay, BacnetScWay, RtuOverTcpWay, SerialWay, Way, network_place, place_name
from broker.settings.bacnet_place_checks import (
    audit_log_findings,
    bacnet_device_findings,
    bacnet_way_findings,
    network_findings,
)
from broker.settings.findings import Finding, Path, did_you_mean
from broker.settings.inventory_access import OrganisationEntry, ScopeEntry
from broker.settings.inventory_file import InventoryFile
from broker.settings.inventory_places import BacnetDeviceEntry, EndpointBudgetEntry, ModbusDeviceEntry
from broker.settings.inventory_points import BacnetPointEntry, ModbusPointEntry
from broker.settings.point_checks import bacnet_point_findings, modbus_point_findings, overlap_findings

_Device = ModbusDeviceEntry | BacnetDeviceEntry


@dataclass(frozen=True, slots=True)
class Names:
    """What may be referred to, entries from elsewhere included, and those of `unreadable` kinds by id only."""

    sites: set[str] = field(default_factory=set)
    segments: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    organisations: set[str] = field(default_factory=set)
    windows: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)

    def add(self, whole: InventoryFile) -> None:
        """Add everything that `whole` defines; segments and devices as `site/id`."""
        self.sites.update(entry.id for entry in whole.sites)
        self.segments.update(f"{entry.site}/{entry.id}" for entry in whole.segments)
        self.devices.update(entry.key for entry in whole.devices)
        self.organisations.update(entry.id for entry in whole.organisations)
        self.windows.update(entry.id for entry in whole.windows)


def inventory_findings(whole: InventoryFile, names: Names) -> Iterator[Finding]:
    """Everything that is wrong between entries; `names` holds all that may be referred to."""
    for place, segment in enumerate(whole.segments):
        yield from _unknown(("segments", place, "site"), "site", segment.site, names.sites)
    for place, device in enumerate(whole.devices):
        found = (*_device_findings(device, names), *_point_findings(device))
        yield from (finding.under(("devices", place)) for finding in found)
    for place, organisation in enumerate(whole.organisations):
        found = tuple(_role_findings(organisation, names))
        yield from (finding.under(("organisations", place, "roles")) for finding in found)
    yield from _selector_findings(whole.devices)
    yield from network_findings(whole.sites, names.segments)
    yield from audit_log_findings(whole.sites, whole.devices, names.devices)
    yield from bacnet_device_findings(
        (("devices", place), device)
        for place, device in enumerate(whole.devices)
        if isinstance(device, BacnetDeviceEntry)
    )
    yield from _way_findings(whole.devices)
    yield from _endpoint_findings(whole, names)
    for place, organisation in enumerate(whole.organisations):
        found = tuple(_allowed_findings(organisation, names))
        yield from (finding.under(("organisations", place)) for finding in found)
    for kind in ("windows", "freezes"):
        for place, window in enumerate(getattr(whole, kind)):
            found = tuple(_scope_findings(window.scope, names))
            yield from (finding.under((kind, place, "scope")) for finding in found)


def _unknown(path: Path, kind: str, name: str, known: Iterable[str]) -> Iterator[Finding]:
    if name not in known:
        yield Finding(path, f"there is no {kind} '{name}'", did_you_mean(name, known))


def _role_findings(organisation: OrganisationEntry, names: Names) -> Iterator[Finding]:
    """A role at a site that is not there gives nothing; beside an auditor's, a role that changes something neither."""
    for subject, roles in organisation.roles.items():
        for place, role in enumerate(roles):
            _, at, site = role.partition("@")
            if at and names.sites:  # a folder of organisations alone knows no sites
                yield from _unknown((subject, place), "site", site, names.sites)
        if organisation.owner and any(role.partition("@")[0] == "auditor" for role in roles) and len(set(roles)) > 1:
            message = "an auditor changes nothing: what other roles give beside looking counts for nothing"
            yield Finding((subject,), message, "give them to somebody else", warning=True)


def _scope_findings(scope: ScopeEntry, names: Names) -> Iterator[Finding]:
    for key in ("sites", "devices", "organisations"):
        for place, name in enumerate(getattr(scope, key)):
            yield from _unknown((key, place), key.removesuffix("s"), name, getattr(names, key))


def _allowed_findings(organisation: OrganisationEntry, names: Names) -> Iterator[Finding]:
    scope = organisation.allowed
    if scope is None:
        return
    if names.sites:  # a folder of organisations alone knows no sites
        yield from (finding.under(("allowed",)) for finding in _scope_findings(scope, names))
    if scope.organisations:
        yield Finding(("allowed", "organisations"), "an organisation's own reach names no organisations")
    if not (scope.sites or scope.devices or scope.labels):
        hint = "give sites, devices or labels; everything is given by naming every site"
        yield Finding(("allowed",), "it names no device", hint)


def _device_findings(device: _Device, names: Names) -> Iterator[Finding]:
    yield from _unknown(("site",), "site", device.site, names.sites)
    if device.site in names.sites and f"{device.site}/{device.segment}" not in names.segments:
        here = [key.partition("/")[2] for key in names.segments if key.startswith(f"{device.site}/")]
        message = f"there is no segment '{device.segment}' in site '{device.site}'"
        yield Finding(("segment",), message, did_you_mean(device.segment, here))
    ways = device.upstream.ways()
    if len(ways) != 1:
        known = (
            "bacnet_ip or bacnet_sc" if isinstance(device, BacnetDeviceEntry) else "modbus_tcp, rtu_over_tcp or serial"
        )
        yield Finding(("upstream",), "there must be exactly one way to a device", known)
    else:
        yield from _serial_findings(device)
    if isinstance(device, BacnetDeviceEntry):
        for kind, entry in (("bacnet_ip", device.upstream.bacnet_ip), ("bacnet_sc", device.upstream.bacnet_sc)):
            found = bacnet_way_findings(entry) if entry is not None else ()
            yield from (finding.under(("upstream", kind)) for finding in found)
    yield from _budget_findings(device.budget)


def _serial_findings(device: _Device) -> Iterator[Finding]:
    way = device.upstream.ways()[0]
    if not isinstance(device, ModbusDeviceEntry) or not isinstance(way, SerialWay | RtuOverTcpWay):
        return
    if not 1 <= device.upstream_unit_id <= 247:
        # Modbus over Serial Line v1.02, 2.2: 0 is broadcast, 248 to 255 are reserved.
        message = f"unit id {device.upstream_unit_id} addresses no single device on a serial line"
        yield Finding(("upstream",), message, "upstream.unit_id: 1 to 247")
    if device.budget.connections != 1:
        yield Finding(("budget", "connections"), "a serial line bears one connection", "connections: 1")


def _budget_findings(budget: EndpointBudgetEntry) -> Iterator[Finding]:
    gap, rate = budget.gap_milliseconds / 1000, budget.operations_per_second
    if gap * rate > budget.connections:
        message = f"a gap of {budget.gap_milliseconds:g} ms never lets {rate:g} operations a second through"
        yield Finding(("budget",), message, "lower one of the two", warning=True)


def _point_findings(device: _Device) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    points: tuple[ModbusPointEntry | BacnetPointEntry, ...] = device.points
    for place, point in enumerate(points):
        if point.id in seen:
            message = f"point '{point.id}' is there twice"
            yield Finding(("points", place, "id"), message, f"the first is entry {seen[point.id] + 1} of points")
        seen.setdefault(point.id, place)
        found = modbus_point_findings(point) if isinstance(point, ModbusPointEntry) else bacnet_point_findings(point)
        yield from (finding.under(("points", place)) for finding in found)
    yield from (finding.under(("points",)) for finding in overlap_findings(points))


def _selector_findings(devices: tuple[_Device, ...]) -> Iterator[Finding]:
    """A TLS name or an own listener selects one device only."""
    by_name: dict[str, str] = {}
    by_listener: dict[str, str] = {}
    for place, device in enumerate(devices):
        if not isinstance(device, ModbusDeviceEntry):
            continue
        first = by_name.setdefault(device.tls_name, device.key)
        if first != device.key:
            message = f"the TLS name '{device.tls_name}' already selects {first}"
            yield Finding(("devices", place, "sni"), message, "give one of them another sni")
        other = next((known for known in by_listener if listeners_collide(known, device.listen)), None)
        if other is not None:
            message = f"the listener {device.listen} already belongs to {by_listener[other]}"
            yield Finding(("devices", place, "listen"), message, "give each device its own address or port")
        elif device.listen:
            by_listener[device.listen] = device.key


def listeners_collide(one: str, other: str) -> bool:
    """Whether two `address:port` cannot both be listened on; a wildcard address is every address."""
    (address, _, port), (other_address, _, other_port) = one.rpartition(":"), other.rpartition(":")
    wild = ("0.0.0.0", "[::]", "::")
    return port == other_port != "0" and (address == other_address or address in wild or other_address in wild)


def _way_findings(devices: tuple[_Device, ...]) -> Iterator[Finding]:
    """Several devices may share an endpoint; the same unit there, or two settings of one line, are mistakes."""
    lines: dict[str, tuple[SerialWay, str]] = {}
    units: defaultdict[object, list[str]] = defaultdict(list)
    for place, device in enumerate(devices):
        for way in device.upstream.ways()[:1]:
            if isinstance(way, SerialWay) and lines.setdefault(way.path, (way, device.key))[0] != way:
                message = f"{way.path} has other settings in {lines[way.path][1]}"
                yield Finding(("devices", place, "upstream"), message, "baud, parity and stop_bits belong to the line")
            controller = _controller(way, device)
            if units[controller]:
                message = f"the same controller is already {units[controller][0]}"
                hint = "limits and grants of one name do not hold for the other"
                yield Finding(("devices", place, "upstream"), message, hint, warning=True)
            units[controller].append(device.key)


def _controller(way: Way, device: _Device) -> tuple[object, ...]:
    """What is one controller, however it is described: a unit at a place, or a BACnet address."""
    if isinstance(way, BacnetIpWay):
        return way.host, way.port, way.network, way.address
    if isinstance(way, BacnetScWay):
        return way.hub, way.vmac or way.instance, way.network, way.address
    return way, device.upstream_unit_id if isinstance(device, ModbusDeviceEntry) else None


def _endpoint_findings(whole: InventoryFile, names: Names) -> Iterator[Finding]:
    """A budget for a place where no device is would hold nobody back, in silence."""
    every = [way for device in whole.devices for way in device.upstream.ways()[:1]]
    ways, networks = {place_name(way): way for way in every}, {network_place(way) for way in every}
    for place, endpoint in enumerate(whole.endpoints):
        way = ways.get(endpoint.at)
        if endpoint.network is not None:
            if (endpoint.at, endpoint.network) not in networks and "devices" not in names.unreadable:
                message = f"no device is reached on the network {endpoint.network} behind '{endpoint.at}'"
                yield Finding(("endpoints", place, "network"), message)
        elif way is None and "devices" not in names.unreadable:
            message = f"no device is reached at '{endpoint.at}'"
            yield Finding(("endpoints", place, "at"), message, did_you_mean(endpoint.at, ways))
        if isinstance(way, SerialWay | RtuOverTcpWay) and endpoint.budget.connections != 1:
            path = ("endpoints", place, "budget", "connections")
            yield Finding(path, "a serial line bears one connection", "connections: 1")
        yield from (finding.under(("endpoints", place)) for finding in _budget_findings(endpoint.budget))


def organisation_findings(organisation: OrganisationEntry) -> Iterator[Finding]:
    """What is wrong with one organisation beside its files; paths begin at the organisation."""
    begins, ends = organisation.contract_from, organisation.contract_until
    if begins is not None and ends is not None and ends <= begins:
        yield Finding(("contract_until",), "the contract ends before it begins")
    if organisation.anchors and not organisation.namespaces:
        hint = "such as namespaces: ['*@acme.example']"
        yield Finding((), "it has anchors but no namespaces: its certificates could name nobody", hint, warning=True)
