"""Entries of the inventory from what was found, with what people have to decide beside them.

An entry is as the YAML has it, texts and lists and all; `notes` are its comments. Everything is checked by the rules of
the inventory: what these refuse is left out and noted, so that no device can spoil the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from broker.cli.field.names import labels
from broker.cli.people.safe_text import escape
from broker.model.field import FoundDevice, FoundObject, FoundUnit
from broker.model.way import Segmentation
from broker.settings.bacnet_words import COMMANDABLE
from broker.settings.inventory_points import BacnetPointEntry, decimal_text
from broker.settings.point_checks import bacnet_point_findings

LONGEST_DESCRIPTION = 200
LONGEST_UNIT = 32
DEFAULT_PRIORITIES = [9, 16]
"""Below the priorities of people at the device (8) and above nothing (ASHRAE 135-2020, 19.2)."""
_ADJUSTED = frozenset(("analog-value", "integer-value", "large-analog-value", "positive-integer-value"))
_VALUED = COMMANDABLE | frozenset(
    (
        *("accumulator", "analog-input", "binary-input", "multi-state-input", "loop", "pulse-converter"),
        *("life-safety-point", "life-safety-zone", "schedule"),
    )
)
_MOST_STATES_TOLD = 20
_APDU_OCTETS = (50, 128, 206, 480, 1024, 1476)  # 20.1.2.5
ObjectKey = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ProposedPoint:
    """A point. `suggested` are the keys that somebody has to decide about."""

    entry: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    suggested: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.entry["id"])


@dataclass(frozen=True, slots=True)
class ProposedDevice:
    """A device with its points. `whole`: everything it has was read, so that what is missing is gone."""

    entry: Mapping[str, Any]
    points: tuple[ProposedPoint, ...]
    notes: tuple[str, ...] = ()
    whole: bool = True

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.entry["id"])


def plain(text: str, longest: int = LONGEST_DESCRIPTION) -> str:
    """A device's text in one line, with nothing in it that shows as something else."""
    return escape(" ".join(text.replace("\0", " ").split()))[:longest]


def bacnet_device(
    found: FoundDevice, site: str, segment: str, identifier: str, known: Mapping[ObjectKey, str]
) -> ProposedDevice:
    """The proposal for a device; `known` are ids that points have already."""
    told = (found.description, found.vendor, found.model, found.location)
    description = plain(", ".join(text for text in map(plain, told) if text))
    entry: dict[str, Any] = {"id": identifier, "site": site, "segment": segment, "protocol": "bacnet"}
    entry["upstream"] = {"bacnet_ip": _way(found)}
    if description:
        entry["description"] = description
    valued = [each for each in found.objects if each.object_type in _VALUED or each.object_type.isdecimal()]
    named: list[tuple[ObjectKey, str, str]] = [
        ((each.object_type, each.instance), each.name, f"{each.object_type}-{each.instance}") for each in valued
    ]
    ids = labels(named, known)
    points = tuple(_point(each, ids[each.object_type, each.instance]) for each in valued)
    return ProposedDevice(entry, points, _device_notes(found, len(valued)), not found.trouble)


def modbus_device(
    place: tuple[str, int, int],
    found: FoundUnit | None,
    site: str,
    segment: str,
    identifier: str,
    points: tuple[ProposedPoint, ...],
) -> ProposedDevice:
    """The proposal for a unit at host, port and unit id; `points` come from a register map."""
    host, port, unit = place
    entry: dict[str, Any] = {"id": identifier, "site": site, "segment": segment, "protocol": "modbus"}
    entry |= {"upstream": {"modbus_tcp": {"host": host, "port": port}, "unit_id": unit}, "unit_id": unit}
    told = [text for _, text in found.identification] + [found.server_id] if found else []
    if description := plain(", ".join(text for text in map(plain, told) if text)):
        entry["description"] = description
    notes = ["decide: criticality, labels, segment, budget; sni or listen, unit_id that callers use"]
    if found is None:
        notes.append("not all there is: it did not answer")
    else:
        notes += [f'{name} "{plain(text)}"' for name, text in found.identification]
        notes += [f"not all there is: {plain(trouble)}" for trouble in found.trouble]
    if not points:
        notes.append("Modbus does not tell which registers there are: give its register map with --map")
    return ProposedDevice(entry, points, tuple(notes), found is not None and not found.trouble)


def _way(found: FoundDevice) -> dict[str, Any]:
    """The way to a device; what is as the inventory takes it to be is left out."""
    way: dict[str, Any] = {"host": found.address.host, "port": found.address.port, "instance": found.instance}
    if found.address.network is not None:
        way |= {"network": found.address.network, "address": f"0x{found.address.mac.hex()}"}
    max_apdu = max((octets for octets in _APDU_OCTETS if octets <= found.max_apdu), default=_APDU_OCTETS[0])
    if max_apdu != _APDU_OCTETS[-1]:
        way["max_apdu"] = max_apdu
    if found.segmentation != Segmentation.BOTH.value:
        way["segmentation"] = found.segmentation
    return way


