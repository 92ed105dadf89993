"""Routes: break-glass."""

from broker.api import break_glass, break_glass_models
from broker.api.route import CertificateAlone, DecidedBy, Effect, Route
from broker.model.vocabulary import RecordKind

_ALONE = (
    "A client certificate alone proves the caller here, whatever the listener asks for elsewhere: the issuer of tokens "
    "may be what is down. "
)

BREAK_GLASS_ROUTES: tuple[Route, ...] = (
    Route(
        name="emergencies",
        method="GET",
        path="/v1/break-glass",
        permission=break_glass.READ,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="Emergencies and their reviews: all, if you may see all, else your own",
        handler=break_glass.emergencies,
        answer=break_glass_models.EmergencyEntries,
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="break_glass",
        method="POST",
        path="/v1/break-glass",
        permission="break_glass.open",
        decided_by=DecidedBy.PARTS,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.BREAK_GLASS_OPENED, RecordKind.BREAK_GLASS_REFUSED),
        summary="Open an emergency at a site with sealed parts",
        handler=break_glass.open_emergency,
        answer=break_glass_models.EmergencyAnswer,
        body=break_glass_models.OpeningCall,
        problems=("break_glass_refused", "break_glass_unready", "too_many_attempts", "ledger_closed", "unavailable"),
        description=_ALONE
        + (
            "Works without the issuer of tokens, the policy's server and the database, never without the ledger. The "
            "parts are spent when they open it. From then on new sessions of the caller at the site are decided by the "
            "fixed policy alone, until it is closed or its time is over, and read, write and tunnel there take the "
            "certificate alone. It alarms at once, and its review stays open until two others have signed it."
        ),
        certificate_alone=CertificateAlone.ALWAYS,
    ),
    Route(
        name="close_emergency",
        method="POST",
        path="/v1/break-glass/{id}/close",
        permission=break_glass.CLOSE,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.BREAK_GLASS_ENDED,),
        summary="End an emergency before its time; whoever opened it may always",
        handler=break_glass.close,
        answer=break_glass_models.EmergencyAnswer,
        body=break_glass_models.ClosingCall,
        problems=("emergency_unknown", "emergency_elsewhere"),
        description="Its sessions are cut before the answer; those on another broker within some seconds. Who asked "
        "for one of another broker is recorded at this one (`administered`).",
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="review_emergency",
        method="POST",
        path="/v1/break-glass/{id}/review",
        permission=break_glass.REVIEW,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.CHANGES,
        recorded_as=(RecordKind.BREAK_GLASS_REVIEWED,),
        summary="Sign the review of an emergency that has ended, as one of two",
        handler=break_glass.review,
        answer=break_glass_models.EmergencyAnswer,
        body=break_glass_models.SigningCall,
        problems=("emergency_unknown", "emergency_elsewhere", "signature_refused", "ledger_closed"),
        description="At the broker where it was opened. Neither who opened it signs, nor anybody twice.",
    ),
)
