"""The documents of the API about what is undone when somebody's access ends."""

from typing import Annotated

from pydantic import StringConstraints

from broker.api.models import Asked, Told
from broker.model.leave import Undone
from broker.model.place import OnLeave


class AcknowledgeCall(Asked):
    """Taking note of a leave; `why` says what was done about it."""

    why: Annotated[str, StringConstraints(max_length=200)] = ""


class DebtEntry(Told):
    """A value that will be undone: `before` is put back (null: the priority is released) if the place still holds one
    of `own`. `waits_for` says what for.
    """

    subject: str
    device: str
    point: str
    undo: OnLeave
    priority: int | None
    before: str | None
    own: list[str]
    session: str
    written_at: str
    waits_for: str


class LeavePoint(Told):
    """What became of one point."""

    point: str
    undo: OnLeave
    priority: int | None
    result: Undone
    detail: str


class LeaveEntry(Told):
    """The end of a subject's access to a device, of which something could not be undone."""

    id: str
    subject: str
    device: str
    why: str
    ended: str
    finished: str
    points: list[LeavePoint]


class LeaveEntries(Told):
    """What could not be undone and nobody has taken note of, and what is owed now."""

    leaves: list[LeaveEntry]
    debts: list[DebtEntry]


class LeaveAnswer(Told):
    """The leave that was taken note of."""

    leave: LeaveEntry
