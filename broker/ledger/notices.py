"""Which records people are told of, how much they matter and what is told of them: ONE table, a line for each kind.

Nothing is told that could be a secret: of each kind only the members that its line names, and of operations nothing.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

import orjson

from broker.model.notice import BROKER_NOTICES, BrokerNotice, Notice, Severity
from broker.model.vocabulary import RecordKind
from broker.model.words import RECORD_KINDS

LONGEST_DETAIL = 300
MOST_ENTRIES = 5
Told = tuple[Severity, tuple[str, ...]]


def _info(*members: str) -> Told:
    return Severity.INFO, members


def _warning(*members: str) -> Told:
    return Severity.WARNING, members


def _alarm(*members: str) -> Told:
    return Severity.ALARM, members


_CHANGE = ("previous", "revision")
_LEAVE = ("leave", "subject", "device", "why")
_EMERGENCY = ("id", "site", "subject", "organisation", "why", "until", "peer")
_LOCK = ("id", "kind", "target", "message", "set_by", "until", "isolation")

NOTICES: dict[RecordKind, Told | None] = {
    RecordKind.BROKER_STARTED: _info("version"),
    RecordKind.BROKER_STOPPED: _warning("reason"),
    RecordKind.SESSION_OPENED: _info("session", "subject.id", "device", "listener", "peer"),
    RecordKind.SESSION_CLOSED: _info("session", "reason", "detail"),
    RecordKind.SESSION_PAUSED: _warning("session", "by", "why"),
    RecordKind.SESSION_RESUMED: _warning("session", "by", "why"),
    RecordKind.SESSION_CUT: _alarm("session", "by", "why"),
    RecordKind.IDENTITY_REFUSED: _info("source", "listener", "code", "count"),
    RecordKind.FRAME_REFUSED: _info("session", "device", "direction", "code", "service"),
    RecordKind.DECISION: None,
    RecordKind.INTENT: None,
    RecordKind.OUTCOME: None,
    RecordKind.COV_COUNTED: None,
    RecordKind.AUDIT_LOG_TOLD: None,
    RecordKind.AUDIT_LOG_MISSED: _alarm("site", "device", "lost", "why"),
    RecordKind.DENIALS_SUPPRESSED: _warning("subject", "count"),
    RecordKind.SETTINGS_CHANGED: _warning(*_CHANGE),
    RecordKind.POLICY_CHANGED: _alarm(*_CHANGE),
    RecordKind.INVENTORY_CHANGED: _warning(*_CHANGE),
    RecordKind.ACCESS_CHANGED: _alarm(*_CHANGE, "detail.lost", "detail.gained", "detail.gains_waiting"),
    RecordKind.RELOAD_REFUSED: _warning("what", "count", "problems"),
    RecordKind.LOCK_SET: _alarm(*(f"lock.{name}" for name in _LOCK)),
    RecordKind.LOCK_LIFTED: _alarm("lock", "by"),
    RecordKind.LIFT_SIGNED: _info("lock", "by"),
    RecordKind.LIFT_DISTRUSTED: _alarm("lock", "by", "code", "detail"),
    RecordKind.BREAK_GLASS_SEALED: _alarm("seal", "parts", "needed"),
    RecordKind.BREAK_GLASS_OPENED: _alarm(*(f"emergency.{name}" for name in _EMERGENCY), "resumed"),
    RecordKind.BREAK_GLASS_REFUSED: _alarm("subject", "code", "count"),
    RecordKind.BREAK_GLASS_ENDED: _alarm("emergency", "by"),
    RecordKind.BREAK_GLASS_REVIEWED: _warning("emergency", "by", "comment", "signatures"),
    RecordKind.ADMINISTERED: _warning("permission", "resource.kind", "resource.id", "by", "outcome"),
    RecordKind.POLICY_PROPOSED: _alarm("revision", "in_force"),
    RecordKind.PROPOSAL_CREATED: _warning("proposal", "act", "by", "why", "until"),
    RecordKind.PROPOSAL_APPROVED: _warning("proposal", "act", "by"),
    RecordKind.PROPOSAL_ENDED: _alarm("proposal", "act", "as", "by", "approved_by", "why"),
    RecordKind.HOST_COMMAND: _warning("command", "outcome", "claimed_by.user", "claimed_by.sudo_user", "id"),
    RecordKind.LOGGED_OUT: _info("issuer", "account"),
    RecordKind.INVITATION_CREATED: _warning("invitation", "subject", "organisation", "by", "until"),
    RecordKind.INVITATION_REVOKED: _warning("invitation", "by"),
    RecordKind.PERSON_ENROLLED: _alarm("subject", "organisation", "invitation", "invited_by", "factor"),
    RecordKind.PERSON_REVOKED: _alarm("subject", "organisation", "by", "why"),
    RecordKind.CERTIFICATE_ISSUED: _info("subject", "organisation", "occasion"),
    RecordKind.FACTOR_REFUSED: _warning("subject", "count"),
    RecordKind.APPROVAL_ASKED: _warning("approval", "subject", "device", "needs", "until"),
    RecordKind.OPERATION_ARMED: _warning("approval", "obligation", "by", "until"),
    RecordKind.ARMING_USED: _info("approval", "session"),
    RecordKind.APPROVAL_ENDED: _info("approval", "reason", "by"),
    RecordKind.LEAVE_FINISHED: _info(*_LEAVE),
    RecordKind.LEAVE_UNSETTLED: _alarm(*_LEAVE, "unsettled"),
    RecordKind.LEAVE_ACKNOWLEDGED: _warning("leave", "by", "why"),
    RecordKind.LEAVE_DROPPED: _alarm("leave", "subject", "device"),
    RecordKind.REQUEST_CHANGED: _warning("request", "act", "by", "from", "to", "terms.subject", "terms.devices", "why"),
    RecordKind.REQUEST_REVIEWED: _warning("request", "verdict", "reviewer.id", "comment"),
    RecordKind.REQUEST_DISTRUSTED: _alarm("request", "code", "detail"),
    RecordKind.GRANT_GIVEN: _alarm("grant", "subject"),
    RecordKind.GRANT_WITHDRAWN: _warning("grant", "reasons"),
    RecordKind.GRANT_USED: _info("grant", "use", "session", "result"),
    RecordKind.DEVICE_DISPUTED: _alarm("device", "nodes"),
    RecordKind.CLOCK_STEPPED: _alarm("step_seconds"),
    RecordKind.TAIL_HEALED: _alarm("dropped_octets", "orphans"),
    RecordKind.EVIDENCE_VIEWED: _info("subject", "what"),
    RecordKind.WATCHING_ENDED: _info("subject", "what", "reason"),
    RecordKind.EVIDENCE_PRUNED: _warning("minimum"),
}
"""None: never told. The records of operations may hold values, and there are thousands a second."""

_KINDS = frozenset(kind.value for kind in NOTICES)
_OF_OPERATIONS = (b'"kind":"intent"', b'"kind":"outcome"')
# Members stand in alphabetical order, and no other kind has this one.
_OF_DECISIONS = b'{"allow":'


def notice_of(origin: str, index: int, record: bytes) -> Notice | None:
    """The notice of a record, which is one of ours and therefore well formed; None if nobody is told of it."""
    if record.startswith(_OF_DECISIONS) or any(mark in record for mark in _OF_OPERATIONS):
        return None
    document = orjson.loads(record)
    kind = document["kind"]
    # A kind that is in no table is of a later version, which has written here before this one was put back.
    told = NOTICES[RecordKind(kind)] if kind in _KINDS else None
    if told is None:
        return None
    severity, members = told
    return Notice(
        id=notice_id(origin, str(index), sha256(record).hexdigest()),
        kind=kind,
        severity=severity,
        time=datetime.fromisoformat(document["time"]).timestamp(),
        broker=origin,
        text=RECORD_KINDS[RecordKind(kind)],
        details=tuple((name, text) for name in members if (text := _member(document, name))),
        index=index,
    )


def broker_notice(
    kind: BrokerNotice, severity: Severity, time: float, origin: str, chance: str, details: Mapping[str, str]
) -> Notice:
    """A notice that no record is behind; `chance` tells it from every other."""
    told = tuple((name, visible(text)) for name, text in details.items() if text)
    identifier = notice_id(origin, kind.value, chance)
    return Notice(identifier, kind.value, severity, time, origin, BROKER_NOTICES[kind], told)


def notice_id(*parts: str) -> str:
    """An id without full stops, as signatures over it need; the same for the same parts."""
    digest = sha256("\n".join(parts).encode()).digest()
    return "ntc-" + base64.urlsafe_b64encode(digest[:18]).decode()


def visible(text: str) -> str:
    """A text of at most 300 characters in one line, without what cannot be seen or turns writing round."""
    shown = text if len(text) <= LONGEST_DETAIL else text[: LONGEST_DETAIL - 1] + "…"
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in shown)


def _member(document: object, path: str) -> str:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    if document is None or document is False or document == "":
        return ""
    if document is True:
        return "yes"
    if isinstance(document, list):
        more = len(document) - MOST_ENTRIES
        entries = [str(entry) for entry in document[:MOST_ENTRIES]] + ([f"and {more} more"] if more > 0 else [])
        return visible("; ".join(entries))
    return visible(str(document))
