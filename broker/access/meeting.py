"""What two versions of one thing both allow: times, limits, points, devices and organisations.

Everything here answers with what is allowed by the old *and* by the new version, or None if nothing is.
"""

import dataclasses
from collections.abc import Iterable
from decimal import Decimal

from broker.access.roles import met
from broker.model.place import BacnetAddress, Device, ModbusAddress, OnLeave, Organisation, Point
from broker.model.schedule import Occurrence, Scope

_CRITICALITIES = ("low", "medium", "high", "critical")
Words = tuple[str, ...]


def meet_words(old: Words, new: Words) -> Words | None:
    """The common words, where none given means any."""
    if not old or not new:
        return old or new
    return tuple(word for word in new if word in old) or None


def latest(*moments: float | None) -> float | None:
    """The latest of those that are given."""
    return max((moment for moment in moments if moment is not None), default=None)


def earliest(*moments: float | None) -> float | None:
    """The earliest of those that are given."""
    return min((moment for moment in moments if moment is not None), default=None)


def occurrence_within(inner: Occurrence, outer: Occurrence) -> bool:
    """Whether every moment of `inner` is certainly one of `outer`; False where it cannot be told from the words."""
    if (inner.starts, inner.zone) != (outer.starts, outer.zone):
        return False
    return _rule_within(inner.recurrence, outer.recurrence) and _length_within(inner, outer)


def meet_occurrence(old: Occurrence, new: Occurrence) -> Occurrence | None:
    """The shorter of the two if it lies in the other; None for times that changed otherwise."""
    if occurrence_within(new, old):
        return new
    return old if occurrence_within(old, new) else None


def meet_point(old: Point, new: Point) -> Point:
    """A point of both versions at one address: the narrower limits; read-only if nothing can be written by both.

    It stays confidential if it was: what is once recorded in clear cannot be erased. What is undone when access ends by
    one version is undone.
    """
    address, reach = _meet_address(old.address, new.address)
    minimum = max(_given(old.minimum, new.minimum), default=None)
    maximum = min(_given(old.maximum, new.maximum), default=None)
    allowed = meet_words(old.allowed, new.allowed)
    empty = allowed is None or (minimum is not None and maximum is not None and minimum > maximum)
    writable = old.action is new.action and reach and not empty
    return dataclasses.replace(
        new,
        address=address,
        action=new.action if writable else None,
        minimum=minimum,
        maximum=maximum,
        allowed=allowed or (),
        confidential=new.confidential or old.confidential,
        on_leave=old.on_leave if new.on_leave is OnLeave.KEEP else new.on_leave,
    )


def same_datum(old: Point, new: Point) -> bool:
    """Whether two points are the same datum, read the same way, whatever may be written to it."""
    return _bare(old.address) == _bare(new.address)


def meet_device(old: Device, new: Device) -> Device | None:
    """The device, if it is still the same controller, with the points of both versions.

    A point of only one version stays described, read-only and under a name that no grant can give: otherwise a write to
    its address would change its class.
    """
    if (old.protocol, old.way, old.upstream_unit_id) != (new.protocol, new.way, new.upstream_unit_id):
        return None
    return dataclasses.replace(
        new,
        points=tuple(_meet_points(old, new)),
        labels=tuple(label for label in new.labels if label in old.labels),
        criticality=max(old.criticality, new.criticality, key=_CRITICALITIES.index),
    )


def meet_organisation(old: Organisation, new: Organisation) -> Organisation:
    """The organisation as far as both versions trust it; revocation lists are the newest."""
    held = dict(old.roles)
    roles = ((subject, met(roles, held.get(subject, ()))) for subject, roles in new.roles)
    return dataclasses.replace(
        new,
        anchors=tuple(anchor for anchor in new.anchors if anchor in old.anchors),
        namespaces=tuple(namespace for namespace in new.namespaces if namespace in old.namespaces),
        owner=old.owner and new.owner,
        crls=new.crls or old.crls,
        crl_required=old.crl_required or new.crl_required,
        max_path_length=min(old.max_path_length, new.max_path_length),
        contract_from=latest(old.contract_from, new.contract_from),
        contract_until=earliest(old.contract_until, new.contract_until),
        roles=tuple((subject, common) for subject, common in roles if common),
        sponsor=new.sponsor if new.sponsor == old.sponsor else "",
        allowed=meet_reach(old.allowed, new.allowed),
    )


