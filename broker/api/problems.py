"""Everything that the API says instead of an answer: RFC 9457 problems, from ONE table of codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from broker.api.json_text import json_octets
from broker.model.decision import Decision
from broker.model.vocabulary import Reason
from broker.model.words import REASONS, reason_text, what_to_do

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:otbroker:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: HTTP status, title, what the caller can do."""

    status: int
    title: str
    what_to_do: str


_AS_SAID = "as long as Retry-After says"
_FIX_REQUEST = "Correct the request and send it again."
_AGAIN = "Nothing was sent to the device; try again in a moment."

_ASK_SPONSOR = "Ask your sponsor for a new invitation."

KINDS: dict[str, Kind] = {
    "request_malformed": Kind(400, "The request is not proper HTTP.", _FIX_REQUEST),
    "header_repeated": Kind(400, "A header that may be there once is there several times.", _FIX_REQUEST),
    "query_invalid": Kind(400, "The query string has something that this route does not take.", _FIX_REQUEST),
    "json_invalid": Kind(400, "The body is not acceptable JSON.", _FIX_REQUEST),
    "handshake_invalid": Kind(
        400, "The WebSocket handshake is not acceptable.", "Use WebSocket version 13 with this path's subprotocol."
    ),
    "tunnel_needs_modbus": Kind(
        400,
        "This is no Modbus device.",
        "Use its BACnet tunnel or the BACnet network of its site, or read and write its points by name.",
    ),
    "tunnel_needs_bacnet": Kind(
        400, "This is no BACnet device.", "Use the Modbus tunnel of the device, or read and write its points by name."
    ),
    "site_has_no_bacnet": Kind(
        400,
        "This site has no BACnet network at the broker.",
        "Ask its owner to give the site a `bacnet` network number in the inventory, or read and write points by name.",
    ),
    "logout_refused": Kind(400, "The logout token is not acceptable.", "Send one logout_token, fresh and once."),
    "credentials_missing": Kind(
        401, "A proof of who you are is missing.", "Present a client certificate and a bearer token."
    ),
    "credentials_refused": Kind(
        401, "What was presented does not prove who you are.", "Get a fresh certificate or token and try again."
    ),
    "subjects_differ": Kind(
        403, "Certificate and token name two subjects.", "Present a certificate and a token of the same subject."
    ),
    "origin_refused": Kind(403, "Calls from other web pages are refused.", "Call without an Origin header."),
    "review_refused": Kind(403, "You may not review this access request.", "The reasons say why."),
    "denied": Kind(403, "Denied; nothing was sent to the device.", "The reasons say what was missing."),
    "partly_denied": Kind(
        403,
        "Denied after a part of it was written.",
        "Each `outcome` says what became of it: repeat only what is not `done`, when the reasons no longer hold.",
    ),
    "permission_denied": Kind(403, "You may not do this.", "The reasons say what was missing."),
    "proof_not_fresh": Kind(
        403,
        "Your token does not say that you proved yourself since this was asked for, and in the last five minutes.",
        "Log in again, so that you are asked for all that proves you, and call again with the new token.",
    ),
    "break_glass_refused": Kind(403, "No emergency was opened.", "Check site, parts and settings; it is recorded."),
    "route_unknown": Kind(404, "There is nothing at this path.", "See the reference of the API for its paths."),
    "device_unknown": Kind(
        404, "There is no such device, or you may not see it.", REASONS[Reason.DEVICE_UNKNOWN].what_to_do
    ),
    "site_unknown": Kind(404, "There is no such site, or you may not see it.", "Look at the list of your devices."),
    "point_unknown": Kind(404, "The device has no such point.", REASONS[Reason.POINT_UNKNOWN].what_to_do),
    "record_unknown": Kind(404, "There is no such record.", "Check the index against the size of the checkpoint."),
    "decision_unknown": Kind(
        404,
        "There is no such decision, or you may not see it.",
        "Check the id; of very many denials in a minute only the first are recorded one by one.",
    ),
    "session_unknown": Kind(
        404,
        "There is no such session at this broker, or you may not see it.",
        "Look at the open sessions: `otb sessions ls`, at the broker that its subject uses if there are several.",
    ),
    "approval_unknown": Kind(
        404,
        "There is no such approval at this broker, or it is over, or you may not see it.",
        "See what waits: `otb approvals ls`, at the broker where it was asked for if there are several.",
    ),
    "leave_unknown": Kind(
        404, "There is no such leave, or somebody has taken note of it.", "See what was left with `otb leave ls`."
    ),
    "emergency_unknown": Kind(404, "There is no such emergency.", "See which there are: `otb break-glass ls`."),
    "policy_unknown": Kind(
        404,
        "No policy of this revision is known.",
        "See which are known with `otb policy ls`; give the whole revision.",
    ),
    "proposal_unknown": Kind(404, "There is no such proposal.", "See which there are with `otb proposals ls`."),
    "lock_unknown": Kind(404, "There is no such lock, or it no longer holds.", "See which hold with `otb lock ls`."),
    "request_unknown": Kind(
        404, "There is no such access request, or you may not see it.", "Look at the list of your access requests."
    ),
    "lock_target_unknown": Kind(404, "There is nothing of this name to lock.", "Check the name; nothing was locked."),
    "code_malformed": Kind(422, "This is not an enrolment code.", "Compare it with what you were given."),
    "code_refused": Kind(401, "This is not a code that this broker gave.", _ASK_SPONSOR),
    "code_used": Kind(410, "The code has been used.", "If that was not you, tell your sponsor at once."),
    "code_revoked": Kind(410, "The invitation was revoked.", _ASK_SPONSOR),
    "code_expired": Kind(410, "The invitation has expired.", _ASK_SPONSOR),
    "code_void": Kind(410, "Whoever made the invitation may not invite any more.", _ASK_SPONSOR),
    "enrolment_unknown": Kind(404, "This is not under way here, or not any more.", "Begin again."),
    "enrolment_unavailable": Kind(
        503, "This broker issues no certificates for this organisation.", "Tell the operator of the broker."
    ),
    "certificate_request_refused": Kind(422, "The certificate request is refused.", "Make a request without extras."),
    "factor_missing": Kind(403, "There is no second factor of this person.", _ASK_SPONSOR),
    "factor_refused": Kind(403, "The second factor was not proven.", "Wait for the next code, and check the clock."),
    "factor_blocked": Kind(429, "The second factor was refused too often.", f"Wait {_AS_SAID}."),
    "factor_unavailable": Kind(422, "This kind of second factor is not offered here.", "Use an authenticator app."),
    "renewal_refused": Kind(403, "This certificate cannot be renewed.", _ASK_SPONSOR),
    "renewal_too_often": Kind(429, "This was renewed too often lately.", f"Wait {_AS_SAID}."),
    "invitation_refused": Kind(
        422, "Nobody can be invited like this.", "Name a mailbox that lies in the namespaces of the organisation."
    ),
    "organisation_unknown": Kind(404, "There is no such organisation.", "Check the name; nothing was done."),
    "invitation_unknown": Kind(
        404, "There is no such invitation, or it is used or revoked already.", "See them with `otb invite ls`."
    ),
    "person_unknown": Kind(
        404, "Nobody of this name is enrolled, or he was revoked already.", "See who is with `otb people ls`."
    ),
    "method_not_allowed": Kind(405, "The path does not take this method.", "Use one of the methods in Allow."),
    "request_timeout": Kind(408, "The request took too long to arrive.", _FIX_REQUEST),
    "approval_over": Kind(
        409,
        "It waits for nothing that you could give: look at it again.",
        "See what it lacks: `otb approvals show ID`.",
    ),
    "approval_unread": Kind(
        409, "What is there now is still being read; nothing was armed.", "Look at it again in a moment, then decide."
    ),
    "approval_unseen": Kind(
        409,
        "What is there now could not be read; nothing was armed.",
        "Find out what it is, and say that you know: `otb approvals approve ID --without-old` (`without_old`).",
    ),
    "idempotency_in_flight": Kind(
        409, "The call with this Idempotency-Key is still under way.", "Wait, then repeat it to get its answer."
    ),
    "request_state": Kind(
        409, "The access request is in no state in which this can be done.", "Look at the access request as it is now."
    ),
    "request_changed": Kind(
        409, "The access request was changed meanwhile; nothing was done.", "Look at it as it is now, then try again."
    ),
    "already_reviewed": Kind(409, "You have reviewed this access request before.", "Let somebody else review it."),
    "request_ineligible": Kind(
        409, "As things stand this access cannot be had.", "The reasons say what stands against it."
    ),
    "ticket_refused": Kind(
        409, "The ticket system does not take this ticket for this work.", "Ask those who look after the ticket."
    ),
    "report_due": Kind(
        409,
        "Access that you had is over, and your closing report is missing.",
        "Write what was done: close that request with a report.",
    ),
    "break_glass_unready": Kind(
        409, "Nothing can be opened here.", "Let the operator of the broker set break-glass up, or use another broker."
    ),
    "emergency_elsewhere": Kind(
        409, "The emergency was opened at another broker.", "Do it at that broker, which `otb break-glass ls` names."
    ),
    "signature_refused": Kind(
        409, "The review was not signed.", "Two people sign it after its end, neither of them who opened it."
    ),
    "body_too_large": Kind(413, "The body is too large.", "Split the call into several smaller ones."),
    "media_type_unsupported": Kind(
        415, "The body must be plain application/json.", "Send Content-Type: application/json and no encoding."
    ),
    "body_invalid": Kind(422, "The body does not fit this route.", _FIX_REQUEST),
    "value_invalid": Kind(422, "A value cannot be put into the device's protocol.", _FIX_REQUEST),
    "lock_of_oneself": Kind(
        422, "This lock would bar you yourself, and then you could not lift it.", "Let somebody else set it."
    ),
    "idempotency_key_invalid": Kind(
        422, "The Idempotency-Key is not acceptable.", "Use 1 to 128 visible ASCII characters."
    ),
    "idempotency_key_reused": Kind(
        422, "This Idempotency-Key belongs to another call.", "Use a new key for every new call."
    ),
    "value_outside_limits": Kind(
        422,
        "A planned write is outside of what the point allows.",
        "Plan a value and a priority that the point allows; `otb points DEVICE` shows them.",
    ),
    "request_time": Kind(422, "The time that is asked for cannot be.", _FIX_REQUEST),
    "ticket_missing": Kind(422, "Access is asked for under a ticket here.", "Name the ticket of the work."),
    "ticket_malformed": Kind(422, "This is not the form of a ticket.", "Write the ticket as its system shows it."),
    "request_terms": Kind(422, "What is asked for cannot be.", _FIX_REQUEST),
    "upgrade_required": Kind(
        426, "This path is a WebSocket.", "Connect with WebSocket version 13 and this path's subprotocol."
    ),
    "too_many_calls": Kind(429, "You have too many calls under way.", "Wait for some to end, then try again."),
    "too_many_requests": Kind(
        429, "You have too many access requests under way.", "Withdraw what you do not need, then try again."
    ),
    "requests_too_often": Kind(429, "You have asked for access too often lately.", f"Wait {_AS_SAID}, then try again."),
    "too_many_attempts": Kind(429, "Too many attempts to open an emergency.", f"Wait {_AS_SAID}, then try again."),
    "too_many_watchers": Kind(429, "As many watch as may at once.", "Let another watcher go, then try again."),
    "internal_error": Kind(
        500, "The broker failed; this is a fault of the broker.", "Tell the operator of the broker."
    ),
    "device_refused": Kind(502, "The device refused it.", "Look up the device's own code in its manual."),
    "bad_reply": Kind(502, "The device's answer is not a proper answer.", "Tell whoever looks after the device."),
    "ledger_closed": Kind(
        503, "The ledger is closed, and nothing is relayed unrecorded.", REASONS[Reason.LEDGER_CLOSED].what_to_do
    ),
    "ledger_paused": Kind(
        503, "The ledger is short of room, and nothing is relayed.", REASONS[Reason.LEDGER_PAUSED].what_to_do
    ),
    "device_down": Kind(503, "The device, or the way to it, is not there.", _AGAIN),
    "budget_exhausted": Kind(503, "The device has as much to do as it bears.", _AGAIN),
    "not_sent": Kind(503, "It was allowed, but not sent to the device.", _AGAIN),
    "ticket_unchecked": Kind(
        503,
        "The ticket system did not say whether the ticket is good; nothing was asked for.",
        "Try again later, or tell the owner of the site.",
    ),
    "policy_follows_files": Kind(
        409, "The policy in force follows its files.", "Change the files, or set policy.activation: review."
    ),
    "policy_not_waiting": Kind(
        409,
        "This revision neither waits nor was in force before, or it is in force now.",
        "See with `otb policy ls` what can be activated.",
    ),
    "proposal_over": Kind(409, "The proposal is no longer open.", "See how it ended; propose the act anew."),
    "state_unavailable": Kind(
        503,
        "The state, which says what is locked and asked for, cannot be reached.",
        "Look first whether it was done all the same (`otb lock ls`, `otb request ls`), then try again.",
    ),
    "unavailable": Kind(503, "Something that the broker needs is not there.", _AGAIN),
    "no_reply": Kind(504, "The device did not answer in time.", "Try again in a moment."),
    "deadline_passed": Kind(504, "The call took too long.", "Ask for less in one call, or try again."),
    "outcome_unknown": Kind(
        504,
        "The write may have been sent and may have taken effect; nobody can say.",
        "Do not repeat it blindly: read the point first, or look at the device.",
    ),
}

