"""Acts that more than one person must want: proposing, approving, refusing; and policies, which files propose.

Who may approve is one question to the policy; whether enough people have is another, asked of the act itself.
"""

import logging
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from broker.api.call import Call
from broker.api.problems import Problem, refusal, timestamp
from broker.api.proposal_models import ProposeCall
from broker.errors import BrokerError, LedgerUnavailableError, PolicyUnavailableError, StateUnavailableError
from broker.model.proposal import ProposalAct, Standing
from broker.model.vocabulary import Reason

READ, CREATE, APPROVE, REFUSE = "proposal.read", "proposal.create", "proposal.approve", "proposal.refuse"
APPROVE_POLICY = "policy.approve"
T = TypeVar("T")
log = logging.getLogger(__name__)


async def proposals(call: Call) -> dict[str, Any]:
    """The newest proposals."""
    return {"proposals": [_proposal(standing) for standing in await _state(call.gate.proposals.newest())]}


async def proposal(call: Call) -> dict[str, Any]:
    """One proposal."""
    standing = await _state(call.gate.proposals.standing(call.parameters["id"]))
    if standing is None:
        raise Problem("proposal_unknown")
    return _proposal(standing)


async def propose(call: Call) -> dict[str, Any]:
    """Propose an act of an authority, which is to approve it: nothing is stored of somebody who may not."""
    asked: ProposeCall = call.body
    await call.require(CREATE, {"kind": "proposal", "act": asked.act.value})
    about = {"kind": "proposal", "act": asked.act.value, "proposed_by": call.subject.id}
    await call.require(APPROVE, about | {"approved_by": ()})
    await _enough(call, asked.act, about | {"approved_by": (call.subject.id,)})
    parameters = tuple(sorted(asked.parameters.items()))
    standing = await _state(call.gate.proposals.create(asked.act, parameters, call.subject, asked.why))
    return await _answer(call, standing)


async def approve(call: Call) -> dict[str, Any]:
    """Approve a proposal; with the last approval that it takes it is warranted."""
    found = await _state(call.gate.proposals.standing(call.parameters["id"]))
    if found is not None and _of_authority(found) and await _lacks_only_the_warrant(call, found):
        return await _answer(call, found)
    standing = await _open(call, APPROVE)
    return await _answer(call, await _state(call.gate.proposals.approve(standing, call.subject)))


async def refuse(call: Call) -> dict[str, Any]:
    """Refuse a proposal for good."""
    standing = await _open(call, REFUSE)
    ended = await _state(call.gate.proposals.refuse(standing, call.subject.id, call.body.why))
    if ended is None:
        raise Problem("proposal_over")
    return {"proposal": _proposal(ended), "lacks": []}


async def policies(call: Call) -> dict[str, Any]:
    """What is in force, what waits and who has approved it, and what was in force before."""
    found = call.gate.policies
    waiting = await _of_revision(call, found.waiting) if found.waiting else None
    return {
        "activation": "review" if found.review else "apply",
        "in_force": found.revision,
        "waiting": found.waiting,
        "approved_by": [] if waiting is None else list(waiting.approved_by),
        "before": [{"revision": revision, "since": timestamp(at)} for revision, at in reversed(found.history)],
    }


async def policy(call: Call) -> dict[str, Any]:
    """A policy whole."""
    revision = call.parameters["revision"]
    files = await call.gate.policies.files(revision)
    if files is None:
        raise Problem("policy_unknown")
    return {"revision": revision, "modules": dict(files.modules), "data": dict(files.data)}


async def activate_policy(call: Call) -> dict[str, Any]:
    """Approve exactly this revision; with the last approval that it takes it comes into force."""
    found, revision = call.gate.policies, call.parameters["revision"]
    waiting = await _of_revision(call, revision)
    complete = waiting is not None and await _lacks_only_the_warrant(call, waiting)
    if not complete:
        approved = () if waiting is None else waiting.approved_by
        await call.require(APPROVE_POLICY, {"kind": "policy", "id": revision, "approved_by": approved})
    if not found.review:
        raise Problem("policy_follows_files")
    if not found.may_be_activated(revision):
        raise Problem("policy_not_waiting")
    standing = await _state(call.gate.proposals.open_for(ProposalAct.POLICY_ACTIVATE, (("revision", revision),)))
    if not complete:
        standing = await _state(call.gate.proposals.approve(standing, call.subject))
    standing, lacks = await _warranted(call, standing)
    if not lacks:
        await _bring_into_force(call)
    return {
        "revision": revision,
        "approved_by": list(standing.approved_by),
        "activated": not lacks,
        "lacks": lacks,
        "in_force": found.revision,
    }


