"""Access requests: asking, reviewing, withdrawing, revoking, prolonging, giving back and reporting."""

import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from broker.access.requests import GRANTED, owes_report, still_missing
from broker.access.uses import use_of
from broker.api.call import Call
from broker.api.problems import Problem, reasons_document, timestamp
from broker.api.request_models import ExtendCall, RequestCall
from broker.api.request_ports import RequestView
from broker.api.request_terms import extended, terms_of
from broker.errors import RequestRefusedError, StateUnavailableError
from broker.model.access_request import AccessRequest, RequestChoice, RequestState, Review, Terms, Verdict
from broker.model.decision import Decision, ReviewAnswer
from broker.model.place import PlannedWrite
from broker.model.vocabulary import NOTHING_SAID

T = TypeVar("T")
READ, CREATE, SUBMIT, REVIEW = "requests.read", "request.create", "request.submit", "request.review"
WITHDRAW, REVOKE, CLOSE = "request.withdraw", "request.revoke", "request.close"


async def requests(call: Call) -> dict[str, Any]:
    """All if the policy says so, else those of sites, of sponsored organisations and one's own."""
    mine, states = call.subject.id, frozenset(call.query.state)
    sites = await call.sites(READ, "requests", call.gate.inventory.sites)
    sponsored = await _sponsored(call)
    if sites is None or sites or sponsored:
        among = None if sites is None else partial(_concerns, mine, sites, sponsored)
        choice = RequestChoice(states=states, among=among)
    else:
        await call.require(READ, {"kind": "requests", "subject": mine})
        choice = RequestChoice(mine, states)
    found, more = await told(call.gate.requests.requests(choice))
    scope = "all" if sites is None else "sites" if sites or sponsored else "own"
    return {"scope": scope, "requests": [_entry(call, view) for view in found], "more": more}


async def create(call: Call) -> dict[str, Any]:
    """Ask for access."""
    asked: RequestCall = call.body
    await call.require(CREATE, {"kind": "request", "subject": call.subject.id})
    return await _acted(call, call.gate.requests.create(terms_of(call, asked), submit=asked.submit))


async def request(call: Call) -> dict[str, Any]:
    """One request, and what the caller may do as its reviewer."""
    return await _shown(call, await permitted(call, READ))


async def submit(call: Call) -> dict[str, Any]:
    """Hand a draft in."""
    found = await _to_act_on(call, SUBMIT)
    return await _acted(call, call.gate.requests.submit(found, call.subject))


async def review(call: Call) -> dict[str, Any]:
    """Approve or deny."""
    found = await _to_act_on(call, REVIEW)
    act = call.gate.requests.review(found, call.subject, call.body.verdict, call.body.comment)
    return await _acted(call, act)


async def withdraw(call: Call) -> dict[str, Any]:
    """Take back what is not active yet."""
    found = await _to_act_on(call, WITHDRAW)
    return await _acted(call, call.gate.requests.withdraw(found, call.subject, call.body.why))


async def revoke(call: Call) -> dict[str, Any]:
    """End what was approved, and what was asked for since to prolong it."""
    found = await _to_act_on(call, REVOKE)
    shown = await _acted(call, call.gate.requests.revoke(found, call.subject, call.body.why))
    # It is over, here at least; what could not be ended with it still waits for an approval of its own.
    with suppress(StateUnavailableError, RequestRefusedError):
        await call.gate.requests.end_all(partial(_prolongs, found.terms), call.subject, call.body.why)
    return shown


def _prolongs(first: Terms, later: Terms) -> bool:
    return later.chain == first.chain and later.id != first.id and later.created_at >= first.created_at


async def close(call: Call) -> dict[str, Any]:
    """Give access back, or report on what is over."""
    found = await _to_act_on(call, CLOSE)
    return await _acted(call, call.gate.requests.close(found, call.subject, call.body.report))


async def extend(call: Call) -> dict[str, Any]:
    """Ask for the same until later."""
    asked: ExtendCall = call.body
    found = (await permitted(call, READ)).request
    await call.require(CREATE, {"kind": "request", "subject": found.terms.subject})
    if found.terms.subject != call.subject.id:
        raise Problem("permission_denied")
    if found.standing.state not in GRANTED:
        raise Problem("request_state", f"It is {found.standing.state.value}.")
    return await _acted(call, call.gate.requests.create(extended(call, found, asked), submit=True))


async def permitted(call: Call, permission: str) -> RequestView:
    """The request that the path names, for whom the policy lets do this with it. Raises Problem."""
    try:
        found = await call.gate.requests.request(call.parameters["request"])
    except StateUnavailableError:
        raise Problem("state_unavailable") from None
    await call.require(permission, _resource(call, found))
    if found is None:
        raise Problem("request_unknown")
    return found


async def _to_act_on(call: Call, permission: str) -> AccessRequest:
    found = (await permitted(call, permission)).request
    if call.body.version not in (None, found.standing.version):
        raise Problem("request_changed")
    return found


async def _acted(call: Call, act: Awaitable[RequestView]) -> dict[str, Any]:
    return await _shown(call, await told(act))


async def _shown(call: Call, view: RequestView) -> dict[str, Any]:
    """The request, and while it is pending who is still to approve it."""
    return {"request": _entry(call, view), "review": await _outlook(call, view)}


