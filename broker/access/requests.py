"""How access requests go from one state to the next: ONE table; what is not in it is refused."""

from dataclasses import dataclass
from enum import StrEnum

from broker.model.access_request import AccessRequest, RequestAct, RequestState, Standing, Terms


class Party(StrEnum):
    """Who may do something to a request; the policy says which people are reviewers and owners."""

    REQUESTER = "requester"
    REVIEWER = "reviewer"
    OWNER = "owner"
    BROKER = "broker"


S, A, P = RequestState, RequestAct, Party

TRANSITIONS: dict[tuple[RequestState, RequestAct], tuple[RequestState, Party]] = {
    (S.DRAFT, A.SUBMIT): (S.PENDING, P.REQUESTER),
    (S.DRAFT, A.WITHDRAW): (S.WITHDRAWN, P.REQUESTER),
    (S.DRAFT, A.REVOKE): (S.REVOKED, P.OWNER),
    (S.DRAFT, A.EXPIRE): (S.EXPIRED, P.BROKER),
    (S.PENDING, A.APPROVE): (S.PENDING, P.REVIEWER),
    (S.PENDING, A.DENY): (S.DENIED, P.REVIEWER),
    (S.PENDING, A.WITHDRAW): (S.WITHDRAWN, P.REQUESTER),
    (S.PENDING, A.REVOKE): (S.REVOKED, P.OWNER),
    (S.PENDING, A.COMPLETE): (S.APPROVED, P.BROKER),
    (S.PENDING, A.EXPIRE): (S.EXPIRED, P.BROKER),
    (S.APPROVED, A.SCHEDULE): (S.SCHEDULED, P.BROKER),
    (S.APPROVED, A.ACTIVATE): (S.ACTIVE, P.BROKER),
    (S.APPROVED, A.WITHDRAW): (S.WITHDRAWN, P.REQUESTER),
    (S.APPROVED, A.REVOKE): (S.REVOKED, P.OWNER),
    (S.APPROVED, A.EXPIRE): (S.EXPIRED, P.BROKER),
    (S.SCHEDULED, A.ACTIVATE): (S.ACTIVE, P.BROKER),
    (S.SCHEDULED, A.WITHDRAW): (S.WITHDRAWN, P.REQUESTER),
    (S.SCHEDULED, A.REVOKE): (S.REVOKED, P.OWNER),
    (S.SCHEDULED, A.EXPIRE): (S.EXPIRED, P.BROKER),
    (S.ACTIVE, A.REVOKE): (S.REVOKED, P.OWNER),
    (S.ACTIVE, A.CLOSE): (S.CLOSED, P.REQUESTER),
    (S.ACTIVE, A.EXPIRE): (S.EXPIRED, P.BROKER),
    (S.EXPIRED, A.CLOSE): (S.CLOSED, P.REQUESTER),
    (S.REVOKED, A.CLOSE): (S.CLOSED, P.REQUESTER),
}

LIVING = frozenset({S.DRAFT, S.PENDING, S.APPROVED, S.SCHEDULED, S.ACTIVE})
"""What may still change by itself, with the time."""
GRANTED = frozenset({S.APPROVED, S.SCHEDULED, S.ACTIVE})
"""What has been approved and is not over."""
OVER = frozenset(RequestState) - LIVING
"""What gives nothing any more, for good."""
MOST_REVIEWS = 8


@dataclass(frozen=True, slots=True)
class RefusedActError(Exception):
    """The table has no such transition, or not for this party."""

    state: RequestState
    act: RequestAct


def after(state: RequestState, act: RequestAct, party: Party) -> RequestState:
    """The state that follows. Raises RefusedActError."""
    found = TRANSITIONS.get((state, act))
    if found is None or found[1] is not party:
        raise RefusedActError(state, act)
    return found[0]


def owes_report(standing: Standing) -> bool:
    """Whether access was had, is over, and its subject has not yet said what was done."""
    return standing.state in (S.EXPIRED, S.REVOKED) and standing.activated_at is not None and not standing.report


def debts(requests: tuple[AccessRequest, ...]) -> tuple[str, ...]:
    """Of one subject's requests, those that owe a report; what was prolonged is reported with what prolonged it."""
    prolonged = {r.terms.extends for r in requests if r.standing.activated_at is not None}
    return tuple(r.id for r in requests if owes_report(r.standing) and r.id not in prolonged)


def by_the_clock(standing: Standing, terms: Terms, now: float, in_force: bool) -> RequestAct | None:
    """What the time does to a request: `in_force` is whether its grant is given now."""
    if standing.state in LIVING and now >= terms.ends:
        return A.EXPIRE
    if standing.state in (S.APPROVED, S.SCHEDULED) and in_force:
        return A.ACTIVATE
    if standing.state is S.APPROVED and now < terms.starts:
        return A.SCHEDULE
    return None


def groups_suffice(groups: tuple[tuple[str, ...], ...], needed: int) -> bool:
    """Whether that many reviews can each stand for a group of their own; each of `groups` is what one may stand for."""
    return 0 < needed <= groups_stood_for(groups)


def still_missing(
    groups: tuple[tuple[str, ...], ...], needed: int, approvers: tuple[str, ...]
) -> tuple[int, tuple[str, ...]]:
    """How many more groups must approve, and which of `approvers` would bring it further."""
    so_far = groups_stood_for(groups)
    if so_far >= needed:
        return 0, ()
    return needed - so_far, tuple(one for one in approvers if groups_stood_for((*groups, (one,))) > so_far)


def groups_stood_for(groups: tuple[tuple[str, ...], ...]) -> int:
    """How many reviews can each stand for a group of their own."""
    taken: dict[str, int] = {}

    def place(review: int, seen: set[str]) -> bool:
        """Find it a group, if need be by moving another review to another of its groups (Kuhn's matching)."""
        for group in groups[review]:
            if group not in seen:
                seen.add(group)
                if group not in taken or place(taken[group], seen):
                    taken[group] = review
                    return True
        return False

    return sum(place(review, set()) for review in range(len(groups)))
