"""Operations that wait for a person: looking at them, approving, refusing, and proving oneself again."""

from typing import Any

from broker.api.call import Call
from broker.api.enrolment import people_of, refused
from broker.api.problems import Problem, timestamp
from broker.errors import EnrolmentError, StateUnavailableError
from broker.model.approval import ARMS, Approval, ApprovalState, Approver, OldValues
from broker.model.decision import Obligation
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Touch
from broker.model.place import Grant, GrantKind
from broker.model.vocabulary import Reason

READ, APPROVE, STEP_UP = "approvals.read", ARMS[Obligation.SECOND_PERSON], ARMS[Obligation.STEP_UP]
BY_TOKEN, BY_CODE = "by a fresh token", "by a code of the authenticator app"


async def approvals(call: Call) -> dict[str, Any]:
    """What waits: all if the policy says so, else what is at sites of which it says so, and the caller's own."""
    others = {each.device.site for each in call.gate.approvals.all() if each.subject.id != call.subject.id}
    sites = await call.sites(READ, "approvals", others)
    if not sites and sites is not None:
        await call.require(READ, {"kind": "approvals", "subject": call.subject.id})
    shown = [
        await _document(call, each)
        for each in call.gate.approvals.all()
        if sites is None or each.device.site in sites or each.subject.id == call.subject.id
    ]
    return {"scope": "all" if sites is None else "sites" if sites else "own", "approvals": shown}


async def approval(call: Call) -> dict[str, Any]:
    """One of them."""
    return await _document(call, await _permitted(call, READ))


async def approve(call: Call) -> dict[str, Any]:
    """Arm exactly this operation, as a second person."""
    found = await _permitted(call, APPROVE)
    call.require_person(other_than=found.subject.id)
    why, without_old = call.body.why, call.body.without_old
    if Obligation.SECOND_PERSON in found.missing and found.state is ApprovalState.WAITING:
        _require_seen(found, without_old)
    by = Approver(call.subject, Obligation.SECOND_PERSON, call.peer)
    return await _done(call, call.gate.approvals.arm(found, by, why, without_old=without_old))


def _require_seen(approval: Approval, without_old: bool) -> None:
    """Who approves has seen what would be written over, or knows that it could not be read. Raises Problem."""
    if approval.old_values is OldValues.BEING_READ:
        raise Problem("approval_unread")
    if approval.old_values is OldValues.UNREADABLE and not without_old:
        raise Problem("approval_unseen")


async def refuse(call: Call) -> dict[str, Any]:
    """Refuse exactly this operation, as a second person."""
    found = await _permitted(call, APPROVE)
    call.require_person(other_than=found.subject.id)
    return await _done(call, call.gate.approvals.refuse(found, call.subject, call.body.why))


async def step_up(call: Call) -> dict[str, Any]:
    """Arm one's own operation by a proof that is fresh: of the token, or by a second factor now."""
    found = await _permitted(call, STEP_UP)
    if (found.subject.organisation, found.subject.id) != (call.subject.organisation, call.subject.id):
        raise Problem("permission_denied", reasons=(Reason.ROLE_MISSING,))
    how = BY_TOKEN
    if call.body.code:
        await _prove_factor(call, call.body.code)
        how = BY_CODE
    elif not call.gate.approvals.proven_anew(found, call.subject):
        raise Problem("proof_not_fresh")
    by = Approver(call.subject, Obligation.STEP_UP, call.peer)
    return await _done(call, call.gate.approvals.arm(found, by, how))


async def _prove_factor(call: Call, raw_code: str) -> None:
    """The caller has its second factor. Raises Problem."""
    try:
        await people_of(call).factors.verify(call.subject.id, raw_code)
    except EnrolmentError as error:
        raise refused(error) from None


async def _permitted(call: Call, permission: str) -> Approval:
    """The approval that the path names, for whom the policy lets do this with it. Raises Problem."""
    found = call.gate.approvals.get(call.parameters["approval"])
    await call.require(permission, {"kind": "approval"} if found is None else found.about)
    if found is None:
        raise Problem("approval_unknown")
    return found


async def _done(call: Call, approval: Approval | None) -> dict[str, Any]:
    if approval is None:
        raise Problem("approval_over")
    return await _document(call, approval)


async def _grants(call: Call, approval: Approval) -> list[dict[str, Any]]:
    """What it rests on, as the subject was given it."""
    named = {decision.rule.removeprefix("grant/") for decision in approval.decisions}
    return [
        {"id": grant.id, "reason": _printable(grant.description), "ticket": await _ticket(call, grant)}
        for grant in call.gate.grants_of(approval.subject)
        if grant.id in named
    ]


async def _ticket(call: Call, grant: Grant) -> str | None:
    """The ticket of the access request that a grant comes from; None also while the state cannot say."""
    if grant.kind is not GrantKind.REQUEST:
        return None
    try:
        view = await call.gate.requests.request(grant.id)
    except StateUnavailableError:
        return None
    return None if view is None or not view.request.terms.ticket else _printable(view.request.terms.ticket)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


async def _document(call: Call, approval: Approval) -> dict[str, Any]:
    before = dict(approval.before or ())
    return {
        "id": approval.id,
        "state": approval.state.value,
        "subject": approval.subject.id,
        "organisation": approval.subject.organisation,
        "device": approval.device.key,
        "session": approval.session,
        "asked_at": timestamp(approval.asked_at),
        "until": timestamp(approval.until),
        "rules": list(dict.fromkeys(decision.rule for decision in approval.decisions)),
        "grants": await _grants(call, approval),
        "needs": [kind.value for kind in approval.needs],
        "missing": [kind.value for kind in approval.missing],
        "armings": [
            {"obligation": a.kind.value, "by": a.by, "at": timestamp(a.at), "until": timestamp(a.until)}
            for a in approval.armings
        ],
        "refused_by": approval.refused_by or None,
        "concealed": approval.request.conceals,
        "old_values": approval.old_values.value,
        "operations": [_operation(o, before, approval.request.conceals) for o in approval.request.operations],
    }


def _operation(operation: Operation, before: dict[str, str], conceals: bool) -> dict[str, Any]:
    """All of it: who arms an operation must have been shown the whole."""
    return {
        "action": operation.action.value,
        "service": operation.service,
        "address": _address(operation.address),
        "priority": operation.priority,
        "described": operation.described,
        "points": [_point(touch, before, conceals) for touch in operation.touches],
        "raw_values": [] if conceals else [_plain(value) for value in operation.raw_values],
        "facts": {} if conceals else {name: _plain(value) for name, value in operation.facts},
    }


def _point(touch: Touch, before: dict[str, str], conceals: bool) -> dict[str, Any]:
    old = None if conceals else before.get(touch.point.id)
    new = None if conceals else touch.value
    return {
        "name": touch.point.id,
        "unit": touch.point.engineering_unit,
        "old": None if old is None else _plain(old),
        "new": None if new is None else _plain(new),
    }


def _address(address: ModbusRange | BacnetProperty) -> str:
    if isinstance(address, BacnetProperty):
        return _plain(str(address))
    if address.table is None:
        return ""
    last = f" to {address.start + address.count - 1}" if address.count > 1 else ""
    return f"{address.table.value} {address.start}{last}"


def _plain(text: str) -> str:
    """In ASCII, everything else as its code: nothing in it hides, turns writing round or looks like something else."""
    return text.encode("unicode_escape").decode("ascii")
