"""Allow or deny, as the policy said and as the broker holds it."""

from dataclasses import dataclass
from enum import StrEnum


class EntryPoint(StrEnum):
    """The documents that a policy answers (`data.otbroker.` + value)."""

    OPERATION = "operation.decision"
    SESSION = "session.decision"
    REVIEW = "access.review"
    ADMIN = "admin.decision"
    LEAVE = "leave.decision"
    EMERGENCY = "emergency.decision"


class Obligation(StrEnum):
    """What an allow may ask of the broker before or around the relay, and when the access ends."""

    BEFORE_VALUE = "before_value"
    AFTER_VALUE = "after_value"
    STEP_UP = "step_up"
    SECOND_PERSON = "second_person"
    RESTORE = "restore"
    RELEASE = "release"


BY_PERSONS = frozenset({Obligation.STEP_UP, Obligation.SECOND_PERSON})
"""Obligations that nobody but a person can meet, by arming the operation."""


@dataclass(frozen=True, slots=True)
class Arming:
    """A person has met one obligation of one operation: until then it may be done, once.

    `approval` is the id of the approval that it belongs to; times are epoch seconds.
    """

    approval: str
    kind: Obligation
    by: str
    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A policy's answer after strict reading; anything else is a denial with a reason of the broker's own.

    `valid_until` (epoch seconds) is absent if the decision may not be reused; `rule` names the rule that allowed;
    `fault` says what was wrong with an answer that cannot be used.
    """

    allow: bool
    reasons: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    valid_until: float | None = None
    rule: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """What a policy says of one reviewer of one request: for which `groups` he may stand, and how many are `needed`.

    Each group counts once, so that so many reviewers of different groups must approve. `approvers` are all groups that
    can be stood for, so that people are told who is missing; nothing is decided by it. `fault` as in `Answer`.
    """

    allow: bool
    reasons: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    needed: int = 1
    rule: str = ""
    approvers: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer with its place in the record: `id` is what people quote, `index` the ledger record that holds it all.

    It may be acted upon before `holds_until` (epoch seconds) in the state of policy, inventory and locks `epoch`, and
    reused
    for the same question before `valid_until`, if there is one. `index` is -1 for a denial that was only counted.
    `armed` is what the policy was told that persons have armed; it is good for one use in all. `spends` is the grant
    for single use that it uses up.
    """

    id: str
    index: int
    allow: bool
    reasons: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    valid_until: float | None = None
    rule: str = ""
    next_window: tuple[str, float, float] | None = None
    holds_until: float = 0.0
    epoch: int = 0
    armed: tuple[Arming, ...] = ()
    spends: str = ""

    @property
    def lacks(self) -> tuple[Obligation, ...]:
        """The persons who are missing: nothing may be done under this decision until they have armed the operation."""
        if not self.obligations:
            return ()
        met = {arming.kind for arming in self.armed}
        return tuple(kind for kind in self.obligations if kind in BY_PERSONS and kind not in met)
