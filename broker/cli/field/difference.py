"""What was found against the present inventory: devices and points that are new, gone or changed.

An inventory that is stricter than the device (narrower limits, fewer priorities, read only) is somebody's decision, not
a difference; one that promises more than the device has is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from broker.cli.field.proposal import ProposedDevice
from broker.model.place import BacnetAddress, Device, ModbusAddress, Point
from broker.model.way import BacnetIpWay, Segmentation, place_name
from broker.settings.inventory_places import BacnetDeviceEntry, ModbusDeviceEntry, device_model
from broker.settings.inventory_points import decimal_text

NEW, GONE, CHANGED = "new", "gone", "changed"
_SYMBOLS = {
    "degrees-celsius": "°c",
    "degrees-fahrenheit": "°f",
    "degrees-kelvin": "k",
    "percent": "%",
    "percent-relative-humidity": "%rh",
    "parts-per-million": "ppm",
    "pascals": "pa",
    "kilopascals": "kpa",
    "bars": "bar",
    "liters-per-second": "l/s",
    "liters-per-minute": "l/min",
    "cubic-meters": "m³",
    "cubic-meters-per-hour": "m³/h",
    "cubic-meters-per-second": "m³/s",
    "watts": "w",
    "kilowatts": "kw",
    "watt-hours": "wh",
    "kilowatt-hours": "kwh",
    "megawatt-hours": "mwh",
    "volts": "v",
    "amperes": "a",
    "hertz": "hz",
    "seconds": "s",
    "minutes": "min",
    "hours": "h",
    "meters-per-second": "m/s",
    "luxes": "lx",
}
"""What people write for units of the standard, in lower case."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: of a device, or of a `point` of it; `what` of it changed, from `before` to `now`."""

    kind: str
    device: str
    point: str = ""
    what: str = ""
    before: str = ""
    now: str = ""

    def sentence(self) -> str:
        """As people read it."""
        of = f"{self.device} {self.point}".rstrip()
        told = f" ({self.now or self.before})" if self.kind != CHANGED and (self.now or self.before) else ""
        changed = f": {self.what} {self.before or 'none'} -> {self.now or 'none'}" if self.kind == CHANGED else told
        return f"{self.kind:<7} {of}{changed}"

    def document(self) -> dict[str, str]:
        """As programs read it."""
        return asdict(self)


def place_key(device: Device) -> tuple[object, ...]:
    """What makes a device the same device: its instance, or where a Modbus unit is."""
    if isinstance(device.way, BacnetIpWay):
        return "bacnet", device.way.instance
    return "modbus", place_name(device.way), device.upstream_unit_id


def point_key(point: Point) -> tuple[object, ...]:
    """What makes a point the same point: what it addresses."""
    at = point.address
    if isinstance(at, BacnetAddress):
        return at.object_type, at.instance, at.property, at.index
    return at.table, at.start, at.bit


def model_of(proposed: ProposedDevice) -> Device:
    """A proposal as the broker would know it. Raises pydantic's ValidationError."""
    kind = BacnetDeviceEntry if proposed.entry["protocol"] == "bacnet" else ModbusDeviceEntry
    return device_model(kind.model_validate({**proposed.entry, "points": [each.entry for each in proposed.points]}))


def differences(
    present: Sequence[Device], proposed: Sequence[ProposedDevice], expected: Sequence[Device]
) -> list[Difference]:
    """All of them; those of `present` that are `expected` to be found are gone if they were not."""
    known = {place_key(device): device for device in present}
    found: list[Difference] = []
    seen = set()
    for each in proposed:
        device = model_of(each)
        seen.add(place_key(device))
        before = known.get(place_key(device))
        if before is None:
            found.append(Difference(NEW, device.key, now=f"{len(device.points)} points at {place_name(device.way)}"))
        else:
            found += _of_device(before, device, each.whole)
    gone = (device for device in expected if place_key(device) not in seen)
    return found + [Difference(GONE, device.key, before=place_name(device.way)) for device in gone]


