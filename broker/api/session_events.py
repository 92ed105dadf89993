"""What watchers are told, in words: bounded in size, without values of confidential points, in plain ASCII."""

import json
from itertools import islice
from typing import Any

from broker.api.problems import timestamp
from broker.engine.events import Seen
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Request, Touch
from broker.model.vocabulary import EndReason, Result
from broker.model.words import END_REASONS, Words

LARGEST_EVENT = 49_152
MOST_OPERATIONS = 16
MOST_POINTS = 16
MOST_RAW_VALUES = 16
MOST_FACTS = 8
LONGEST_TEXT = 64
_OVER = Words("What was watched has ended.", "Nothing needs to be done.")


def frame(kind: str, document: dict[str, Any]) -> bytes:
    """One server-sent event; in ASCII, so that nothing in it can break a line or reach a terminal as a command."""
    return f"event: {kind}\ndata: {json.dumps(document)}\n\n".encode("ascii")


def frames(seen: Seen) -> bytes:
    """The events that tell what was seen: one for each operation, or one for a change of the session."""
    if seen.request is None:
        return frame("session", _session(seen) | _change(seen))
    operations, conceals = seen.request.operations, _conceals(seen.request)
    shown = [
        _session(seen) | _operation(operation, conceals) | _result(seen, place)
        for place, operation in enumerate(islice(operations, MOST_OPERATIONS))
    ]
    if len(operations) > MOST_OPERATIONS:
        shown[-1]["more_operations"] = len(operations) - MOST_OPERATIONS
    return b"".join(frame("operation", document) for document in shown)


def ending(reason: EndReason, *, own_access: bool) -> bytes:
    """The last event: why nothing more comes. The sentences for a reason speak to whoever's access has ended."""
    words = END_REASONS[reason] if own_access else _OVER
    told = {"reason": reason.value, "text": words.text, "what_to_do": words.what_to_do}
    return frame("ending", told | {"own_access": own_access})


def _session(seen: Seen) -> dict[str, Any]:
    session = seen.session
    return {
        "at": timestamp(seen.time),
        "session": session.id,
        "subject": _cut(session.subject.id, 256),
        "device": session.device.key,
        "listener": session.listener,
    }


def _change(seen: Seen) -> dict[str, Any]:
    reason = seen.session.ended if seen.change == "closed" else None
    by = {"by": _cut(seen.by, 256)} if seen.by else {}
    return {"change": seen.change} | ({} if reason is None else {"reason": reason.value}) | by


def _result(seen: Seen, place: int) -> dict[str, Any]:
    """Each operation's own; a denial and its reasons are those of the whole request."""
    result, code = seen.each[place] if seen.each else (seen.result, seen.code)
    told: dict[str, Any] = {"result": str(result)}
    if code:
        told["approval" if result == Result.DENIED else "code"] = _cut(str(code))
    if seen.reasons:
        told["reasons"] = [str(word) for word in seen.reasons[:MOST_POINTS]]
    return told


def _operation(operation: Operation, conceals: bool) -> dict[str, Any]:
    touches, raw = operation.touches, operation.raw_values if operation.writes else ()
    told: dict[str, Any] = {
        "action": operation.action.value,
        "service": operation.service,
        "address": _address(operation.address),
        "points": [_point(touch, conceals) for touch in touches[:MOST_POINTS]],
    }
    if len(touches) > MOST_POINTS:
        told["more_points"] = len(touches) - MOST_POINTS
    if operation.priority is not None:
        told["priority"] = operation.priority
    if conceals:
        told["concealed"] = True
    elif raw:
        told["raw_values"] = [_cut(value) for value in raw[:MOST_RAW_VALUES]]
        if len(raw) > MOST_RAW_VALUES:
            told["more_raw_values"] = len(raw) - MOST_RAW_VALUES
    return told if conceals else told | _facts(operation.facts)


def _facts(facts: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """What a request says beside places and values."""
    shown = {_cut(name): _cut(value) for name, value in facts[:MOST_FACTS]}
    return ({"facts": shown} if shown else {}) | ({"more_facts": len(facts) - MOST_FACTS} if facts[MOST_FACTS:] else {})


def _point(touch: Touch, conceals: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": touch.point.id}
    if touch.value is not None and not conceals:
        told |= {"value": _cut(touch.value), "unit": _cut(touch.point.engineering_unit)}
    return told


def _conceals(request: Request) -> bool:
    """As in the ledger: a request that shows a confidential value shows no value at all."""
    touched = (touch for operation in request.operations for touch in operation.touches)
    return request.conceals or any(touch.point.confidential is not None for touch in touched)


def _address(address: ModbusRange | BacnetProperty) -> dict[str, Any]:
    if isinstance(address, ModbusRange):
        table = None if address.table is None else address.table.value
        return {"table": table, "start": address.start, "count": address.count}
    return {
        "object_type": _cut(address.object_type),
        "instance": address.instance,
        "property": None if address.property is None else _cut(address.property),
        "index": address.index,
    }


def _cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """At most that many characters, none of them able to do anything at a terminal."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"
