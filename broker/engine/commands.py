"""What the engine asks of its driver. Slotted, not frozen: these are made on the hot path (see
docs/architecture.md).
"""

from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.operation import Relayed, Request


class Decide:
    """Decide operation number `place` of a request. Answer: `Decision` (denials of the broker's own included)."""

    __slots__ = ("place", "request", "session")

    def __init__(self, session: Session, request: Request, place: int) -> None:
        self.session = session
        self.request = request
        self.place = place


class RecordIntents:
    """Record one intent for each operation, fsynced if the request writes. Answer: first index, or a `Reason` word."""

    __slots__ = ("before", "decisions", "request", "session")

    def __init__(
        self, session: Session, request: Request, decisions: tuple[Decision, ...], before: tuple[tuple[str, str], ...]
    ) -> None:
        self.session = session
        self.request = request
        self.decisions = decisions
        self.before = before


class RecordDenial:
    """Record intents and outcomes `denied` of a request that is not relayed. Answer: None, recorded or not."""

    __slots__ = ("decisions", "request", "session")

    def __init__(self, session: Session, request: Request, decisions: tuple[Decision, ...]) -> None:
        self.session = session
        self.request = request
        self.decisions = decisions


class LastLook:
    """Is everything still as decided, and the caller still there? Answer: "" or a `Reason` word."""

    __slots__ = ("decisions", "session")

    def __init__(self, session: Session, decisions: tuple[Decision, ...]) -> None:
        self.session = session
        self.decisions = decisions


class Relay:
    """Send the request to the session's device, if nothing changed while it had to wait. Answer: `Relayed`."""

    __slots__ = ("decisions", "request", "session")

    def __init__(self, session: Session, request: Request, decisions: tuple[Decision, ...]) -> None:
        self.session = session
        self.request = request
        self.decisions = decisions


class RecordOutcomes:
    """Record one outcome for each intent, as durable as the intents were. Answer: True, or False if the ledger
    closed.
    """

    __slots__ = ("after", "first_intent", "relayed", "request", "session")

    def __init__(
        self,
        session: Session,
        request: Request,
        first_intent: int,
        relayed: Relayed,
        after: tuple[tuple[str, str], ...],
    ) -> None:
        self.session = session
        self.request = request
        self.first_intent = first_intent
        self.relayed = relayed
        self.after = after


Command = Decide | RecordIntents | RecordDenial | LastLook | Relay | RecordOutcomes
