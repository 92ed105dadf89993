"""What waits for persons, and what they have armed: bounded, each used once, each ending by itself."""

from collections.abc import Iterable
from dataclasses import replace

from broker.model.approval import ARMED_SECONDS, OPEN_SECONDS, Approval, Approver
from broker.model.decision import Arming, Obligation

MOST = 256
MOST_OF_SUBJECT = 8
Key = tuple[str, str, str, str]


class ApprovalBook:
    """All approvals of one broker. An operation has one at a time: asking for it again gives the same."""

    def __init__(self, most: int = MOST, most_of_subject: int = MOST_OF_SUBJECT) -> None:
        self._most = most
        self._most_of_subject = most_of_subject
        self._known: dict[str, Approval] = {}
        self._by_key: dict[Key, str] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._known)

    def all(self) -> tuple[Approval, ...]:
        """Those that have not ended, and those refused whose time is not over, the oldest first."""
        return tuple(self._known.values())

    def get(self, identifier: str) -> Approval | None:
        """The approval of that id."""
        return self._known.get(identifier)

    def of(self, key: Key) -> Approval | None:
        """The approval of that operation."""
        return self._known.get(self._by_key.get(key, ""))

    def has_room_for(self, approval: Approval) -> bool:
        """Whether one more may wait, of its subject and of all."""
        who = approval.key[:2]
        return len(self._known) < self._most and sum(k[:2] == who for k in self._by_key) < self._most_of_subject

    def add(self, approval: Approval) -> None:
        """Let an approval wait."""
        self._known[approval.id] = approval
        self._by_key[approval.key] = approval.id

    def show_before(self, identifier: str, before: tuple[tuple[str, str], ...]) -> None:
        """What its points read when it was asked."""
        known = self._known.get(identifier)
        if known is not None:
            self._known[identifier] = replace(known, before=before)

    def armed(self, key: Key, now: float) -> tuple[Arming, ...]:
        """What is armed of that operation and still good."""
        approval = self.of(key)
        if approval is None:
            return ()
        return tuple(arming for arming in approval.armings if now < arming.until)

    def need(self, identifier: str, kinds: Iterable[Obligation]) -> None:
        """The policy obliges more, or something else, than when it was asked."""
        known = self._known[identifier]
        self._known[identifier] = replace(known, needs=tuple(dict.fromkeys((*known.needs, *kinds))))

    def arm(self, identifier: str, by: Approver, now: float) -> Approval:
        """A person meets one obligation. Once none is missing, all are good for the same time, from now."""
        known = self._known[identifier]
        others = (arming for arming in known.armings if arming.kind is not by.kind)
        armings = (*others, Arming(known.id, by.kind, by.subject.id, now, known.until))
        armed = replace(known, armings=armings, armed_by=(*known.armed_by, by))
        if not armed.missing:
            until = now + ARMED_SECONDS
            every = tuple(replace(arming, until=until) for arming in armed.armings)
            armed = replace(armed, armings=every, until=until)
        self._known[identifier] = armed
        return armed

    def refuse(self, identifier: str, by: str, now: float) -> Approval:
        """A person refuses: until its time is over, asking again gives the refusal."""
        refused = replace(self._known[identifier], refused_by=by, armings=(), armed_by=(), until=now + OPEN_SECONDS)
        self._known[identifier] = refused
        return refused

    def use(self, armings: Iterable[Arming], now: float) -> Approval | None:
        """Use up the approval that all these armings are in and still good: given at most once."""
        known = None
        for arming in armings:
            known = self._known.get(arming.approval)
            if known is None or arming not in known.armings or now >= arming.until:
                return None
        if known is not None:
            self.drop(known.id)
        return known

    def drop(self, identifier: str) -> None:
        """It has ended."""
        known = self._known.pop(identifier)
        del self._by_key[known.key]
