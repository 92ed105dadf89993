"""Who gains and who loses access when one inventory follows another."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.access.meeting import meet_reach
from broker.access.point_terms import changed_terms
from broker.access.rights import Right, Rights
from broker.access.roles import within
from broker.model.place import Device, Grant, Inventory, Organisation
from broker.model.schedule import Freeze, Window
from broker.model.vocabulary import Action

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class Change:
    """One gain or loss. `who` is a subject id, `role …`, `organisation …`, or several of them with "of" between.

    Empty `points` is the whole device; empty `windows` is any time. Where an organisation's trust changed, `device` is
    "*" and `note` says how. `terms` says what changed about the points themselves: limits, allowed values, priorities.
    `supervised`: it is or was to be had only while a supervisor watches.
    """

    who: str
    device: str
    action: Action
    points: tuple[str, ...]
    gained: bool
    windows: tuple[str, ...] = ()
    note: str = ""
    terms: tuple[str, ...] = ()
    supervised: bool = False


def access_changes(old: Inventory, new: Inventory) -> tuple[Change, ...]:
    """All gains and losses, by device, losses first. Changed terms (times, limits, addresses) are a loss and a gain."""
    if old.revision == new.revision:
        return ()
    changes = [*_organisation_changes(old, new)]
    before = {device.key: device for device in old.devices}
    after = {device.key: device for device in new.devices}
    for key in sorted(before.keys() | after.keys()):
        if _concerning(old, before.get(key)) == _concerning(new, after.get(key)):
            continue
        changes += _device_changes(_rights_on(old, before.get(key)), _rights_on(new, after.get(key)))
    return tuple(changes)


def _concerning(inventory: Inventory, device: Device | None) -> tuple[object, ...]:
    """Everything that rights on a device follow from; equal for two inventories means equal rights."""
    if device is None:
        return ()
    entries: tuple[Grant | Window | Freeze, ...] = (*inventory.grants, *inventory.windows, *inventory.freezes)
    near = [entry for entry in entries if entry.scope.covers(device.site, device.key, device.labels)]
    return device, near, [(organisation.id, organisation.roles) for organisation in inventory.organisations]


def _rights_on(inventory: Inventory, device: Device | None) -> Rights | None:
    return None if device is None else Rights(inventory, device)


def _device_changes(before: Rights | None, after: Rights | None) -> Iterator[Change]:
    lost = _missing(before, after)
    gained = _missing(after, before)
    terms = changed_terms(before.device, after.device) if before and after else {}
    yield from _summed(lost, False, terms)
    yield from _summed(gained, True, terms)
    if before and after:
        yield from _mark_changes(before.device, after.device)


def _mark_changes(before: Device, after: Device) -> Iterator[Change]:
    """Values that the ledger begins or ceases to hold in clear."""
    marks = {point.id: point.confidential for point in before.points}
    for point in after.points:
        if marks.get(point.id, point.confidential) is not point.confidential:
            how = f"are concealed ({point.confidential})" if point.confidential else "are recorded in clear"
            note = f"values of {point.id} on {after.key} {how}"
            yield Change("the ledger", after.key, Action.VIEW, (point.id,), not point.confidential, note=note)


def _missing(of: Rights | None, in_: Rights | None) -> list[Right]:
    rows = of.rows if of is not None else ()
    return [right for right in rows if in_ is None or not in_.contain(right)]


def _summed(rights: list[Right], gained: bool, terms: Mapping[str, tuple[str, ...]]) -> Iterator[Change]:
    """One change for all points that somebody gains or loses in the same windows."""
    points: defaultdict[tuple[str, str, Action, tuple[str, ...], bool], set[str]] = defaultdict(set)
    for right in rights:
        windows = tuple(sorted({window.id for window in right.windows or ()}))
        key = (str(right.who), right.device.key, right.action, windows, right.supervised)
        points[key].add(right.point.id if right.point else "")
    for (who, device, action, windows, supervised), names in sorted(points.items()):
        named = () if "" in names else tuple(sorted(names))
        changed = tuple(words for name in named for words in terms.get(name, ()))
        yield Change(who, device, action, named, gained, windows, terms=changed, supervised=supervised)


def _organisation_changes(old: Inventory, new: Inventory) -> Iterator[Change]:
    before = {organisation.id: organisation for organisation in old.organisations}
    after = {organisation.id: organisation for organisation in new.organisations}
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield _trust(name, False, "the organisation is no longer there")
        elif name not in before:
            yield _trust(name, True, "the organisation is new")
        else:
            yield from (_trust(name, False, note) for note in _wider(after[name], before[name], "removed", "shortened"))
            yield from (_trust(name, True, note) for note in _wider(before[name], after[name], "added", "extended"))


def _trust(organisation: str, gained: bool, note: str) -> Change:
    return Change(f"organisation {organisation}", EVERYWHERE, Action.AUTH, (), gained, (), note)


def _wider(narrow: Organisation, wide: Organisation, verb: str, contract_verb: str) -> Iterator[str]:
    """What `wide` lets in that `narrow` does not."""
    if set(wide.anchors) - set(narrow.anchors):
        yield f"trust anchor {verb}"
    for namespace in sorted(set(wide.namespaces) - set(narrow.namespaces)):
        yield f"namespace {namespace} {verb}"
    if narrow.crl_required and not wide.crl_required:
        yield f"revocation lists required: {'no longer' if verb == 'added' else 'now'}"
    if wide.max_path_length > narrow.max_path_length:
        yield f"path length {narrow.max_path_length} to {wide.max_path_length} {verb}"
    if _longer(wide, narrow):
        yield f"contract {contract_verb}"
    held = dict(narrow.roles)
    for subject, roles in wide.roles:
        for role in sorted(role for role in roles if not within(role, held.get(subject, ()))):
            yield f"role {role} of {subject} {verb}"
    if wide.owner and not narrow.owner:
        yield f"owner of the plant {verb}"
    if wide.sponsor and wide.sponsor != narrow.sponsor:
        yield f"sponsor {wide.sponsor} {verb}"
    if wide.allowed is not None and meet_reach(narrow.allowed, wide.allowed) != wide.allowed:
        yield f"devices that may be asked for {verb}"


def _longer(wide: Organisation, narrow: Organisation) -> bool:
    earlier = narrow.contract_from is not None and (
        wide.contract_from is None or wide.contract_from < narrow.contract_from
    )
    later = narrow.contract_until is not None and (
        wide.contract_until is None or wide.contract_until > narrow.contract_until
    )
    return earlier or later
