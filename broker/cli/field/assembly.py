"""What is proposed of all that was found, beside the present inventory if there is one.

Devices that the inventory knows keep their ids and those of their points, and are not proposed anew: what people have
decided about them is not written over. What they have besides stands in comments.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from broker.cli.field.difference import NEW, Difference, differences, place_key
from broker.cli.field.looking import BacnetLook, Looked, ModbusLook
from broker.cli.field.names import labels
from broker.cli.field.proposal import ProposedDevice, ProposedPoint, bacnet_device, modbus_device, plain
from broker.cli.field.yaml_text import inventory_yaml, point_lines
from broker.cli.people.safe_text import encode_document
from broker.model.place import BacnetAddress, Device, Inventory
from broker.model.way import BacnetIpWay, BacnetScWay, ModbusTcpWay, place_name

DEFAULT_SEGMENT = "field"


@dataclass(frozen=True, slots=True)
class Proposed:
    """The proposal; `known` are devices of it that the inventory has.

    `beyond` are sentences about devices of the site that no such look reaches.
    """

    site: str
    segment: str
    defined: tuple[bool, bool]
    devices: tuple[ProposedDevice, ...]
    known: frozenset[str]
    differences: tuple[Difference, ...]
    looked: Looked
    beyond: tuple[str, ...] = ()

    def yaml(self) -> str:
        """A file of the inventory, to lie beside those that are there."""
        has_site, has_segment = self.defined
        new = [device for device in self.devices if device.id not in self.known]
        return inventory_yaml(
            None if has_site else self.site,
            None if has_segment or not new else (self.site, self.segment),
            new,
            tuple(self._remarks()),
        )

    def json(self) -> str:
        """All of it, and what devices said."""
        document = {
            "site": self.site,
            "segment": self.segment,
            "partial": self.looked.partial,
            "trouble": self.looked.told_trouble(),
            "beyond": list(self.beyond),
            "devices": [_document(device, device.id in self.known) for device in self.devices],
            "differences": [difference.document() for difference in self.differences],
            "found": _plain_members([*map(asdict, self.looked.devices), *map(asdict, self.looked.units)]),
        }
        return encode_document(document) + "\n"

    def _remarks(self) -> Iterator[str]:
        yield from (f"not all there is: {plain(trouble)}" for trouble in self.looked.told_trouble())
        yield from self.beyond
        yield from (f"{difference.sentence()}" for difference in self.differences)
        for device in self.devices:
            added = {d.point for d in self.differences if d.kind == NEW and d.device == f"{self.site}/{device.id}"}
            points = [point for point in device.points if device.id in self.known and point.id in added]
            if points:
                yield f"what {self.site}/{device.id} has besides, for its points:"
            for point in points:
                yield from (f"      {line}" for line in point_lines(point))


class Assembly:
    """Puts a proposal together, for one site."""

    def __init__(self, site: str, segment: str | None, inventory: Inventory | None) -> None:
        self._site = site
        self._segment = segment or _only_segment(site, inventory) or DEFAULT_SEGMENT
        self._inventory = inventory
        self._present = [d for d in inventory.devices if d.site == site] if inventory else []

    def of(self, look: BacnetLook | ModbusLook, looked: Looked, points: tuple[ProposedPoint, ...]) -> Proposed:
        """The proposal for what was found."""
        if isinstance(look, BacnetLook):
            devices, expected = self._bacnet(looked), self._expected_bacnet(look)
        else:
            devices, expected = self._modbus(look, looked, points), self._expected_modbus(look)
        if looked.trouble:  # whoever is missing may just not have been asked
            expected = []
        found = differences(self._present, devices, expected) if self._inventory else []
        known = frozenset(device.id for device in self._present)
        beyond = tuple(self._beyond()) if isinstance(look, BacnetLook) else ()
        return Proposed(self._site, self._segment, self._defined(), tuple(devices), known, tuple(found), looked, beyond)

    def _beyond(self) -> Iterator[str]:
        for device in self._present:
            if isinstance(device.way, BacnetScWay):
                yield f"{device.key} is reached over BACnet/SC, where discover cannot look: it was not compared"

    def _defined(self) -> tuple[bool, bool]:
        """Whether the inventory has the site, and the segment."""
        if self._inventory is None:
            return False, False
        segments = {(segment.site, segment.id) for segment in self._inventory.segments}
        return self._site in self._inventory.sites, (self._site, self._segment) in segments

    def _bacnet(self, looked: Looked) -> list[ProposedDevice]:
        """Each device once; of several that say they are the same, the first."""
        found = {each.instance: each for each in reversed(looked.devices)}
        known: dict[object, Device] = {d.way.instance: d for d in self._present if isinstance(d.way, BacnetIpWay)}
        named = [(number, each.name, f"device-{number}") for number, each in sorted(found.items())]
        ids = labels(named, self._taken(known))
        return [
            bacnet_device(each, self._site, self._segment, ids[number], _point_ids(known.get(number)))
            for number, each in sorted(found.items())
        ]

    def _modbus(self, look: ModbusLook, looked: Looked, points: tuple[ProposedPoint, ...]) -> list[ProposedDevice]:
        found = {each.unit_id: each for each in looked.units}
        units = look.units if points else tuple(found)
        known: dict[object, Device] = {
            d.upstream_unit_id: d
            for d in self._present
            if isinstance(d.way, ModbusTcpWay) and (d.way.host, d.way.port) == (look.host, look.port)
        }
        named = [(unit, _unit_name(found, unit), f"{look.host}-unit-{unit}") for unit in units]
        ids = labels(named, self._taken(known))
        return [
            modbus_device((look.host, look.port, unit), found.get(unit), self._site, self._segment, ids[unit], points)
            for unit in units
        ]

    def _taken(self, known: Mapping[object, Device]) -> dict[object, str]:
        """The ids of devices of this site: of those that are looked at, and of others, by their keys."""
        ids: dict[object, str] = {key: device.id for key, device in known.items()}
        return {place_key(device): device.id for device in self._present if device.id not in ids.values()} | ids

    def _expected_bacnet(self, look: BacnetLook) -> list[Device]:
        """The devices of the inventory that ought to have answered."""
        places = {(device.host, device.port) for device in look.devices}
        return [
            device
            for device in self._present
            if isinstance(way := device.way, BacnetIpWay)
            and look.low <= way.instance <= look.high
            and (not places or (way.host, way.port) in places)
        ]

    def _expected_modbus(self, look: ModbusLook) -> list[Device]:
        place = place_name(ModbusTcpWay(look.host, look.port))
        return [d for d in self._present if place_name(d.way) == place and d.upstream_unit_id in look.units]


def _only_segment(site: str, inventory: Inventory | None) -> str | None:
    """The site's segment, if it has one and no more."""
    segments = [segment.id for segment in inventory.segments if segment.site == site] if inventory else []
    return segments[0] if len(segments) == 1 else None


def _point_ids(device: Device | None) -> dict[tuple[object, ...], str]:
    """The ids of a device's points: of present values by object, of others by what they are."""
    ids: dict[tuple[object, ...], str] = {}
    for point in device.points if device else ():
        at = point.address
        if isinstance(at, BacnetAddress):
            whole = at.property == "present-value" and at.index is None
            ids[(at.object_type, at.instance, *(() if whole else (at.property, at.index)))] = point.id
    return ids


def _unit_name(found: Mapping[int, Any], unit: int) -> str:
    """What a unit is called: by its model, with its number."""
    told = dict(found[unit].identification) if unit in found else {}
    name = told.get("model-name") or told.get("product-name") or told.get("product-code") or ""
    return f"{plain(name, 40)} unit {unit}" if name else ""


def _document(device: ProposedDevice, known: bool) -> dict[str, Any]:
    points = [{**point.entry, "notes": point.notes, "suggested": point.suggested} for point in device.points]
    return {**device.entry, "points": points, "notes": device.notes, "known": known}


def _plain_members(value: Any) -> Any:
    """JSON has no octets."""
    if isinstance(value, dict):
        return {name: _plain_members(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_members(member) for member in value]
    return value.hex() if isinstance(value, bytes) else value
