"""The inventory that is in force while gains wait for review: what the approved and the changed one both allow."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from broker.access.meeting import (
    earliest,
    latest,
    meet_device,
    meet_occurrence,
    meet_organisation,
    meet_words,
)
from broker.model.place import Device, Grant, Inventory
from broker.model.schedule import Freeze, Scope, Window
from broker.settings.canonical import with_revision

_WORDS = ("subjects", "organisations", "roles", "points", "windows")


def losses_only(old: Inventory, new: Inventory) -> Inventory:
    """`old` with every loss of `new` and none of its gains.

    What changed in a way that cannot be told apart into gain and loss (a device behind another address, a window that
    moved) is in neither and therefore absent until `new` is approved. Freezes of both are in force.
    """
    if old.revision == new.revision:
        return new
    return with_revision(_Meeting(old, new).inventory())


class _Meeting:
    """Two inventories and the devices of both."""

    def __init__(self, old: Inventory, new: Inventory) -> None:
        self.old, self.new = old, new
        before = {device.key: device for device in old.devices}
        met = (meet_device(before[device.key], device) for device in new.devices if device.key in before)
        self.devices = tuple(device for device in met if device is not None)
        self._keys = {device.key for device in self.devices}
        self._known: dict[tuple[int, Scope], set[str]] = {}

    def inventory(self) -> Inventory:
        """What both allow, without revision."""
        before = {organisation.id: organisation for organisation in self.old.organisations}
        return Inventory(
            revision="",
            sites=self.new.sites,
            segments=self.new.segments,
            devices=self.devices,
            organisations=tuple(
                meet_organisation(before[organisation.id], organisation)
                for organisation in self.new.organisations
                if organisation.id in before
            ),
            windows=tuple(self._windows()),
            freezes=tuple(dict.fromkeys(self._freezes())),
            grants=tuple(self._grants()),
            endpoints=self.new.endpoints,
            bacnet_networks=self.new.bacnet_networks,
        )

    def _windows(self) -> Iterator[Window]:
        before = {window.id: window for window in self.old.windows}
        for window in self.new.windows:
            known = before.get(window.id)
            scope = known and self._meet_scope(known.scope, window.scope)
            occurrence = known and meet_occurrence(known.occurrence, window.occurrence)
            if scope and occurrence:
                yield dataclasses.replace(window, scope=scope, occurrence=occurrence)

    def _freezes(self) -> Iterator[Freeze]:
        for inventory in (self.old, self.new):
            for freeze in inventory.freezes:
                keys = covered(freeze.scope, inventory.devices) & self._keys
                if keys:
                    yield dataclasses.replace(freeze, scope=self._scope(freeze.scope, keys, freeze.scope.organisations))

    def _grants(self) -> Iterator[Grant]:
        """All that an old and a new grant both give, under the new one's id, without what another piece contains."""
        before: defaultdict[str, list[Grant]] = defaultdict(list)
        for grant in self.old.grants:
            before[grant.id].append(grant)
        for grant in self.new.grants:
            kept: list[Grant] = []
            for known in (*before[grant.id], *self.old.grants):
                piece = self._meet_grant(known, grant)
                if piece is not None and not any(self._contains(other, piece) for other in kept):
                    kept = [other for other in kept if not self._contains(piece, other)] + [piece]
                    if self._is_whole(piece, grant):
                        break
            yield from kept

    def _is_whole(self, piece: Grant, grant: Grant) -> bool:
        """Whether nothing of the new grant is held back, so that no other piece can add to this one."""
        reach = self._covered(grant.scope, self.new.devices) & self._keys
        organisations = piece.scope.organisations == grant.scope.organisations
        same = dataclasses.replace(piece, scope=grant.scope) == grant
        return same and organisations and self._covered(piece.scope, self.devices) == reach

    def _contains(self, outer: Grant, inner: Grant) -> bool:
        """Whether one piece gives all that the other gives."""
        return (
            self._covered(inner.scope, self.devices) <= self._covered(outer.scope, self.devices)
            and _within(inner.scope.organisations, outer.scope.organisations)
            and set(inner.actions) <= set(outer.actions)
            and all(_within(getattr(inner, name), getattr(outer, name)) for name in _WORDS)
            and latest(inner.not_before, outer.not_before) == inner.not_before
            and earliest(inner.not_after, outer.not_after) == inner.not_after
            and (inner.supervised or not outer.supervised)
        )

    def _meet_grant(self, old: Grant, new: Grant) -> Grant | None:
        actions = tuple(action for action in new.actions if action in old.actions)
        words = {name: meet_words(getattr(old, name), getattr(new, name)) for name in _WORDS}
        if not actions or None in words.values() or not (_names_anybody(old) and _names_anybody(new)):
            return None
        scope = self._meet_scope(old.scope, new.scope)
        if scope is None:
            return None
        begins, ends = latest(old.not_before, new.not_before), earliest(old.not_after, new.not_after)
        if begins is not None and ends is not None and ends <= begins:
            return None
        met = dataclasses.replace(new, scope=scope, actions=actions, not_before=begins, not_after=ends)
        met = dataclasses.replace(met, supervised=old.supervised or new.supervised)
        changes: dict[str, Any] = words
        return dataclasses.replace(met, **changes)

    def _meet_scope(self, old: Scope, new: Scope) -> Scope | None:
        organisations = meet_words(old.organisations, new.organisations)
        keys = self._covered(old, self.old.devices) & self._covered(new, self.new.devices) & self._keys
        return self._scope(new, keys, organisations) if keys and organisations is not None else None

    def _covered(self, scope: Scope, devices: tuple[Device, ...]) -> set[str]:
        """As `covered`, each scope looked at once; the device lists live as long as this object."""
        key = (id(devices), scope)
        if key not in self._known:
            self._known[key] = covered(scope, devices)
        return self._known[key]

    def _scope(self, scope: Scope, keys: set[str], organisations: tuple[str, ...]) -> Scope:
        """The scope as written if it means just these devices now, else one that lists them."""
        if self._covered(scope, self.devices) == keys:
            return dataclasses.replace(scope, organisations=organisations)
        return Scope(devices=tuple(sorted(keys)), organisations=organisations)


def covered(scope: Scope, devices: Iterable[Device]) -> set[str]:
    """The keys of the devices that lie in a scope."""
    return {device.key for device in devices if scope.covers(device.site, device.key, device.labels)}


def _names_anybody(grant: Grant) -> bool:
    return bool(grant.subjects or grant.organisations or grant.roles)


def _within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return not outer or (bool(inner) and set(inner) <= set(outer))
