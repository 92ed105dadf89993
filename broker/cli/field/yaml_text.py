"""Entries as YAML for the loader of the inventory; what is no plain word is quoted as JSON, which YAML reads too."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from broker.cli.field.proposal import ProposedDevice, ProposedPoint

_PLAIN = re.compile(r"[a-z0-9][a-z0-9.-]*")
_HEAD = """\
# Proposed by `otbroker discover` from what devices say of themselves; nothing of it is in force.
# Read it before it goes into the inventory: names and texts are the devices' own, classes of writes are suggestions.
# Whatever gets an action can be granted; see `otbroker config diff` for who would gain what.
"""

_SITE_NOTES = (
    "  # decide: bacnet: {network: N}, a number that no other network of the tools has; without it BACnet tools find",
    "  # nothing there, and only the API reaches its BACnet devices",
)


def inventory_yaml(
    site: str | None, segment: tuple[str, str] | None, devices: Sequence[ProposedDevice], remarks: Sequence[str]
) -> str:
    """A file of the inventory; `site` and `segment` only if it is to define them."""
    lines = [_HEAD.rstrip(), *(f"# {remark}" for remark in remarks)]
    if site is not None:
        notes = _SITE_NOTES if any(device.entry["protocol"] == "bacnet" for device in devices) else ()
        lines += ["sites:", *notes, f"  - id: {scalar(site)}"]
    if segment is not None:
        lines += ["segments:", f"  - {_flow({'id': segment[1], 'site': segment[0]})}"]
    lines += ["devices:" if devices else "devices: []"]
    for device in devices:
        lines += device_lines(device)
    return "\n".join(lines) + "\n"


def device_lines(device: ProposedDevice) -> Iterator[str]:
    """One device, as an element of `devices`."""
    yield from (f"  # {note}" for note in device.notes)
    for place, (key, value) in enumerate(device.entry.items()):
        yield f"  {'- ' if place == 0 else '  '}{key}: {_value(value)}"
    if device.points:
        yield "    points:"
    for point in device.points:
        yield from (f"      {line}" for line in point_lines(point))


def point_lines(point: ProposedPoint) -> Iterator[str]:
    """One point, as an element of `points`."""
    yield from (f"# {note}" for note in point.notes)
    for place, (key, value) in enumerate(point.entry.items()):
        remark = "  # suggestion: decide" if key in point.suggested else ""
        yield f"{'- ' if place == 0 else '  '}{key}: {_value(value)}{remark}"


def scalar(value: object) -> str:
    """A text or number; what reads as something else than itself is quoted."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text != "null" else json.dumps(text, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _flow(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return scalar(value)


def _flow(mapping: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in mapping.items()) + "}"
