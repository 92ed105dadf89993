"""What the engine asks of its driver. Slotted, not frozen: these are made on the hot path (see
docs/architecture.md).
"""

from broker.engine.sessions import Session
from broker.model.approval import Approval
from broker.model.decision import Decision, Obligation
from broker.model.leave import Debt
from broker.model.operation import Operation, Relayed, Request


class Decide:
    """Decide operation number `place` of a request. Answer: `Decision` (denials of the broker's own included)."""

    __slots__ = ("place", "request", "session")

    def __init__(self, session: Session, request: Request, place: int) -> None:
        self.session = session
        self.request = request
        self.place = place


class Owe:
    """Keep what has to be undone when the access ends, on disk before the request is sent. Answer: the debts of each
    operation; None or a `Reason` word if that cannot be: the request is not sent.
    """

    __slots__ = ("before", "decisions", "request", "session")

    def __init__(
        self, session: Session, request: Request, decisions: tuple[Decision, ...], before: tuple[tuple[str, str], ...]
    ) -> None:
        self.session = session
        self.request = request
        self.decisions = decisions
        self.before = before


class SettleDebts:
    """What became of each operation of a write: of the debts that it was to leave, and of those of others where it
    wrote. Answer: None at once; if others owe there, whether it is on disk that they do not any more.
    """

    __slots__ = ("debts", "first_intent", "relayed", "request", "session")

    def __init__(
        self,
        session: Session,
        request: Request,
        debts: tuple[tuple[Debt, ...], ...],
        relayed: Relayed,
        first_intent: int,
    ) -> None:
        self.session = session
        self.request = request
        self.debts = debts
        self.relayed = relayed
        self.first_intent = first_intent


class MarkUndoing:
    """Keep that a debt is about to be undone, or was not after all, so that no crash lets it be undone twice. Answer:
    True once it is on disk, else False.
    """

    __slots__ = ("debt", "undoing")

    def __init__(self, debt: Debt, undoing: bool) -> None:
        self.debt = debt
        self.undoing = undoing


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
    """Record intents and outcomes `denied` of a request that is not relayed. Answer: None, recorded or not.

    `reasons` are those of the engine's own, beside those of the decisions; `code` is the approval that it waits for.
    `places` are the operations that are denied if others of the request are not; None if it is denied whole.
    """

    __slots__ = ("code", "decisions", "places", "reasons", "request", "session")

    def __init__(
        self,
        session: Session,
        request: Request,
        decisions: tuple[Decision, ...],
        reasons: tuple[str, ...] = (),
        code: str = "",
        places: tuple[int, ...] | None = None,
    ) -> None:
        self.session = session
        self.request = request
        self.decisions = decisions
        self.reasons = reasons
        self.code = code
        self.places = places


class CountDenial:
    """A question that the broker does not answer is counted, not recorded. Answer: None."""

    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session


class AskApproval:
    """Let persons see an operation that waits for them. Answer: `Approval`, new or known; None if there is no room."""

    __slots__ = ("decisions", "needs", "request", "session")

    def __init__(
        self, session: Session, request: Request, decisions: tuple[Decision, ...], needs: tuple[Obligation, ...]
    ) -> None:
        self.session = session
        self.request = request
        self.decisions = decisions
        self.needs = needs


class ShowBefore:
    """Show with an approval what its points read now. Answer: None."""

    __slots__ = ("approval", "before")

    def __init__(self, approval: Approval, before: tuple[tuple[str, str], ...]) -> None:
        self.approval = approval
        self.before = before


class UseArming:
    """Use up what persons have armed, for this request alone. Answer: "" or a `Reason` word, `approval_needed` if it is
    no longer there, or who armed it no longer may. `before` is what its points read now; None if that is not known.
    """

    __slots__ = ("before", "decisions", "request", "session")

    def __init__(
        self,
        session: Session,
        request: Request,
        decisions: tuple[Decision, ...],
        before: tuple[tuple[str, str], ...] | None,
    ) -> None:
        self.session = session
        self.request = request
        self.decisions = decisions
        self.before = before


class ClaimUse:
    """Take up what operations of one request use of a grant for single use. Answer: "", or the `Reason` word for which
    nothing may be sent.
    """

    __slots__ = ("grant", "operations", "session")

    def __init__(self, session: Session, operations: tuple[Operation, ...], grant: str) -> None:
        self.session = session
        self.operations = operations
        self.grant = grant


class GiveBackUse:
    """These were not carried out after all: what they used may be taken up again, but for what others of the same
    request used (`kept`). Answer: None.
    """

    __slots__ = ("grant", "kept", "operations", "session")

    def __init__(
        self, session: Session, operations: tuple[Operation, ...], grant: str, kept: tuple[Operation, ...] = ()
    ) -> None:
        self.session = session
        self.operations = operations
        self.grant = grant
        self.kept = kept


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
    """Record one outcome for each intent, its own, as durable as the intents were. Answer: True, or False if the
    ledger closed.
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


Command = (
    Decide
    | AskApproval
    | ShowBefore
    | Owe
    | UseArming
    | ClaimUse
    | GiveBackUse
    | RecordIntents
    | RecordDenial
    | CountDenial
    | LastLook
    | Relay
    | SettleDebts
    | RecordOutcomes
    | MarkUndoing
)
