"""Grants that were given while the broker runs: from approved access requests, or from broken glass."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from broker.access.standing import StandingGrants, concerns
from broker.model.decision import Decision
from broker.model.place import Device, Grant
from broker.model.subject import Subject
from broker.model.vocabulary import Reason

_NONE: Mapping[str, tuple[Grant, ...]] = {}


class GivenGrants:
    """An index over the grants of all sources; a change of one makes a new one, so asking it costs look-ups."""

    def __init__(self, by_source: Mapping[str, tuple[Grant, ...]] = _NONE) -> None:
        self._by_source = by_source
        self._by_id = {grant.id: grant for grants in by_source.values() for grant in grants}
        self._index = StandingGrants(self._by_id.values())

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._by_id)

    def replaced(self, source: str, grants: Iterable[Grant]) -> "GivenGrants":
        """The same with other grants of that source."""
        return GivenGrants({**self._by_source, source: tuple(grants)})

    def grant(self, identifier: str) -> Grant | None:
        """The grant of that id."""
        return self._by_id.get(identifier)

    def of(self, subject: Subject) -> tuple[Grant, ...]:
        """Those that are a subject's, whenever and wherever they hold."""
        return tuple(grant for grant in self._by_id.values() if concerns(grant, subject))

    @staticmethod
    def told_of_use(decision: Decision, grants: tuple[Grant, ...]) -> Decision:
        """An allow of a write that names which of the grants it uses up, if it does: never to be reused.

        Where one of them can be used up, an answer that names none of them says too little to be believed.
        """
        if not any(grant.single_use for grant in grants):
            return decision
        name = decision.rule.removeprefix("grant/")
        grant = next((grant for grant in grants if grant.id == name), None)
        if grant is None:
            return replace(decision, allow=False, reasons=(Reason.POLICY_ODD,), obligations=(), valid_until=None)
        return replace(decision, spends=grant.id, valid_until=None) if grant.single_use else decision

    def for_(self, subject: Subject, device: Device, now: float) -> tuple[Grant, ...]:
        """Those that hold now for a subject on a device, by their ids."""
        return self._index.for_(subject, device, now)

    def changes_at(self, subject: Subject, device: Device, now: float) -> float:
        """The next moment at which the answer of `for_` changes; infinity if it never does."""
        return self._index.changes_at(subject, device, now)
