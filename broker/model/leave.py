"""What is undone when somebody's access ends: debts, and what became of them."""

from dataclasses import dataclass
from enum import StrEnum

from broker.model.place import OnLeave
from broker.model.subject import Subject

Place = tuple[str, str, str, int, str]
RELEASED = "null"
"""What a priority holds that nobody has written to."""
SUBSCRIPTION_OVER = "subscription_over"
"""Why a COV subscription is cancelled at a device though no session ended: nobody has it any more."""


@dataclass(frozen=True, slots=True)
class Debt:
    """A value that a subject left in one place of a device, and how it is undone when the access ends.

    The place is a point, or one `priority` of it, as it lay in the device then: `where` is a digest of that.
    `before` is the value that is put back (empty if a priority is released). Whatever of `written` the place holds
    is the subject's own: usually one value, more where an outcome is unknown; `under_way` are values of writes
    whose outcome is not in yet. `subject` is without proofs; `grants` are those that let it write; `intent` is the
    index of the newest write's intent, `at` when that was (epoch seconds). `undoing`: it may have been undone
    already, and nobody can say. `since` is who else has written there since, or may have (empty: nobody that the
    broker knows of), `since_intent` the index of that write's intent: it will not be undone. `crossed` is whose
    write was on its way together with one of the subject's, so that nobody can say which came last nor what was
    there before, `crossed_intent` its intent: what the place holds of the subject's is not undone either, and
    somebody has to look.
    """

    subject: Subject
    device: str
    point: str
    undo: OnLeave
    priority: int | None
    before: str
    written: tuple[str, ...]
    under_way: tuple[str, ...]
    grants: frozenset[str]
    session: str
    intent: int
    at: float
    undoing: bool = False
    since: str = ""
    since_intent: int = 0
    crossed: str = ""
    crossed_intent: int = 0
    where: str = ""

    @property
    def place(self) -> Place:
        """Whose debt it is, and where."""
        return self.subject.id, self.device, self.point, self.priority or 0, self.where

    @property
    def site(self) -> str:
        """The site of the device."""
        return self.device.partition("/")[0]

    @property
    def own(self) -> frozenset[str]:
        """The values that are the subject's own."""
        return frozenset((*self.written, *self.under_way))

    @property
    def kept_because(self) -> str:
        """Why what is there stays whatever it is; empty if nobody is known to have written since."""
        return f"written since by {self.since} (record {self.since_intent})" if self.since else ""

    @property
    def doubtful_because(self) -> str:
        """Why nobody can say what was there before; empty if it is known."""
        return f"crossed with a write of {self.crossed} (record {self.crossed_intent})" if self.crossed else ""


@dataclass(frozen=True, slots=True)
class Errand:
    """For what the broker has a session of its own: whose access to the device ended, why, and which debt is undone
    now (None: none yet, or it cancels COV subscriptions).
    """

    leave: str
    subject: Subject
    why: str
    debt: Debt | None = None


class Undone(StrEnum):
    """What became of one debt."""

    UNDONE = "undone"
    KEPT = "kept"
    FAILED = "failed"
    UNKNOWN = "unknown"
    GIVEN_UP = "given_up"


SETTLED = frozenset({Undone.UNDONE, Undone.KEPT})
"""Nothing is left to do for anybody."""


@dataclass(frozen=True, slots=True)
class PointLeft:
    """One point of a leave and what became of it; `detail` says why, in the words of results and reasons."""

    point: str
    undo: OnLeave
    priority: int | None
    result: Undone
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """The end of one subject's access to one device, with what became of each debt; `ended` in epoch seconds."""

    id: str
    subject: str
    device: str
    why: str
    ended: float
    finished: float
    points: tuple[PointLeft, ...]

    @property
    def site(self) -> str:
        """The site of the device."""
        return self.device.partition("/")[0]

    @property
    def unsettled(self) -> tuple[PointLeft, ...]:
        """What could not be undone, so that somebody has to look after it."""
        return tuple(point for point in self.points if point.result not in SETTLED)
