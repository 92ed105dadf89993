"""Routes: locks and the isolation switch."""

from broker.api import lock_models, locks
from broker.api.route import DecidedBy, Effect, Route
from broker.model.vocabulary import RecordKind

LOCK_ROUTES: tuple[Route, ...] = (
    Route(
        name="locks",
        method="GET",
        path="/v1/locks",
        permission=locks.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="The locks that hold: all, or those on the sites that you may see",
        handler=locks.locks,
        answer=lock_models.LockEntries,
    ),
    Route(
        name="lock",
        method="POST",
        path="/v1/locks",
        permission=locks.SET,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.LOCK_SET,),
        summary="Lock a subject, certificate, organisation, device, site, grant or session",
        handler=locks.set_lock,
        answer=lock_models.LockAnswer,
        body=lock_models.LockCall,
        problems=("lock_of_oneself", "lock_target_unknown"),
        description=(
            "It takes effect before the answer: what it names is refused, and sessions are cut, on this broker at once "
            "and on the others within a second. If the state cannot be reached it holds on this broker alone "
            "(`shared` false) until it can. Subjects, certificates and sessions may be locked before they are known."
        ),
    ),
    Route(
        name="lift",
        method="POST",
        path="/v1/locks/{id}/lift",
        permission=locks.LIFT,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.LIFT_SIGNED, RecordKind.LOCK_LIFTED),
        summary="Lift a lock; an isolation only as a second person",
        handler=locks.lift,
        answer=lock_models.LiftAnswer,
        body=lock_models.LiftCall,
        problems=("lock_unknown", "state_unavailable"),
    ),
    Route(
        name="isolate",
        method="POST",
        path="/v1/sites/{site}/isolate",
        permission="site.isolate",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.LOCK_SET,),
        summary="End everything to a site, but for those whom the policy names for emergencies",
        handler=locks.isolate,
        answer=lock_models.LockAnswer,
        body=lock_models.IsolateCall,
        resource="site",
        problems=("lock_target_unknown",),
        description="Holds until a second person lifts the lock that the answer names.",
    ),
)
