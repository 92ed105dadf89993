"""One operation that waits for a person, and what a person has armed: exactly that operation, once, for minutes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from broker.model.decision import Arming, Decision, Obligation
from broker.model.operation import Request
from broker.model.place import Device
from broker.model.subject import Subject

OPEN_SECONDS = 600.0
"""How long an operation waits for a person."""
ARMED_SECONDS = 300.0
"""How long what a person armed may be used."""
FRESH_SECONDS = 300.0
"""How old a proof may be that arms as a step-up."""
LONGEST_WHY = 200
ARMS: Mapping[Obligation, str] = MappingProxyType(
    {Obligation.SECOND_PERSON: "operation.approve", Obligation.STEP_UP: "operation.step-up"}
)
"""The permission with which a person meets an obligation: taken when it is armed, and again when that is used."""


class ApprovalState(StrEnum):
    """Where an approval stands."""

    WAITING = "waiting"
    ARMED = "armed"
    REFUSED = "refused"


class OldValues(StrEnum):
    """Whether a second person can see what the points hold now."""

    BEING_READ = "being_read"
    READ = "read"
    UNREADABLE = "unreadable"


class ApprovalEnd(StrEnum):
    """Why an approval ended unused."""

    EXPIRED = "expired"
    REFUSED = "refused"
    LOCKED = "locked"
    APPROVER_LOCKED = "approver_locked"
    APPROVER_LOST_ACCESS = "approver_lost_access"
    OLD_VALUE_CHANGED = "old_value_changed"
    SESSION_ENDED = "session_ended"
    INVENTORY_CHANGED = "inventory_changed"
    CLOCK_STEPPED = "clock_stepped"


@dataclass(frozen=True, slots=True)
class Approver:
    """Who met an obligation, as proven then, and from where."""

    subject: Subject
    kind: Obligation
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """A request that was refused because a person is missing, as it will be armed; nothing in it is only claimed.

    `needs` are the obligations that a person meets, `armings` those that one has met, `armed_by` who did. `before` is
    what the points read when it was asked, by point id; None if nobody has looked yet. Times are epoch seconds; `until`
    is when it ends unless somebody acts. One that was refused stays until its time is over.
    """

    id: str
    session: str
    subject: Subject
    device: Device
    request: Request
    decisions: tuple[Decision, ...]
    needs: tuple[Obligation, ...]
    asked_at: float
    until: float
    before: tuple[tuple[str, str], ...] | None = None
    armings: tuple[Arming, ...] = ()
    refused_by: str = ""
    armed_by: tuple[Approver, ...] = ()

    @property
    def about(self) -> dict[str, str]:
        """What the policy is told of it when a person wants to do something about it."""
        return {
            "kind": "approval",
            "id": self.id,
            "subject": self.subject.id,
            "organisation": self.subject.organisation,
            "site": self.device.site,
            "device": self.device.id,
            "session": self.session,
        }

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Whose operation on what: the same again belongs to the same approval."""
        return self.subject.organisation, self.subject.id, self.device.key, self.request.digest

    @property
    def state(self) -> ApprovalState:
        """Where it stands."""
        if self.refused_by:
            return ApprovalState.REFUSED
        return ApprovalState.WAITING if self.missing else ApprovalState.ARMED

    @property
    def old_values(self) -> OldValues:
        """Whether what would be written over is known: of every point, and of no address that no point describes."""
        if self.before is None:
            return OldValues.BEING_READ
        known = {point for point, _ in self.before}
        for operation in self.request.operations:
            unknown = any(touch.point.id not in known for touch in operation.touches)
            if operation.writes and (unknown or (operation.raw_values and not operation.described)):
                return OldValues.UNREADABLE
        return OldValues.READ

    @property
    def shown(self) -> dict[str, str]:
        """What would be written over, as a second person was shown it: by point id, without what could not be read."""
        written = {
            touch.point.id for operation in self.request.operations if operation.writes for touch in operation.touches
        }
        return {point: value for point, value in self.before or () if point in written}

    @property
    def missing(self) -> tuple[Obligation, ...]:
        """What nobody has met yet."""
        met = {arming.kind for arming in self.armings}
        return tuple(kind for kind in self.needs if kind not in met)