async def _bring_into_force(call: Call) -> None:
    """At once rather than at the next look, which tries again whatever fails here."""
    try:
        await call.gate.policies.activate()
    except LedgerUnavailableError:
        raise
    except BrokerError as error:
        log.warning("an activated policy is not in force yet: %s", error)


async def _of_revision(call: Call, revision: str) -> Standing | None:
    """The open proposal of a policy revision."""
    now = time.time()
    for standing in await _state(call.gate.proposals.of_act(ProposalAct.POLICY_ACTIVATE)):
        if standing.open_at(now) and standing.proposal.parameters == (("revision", revision),):
            return standing
    return None


async def _lacks_only_the_warrant(call: Call, standing: Standing) -> bool:
    """Whether the caller is one of enough people who have approved it: then he asks for what failed after the last of
    them, and is asked what the act itself asks.
    """
    if call.subject.id not in standing.approved_by or not standing.open_at(time.time()):
        return False
    counting = await _counting(call, standing)
    if call.subject.id not in counting.approved_by:
        return False
    about = {"kind": "proposal", "id": standing.proposal.id} | _about(counting)
    decision = await call.permission(standing.proposal.act.value, about)
    return decision.allow


async def _open(call: Call, permission: str) -> Standing:
    """The open proposal that the path names, for whom the policy lets do this with it. Raises Problem."""
    standing = await _state(call.gate.proposals.standing(call.parameters["id"]))
    known = {} if standing is None else _about(standing)
    await call.require(permission, {"kind": "proposal", "id": call.parameters["id"]} | known)
    if standing is None or not _of_authority(standing):
        raise Problem("proposal_unknown")
    if not standing.open_at(time.time()):
        raise Problem("proposal_over")
    return standing


def _of_authority(standing: Standing) -> bool:
    """Whether it is approved here; policies have a way of their own."""
    return standing.proposal.act is not ProposalAct.POLICY_ACTIVATE


async def _answer(call: Call, standing: Standing) -> dict[str, Any]:
    standing, lacks = await _warranted(call, standing)
    return {"proposal": _proposal(standing), "lacks": lacks}


async def _warranted(call: Call, standing: Standing) -> tuple[Standing, list[str]]:
    """The proposal warranted if the policy says that enough people want it; else what it lacks. Raises Problem."""
    standing = await _counting(call, standing)
    about = {"kind": "proposal", "id": standing.proposal.id} | _about(standing)
    if not await _enough(call, standing.proposal.act, about):
        return standing, [Reason.SECOND_PERSON_NEEDED.value]
    ended = await _state(call.gate.proposals.warrant(standing, call.subject.id))
    # Somebody else was faster: then it is warranted, or refused.
    known = ended or await _state(call.gate.proposals.standing(standing.proposal.id)) or standing
    if not known.warrant:
        raise Problem("proposal_over")
    return known, []


async def _counting(call: Call, standing: Standing) -> Standing:
    """What counts when a warrant is made: not what somebody approved who may not approve it now. Raises Problem."""
    try:
        return await _state(call.gate.proposals.counting(standing))
    except PolicyUnavailableError:
        raise Problem("permission_denied", reasons=(Reason.POLICY_UNAVAILABLE,)) from None


async def _enough(call: Call, act: ProposalAct, about: dict[str, Any]) -> bool:
    """Whether enough people want an act, False if only another person is missing. Raises Problem."""
    decision = await call.permission(act.value, about)
    if decision.reasons == (Reason.SECOND_PERSON_NEEDED,):
        return False
    if not decision.allow:
        raise refusal(decision.reasons, (decision,))
    return True


def _about(standing: Standing) -> dict[str, Any]:
    """What the policy is told of a proposal."""
    proposal = standing.proposal
    return {"act": proposal.act.value, "proposed_by": proposal.proposed_by, "approved_by": standing.approved_by}


async def _state(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except StateUnavailableError:
        raise Problem("state_unavailable") from None


def _proposal(standing: Standing) -> dict[str, Any]:
    proposal = standing.proposal
    open_now = standing.open_at(time.time())
    state = standing.ended_as.value if standing.ended_as else "open" if open_now else "expired"
    return {
        "id": proposal.id,
        "act": proposal.act.value,
        "parameters": dict(proposal.parameters),
        "proposed_by": proposal.proposed_by,
        "proposed_at": timestamp(proposal.proposed_at),
        "until": timestamp(proposal.until),
        "why": proposal.why,
        "approved_by": list(standing.approved_by),
        "state": state,
        "ended_by": standing.ended_by,
        "ended_at": None if standing.ended_at is None else timestamp(standing.ended_at),
        "warrant": standing.warrant,
    }
