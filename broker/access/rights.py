"""Access as rows that can be compared: who may do what to which point, on which terms."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from broker.access.meeting import earliest, latest, meet_point, meet_words, occurrence_within, same_datum
from broker.model.place import BacnetAddress, Device, Grant, Inventory, Organisation, Point
from broker.model.schedule import Freeze, Window
from broker.model.vocabulary import Action

_HIGHEST_OVERRIDE = 8
_READS = (Action.VIEW, Action.DISCOVER)
_WITHOUT_POINT = (Action.CONFIG, Action.INSTALL, Action.AUTH, Action.DISCOVER)


@dataclass(frozen=True, slots=True)
class Who:
    """A subject, an organisation, a role, or what must be true together; empty is any."""

    subject: str = ""
    organisation: str = ""
    role: str = ""

    def __str__(self) -> str:
        named = (("", self.subject), ("role ", self.role), ("organisation ", self.organisation))
        return " of ".join(kind + name for kind, name in named if name) or "everybody"

    def wider(self) -> Iterator["Who"]:
        """Itself and all that contain it."""
        for subject, organisation, role in product(
            *({name, ""} for name in (self.subject, self.organisation, self.role))
        ):
            yield Who(subject, organisation, role)


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that somebody may do; `point` None is the device as a whole. `windows` None is at any time."""

    who: Who
    device: Device
    action: Action
    point: Point | None
    windows: tuple[Window, ...] | None
    freezes: tuple[Freeze, ...]
    not_before: float | None
    not_after: float | None
    supervised: bool = False

    @property
    def key(self) -> tuple[Who, Action, str]:
        """What rights on one device are looked up by."""
        return self.who, self.action, self.point.id if self.point else ""

    @property
    def names(self) -> tuple[object, ...]:
        """What tells rights on one device apart, by names: much cheaper to compare than whole points and windows."""
        windows = None if self.windows is None else tuple(window.id for window in self.windows)
        return *self.key, windows, self.not_before, self.not_after, self.supervised

    @property
    def _conditions(self) -> tuple[object, ...]:
        return self.point, self.windows, self.freezes, self.not_before, self.not_after, self.supervised

    def lies_in(self, other: "Right") -> bool:
        """Whether `other`, which is for the same or more of who and what, is at least as wide in every term."""
        if not _same_controller(self.device, other.device):
            return False
        return self._conditions == other._conditions or (
            (self.point is None or other.point is None or _point_within(self.point, other.point))
            and _windows_within(self.windows, other.windows)
            and all(any(_freeze_within(theirs, ours) for ours in self.freezes) for theirs in other.freezes)
            and latest(self.not_before, other.not_before) == self.not_before
            and earliest(self.not_after, other.not_after) == self.not_after
            and (self.supervised or not other.supervised)
        )


class Rights:
    """All rights on one device of an inventory."""

    def __init__(self, inventory: Inventory, device: Device) -> None:
        self.device = device
        self.rows = tuple({right.names: right for right in _rights(inventory, device)}.values())
        self._by_key: dict[tuple[Who, Action, str], list[Right]] = {}
        for right in self.rows:
            self._by_key.setdefault(right.key, []).append(right)

    def contain(self, right: Right) -> bool:
        """Whether somebody could do all of `right` by these."""
        who, action, point = right.key
        keys = ((wider, action, name) for wider in who.wider() for name in {point, ""})
        return any(right.lies_in(other) for key in keys for other in self._by_key.get(key, ()))


def applying(entries: Iterable[Window], device: Device) -> tuple[Window, ...]:
    """The windows whose scope covers a device."""
    return tuple(entry for entry in entries if entry.scope.covers(device.site, device.key, device.labels))


def _rights(inventory: Inventory, device: Device) -> Iterator[Right]:
    windows = applying(inventory.windows, device)
    freezes = tuple(f for f in inventory.freezes if f.scope.covers(device.site, device.key, device.labels))
    for grant in inventory.grants:
        if grant.scope.covers(device.site, device.key, device.labels):
            everybody = tuple(_everybody(grant, inventory.organisations))
            for action in grant.actions:
                terms = _terms(grant, action, device, windows, freezes)
                if terms is not None:
                    points = tuple(_points(grant, action, device))
                    yield from (replace(terms, who=who, point=point) for who in everybody for point in points)


def _terms(
    grant: Grant, action: Action, device: Device, windows: tuple[Window, ...], freezes: tuple[Freeze, ...]
) -> Right | None:
    """On which terms a grant gives an action; None if it is never open."""
    named = tuple(window for window in windows if not grant.windows or window.id in grant.windows)
    always = action in _READS and not grant.windows
    if not named and not always:
        return None
    felt = tuple(freeze for freeze in freezes if action not in _READS or not freeze.views)
    when = None if always else named
    return Right(Who(), device, action, None, when, felt, grant.not_before, grant.not_after, grant.supervised)


def _everybody(grant: Grant, organisations: tuple[Organisation, ...]) -> Iterator[Who]:
    """Whom a grant names; roles that the inventory gives name their holders as well."""
    inside = meet_words(grant.organisations, grant.scope.organisations)
    if inside is None or not (grant.subjects or grant.organisations or grant.roles):
        return
    for who in product(grant.subjects or ("",), inside or ("",), grant.roles or ("",)):
        yield Who(*who)
    if grant.roles and not grant.subjects:
        for organisation in organisations:
            if not inside or organisation.id in inside:
                holders = (subject for subject, roles in organisation.roles if not set(roles).isdisjoint(grant.roles))
                yield from (Who(subject, organisation.id) for subject in holders)


def _points(grant: Grant, action: Action, device: Device) -> Iterator[Point | None]:
    named = [point for point in device.points if not grant.points or point.id in grant.points]
    if action is Action.VIEW:
        yield from named if grant.points else (None,)
        return
    yield from (
        point for point in named if point.action is action or (action is Action.OVERRIDE and _overridable(point))
    )
    if action in _WITHOUT_POINT and not grant.points:
        yield None


def _overridable(point: Point) -> bool:
    lowest = point.address.priority_lowest if isinstance(point.address, BacnetAddress) else None
    return point.action is not None and lowest is not None and lowest <= _HIGHEST_OVERRIDE


def _same_controller(one: Device, other: Device) -> bool:
    return (one.protocol, one.way, one.upstream_unit_id) == (other.protocol, other.way, other.upstream_unit_id)


def _point_within(inner: Point, outer: Point) -> bool:
    """Whether whatever may be written to one may be written to the other."""
    if not same_datum(inner, outer):
        return False
    both = meet_point(outer, inner)
    return inner.action is None or _writable(both) == _writable(inner)


def _writable(point: Point) -> tuple[object, ...]:
    return point.address, point.action, point.minimum, point.maximum, point.allowed, point.on_leave


def _windows_within(inner: tuple[Window, ...] | None, outer: tuple[Window, ...] | None) -> bool:
    if outer is None:
        return True
    return inner is not None and all(any(_window_within(one, other) for other in outer) for one in inner)


def _window_within(inner: Window | Freeze, outer: Window | Freeze) -> bool:
    ours, theirs = inner.scope.organisations, outer.scope.organisations
    concerned = not theirs or (bool(ours) and set(ours) <= set(theirs))
    return concerned and occurrence_within(inner.occurrence, outer.occurrence)


def _freeze_within(inner: Freeze, outer: Freeze) -> bool:
    return _window_within(inner, outer) and (inner.views or not outer.views)
