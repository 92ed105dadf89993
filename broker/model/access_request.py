"""What somebody asks for, what approvers said to it, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from broker.model.place import Grant, GrantKind, PlannedWrite
from broker.model.schedule import Scope
from broker.model.vocabulary import Action


class RequestState(StrEnum):
    """Where an access request stands; `access.requests` says what leads from one to the next."""

    DRAFT = "draft"
    PENDING = "pending"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    DENIED = "denied"
    REVOKED = "revoked"
    CLOSED = "closed"


class RequestAct(StrEnum):
    """What is done to an access request."""

    SUBMIT = "submit"
    APPROVE = "approve"
    DENY = "deny"
    WITHDRAW = "withdraw"
    REVOKE = "revoke"
    CLOSE = "close"
    COMPLETE = "complete"
    SCHEDULE = "schedule"
    ACTIVATE = "activate"
    EXPIRE = "expire"


class Verdict(StrEnum):
    """What a reviewer says to a request."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for, as approvers sign it; nothing in it ever changes.

    `devices` are `site/device` keys. Times are whole epoch seconds: the grant holds in [starts, ends), and if `window`
    is named only while that is open. `extends` is the id of the request whose access this one prolongs, `chain` that of
    the first of them (its own if it extends none): what is used once is used in the whole chain.
    """

    id: str
    subject: str
    organisation: str
    devices: tuple[str, ...]
    points: tuple[str, ...]
    actions: tuple[Action, ...]
    reason: str
    starts: int
    ends: int
    created_at: int
    plan: tuple[PlannedWrite, ...] = ()
    ticket: str = ""
    window: str = ""
    single_use: bool = False
    supervised: bool = False
    extends: str = ""
    chain: str = ""

    def grant(self) -> Grant:
        """The grant that an approval gives."""
        return Grant(
            id=self.id,
            scope=Scope(devices=self.devices),
            actions=self.actions,
            subjects=(self.subject,),
            organisations=(self.organisation,),
            points=self.points,
            windows=(self.window,) if self.window else (),
            not_before=float(self.starts),
            not_after=float(self.ends),
            description=self.reason,
            kind=GrantKind.REQUEST,
            plan=self.plan,
            single_use=self.single_use,
            supervised=self.supervised,
            extends=self.extends,
        )


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Somebody who approves or denies, as proven then: `proofs` are the kinds of what proved it."""

    id: str
    kind: str
    organisation: str
    roles: tuple[str, ...]
    proofs: tuple[str, ...]
    authenticated_at: int | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """One verdict with what proves it: `note` is the signed note, and the other fields are what it says.

    `broker` is the origin of the ledger whose key signed it, `index` the record in that ledger.
    """

    request: str
    digest: str
    reviewer: Reviewer
    verdict: Verdict
    comment: str
    groups: tuple[str, ...]
    at: int
    broker: str
    index: int
    note: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a request changes: its state, since which version, and how it ended (epoch seconds).

    `activated_at` is when it was active for the first time. `report` is what its subject wrote when it was over.
    """

    state: RequestState
    version: int = 1
    activated_at: float | None = None
    ended_at: float | None = None
    ended_by: str = ""
    ended_why: str = ""
    report: str = ""


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """An access request as the state has it; nothing of it is proven. `notes` are its reviews, by reviewer."""

    terms: Terms
    standing: Standing
    notes: tuple[tuple[str, str], ...] = ()
    uses: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id of the request, and of the grant that it gives."""
        return self.terms.id


@dataclass(frozen=True, slots=True)
class Ending:
    """That a request is over, as one broker knows it; `stored` is whether the state that brokers share has it.

    `ends` is when its grant would have ended anyway: after that nothing needs to be remembered.
    """

    request: str
    state: RequestState
    at: float
    by: str
    why: str
    ends: int
    stored: bool = True


@dataclass(frozen=True, slots=True)
class RequestChoice:
    """Which requests are looked for: of a subject ("": of anybody), in these states (none: in any), and of those the
    ones that `among` holds good for.
    """

    subject: str = ""
    states: frozenset[RequestState] = frozenset()
    among: Callable[[Terms], bool] | None = None


EVERY_REQUEST = RequestChoice()