def _device_notes(found: FoundDevice, valued: int) -> tuple[str, ...]:
    firmware = " ".join(filter(None, (plain(found.firmware, 60), plain(found.software, 60))))
    others: dict[str, int] = {}
    for each in found.objects:
        if each.object_type not in _VALUED and not each.object_type.isdecimal():
            others[each.object_type] = others.get(each.object_type, 0) + 1
    told = "?" if found.objects_told is None else found.objects_told
    notes = [
        f'calls itself "{plain(found.name)}"; vendor {found.vendor_identifier}, firmware {firmware or "not told"},'
        f" {len(found.objects)} objects read beside itself, of {told},"
        f" max APDU {found.max_apdu}, segmentation {found.segmentation}",
        "decide: criticality, labels, segment, budget",
        *(f"not all there is: {plain(trouble)}" for trouble in found.trouble),
    ]
    if others:
        notes.append("not proposed: " + ", ".join(f"{count} {kind}" for kind, count in sorted(others.items())))
    if "read-property-multiple" not in found.services:
        notes.append("does not say that it can read several properties at once")
    return tuple(notes)


def _point(found: FoundObject, identifier: str) -> ProposedPoint:
    entry: dict[str, Any] = {"id": identifier, "object": found.object_type, "instance": found.instance}
    notes = [f'"{plain(found.name)}"'] if found.name else ["has no name"]
    notes += [plain(trouble) for trouble in found.trouble]
    unit = plain(found.unit)
    if unit and len(unit) <= LONGEST_UNIT and unit != "no-units":
        entry["unit"] = unit
    elif len(unit) > LONGEST_UNIT:
        notes.append(f"unit {unit}")
    if description := plain(found.description):
        entry["description"] = description
    suggestion = _suggestion(found)
    low, high = _limits(found)
    if suggestion is None and (low is not None or high is not None):
        notes.append(f"the device tells of values from {_told(low)} to {_told(high)}")
    notes += _state_notes(found)
    if suggestion is None:
        notes += _why_not(found)
        return _checked(ProposedPoint(entry, tuple(notes)))
    entry |= {"action": suggestion, "priority": DEFAULT_PRIORITIES}
    entry |= {key: decimal_text(limit) for key, limit in (("minimum", low), ("maximum", high)) if limit is not None}
    return _checked(ProposedPoint(entry, tuple(notes), ("action", "priority")))


def _checked(point: ProposedPoint) -> ProposedPoint:
    """The point, or what of it the rules of the inventory leave: its place, to be read only."""
    try:
        entry = BacnetPointEntry.model_validate(point.entry)
        if not any(not finding.warning for finding in bacnet_point_findings(entry)):
            return point
    except ValidationError:
        pass
    kept = {key: point.entry[key] for key in ("id", "object", "instance")}
    return ProposedPoint(kept, (*point.notes, "what else it tells cannot be used in an inventory"))


def _suggestion(found: FoundObject) -> str | None:
    """The class of a write: setpoints are adjusted, everything else that takes commands is controlled."""
    if not found.commandable or found.object_type not in COMMANDABLE:
        return None
    return "adjust" if found.object_type in _ADJUSTED else "control"


def _why_not(found: FoundObject) -> Sequence[str]:
    if found.object_type.isdecimal():
        return ("of a type of its vendor's: decide whether it may be written",)
    if found.object_type not in COMMANDABLE:
        return ()
    if found.commandable is None:
        return ("decide: the device does not say whether it takes priorities, so it is proposed to be read only",)
    return ("decide: it takes no priorities, and nothing says whether it can be written; action: adjust if so",)


def _limits(found: FoundObject) -> tuple[Decimal | None, Decimal | None]:
    """What may be written at most, from what the device says it can be."""
    if found.states is not None:
        return Decimal(1), Decimal(found.states) if found.states >= 1 else None
    low, high = found.minimum, found.maximum
    return (low, high) if low is None or high is None or low < high else (None, None)


def _told(limit: Decimal | None) -> str:
    return "?" if limit is None else decimal_text(limit)


def _state_notes(found: FoundObject) -> list[str]:
    texts = [plain(text, 60) for text in found.state_texts[:_MOST_STATES_TOLD]]
    if not texts:
        return []
    words = ("inactive", "active") if found.states is None else tuple(str(n) for n in range(1, len(texts) + 1))
    more = " …" if len(found.state_texts) > _MOST_STATES_TOLD else ""
    return [", ".join(f'{word} = "{text}"' for word, text in zip(words, texts, strict=False)) + more]
