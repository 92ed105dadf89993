"""Builders of ledger records: one function for each kind, canonical JSON octets out.

Every record has `kind` and `time` (RFC 3339, UTC, microseconds). Texts are cut at explicit limits, with an ellipsis
where that happened. Intents and outcomes, which every operation has, are in `operation_records`.
"""

from collections.abc import Mapping, Sequence

from broker.ledger.canonical import canonical
from broker.ledger.record_forms import LARGEST_RECORD, Pairs, stamp
from broker.ledger.record_forms import optional as _optional
from broker.ledger.record_forms import plain as _plain
from broker.ledger.record_forms import record as _record
from broker.ledger.record_forms import shortened as _shortened
from broker.ledger.record_forms import text as _text
from broker.ledger.record_forms import texts as _texts
from broker.model.vocabulary import RecordKind


def decision(
    time: float,
    *,
    id: str,
    session: str,
    entry_point: str,
    input: Mapping[str, object],
    answer: Mapping[str, object],
    revision: str,
    allow: bool,
    reasons: Sequence[str],
    concealed: str = "",
) -> bytes:
    """The full question and answer of one decision, so that it can be taken again.

    `concealed` is the commitment to the operation as the policy saw it, if the input shows it without its values.
    If it would be too long, members of the input above 8,192 octets are replaced by their size and digest.
    Raises ValueError for an input that is not canonical.
    """
    fields = {
        "id": _text(id),
        "session": _text(session),
        "entry_point": _text(entry_point),
        "input": dict(input),
        "answer": _plain(answer),
        "revision": _text(revision),
        "allow": allow,
        "reasons": _texts(reasons),
        **_optional(concealed=concealed),
    }
    record = canonical({"kind": RecordKind.DECISION.value, "time": stamp(time), **fields})
    if len(record) <= LARGEST_RECORD:
        return record
    return _record(RecordKind.DECISION, time, {**fields, "input": _shortened(input)})


def session_opened(
    time: float,
    *,
    session: str,
    subject: Mapping[str, object],
    device: str,
    listener: str,
    peer: str,
    proofs: Sequence[Mapping[str, object]],
    decision: int,
    emergency: str = "",
) -> bytes:
    """Who was let in, where, proven by what, by which decision (its index), and in which emergency if it was one."""
    return _record(
        RecordKind.SESSION_OPENED,
        time,
        {
            "session": session,
            "subject": _plain(subject),
            "device": device,
            "listener": listener,
            "peer": _text(peer),
            "proofs": _plain(proofs),
            "decision": decision,
            **_optional(emergency=emergency),
        },
    )


def session_closed(
    time: float, *, session: str, reason: str, operations: int, refusals: int, detail: str = ""
) -> bytes:
    """The true reason for which a session ended, and how much was done in it."""
    fields = {"session": session, "reason": reason, "operations": operations, "refusals": refusals}
    return _record(RecordKind.SESSION_CLOSED, time, fields | _optional(detail=detail))


def session_act(kind: RecordKind, time: float, *, session: str, by: str, why: str = "") -> bytes:
    """What an administrator did to a session (`session_paused`, `session_resumed`, `session_cut`), and why if told."""
    return _record(kind, time, {"session": session, "by": _text(by)} | _optional(why=why))


def identity_refused(
    time: float, *, source: str, code: str, count: int, first: float, last: float, listener: str
) -> bytes:
    """Refusals before authentication, counted per source and cause between two moments."""
    fields = {"source": _text(source), "code": _text(code), "count": count, "listener": _text(listener)}
    return _record(RecordKind.IDENTITY_REFUSED, time, fields | {"first": stamp(first), "last": stamp(last)})


def frame_refused(
    time: float, *, session: str, device: str, direction: str, code: str, digest: str, size: int, service: str = ""
) -> bytes:
    """Octets that were not forwarded; `direction` is who sent them, `caller` or `device`, `service` the standard's word
    for what they ask, as far as that much can be read.
    """
    fields = {"session": session, "device": device, "direction": direction, "code": _text(code), "digest": digest}
    known = {"service": service} if service else {}
    return _record(RecordKind.FRAME_REFUSED, time, {**fields, **known, "size": size})


