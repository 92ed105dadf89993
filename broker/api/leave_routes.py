"""Routes: what is undone when somebody's access ends."""

from broker.api import leave_models, leaves
from broker.api.route import DecidedBy, Effect, Route
from broker.model.vocabulary import RecordKind

LEAVE_ROUTES: tuple[Route, ...] = (
    Route(
        name="leaves",
        method="GET",
        path="/v1/leaves",
        permission=leaves.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="What could not be undone when somebody's access ended, and what will be: of all sites, or of yours",
        handler=leaves.leaves,
        answer=leave_models.LeaveEntries,
        description="Of this broker: what a session left is undone by the broker that relayed it.",
    ),
    Route(
        name="acknowledge_leave",
        method="POST",
        path="/v1/leaves/{id}/acknowledge",
        permission=leaves.ACKNOWLEDGE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.LEAVE_ACKNOWLEDGED,),
        summary="Take note of what a leave could not undo",
        handler=leaves.acknowledge,
        answer=leave_models.LeaveAnswer,
        body=leave_models.AcknowledgeCall,
        problems=("leave_unknown", "ledger_closed"),
        description="It is no longer listed; the ledger keeps it.",
    ),
)
