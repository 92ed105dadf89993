"""One ledger record in a sentence."""

from collections.abc import Callable

from broker.cli.people.exits import Document
from broker.model.frame_words import frame_refusal_text


def record_sentence(record: Document) -> str:
    """What a record says, short; of an unknown kind, nothing."""
    words = _SENTENCES.get(str(record.get("kind")))
    return words(record) if words else ""


def _of(record: Document, *names: str) -> object:
    """A member inside members, empty where there is none."""
    value: object = record
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else value


def operation_words(operation: object) -> str:
    """`adjust supply-temp-setpoint = 21.5`, `override analog-value,1 present-value @8 = 21.5 (time-duration 5)`."""
    if not isinstance(operation, dict):
        return ""
    at = "" if operation.get("priority") is None else f" @{operation['priority']}"
    values = operation.get("values")
    if isinstance(values, dict) and values:
        told = ", ".join(f"{name}{at} = {value}" for name, value in values.items())
    else:
        told = _places(operation) + at + _raw(operation.get("raw_values"))
    return f"{operation.get('action', '')} {told}{facts_words(operation.get('facts'))}".strip()


def facts_words(facts: object) -> str:
    """` (enable-disable disable, password present)`, or nothing."""
    if not isinstance(facts, dict) or not facts:
        return ""
    return f" ({', '.join(f'{name} {value}' for name, value in facts.items())})"


def _places(operation: Document) -> str:
    """The names of the points; where there is none, the address, and both if a property is only about them."""
    found = operation.get("points")
    points = [p for p in found if isinstance(p, dict)] if isinstance(found, list) else []
    names, address = ", ".join(str(p.get("name", "")) for p in points), address_words(operation.get("address"))
    about = operation.get("protocol") == "bacnet" and any(p.get("whole") is False for p in points)
    return f"{address} of {names}" if about else names or address


def _raw(values: object) -> str:
    return f" = {' '.join(map(str, values))}" if isinstance(values, list) and values else ""


def address_words(address: object) -> str:
    """`holding-register 10 to 19`, `analog-value,1 priority-array[8]`, or of an object itself `analog-value,1`."""
    if not isinstance(address, dict):
        return ""
    if "object_type" in address:
        place, instance, index = address["object_type"], address.get("instance"), address.get("index")
        place = place if instance is None else f"{place},{instance}"
        part = f" {address['property']}" if address.get("property") is not None else ""
        return f"{place}{part}" + ("" if index is None else f"[{index}]")
    start, count = address.get("start"), address.get("count")
    if not isinstance(start, int) or not isinstance(count, int) or address.get("table") is None:
        return ""
    return f"{address['table']} {start}" + (f" to {start + count - 1}" if count > 1 else "")


def _decision(record: Document) -> str:
    verdict = "allowed" if record.get("allow") is True else "denied"
    what = operation_words(_of(record, "input", "operation")) or str(
        _of(record, "input", "permission") or record.get("entry_point", "")
    )
    what += " (value concealed)" if record.get("concealed") else ""
    device = _of(record, "input", "device", "id")
    where = f" on {_of(record, 'input', 'device', 'site')}/{device}" if device else ""
    reasons = record.get("reasons")
    why = f": {', '.join(map(str, reasons))}" if isinstance(reasons, list) and reasons else ""
    return f"{verdict} {_of(record, 'input', 'subject', 'id')} {what}{where}{why} [{record.get('id', '')}]"


def _changed(record: Document) -> str:
    return f"{record.get('previous') or 'nothing'} became {record.get('revision', '')}"


def _access_changed(record: Document) -> str:
    """The counts, and the first change."""
    told, lost, gained = _changed(record), _of(record, "detail", "lost"), _of(record, "detail", "gained")
    changes, waiting = _of(record, "detail", "changes"), _of(record, "detail", "gains_waiting")
    first = f" ({changes[0]}{', …' if len(changes) > 1 else ''})" if isinstance(changes, list) and changes else ""
    return f"{told}: {lost} losses, {gained} gains{first}" + (f"; {waiting} gains wait" if waiting else "")


def _reload_refused(record: Document) -> str:
    count, problems = record.get("count"), record.get("problems")
    told = f"{record.get('what')}: {count} problem{'' if count == 1 else 's'}"
    if not isinstance(problems, list) or not problems:
        return told
    return f"{told}, {'the first ' if count != 1 else ''}{problems[0]}"


def _act(record: Document, done: str) -> str:
    return _why(f"{record.get('session')} {done} by {record.get('by')}", record)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _why(told: str, record: Document) -> str:
    return told + (f": {record['why']}" if record.get("why") else "")


def _listed(record: Document, name: str) -> str:
    found = record.get(name)
    return ", ".join(map(str, found)) if isinstance(found, list) else ""