def denials_suppressed(time: float, *, subject: str, count: int, first: float, last: float) -> bytes:
    """How many denials of a subject beyond its quota were not recorded one by one."""
    fields = {"subject": _text(subject), "count": count, "first": stamp(first), "last": stamp(last)}
    return _record(RecordKind.DENIALS_SUPPRESSED, time, fields)


def cov_counted(
    time: float,
    *,
    session: str,
    decision: int | None,
    device: str,
    object: str,
    property: str,
    passed: int,
    withheld: int,
    since: float,
    until: float,
) -> bytes:
    """How many notifications of one subscription went to its client between two moments, and how many did not.

    `decision` is the index of the last one that allowed it, None if none did; `object` is type and instance, `property`
    empty if the object itself was subscribed.
    """
    cited = {} if decision is None else {"decision": decision}
    fields = {"session": session, "device": device, "object": _text(object), **cited}
    counts = {"passed": passed, "withheld": withheld, "from": stamp(since), "until": stamp(until)}
    return _record(RecordKind.COV_COUNTED, time, fields | counts | _optional(property=property))


def audit_log_counted(
    time: float, *, site: str, device: str, told: int, lost: int, why: str = "", since: float
) -> bytes:
    """How many operations the audit log of a site was told of since a moment, and how many not: then it is an
    `audit_log_missed`, with why that was of the last.
    """
    kind = RecordKind.AUDIT_LOG_MISSED if lost else RecordKind.AUDIT_LOG_TOLD
    fields = {"site": site, "told": told, "lost": lost, "from": stamp(since)}
    return _record(kind, time, fields | _optional(device=device, why=why))


def broker_started(time: float, *, version: str, revisions: Mapping[str, object]) -> bytes:
    """The broker serves from here on; `revisions` names settings, policy, inventory and time zone data in force."""
    return _record(RecordKind.BROKER_STARTED, time, {"version": version, "revisions": _plain(revisions)})


def broker_stopped(time: float, *, reason: str) -> bytes:
    """The broker ended in order: no session is open and no intent without outcome."""
    return _record(RecordKind.BROKER_STOPPED, time, {"reason": _text(reason)})


def changed(
    kind: RecordKind, time: float, *, revision: str, previous: str, detail: Mapping[str, object] | None = None
) -> bytes:
    """New settings, policy or inventory in force (`settings_changed`, `policy_changed`, `inventory_changed`), or who
    lost and gained by that (`access_changed`).
    """
    return _record(kind, time, {"revision": revision, "previous": previous, "detail": _plain(detail or {})})


def reload_refused(time: float, *, what: str, problems: Sequence[str]) -> bytes:
    """New files that could not be used; the last good state stays. At most 20 problems are named, `count` is of all."""
    fields = {"what": _text(what), "problems": _texts(problems[:20]), "count": len(problems)}
    return _record(RecordKind.RELOAD_REFUSED, time, fields)


def lock_set(time: float, *, lock: Mapping[str, object]) -> bytes:
    """A lock takes effect on this broker; the sessions that it ends name its id in their `detail`."""
    return _record(RecordKind.LOCK_SET, time, {"lock": _plain(lock)})


def lift_signed(time: float, *, lock: str, digest: str, by: str) -> bytes:
    """Somebody lifts a lock at this broker, which signs that; it takes effect where `lock_lifted` is recorded after."""
    return _record(RecordKind.LIFT_SIGNED, time, {"lock": lock, "digest": digest, "by": _text(by)})


def lock_lifted(time: float, *, lock: str, by: str, at: float, broker: str, index: int) -> bytes:
    """A lock no longer holds on this broker; who lifted it when, which record `index` of the ledger `broker` tells."""
    fields = {"lock": lock, "by": _text(by), "at": stamp(at), "broker": broker, "index": index}
    return _record(RecordKind.LOCK_LIFTED, time, fields)


def lift_distrusted(time: float, *, lock: str, by: str, code: str, detail: str = "") -> bytes:
    """The state says that a lock was lifted, by somebody it names, which cannot be believed; it holds."""
    fields = {"lock": _text(lock), "code": _text(code)}
    return _record(RecordKind.LIFT_DISTRUSTED, time, fields | _optional(by=by, detail=detail))


def administered(time: float, *, by: str, permission: str, resource: Mapping[str, object], outcome: str) -> bytes:
    """An administrator's act without a kind of its own: `begun`, then `done` or the code of what came between."""
    fields = {"by": _text(by), "permission": permission, "resource": _plain(resource), "outcome": _text(outcome)}
    return _record(RecordKind.ADMINISTERED, time, fields)


