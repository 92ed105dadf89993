"""Routes: operations that wait for a person."""

from broker.api import approval_models, approvals
from broker.api.route import DecidedBy, Effect, Route
from broker.model.vocabulary import RecordKind

APPROVAL_ROUTES: tuple[Route, ...] = (
    Route(
        name="approvals",
        method="GET",
        path="/v1/approvals",
        permission=approvals.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="Operations that wait for a person on this broker: all, if you may see all, else your own",
        handler=approvals.approvals,
        answer=approval_models.ApprovalEntries,
    ),
    Route(
        name="approval",
        method="GET",
        path="/v1/approvals/{approval}",
        permission=approvals.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="One operation that waits: decoded, with what is there now and what would be written",
        handler=approvals.approval,
        answer=approval_models.ApprovalEntry,
        problems=("approval_unknown",),
    ),
    Route(
        name="approve",
        method="POST",
        path="/v1/approvals/{approval}/approve",
        permission=approvals.APPROVE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.OPERATION_ARMED,),
        summary="Arm exactly this operation, once, for five minutes, as a second person",
        handler=approvals.approve,
        answer=approval_models.ApprovalEntry,
        body=approval_models.ApproveCall,
        problems=("approval_unknown", "approval_over", "approval_unread", "approval_unseen", "ledger_closed"),
        description=(
            "The next identical operation of the same subject on the same device is decided again, with what you did "
            "in `input.armed`, and passes once if the policy still allows it. Nobody approves his own operation."
        ),
    ),
    Route(
        name="refuse",
        method="POST",
        path="/v1/approvals/{approval}/refuse",
        permission=approvals.APPROVE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.APPROVAL_ENDED,),
        summary="Refuse exactly this operation as a second person: for ten minutes it is not asked for again",
        handler=approvals.refuse,
        answer=approval_models.ApprovalEntry,
        body=approval_models.RefuseCall,
        problems=("approval_unknown", "approval_over", "ledger_closed"),
    ),
    Route(
        name="step_up",
        method="POST",
        path="/v1/approvals/{approval}/step-up",
        permission=approvals.STEP_UP,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.OPERATION_ARMED,),
        summary="Arm your own operation by having just proven yourself again",
        handler=approvals.step_up,
        answer=approval_models.ApprovalEntry,
        body=approval_models.StepUpCall,
        problems=(
            "approval_unknown",
            "approval_over",
            "proof_not_fresh",
            "factor_missing",
            "factor_refused",
            "factor_blocked",
            "enrolment_unavailable",
            "state_unavailable",
            "ledger_closed",
        ),
        description=(
            "The token of this call must say that you logged in (`auth_time`) after this was asked for (clocks may "
            "differ by half a minute) and at most five minutes ago; or `code` is one of the authenticator app with "
            "which you enrolled."
        ),
    ),
)