def _proposal(record: Document) -> str:
    parameters = record.get("parameters")
    told = " ".join(f"{n}={v}" for n, v in parameters.items()) if isinstance(parameters, dict) else ""
    return f"{record.get('proposal')} {record.get('act')} {told}".rstrip()


def _host_command(record: Document) -> str:
    if "count" in record:
        return f"{record['count']} lines that nobody can read"
    claims = record.get("claimed_by")
    who = ", ".join(f"{name} {value}" for name, value in claims.items()) if isinstance(claims, dict) else ""
    about = record.get("about")
    what = ", ".join(f"{name} {value}" for name, value in about.items()) if isinstance(about, dict) else ""
    return f"{record.get('command')} {what}".rstrip() + f": {record.get('outcome')}, by {who or 'somebody'}"


def _place(record: Document) -> str:
    """Which operation of its request, as people count."""
    place = record.get("place")
    return f" (operation {place + 1} of its request)" if isinstance(place, int) else ""


def _read(record: Document, name: str) -> str:
    """`, before zone-setpoint = 20`: what was read."""
    values = record.get(name)
    if not isinstance(values, dict) or not values:
        return ""
    return f", {name} {', '.join(f'{point} = {value}' for point, value in values.items())}"


def _leave(record: Document) -> str:
    """Whose, where and why, and each point."""
    points = record.get("points")
    told = [
        f"{p.get('point')} {p.get('result')}" + (f" ({p['detail']})" if p.get("detail") else "")
        for p in (points if isinstance(points, list) else [])
        if isinstance(p, dict)
    ]
    where = f"{record.get('subject')} left {record.get('device')} ({record.get('why')})"
    return f"{record.get('leave')}: {where}: {', '.join(told)}"