def logged_out(time: float, *, logout: str, issuer: str, account: str, login: str, at: float) -> bytes:
    """A token issuer told that an account logged out at `at` (epoch seconds), of one log-in or (`login` "") of all."""
    told = {"logout": logout, "issuer": issuer, "at": stamp(at)} | _optional(account=account, login=login)
    return _record(RecordKind.LOGGED_OUT, time, told)


def invitation_created(
    time: float, *, invitation: str, subject: str, organisation: str, by: str, until: float
) -> bytes:
    """Who was invited by whom, until when the code is good; the code is nowhere."""
    fields = {"invitation": invitation, "subject": _text(subject), "organisation": organisation, "by": _text(by)}
    return _record(RecordKind.INVITATION_CREATED, time, fields | {"until": stamp(until)})


def invitation_revoked(time: float, *, invitation: str, by: str) -> bytes:
    """An invitation's code is good for nothing from here on."""
    return _record(RecordKind.INVITATION_REVOKED, time, {"invitation": invitation, "by": _text(by)})


def person_enrolled(
    time: float, *, subject: str, organisation: str, invitation: str, invited_by: str, factor: str
) -> bytes:
    """Who used which invitation up, and what kind of second factor was registered."""
    fields = {"subject": _text(subject), "organisation": organisation, "invitation": invitation, "factor": factor}
    return _record(RecordKind.PERSON_ENROLLED, time, fields | {"invited_by": _text(invited_by)})


def person_revoked(time: float, *, subject: str, organisation: str, by: str, why: str = "") -> bytes:
    """Who took away what somebody had enrolled, and why if told."""
    fields = {"subject": _text(subject), "organisation": organisation, "by": _text(by)}
    return _record(RecordKind.PERSON_REVOKED, time, fields | _optional(why=why))


def certificate_issued(
    time: float, *, subject: str, organisation: str, occasion: str, certificate: Mapping[str, object]
) -> bytes:
    """A certificate about to be handed out; `factor_at` in it is when the second factor before it was proven."""
    fields = {"subject": _text(subject), "organisation": organisation, "occasion": occasion}
    return _record(RecordKind.CERTIFICATE_ISSUED, time, fields | {"certificate": _plain(certificate)})


def factor_refused(time: float, *, subject: str, count: int, first: float, last: float) -> bytes:
    """How often a second factor of somebody who is enrolled was not proven between two moments."""
    fields = {"subject": _text(subject), "count": count, "first": stamp(first), "last": stamp(last)}
    return _record(RecordKind.FACTOR_REFUSED, time, fields)


def approval_asked(
    time: float,
    *,
    approval: str,
    session: str,
    subject: str,
    device: str,
    digest: str,
    needs: Sequence[str],
    decisions: Sequence[int],
    until: float,
) -> bytes:
    """An operation was refused until persons arm it. `digest` is of the request, "" if it touches something
    confidential; `decisions` are the indices of those that oblige the persons.
    """
    fields: dict[str, object] = {"approval": approval, "session": session, "subject": _text(subject), "device": device}
    fields |= {"needs": list(needs), "decisions": list(decisions), "until": stamp(until)}
    return _record(RecordKind.APPROVAL_ASKED, time, fields | _optional(digest=digest))


def operation_armed(
    time: float, *, approval: str, session: str, obligation: str, by: str, until: float, before: Pairs = (), why: str
) -> bytes:
    """A person has met one obligation of the operation that waits; `before` is what was shown as there now."""
    fields: dict[str, object] = {"approval": approval, "session": session, "obligation": obligation, "by": _text(by)}
    if before:
        fields["before"] = {_text(point): _text(value) for point, value in before}
    return _record(RecordKind.OPERATION_ARMED, time, fields | {"until": stamp(until)} | _optional(why=why))


def arming_used(time: float, *, approval: str, session: str, decisions: Sequence[int]) -> bytes:
    """What was armed is used up for the request that these decisions allow; its intents follow."""
    fields = {"approval": approval, "session": session, "decisions": list(decisions)}
    return _record(RecordKind.ARMING_USED, time, fields)


