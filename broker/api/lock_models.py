"""The documents of the API about locks."""

from typing import Annotated

from pydantic import Field, StrictInt, StringConstraints

from broker.api.models import Asked, Told
from broker.model.lock import LockKind

Message = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class IsolateCall(Asked):
    """Why a site is isolated; those who are cut off are not told."""

    message: Message


class LockCall(Asked):
    """A lock: on what, why, and for how long; without `seconds` it holds until somebody lifts it.

    `target` is its id: of a device `SITE/DEVICE`, of a certificate its SHA-256 in hexadecimal or base64url.
    """

    kind: LockKind
    target: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    message: Message
    seconds: StrictInt | None = Field(default=None, ge=1, le=366 * 86_400)


class LiftCall(Asked):
    """Lifting a lock takes nothing but its id."""


class LockEntry(Told):
    """A lock that holds. `until` null: until it is lifted; `broker` is the ledger's origin of where it was set."""

    id: str
    kind: LockKind
    target: str
    message: str
    set_by: str
    set_at: str
    until: str | None
    isolation: bool
    broker: str


class LockEntries(Told):
    """The locks that hold on this broker, the oldest first."""

    locks: list[LockEntry]


class LockAnswer(Told):
    """The lock, how many sessions of this broker it has ended so far, and whether other brokers can see it already.

    `shared` false: the state cannot be reached; the lock holds here, and everywhere as soon as the state is back.
    """

    lock: LockEntry
    ended: int
    shared: bool


class LiftAnswer(Told):
    """The lock that was lifted."""

    lock: LockEntry
