"""What came of a request, in the past tense: the engine's last word, which a listener puts into its protocol's
words.
"""

from dataclasses import dataclass

from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.operation import Relayed, Request
from broker.model.place import Point


@dataclass(slots=True)
class Refused:
    """Nothing was sent. `reasons` are `Reason` words; `decisions` are those that were taken, denials among them.

    `approval` is the id of what waits for a person, if that is why.
    """

    reasons: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()
    approval: str = ""

    @property
    def denied_places(self) -> tuple[int, ...]:
        """Which operations of the request the policy denied, if it was for that."""
        return tuple(place for place, decision in enumerate(self.decisions) if not decision.allow)


@dataclass(slots=True)
class Answered:
    """It was handed to the device, with this result; `recorded` is False if the outcome could not be recorded.

    A success whose outcome is not recorded must not reach the caller as a success. Of a request of several operations
    `relayed.result` says no more than how the device answered the whole; what became of each is `relayed.of(place)`.
    """

    relayed: Relayed
    decisions: tuple[Decision, ...]
    recorded: bool = True
    before: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()

    @property
    def done(self) -> bool:
        """Whether all of it was done, and is recorded."""
        return self.recorded and self.relayed.done


Finding = Refused | Answered


@dataclass(slots=True)
class Partly:
    """Some operations of a request were denied, and nothing of them was sent; `finding` is what came of the others.

    `decisions` are those on all operations of the request, as it was asked; those of `finding` are on the others.
    """

    finding: Finding
    denied_places: tuple[int, ...]
    decisions: tuple[Decision, ...]


@dataclass(slots=True)
class Listed:
    """The operations at `places` ask for the list of a device's objects, which the broker makes of these `points`;
    `finding` is what came of the others, None if there are none. They alone were denied or sent.
    """

    points: tuple[Point, ...]
    places: tuple[int, ...]
    finding: Finding | Partly | None


@dataclass(slots=True)
class Further:
    """What came of a request, and of `request`: what its answer gave reason to ask as well."""

    first: Finding | Partly | Listed
    request: Request
    finding: Finding | Partly


Explored = Finding | Partly | Listed | Further


@dataclass(slots=True)
class Seen:
    """What a watcher is told of a session, at `time` (epoch seconds): a request and what came of it, or a change.

    `each` is result and code of each of its operations, where they differ. `change` is `opened`, `paused`, `resumed`,
    `ends_soon` or `closed`, empty for a request; `by` is who made it, if a person did.
    """

    time: float
    session: Session
    request: Request | None = None
    result: str = ""
    code: str = ""
    reasons: tuple[str, ...] = ()
    change: str = ""
    by: str = ""
    each: tuple[tuple[str, str], ...] = ()