def approval_ended(time: float, *, approval: str, session: str, reason: str, by: str = "", why: str = "") -> bytes:
    """An approval ended unused, and why; of a refusal, by whom."""
    fields = {"approval": approval, "session": session, "reason": reason}
    return _record(RecordKind.APPROVAL_ENDED, time, fields | _optional(by=by, why=why))


def host_command(
    time: float,
    *,
    id: str,
    at: float,
    command: str,
    about: Mapping[str, object],
    outcome: str,
    claimed_by: Mapping[str, object],
) -> bytes:
    """A command on the broker's host, told by itself: `begun` before it acted, then `done` or how it failed.

    `claimed_by` is what the host knew of who ran it; `at` is its clock, `time` when the broker took it.
    """
    fields = {"id": _text(id), "at": stamp(at), "command": _text(command), "about": _plain(about)}
    told = {"outcome": _text(outcome), "claimed_by": _plain(claimed_by)}
    return _record(RecordKind.HOST_COMMAND, time, fields | told)


def host_lines_unreadable(time: float, *, count: int) -> bytes:
    """Lines of the journal of host commands that no command of ours wrote, or that were damaged."""
    return _record(RecordKind.HOST_COMMAND, time, {"command": "unreadable", "count": count})


def leave_finished(
    time: float,
    *,
    leave: str,
    subject: str,
    device: str,
    why: str,
    ended: float,
    points: Sequence[Mapping[str, object]],
    unsettled: int,
    session: str = "",
) -> bytes:
    """What became of what a subject left on a device when its access ended, for the reason `why`.

    Each of `points` has point, undo, priority, result and detail; `unsettled` counts those that somebody has to look
    after, and makes it a `leave_unsettled`. `session` is the broker's own, if one was open.
    """
    fields = {"leave": leave, "subject": _text(subject), "device": device, "why": why, "ended": stamp(ended)}
    told = {"points": _plain(points), "unsettled": unsettled}
    kind = RecordKind.LEAVE_UNSETTLED if unsettled else RecordKind.LEAVE_FINISHED
    return _record(kind, time, fields | told | _optional(session=session))


def leave_acknowledged(time: float, *, leave: str, by: str, why: str = "") -> bytes:
    """Somebody has taken note of what a leave could not undo."""
    return _record(RecordKind.LEAVE_ACKNOWLEDGED, time, {"leave": leave, "by": _text(by)} | _optional(why=why))


def leave_dropped(time: float, *, leave: str, subject: str, device: str) -> bytes:
    """The list of what could not be undone is full: this one, of which nobody took note, is listed no more."""
    fields = {"leave": leave, "subject": _text(subject), "device": device}
    return _record(RecordKind.LEAVE_DROPPED, time, fields)


def device_disputed(time: float, *, device: str, nodes: Sequence[str]) -> bytes:
    """Several nodes of a BACnet/SC network, here by their VMACs, say that they are this device."""
    return _record(RecordKind.DEVICE_DISPUTED, time, {"device": device, "nodes": list(nodes)})


def clock_stepped(time: float, *, step_seconds: float) -> bytes:
    """The wall clock jumped against the monotonic one; the step is a decimal string, negative if time went back."""
    return _record(RecordKind.CLOCK_STEPPED, time, {"step_seconds": f"{step_seconds:.6f}"})


def tail_healed(time: float, *, dropped_octets: int, orphans: int) -> bytes:
    """The last run did not end in order: octets of an unfinished write were cut, orphan intents became `unknown`."""
    return _record(RecordKind.TAIL_HEALED, time, {"dropped_octets": dropped_octets, "orphans": orphans})


def evidence_viewed(time: float, *, subject: str, what: str) -> bytes:
    """Who looked at the evidence, and at what."""
    return _record(RecordKind.EVIDENCE_VIEWED, time, {"subject": _text(subject), "what": _text(what)})


def watching_ended(time: float, *, subject: str, what: str, reason: str) -> bytes:
    """Who watches no more, what it was (`what` of the view with which it began), and why."""
    return _record(RecordKind.WATCHING_ENDED, time, {"subject": _text(subject), "what": _text(what), "reason": reason})


def evidence_pruned(time: float, *, minimum: int) -> bytes:
    """Records below index `minimum` may be gone from here on; their hashes stay."""
    return _record(RecordKind.EVIDENCE_PRUNED, time, {"minimum": minimum})
