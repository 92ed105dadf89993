"""What changed about what may be written to a point, in words: from what to what."""

from collections.abc import Iterator
from decimal import Decimal

from broker.model.place import BacnetAddress, Device, Point
from broker.settings.inventory_points import decimal_text

NONE = "none"


def changed_terms(old: Device, new: Device) -> dict[str, tuple[str, ...]]:
    """By the id of each point that both have: its limits, allowed values, priorities and the like that differ."""
    before = {point.id: dict(_terms(point)) for point in old.points}
    return {
        point.id: tuple(
            f"{point.id}: {name} {before[point.id].get(name, NONE)} → {value}"
            for name, value in _terms(point)
            if before[point.id].get(name, NONE) != value
        )
        for point in new.points
        if point.id in before
    }


def _terms(point: Point) -> Iterator[tuple[str, str]]:
    yield "minimum", _number(point.minimum)
    yield "maximum", _number(point.maximum)
    yield "allowed", ", ".join(point.allowed) or "any"
    yield "action", "read only" if point.action is None else str(point.action)
    yield "on leave", str(point.on_leave)
    if isinstance(point.address, BacnetAddress):
        yield "priorities", _priorities(point.address)


def _number(limit: Decimal | None) -> str:
    return NONE if limit is None else decimal_text(limit)


def _priorities(address: BacnetAddress) -> str:
    if address.priority_lowest is None and address.priority_highest is None:
        return NONE
    return f"{address.priority_lowest} to {address.priority_highest}"