def meet_reach(old: Scope | None, new: Scope | None) -> Scope | None:
    """The devices that both cover; None is none."""
    if old is None or new is None:
        return None
    sites, devices = meet_words(old.sites, new.sites), meet_words(old.devices, new.devices)
    if sites is None or devices is None:
        return None
    return Scope(sites, devices, tuple(sorted({*old.labels, *new.labels})))


def _given(*limits: Decimal | None) -> Iterable[Decimal]:
    return [limit for limit in limits if limit is not None]


def _meet_points(old: Device, new: Device) -> Iterable[Point]:
    before = {point.id: point for point in old.points}
    met = {}
    for point in new.points:
        if point.id in before and same_datum(before[point.id], point):
            met[point.id] = meet_point(before[point.id], point)
    apart: dict[str, Point] = {}
    for version, points in (("old", old.points), ("new", new.points)):
        for point in points:
            if point.id not in met:
                _set_apart(apart, point, version)
    return *met.values(), *apart.values()


def _set_apart(apart: dict[str, Point], point: Point, version: str) -> None:
    """Add a point that nobody can write, under a name that no grant can give, because an id has no full stop.

    What is in force already may have such points: they keep their names, so that the same files twice change nothing.
    """
    name = point.id if "." in point.id else f"{point.id}.{version}"
    while name in apart and not same_datum(apart[name], point):
        name += f".{version}"
    apart.setdefault(name, dataclasses.replace(point, id=name, action=None))


def _bare(address: ModbusAddress | BacnetAddress) -> ModbusAddress | BacnetAddress:
    if isinstance(address, BacnetAddress):
        return dataclasses.replace(address, priority_lowest=None, priority_highest=None)
    return address


def _meet_address(
    old: ModbusAddress | BacnetAddress, new: ModbusAddress | BacnetAddress
) -> tuple[ModbusAddress | BacnetAddress, bool]:
    """The address with the priorities of both, and whether any priority is left."""
    if not isinstance(old, BacnetAddress) or not isinstance(new, BacnetAddress) or old == new:
        return new, True
    bounds = (old.priority_lowest, old.priority_highest, new.priority_lowest, new.priority_highest)
    if None in bounds:
        return _bare(new), False
    lowest, highest = max(bounds[0] or 0, bounds[2] or 0), min(bounds[1] or 16, bounds[3] or 16)
    if lowest > highest:
        return _bare(new), False
    return dataclasses.replace(new, priority_lowest=lowest, priority_highest=highest), True


def _rule_within(inner: str, outer: str) -> bool:
    """Whether a rule is the other one, or the other one with an earlier end."""
    (bare, bounds), (outer_bare, outer_bounds) = _split(inner), _split(outer)
    if bare != outer_bare:
        return False
    if not outer_bounds or bounds == outer_bounds:
        return True
    until, outer_until = bounds.get("UNTIL", ""), outer_bounds.get("UNTIL", "")
    if until and outer_until and len(until) == len(outer_until):
        return until <= outer_until
    return "COUNT" in bounds and "COUNT" in outer_bounds and int(bounds["COUNT"]) <= int(outer_bounds["COUNT"])


def _split(rule: str) -> tuple[frozenset[str], dict[str, str]]:
    parts = [part for part in rule.split(";") if part]
    bounds = dict(part.split("=", 1) for part in parts if part.startswith(("UNTIL=", "COUNT=")))
    return frozenset(part for part in parts if part.partition("=")[0] not in bounds), bounds


def _length_within(inner: Occurrence, outer: Occurrence) -> bool:
    if inner.duration_seconds is not None and outer.duration_seconds is not None:
        return inner.duration_seconds <= outer.duration_seconds
    ends = (inner.until_wall_clock, outer.until_wall_clock)
    if ends[0] is None or ends[1] is None or ("T" in ends[0]) != ("T" in ends[1]):
        return False
    clock = inner.starts[11:]
    # An end at or before the time of the start is on the next day.
    after = [(end <= clock if "T" not in end else False, end) for end in ends if end is not None]
    return after[0] <= after[1]
