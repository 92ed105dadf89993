"""Standing grants: which of them hold for a subject on a device at a moment."""

from collections import defaultdict
from collections.abc import Iterable

from broker.model.place import Device, Grant
from broker.model.subject import Subject

_CACHED_ANSWERS = 65536


class StandingGrants:
    """An index over one inventory's grants; a changed inventory has a new one.

    It says who and where, not whether: actions, points and windows are for the policy.
    """

    def __init__(self, grants: Iterable[Grant]) -> None:
        self._by_subject: defaultdict[str, list[Grant]] = defaultdict(list)
        self._for_groups: list[Grant] = []
        for grant in grants:
            for subject in grant.subjects:
                self._by_subject[subject].append(grant)
            if not grant.subjects and (grant.organisations or grant.roles):
                self._for_groups.append(grant)
        self._known: dict[tuple[object, ...], tuple[Grant, ...]] = {}

    def for_(self, subject: Subject, device: Device, now: float) -> tuple[Grant, ...]:
        """The grants that hold now, in the inventory's order of ids."""
        candidates = self._candidates(subject, device)
        return tuple(grant for grant in candidates if holds_at(grant, now))

    def changes_at(self, subject: Subject, device: Device, now: float) -> float:
        """The next moment at which the answer of `for_` changes; infinity if it never does."""
        candidates = self._candidates(subject, device)
        moments = (moment for grant in candidates for moment in (grant.not_before, grant.not_after))
        return min((moment for moment in moments if moment is not None and moment > now), default=float("inf"))

    def _candidates(self, subject: Subject, device: Device) -> tuple[Grant, ...]:
        key = (subject.id, subject.organisation, subject.roles, device.site, device.id, device.labels)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _CACHED_ANSWERS:
                self._known.clear()
            known = self._known[key] = self._select(subject, device)
        return known

    def _select(self, subject: Subject, device: Device) -> tuple[Grant, ...]:
        listed = (*self._by_subject.get(subject.id, ()), *self._for_groups)
        chosen = (grant for grant in listed if concerns(grant, subject) and _reaches(grant, device))
        return tuple(sorted(chosen, key=lambda grant: grant.id))


def concerns(grant: Grant, subject: Subject) -> bool:
    """Whether a subject matches each of subjects, organisations and roles that the grant gives; none is nobody."""
    return (
        bool(grant.subjects or grant.organisations or grant.roles)
        and (not grant.subjects or subject.id in grant.subjects)
        and (not grant.organisations or subject.organisation in grant.organisations)
        and (not grant.roles or not set(grant.roles).isdisjoint(subject.roles))
        and grant.scope.concerns(subject.organisation)
    )


def holds_at(grant: Grant, now: float) -> bool:
    """Whether a moment lies between its beginning and its end."""
    return (grant.not_before is None or grant.not_before <= now) and (grant.not_after is None or now < grant.not_after)


def _reaches(grant: Grant, device: Device) -> bool:
    return grant.scope.covers(device.site, device.key, device.labels)