def _of_device(before: Device, now: Device, whole: bool) -> Iterator[Difference]:
    yield from (
        Difference(CHANGED, before.key, "", what, old, new) for what, old, new in _ways(before, now) if old != new
    )
    known = {point_key(point): point for point in before.points}
    points = {point_key(point): point for point in now.points}
    for key, point in points.items():
        if key not in known:
            yield Difference(NEW, before.key, point.id, now=_address(point))
        else:
            yield from _of_point(before, known[key], point)
    for key, point in known.items():
        if whole and key not in points and _comparable(point, points):
            yield Difference(GONE, before.key, point.id, before=_address(point))


def _comparable(point: Point, found: Mapping[tuple[object, ...], Point]) -> bool:
    """Whether a look could have found the point: other properties than the present value are not looked at, and a map
    of registers only says what it has.
    """
    if isinstance(point.address, BacnetAddress):
        return point.address.property == "present-value" and point.address.index is None
    return bool(found)


def _ways(before: Device, now: Device) -> Iterator[tuple[str, str, str]]:
    yield "upstream", place_name(before.way), place_name(now.way)
    if isinstance(before.way, BacnetIpWay) and isinstance(now.way, BacnetIpWay):
        yield "network", _behind(before.way), _behind(now.way)
        if before.way.longest_apdu > now.way.longest_apdu:
            stated = "" if before.way.max_apdu else " (default)"
            yield "max_apdu", f"{before.way.longest_apdu}{stated}", str(now.way.longest_apdu)
        known, found = (way.segmentation or Segmentation.BOTH for way in (before.way, now.way))
        if known not in (Segmentation.NONE, found):
            yield "segmentation", known, found


def _behind(way: BacnetIpWay) -> str:
    return "" if way.network is None else f"{way.network}:0x{way.address.hex()}"


def _of_point(device: Device, before: Point, now: Point) -> Iterator[Difference]:
    for what, old, new in _of_values(before, now):
        yield Difference(CHANGED, device.key, before.id, what, old, new)


def _of_values(before: Point, now: Point) -> Iterator[tuple[str, str, str]]:
    if now.engineering_unit and not _same_unit(before.engineering_unit, now.engineering_unit):
        yield "unit", before.engineering_unit, now.engineering_unit
    if isinstance(before.address, ModbusAddress) and before.address != now.address:
        yield "registers", _registers(before.address), _registers(now.address)  # type: ignore[arg-type]
    if before.action is None:
        return
    yield from _priorities(before, now)
    if now.minimum is not None and _exceeds(now.minimum, before.minimum, least=True):
        yield "minimum", _text(before.minimum), _text(now.minimum)
    if now.maximum is not None and _exceeds(now.maximum, before.maximum, least=False):
        yield "maximum", _text(before.maximum), _text(now.maximum)


def _priorities(before: Point, now: Point) -> Iterator[tuple[str, str, str]]:
    """A point with priorities whose object has none."""
    if isinstance(before.address, BacnetAddress) and isinstance(now.address, BacnetAddress):
        promised = before.address.priority_lowest is not None
        if promised and now.address.priority_lowest is None:
            yield "priority", f"{before.address.priority_lowest} to {before.address.priority_highest}", ""


def _exceeds(told: Decimal, set_: Decimal | None, *, least: bool) -> bool:
    """Whether the inventory lets through what the device says it cannot be."""
    return set_ is None or (set_ < told if least else set_ > told)


def _same_unit(one: str, other: str) -> bool:
    spelled = [_SYMBOLS.get(unit.lower(), unit.lower()).replace(" ", "") for unit in (one, other)]
    return spelled[0] == spelled[1]


def _text(number: Decimal | None) -> str:
    return "" if number is None else decimal_text(number)


def _address(point: Point) -> str:
    at = point.address
    if isinstance(at, BacnetAddress):
        return f"{at.object_type},{at.instance}"
    return f"{at.table} {at.start}" + ("" if at.bit is None else f".{at.bit}")


def _registers(at: ModbusAddress) -> str:
    values: dict[str, Any] = asdict(at)
    return " ".join(f"{name}={value}" for name, value in values.items() if value is not None)