_UNAVAILABLE = {
    Reason.LEDGER_CLOSED: "ledger_closed",
    Reason.LEDGER_PAUSED: "ledger_paused",
    Reason.STATE_STALE: "state_unavailable",
}
_NOT_DENIALS = frozenset({Reason.SESSION_ENDED, Reason.ACCESS_CHANGED, Reason.CALLER_GONE, Reason.OBLIGATION_UNMET})


@dataclass(slots=True, eq=False)
class Problem(Exception):  # noqa: N818 - the name that RFC 9457 gives it
    """A problem on its way to the caller; `members` are extension members of the document."""

    code: str
    detail: str = ""
    reasons: tuple[str, ...] = ()
    decision: Decision | None = None
    members: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.code].status

    def document(self) -> dict[str, Any]:
        """The JSON document (RFC 9457, 3)."""
        kind, decision = KINDS[self.code], self.decision
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail or " ".join(reason_text(word) for word in self.reasons) or kind.title,
            "code": self.code,
            "what_to_do": what_to_do(self.reasons) or self._for_now(kind.what_to_do),
        }
        if self.reasons:
            document["reasons"] = reasons_document(self.reasons)
        if decision is not None and decision.id:
            document["decision_id"] = decision.id
        if decision is not None and decision.next_window is not None:
            document["next_window"] = window_document(*decision.next_window)
        return document | self.members

    def _for_now(self, advice: str) -> str:
        """With the time to wait where there is one: people do not see headers."""
        wait = self.headers.get("Retry-After")
        return advice.replace(_AS_SAID, f"{wait} s") if wait else advice

    def response(self) -> web.Response:
        """The HTTP response."""
        return web.Response(
            status=self.status,
            body=json_octets(self.document()),
            headers={"Content-Type": MEDIA_TYPE, **self.headers},
        )


