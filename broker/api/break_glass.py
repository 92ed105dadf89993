"""Break-glass: opening an emergency with sealed parts, looking at emergencies, closing them, signing their reviews."""

from contextlib import suppress
from typing import Any

from broker.api.break_glass_models import OpeningCall, SigningCall
from broker.api.call import BEGUN, DONE, Call
from broker.api.problems import Problem, timestamp
from broker.errors import LedgerUnavailableError, StateUnavailableError
from broker.model.emergency import SIGNATURES_NEEDED, Emergency, NotOpened, OpeningRefusal, SigningRefusal

READ, CLOSE, REVIEW = "break_glass.read", "break_glass.close", "break_glass.review"
_NOT_OPENED = {
    OpeningRefusal.NOT_SET_UP: "The settings of this broker have no break_glass.",
    OpeningRefusal.NOT_SEALED: "No parts are sealed, or too few of them are left.",
    OpeningRefusal.NOT_ALLOWED: "The settings do not let you open an emergency.",
    OpeningRefusal.SITE_NOT_COVERED: "The settings do not let anybody open an emergency at this site.",
    OpeningRefusal.TOO_LONG: "The settings do not let anybody open an emergency for so long.",
    OpeningRefusal.LOCKED: "A lock refuses you, or the site.",
    OpeningRefusal.NO_SESSIONS: "This broker opens no sessions now, not even in an emergency: its readiness says why.",
    OpeningRefusal.PARTS_MALFORMED: "A part is mistyped.",
    OpeningRefusal.PARTS_REFUSED: "These parts open nothing: they must be as many as needed, all different, of the "
    "newest seal, and never used before.",
}
_NOT_SIGNED = {
    SigningRefusal.STILL_OPEN: "It is still open: close it first, or wait for its end.",
    SigningRefusal.OPENED_IT: "Whoever opened an emergency does not sign its review.",
    SigningRefusal.SIGNED_BEFORE: "You have signed it before; it takes somebody else.",
    SigningRefusal.REVIEWED: "Its review is finished.",
}


async def emergencies(call: Call) -> dict[str, Any]:
    """All emergencies if the policy says so, else those of sites of which it says so, and the caller's own: whoever
    holds one sees it whatever the policy says, or whether it says anything.
    """
    book = call.gate.break_glass
    found = sorted((*book.emergencies, *book.elsewhere), key=lambda entry: entry.opened_at, reverse=True)
    sites = await call.sites(READ, "emergencies", call.gate.inventory.sites)
    if not sites and sites is not None and not book.holds(call.subject, ""):
        await call.require(READ, {"kind": "emergencies", "subject": call.subject.id})
    shown = [entry for entry in found if sites is None or entry.site in sites or _mine(call, entry)]
    scope = "all" if sites is None else "sites" if sites else "own"
    return {"scope": scope, "emergencies": [_entry(call, entry) for entry in shown]}


async def open_emergency(call: Call) -> dict[str, Any]:
    """Open an emergency. The settings and the parts decide: no policy may be there to be asked."""
    asked: OpeningCall = call.body
    parts = [part.get_secret_value() for part in asked.parts]
    opened = await call.gate.break_glass.open(call.subject, asked.site, asked.why, asked.minutes, parts, call.peer)
    if isinstance(opened, NotOpened):
        raise _not_opened(opened)
    return {"emergency": _entry(call, opened)}


async def close(call: Call) -> dict[str, Any]:
    """Close an emergency early: one's own, or with the permission."""
    emergency = _named(call)
    if emergency is None or not _mine(call, emergency):
        await call.require(CLOSE, _resource(emergency))
    if emergency is None:
        raise Problem("emergency_unknown")
    elsewhere = emergency not in call.gate.break_glass.emergencies
    if elsewhere:
        _record_asking(call, emergency, BEGUN)
    try:
        await call.gate.break_glass.close(emergency, call.subject.id)
    except StateUnavailableError:
        _record_asking(call, emergency, "emergency_elsewhere")
        raise Problem("emergency_elsewhere") from None
    if elsewhere:
        _record_asking(call, emergency, DONE)
    return {"emergency": _entry(call, _named(call) or emergency)}


def _record_asking(call: Call, emergency: Emergency, outcome: str) -> None:
    """The broker that closes it has no proof of who asked, so this one tells; taking away waits for no ledger."""
    with suppress(LedgerUnavailableError):
        call.gate.record_act(call.subject, CLOSE, _resource(emergency), outcome)


async def review(call: Call) -> dict[str, Any]:
    """Sign the review of an emergency that was opened at this broker."""
    asked: SigningCall = call.body
    emergency = _named(call)
    await call.require(REVIEW, _resource(emergency))
    call.require_person()
    if emergency is None:
        raise Problem("emergency_unknown")
    if emergency not in call.gate.break_glass.emergencies:
        raise Problem("emergency_elsewhere")
    signed = await call.gate.break_glass.sign(emergency, call.subject.id, asked.comment)
    if isinstance(signed, SigningRefusal):
        raise Problem("signature_refused", _NOT_SIGNED[signed])
    return {"emergency": _entry(call, signed)}


def _named(call: Call) -> Emergency | None:
    wanted, book = call.parameters["id"], call.gate.break_glass
    return next((found for found in (*book.emergencies, *book.elsewhere) if found.id == wanted), None)


def _mine(call: Call, emergency: Emergency) -> bool:
    return (emergency.subject, emergency.organisation) == (call.subject.id, call.subject.organisation)


def _resource(emergency: Emergency | None) -> dict[str, str]:
    """What the policy is told of an emergency; only its kind if there is none."""
    if emergency is None:
        return {"kind": "emergency"}
    return {"kind": "emergency", "id": emergency.id, "site": emergency.site, "opened_by": emergency.subject}


def _not_opened(refused: NotOpened) -> Problem:
    if refused.because is OpeningRefusal.TOO_SOON:
        return Problem("too_many_attempts", headers={"Retry-After": str(int(refused.retry_seconds) + 1)})
    unready = refused.because in (OpeningRefusal.NOT_SET_UP, OpeningRefusal.NOT_SEALED, OpeningRefusal.NO_SESSIONS)
    return Problem("break_glass_unready" if unready else "break_glass_refused", _NOT_OPENED[refused.because])


def _entry(call: Call, emergency: Emergency) -> dict[str, Any]:
    ended, signatures = emergency.ended_at, emergency.signatures
    over = ended is not None or call.gate.break_glass.now() >= emergency.until
    return {
        "id": emergency.id,
        "state": "reviewed" if emergency.reviewed else "to_review" if over else "open",
        "site": emergency.site,
        "subject": emergency.subject,
        "organisation": emergency.organisation,
        "why": emergency.why,
        "opened_at": timestamp(emergency.opened_at),
        "until": timestamp(emergency.until),
        "ended_at": None if ended is None else timestamp(ended),
        "ended_by": emergency.ended_by or None,
        "actions": [action.value for action in emergency.actions],
        "parts": list(emergency.parts),
        "broker": emergency.broker,
        "peer": emergency.peer,
        "signatures": [{"by": s.by, "at": timestamp(s.at), "comment": s.comment} for s in signatures],
        "signatures_missing": max(SIGNATURES_NEEDED - len(signatures), 0),
    }