async def _outlook(call: Call, view: RequestView) -> dict[str, Any] | None:
    request = view.request
    if request.standing.state is not RequestState.PENDING:
        return None
    answer = await call.gate.requests.may_review(request, call.subject)
    reviewed = any(reviewer == call.subject.id for reviewer, _ in request.notes)
    return {
        "may": answer.allow and not reviewed,
        "reviewed": reviewed,
        "groups": list(answer.groups),
        **_lacking(view, answer),
        "reasons": reasons_document(answer.reasons),
    }


def _lacking(view: RequestView, answer: ReviewAnswer) -> dict[str, Any]:
    """How many must approve and who is still to do so, as far as the policy has said it."""
    if not NOTHING_SAID.isdisjoint(answer.reasons):
        return {"needed": None, "still_needed": None, "missing": None}
    approving = tuple(review.groups for review in view.reviews if review.verdict is Verdict.APPROVE)
    still_needed, missing = still_missing(approving, answer.needed, answer.approvers)
    named = bool(answer.approvers) or not still_needed
    return {"needed": answer.needed, "still_needed": still_needed, "missing": list(missing) if named else None}


async def told(act: Awaitable[T]) -> T:
    """What an act gives; what stands against it as a Problem."""
    try:
        return await act
    except StateUnavailableError:
        raise Problem("state_unavailable") from None
    except RequestRefusedError as error:
        decision = Decision(error.decision, error.index, False, error.reasons) if error.decision else None
        headers = {"Retry-After": str(int(error.wait_seconds) + 1)} if error.wait_seconds else {}
        raise Problem(error.code, error.public, error.reasons, decision, headers=headers) from None


async def _sponsored(call: Call) -> frozenset[str]:
    """The organisations that the caller answers for, if the policy lets it look."""
    mine = frozenset(o.id for o in call.gate.inventory.organisations if o.sponsor == call.subject.id)
    if mine and (await call.permission(READ, {"kind": "requests", "sponsor": call.subject.id})).allow:
        return mine
    return frozenset()


def _concerns(subject: str, sites: frozenset[str], organisations: frozenset[str], terms: Terms) -> bool:
    return _sites(terms) <= sites or terms.subject == subject or terms.organisation in organisations


def _sites(terms: Terms) -> set[str]:
    return {key.partition("/")[0] for key in terms.devices}


def _resource(call: Call, view: RequestView | None) -> dict[str, Any]:
    """What the policy is told of a request; only its kind if there is none."""
    if view is None:
        return {"kind": "request"}
    terms = view.request.terms
    sites = _sites(terms)
    told = {"kind": "request", "id": terms.id, "subject": terms.subject, "organisation": terms.organisation}
    sponsor = _sponsor(call, terms)
    told |= {"sponsor": sponsor} if sponsor else {}
    return told | ({"site": min(sites)} if len(sites) == 1 else {})


def _sponsor(call: Call, terms: Terms) -> str:
    organisation = call.gate.organisation(terms.organisation)
    return "" if organisation is None else organisation.sponsor


def _entry(call: Call, view: RequestView) -> dict[str, Any]:
    terms, standing = view.request.terms, view.request.standing
    return {
        "id": terms.id,
        "state": standing.state.value,
        "version": standing.version,
        **_asked(call, view.request),
        "reviews": [_review(review) for review in view.reviews],
        "in_force": view.in_force,
        "held_because": reasons_document(view.held_because),
        "ends_in_seconds": max(0, int(terms.ends - time.time())) if view.in_force else None,
        "activated_at": _moment(standing.activated_at),
        "ended_at": _moment(standing.ended_at),
        "ended_by": standing.ended_by,
        "ended_why": standing.ended_why,
        "report": standing.report,
        "report_due": owes_report(standing),
        "shared": view.shared,
    }


def _asked(call: Call, request: AccessRequest) -> dict[str, Any]:
    terms = request.terms
    return {
        "subject": terms.subject,
        "organisation": terms.organisation,
        "sponsor": _sponsor(call, terms),
        "devices": list(terms.devices),
        "points": list(terms.points),
        "actions": [action.value for action in terms.actions],
        "plan": [_planned(request, write) for write in terms.plan],
        "used": len(request.uses) if terms.single_use else None,
        "reason": terms.reason,
        "ticket": terms.ticket,
        "from": timestamp(terms.starts),
        "until": timestamp(terms.ends),
        "window": terms.window,
        "single_use": terms.single_use,
        "supervised": terms.supervised,
        "extends": terms.extends,
        "created_at": timestamp(terms.created_at),
    }


def _planned(request: AccessRequest, write: PlannedWrite) -> dict[str, Any]:
    used = use_of(write) in request.uses if request.terms.single_use else None
    return asdict(write) | {"used": used}


def _review(review: Review) -> dict[str, Any]:
    return {
        "reviewer": review.reviewer.id,
        "organisation": review.reviewer.organisation,
        "groups": list(review.groups),
        "verdict": review.verdict.value,
        "comment": review.comment,
        "at": timestamp(review.at),
        "ledger": review.broker,
        "index": review.index,
    }


def _moment(time: float | None) -> str | None:
    return None if time is None else timestamp(time)