def for_status(status: int) -> Problem:
    """The problem for something that the HTTP layer itself refused."""
    return Problem("request_malformed" if status < 500 else "internal_error")


def refusal(reasons: tuple[str, ...], decisions: tuple[Decision, ...], **members: Any) -> Problem:
    """The problem for an operation or session that was refused before anything was sent."""
    denied, about = next((d for d in decisions if not d.allow), None), chief_decision(decisions)
    code = next((_UNAVAILABLE[Reason(word)] for word in reasons if word in _UNAVAILABLE), "")
    if not code:
        code = "not_sent" if denied is None and _NOT_DENIALS.intersection(reasons) else "denied"
    return Problem(code, reasons=reasons, decision=about, members=members)


def chief_decision(decisions: tuple[Decision, ...]) -> Decision | None:
    """What explains a refusal: the denial, or, of an operation that was allowed and not sent, the first decision."""
    return next((d for d in decisions if not d.allow), decisions[0] if decisions else None)


def reasons_document(reasons: tuple[str, ...]) -> list[dict[str, str]]:
    """Reason words with their sentences."""
    return [{"code": str(word), "text": reason_text(word)} for word in reasons]


def window_document(window: str, opens: float, closes: float) -> dict[str, str]:
    """A window with its times."""
    return {"id": window, "opens": timestamp(opens), "closes": timestamp(closes)}


def timestamp(epoch_seconds: float) -> str:
    """RFC 3339 in UTC, milliseconds only if there are any."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    precision = "milliseconds" if moment.microsecond >= 1000 else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def described(kinds: Mapping[str, Kind] = KINDS) -> list[tuple[str, Kind]]:
    """All kinds, by status and code."""
    return sorted(kinds.items(), key=lambda item: (item[1].status, item[0]))
