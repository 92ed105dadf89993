"""Routes: policies and their activation; proposals of acts that more than one person must want."""

from broker.api import proposal_models, proposals
from broker.api.route import DecidedBy, Effect, Route
from broker.model.vocabulary import RecordKind

_APPROVING = (RecordKind.PROPOSAL_APPROVED, RecordKind.PROPOSAL_ENDED)

POLICY_ROUTES: tuple[Route, ...] = (
    Route(
        name="policies",
        method="GET",
        path="/v1/policies",
        permission="policy.read",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="The policy in force, the one that waits, and those before",
        handler=proposals.policies,
        answer=proposal_models.PolicyOverview,
        resource="policies",
        problems=("state_unavailable",),
    ),
    Route(
        name="policy",
        method="GET",
        path="/v1/policies/{revision}",
        permission="policy.read",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="A policy whole",
        handler=proposals.policy,
        answer=proposal_models.PolicyDocument,
        resource="policy",
        problems=("policy_unknown",),
    ),
    Route(
        name="activate_policy",
        method="POST",
        path="/v1/policies/{revision}/activate",
        permission=proposals.APPROVE_POLICY,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.PROPOSAL_CREATED, *_APPROVING, RecordKind.POLICY_CHANGED),
        summary="Approve exactly this revision of the policy; the last approval that it takes activates it",
        handler=proposals.activate_policy,
        answer=proposal_models.PolicyAnswer,
        body=proposal_models.ApproveProposalCall,
        problems=("policy_follows_files", "policy_not_waiting", "proposal_over", "state_unavailable", "ledger_closed"),
        description=(
            "A revision that waits, or one that was in force before. One person approves it once; files that change "
            "are another revision, which nobody has approved. Whether enough people have is asked of the policy in "
            "force (`policy.activate`)."
        ),
    ),
)

PROPOSAL_ROUTES: tuple[Route, ...] = (
    Route(
        name="proposals",
        method="GET",
        path="/v1/proposals",
        permission=proposals.READ,
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="Proposals, the newest first",
        handler=proposals.proposals,
        answer=proposal_models.ProposalEntries,
        resource="proposals",
        problems=("state_unavailable",),
    ),
    Route(
        name="proposal",
        method="GET",
        path="/v1/proposals/{id}",
        permission=proposals.READ,
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="One proposal, with its warrant if it is approved",
        handler=proposals.proposal,
        answer=proposal_models.ProposalEntry,
        resource="proposal",
        problems=("proposal_unknown", "state_unavailable"),
    ),
    Route(
        name="propose",
        method="POST",
        path="/v1/proposals",
        permission=proposals.CREATE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.PROPOSAL_CREATED, *_APPROVING),
        summary="Propose an act of an authority",
        handler=proposals.propose,
        answer=proposal_models.ProposalAnswer,
        body=proposal_models.ProposeCall,
        problems=("proposal_over", "state_unavailable", "ledger_closed"),
        description="The proposer is the first of those who approve. A proposal is open for three days.",
    ),
    Route(
        name="approve_proposal",
        method="POST",
        path="/v1/proposals/{id}/approve",
        permission=proposals.APPROVE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=_APPROVING,
        summary="Approve a proposal; the last approval that it takes gives its warrant",
        handler=proposals.approve,
        answer=proposal_models.ProposalAnswer,
        body=proposal_models.ApproveProposalCall,
        problems=("proposal_unknown", "proposal_over", "state_unavailable", "ledger_closed"),
        description="The warrant is good for one use within a day, with exactly the parameters of the proposal.",
    ),
    Route(
        name="refuse_proposal",
        method="POST",
        path="/v1/proposals/{id}/refuse",
        permission=proposals.REFUSE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.PROPOSAL_ENDED,),
        summary="Refuse a proposal for good",
        handler=proposals.refuse,
        answer=proposal_models.ProposalAnswer,
        body=proposal_models.RefuseProposalCall,
        problems=("proposal_unknown", "proposal_over", "state_unavailable", "ledger_closed"),
    ),
)