_SENTENCES: dict[str, Callable[[Document], str]] = {
    "decision": _decision,
    "intent": lambda r: (
        f"{r.get('service', '')}{_place(r)} by decision record {r.get('decision')}, session {r.get('session')}"
        + _read(r, "before")
    ),
    "cov_counted": lambda r: (
        f"{r.get('object')} {r.get('property', '')}".rstrip()
        + f": {r.get('passed')} passed on, {r.get('withheld')} withheld, session {r.get('session')}"
    ),
    "audit_log_told": lambda r: f"{r.get('device') or r.get('site')}: told of {r.get('told')}",
    "audit_log_missed": lambda r: (
        f"{r.get('device') or r.get('site')}: told of {r.get('told')}, not of {r.get('lost')}: {r.get('why')}"
    ),
    "outcome": lambda r: (
        f"intent {r.get('intent')}: {r.get('result', '')} {r.get('code', '')}".rstrip() + _read(r, "after")
    ),
    "session_opened": lambda r: (
        f"{r.get('session')}: {_of(r, 'subject', 'id')} on {r.get('device')} through {r.get('listener')} "
        f"from {r.get('peer')}"
    ),
    "session_closed": lambda r: (
        f"{r.get('session')}: {r.get('reason')}, {r.get('operations')} operations, {r.get('refusals')} refusals"
    ),
    "session_paused": lambda r: _act(r, "paused"),
    "session_resumed": lambda r: _act(r, "let go on"),
    "session_cut": lambda r: _act(r, "ended"),
    "identity_refused": lambda r: f"{r.get('source')} at {r.get('listener')}: {r.get('code')}, {r.get('count')} times",
    "frame_refused": lambda r: (
        f"{r.get('service') or 'octets'} from the {r.get('direction')} of {r.get('device') or 'no device'}: "
        f"{r.get('code')} {frame_refusal_text(str(r.get('code')))}".rstrip()
    ),
    "denials_suppressed": lambda r: f"{r.get('count')} more denials of {r.get('subject')}",
    "broker_started": lambda r: f"version {r.get('version')}",
    "broker_stopped": lambda r: str(r.get("reason", "")),
    "settings_changed": _changed,
    "policy_changed": _changed,
    "inventory_changed": _changed,
    "access_changed": _access_changed,
    "reload_refused": _reload_refused,
    "lock_set": lambda r: (
        f"{_of(r, 'lock', 'id')} on {_of(r, 'lock', 'kind')} {_of(r, 'lock', 'target')} by {_of(r, 'lock', 'set_by')}: "
        f"{_of(r, 'lock', 'message')}"
    ),
    "lock_lifted": lambda r: f"{r.get('lock')} by {r.get('by')}",
    "lift_signed": lambda r: f"{r.get('lock')} by {r.get('by')}",
    "lift_distrusted": lambda r: f"{r.get('lock')}: {r.get('code')} {r.get('detail', '')}".rstrip(),
    "administered": lambda r: (
        f"{r.get('permission')} {_of(r, 'resource', 'kind')} {_of(r, 'resource', 'id')}".rstrip()
        + f" by {r.get('by')}: {r.get('outcome')}"
    ),
    "logged_out": lambda r: f"{r.get('account') or r.get('login')} of {r.get('issuer')} [{r.get('logout')}]",
    "invitation_created": lambda r: f"{r.get('invitation')} for {r.get('subject')} by {r.get('by')}",
    "invitation_revoked": lambda r: f"{r.get('invitation')} by {r.get('by')}",
    "person_enrolled": lambda r: f"{r.get('subject')} by {r.get('invitation')}, {r.get('factor')}",
    "person_revoked": lambda r: _why(f"{r.get('subject')} by {r.get('by')}", r),
    "certificate_issued": lambda r: (
        f"{_of(r, 'certificate', 'serial')} for {r.get('subject')}, {r.get('occasion')}, "
        f"until {_of(r, 'certificate', 'not_after')}"
    ),
    "factor_refused": lambda r: f"{r.get('subject')}, {r.get('count')} times",
    "approval_asked": lambda r: (
        f"{r.get('approval')} of {r.get('subject')} on {r.get('device')}: {_listed(r, 'needs')}"
    ),
    "operation_armed": lambda r: _why(
        f"{r.get('approval')}: {r.get('obligation')} by {r.get('by')}, until {r.get('until')}", r
    ),
    "arming_used": lambda r: f"{r.get('approval')} for what session {r.get('session')} does next",
    "approval_ended": lambda r: _why(
        f"{r.get('approval')}: {r.get('reason')}" + (f" by {r['by']}" if r.get("by") else ""), r
    ),
    "host_command": _host_command,
    "leave_finished": _leave,
    "leave_unsettled": _leave,
    "leave_acknowledged": lambda r: _act(r | {"session": r.get("leave")}, "taken note of"),
    "leave_dropped": lambda r: (
        f"{r.get('leave')} of {r.get('subject')} on {r.get('device')}, of which nobody took note"
    ),
    "request_changed": lambda r: _why(
        f"{r.get('request')} {r.get('act')} by {r.get('by')}: {r.get('from') or 'new'} to {r.get('to')}", r
    ),
    "request_reviewed": lambda r: (
        f"{r.get('request')} {r.get('verdict')} by {_of(r, 'reviewer', 'id')}"
        + (f": {r['comment']}" if r.get("comment") else "")
    ),
    "request_distrusted": lambda r: f"{r.get('request')}: {r.get('code')} {r.get('detail', '')}".rstrip(),
    "grant_given": lambda r: f"{r.get('grant')} to {r.get('subject')}",
    "grant_withdrawn": lambda r: f"{r.get('grant')} {', '.join(map(str, _list(r.get('reasons'))))}".rstrip(),
    "grant_used": lambda r: f"{r.get('grant')} {r.get('use')}: {r.get('result')}",
    "break_glass_sealed": lambda r: f"{r.get('seal')}: {r.get('parts')} parts, {r.get('needed')} needed",
    "break_glass_opened": lambda r: (
        f"{_of(r, 'emergency', 'id')} at {_of(r, 'emergency', 'site')} by {_of(r, 'emergency', 'subject')} until "
        f"{_of(r, 'emergency', 'until')}: {_of(r, 'emergency', 'why')}" + (" (goes on)" if r.get("resumed") else "")
    ),
    "break_glass_refused": lambda r: f"{r.get('subject')}: {r.get('code')}, {r.get('count')} times",
    "break_glass_ended": lambda r: (
        f"{r.get('emergency')}" + (f" by {r['by']}" if r.get("by") else ", its time is over")
    ),
    "break_glass_reviewed": lambda r: f"{r.get('emergency')} by {r.get('by')}: {r.get('comment')}",
    "policy_proposed": lambda r: f"{r.get('revision')} waits, {r.get('in_force')} is in force",
    "proposal_created": lambda r: _why(f"{_proposal(r)} by {r.get('by') or 'files of the host'}", r),
    "proposal_approved": lambda r: f"{_proposal(r)} by {r.get('by')}",
    "proposal_ended": lambda r: _why(f"{_proposal(r)} {r.get('as')} by {r.get('by')}", r),
    "device_disputed": lambda r: f"{r.get('device')}, by {' and '.join(map(str, r.get('nodes') or ()))}",
    "clock_stepped": lambda r: f"by {r.get('step_seconds')} s",
    "tail_healed": lambda r: f"{r.get('dropped_octets')} octets dropped, {r.get('orphans')} orphan intents",
    "evidence_viewed": lambda r: f"{r.get('subject')} looked at {r.get('what')}",
    "watching_ended": lambda r: f"{r.get('subject')} no longer: {r.get('what')} ({r.get('reason')})",
    "evidence_pruned": lambda r: f"below {r.get('minimum')}",
}
