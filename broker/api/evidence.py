"""The ledger seen through the API. Whoever looks is recorded first: no record, no view."""

import base64
import hashlib
import time
from dataclasses import replace
from typing import Any

from broker.api.call import Call
from broker.api.evidence_ports import Filters, LedgerView, Record
from broker.api.models import SearchQuery
from broker.api.moments import moment_of
from broker.api.problems import Problem, reasons_document
from broker.model.vocabulary import RecordKind
from broker.model.words import what_to_do

READ, EXPLAIN = "ledger.read", "decision.explain"
_LEAF = b"\x00"  # RFC 9162, 2.1.1: leaves and nodes are hashed apart


async def records(call: Call) -> dict[str, Any]:
    """A page of the records that match."""
    query: SearchQuery = call.query
    await call.require(READ, {"kind": "records"} | _at(_only(_devices_named(call, query.device))))
    filters = replace(_filters(query), device=_device_key(call, query.device))
    _note(call, "records", query.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    view = call.gate.ledger_view
    size = view.size
    page = await call.aside(lambda: view.search(filters))
    found = await call.aside(lambda: [_found(view, index, record) for index, record in page.records])
    return {"size": size, "records": found, "cursor": page.cursor}


def _found(view: LedgerView, index: int, record: Record) -> dict[str, Any]:
    """A record, and of an intent or outcome what it is about: it cites what says so, and says nothing of it itself."""
    found: dict[str, Any] = {"index": index, "record": record}
    intent = _cited(view, record, "intent") if record["kind"] == RecordKind.OUTCOME else record
    decision = _cited(view, intent, "decision") if intent.get("kind") == RecordKind.INTENT else {}
    if decision:
        operation = decision.get("input", {}).get("operation", {})
        found["about"] = {"subject": _subject_of(decision), "device": _device_of(decision), "operation": operation}
    return found


def _cited(view: LedgerView, record: Record, name: str) -> Record:
    """What a record cites; nothing if it was pruned."""
    index = record[name]
    return next((cited for _, cited in view.records(index, index + 1)), {})


async def record(call: Call) -> dict[str, Any]:
    """One record, with what it is about."""
    index, view = int(call.parameters["index"]), call.gate.ledger_view
    _note(call, "record", {"index": index})
    found = await _one(call, index)
    return await call.aside(lambda: _found(view, index, found))


async def checkpoint(call: Call) -> dict[str, Any]:
    """The newest signed checkpoint."""
    _note(call, "checkpoint", {})
    note = await call.aside(call.gate.ledger_view.checkpoint)
    return {"size": _size_in(note), "checkpoint": note}


async def proof(call: Call) -> dict[str, Any]:
    """Proof that a record is in the tree of the newest checkpoint."""
    index = int(call.parameters["index"])
    _note(call, "proof", {"index": index})
    view = call.gate.ledger_view
    hashes, note = await call.aside(lambda: _proof(view, index))
    stored = await call.aside(lambda: _stored(view, index))
    return {
        "index": index,
        "stored": stored.decode(),
        "leaf_hash": base64.b64encode(hashlib.sha256(_LEAF + stored).digest()).decode(),
        "hashes": hashes,
        "checkpoint": note,
    }


async def decision(call: Call) -> dict[str, Any]:
    """One decision, to whom the policy lets see it: its subject, or an auditor. The same refusal for all others."""
    wanted = call.parameters["id"]
    view = call.gate.ledger_view
    filters = Filters(kinds=(RecordKind.DECISION.value,), decision=wanted, limit=1)
    deadline = call.read_deadline()
    found = await call.aside(lambda: _decision(view, filters, deadline))
    about = {"subject": _subject_of(found[1])} | _at(_device_of(found[1])) if found else {}
    permission = await call.permission(EXPLAIN, {"kind": "decision", "id": wanted, **about})
    if found is None or not permission.allow:
        raise Problem("decision_unknown")
    _note(call, "decision", {"id": wanted})
    return _explained(*found)


def _decision(view: LedgerView, filters: Filters, deadline: float) -> tuple[int, Record] | None:
    """The decision record, asked for page by page: a search looks at a bounded number of records at a time."""
    page = view.search(filters)
    while not page.records and page.cursor is not None:
        if time.monotonic() >= deadline:
            raise Problem("deadline_passed")
        page = view.search(replace(filters, cursor=page.cursor))
    return page.records[0] if page.records else None


def _explained(index: int, record: Record) -> dict[str, Any]:
    reasons = tuple(record.get("reasons", ()))
    return {
        "id": record["id"],
        "index": index,
        "allow": bool(record.get("allow")),
        "reasons": reasons_document(reasons),
        "what_to_do": what_to_do(reasons),
        "subject": _subject_of(record),
        "device": _device_of(record),
        "record": record,
    }


def _at(device: str) -> dict[str, str]:
    """The site that a look is about, if it is about that of one device."""
    site, slash, _ = device.partition("/")
    return {"site": site} if slash else {}


def _device_of(record: Record) -> str:
    device = record.get("input", {}).get("device", {})
    return f"{device['site']}/{device['id']}" if "id" in device else ""


def _subject_of(record: Record) -> str:
    subject = record.get("input", {}).get("subject", {})
    return str(subject.get("id", "")) if isinstance(subject, dict) else ""


def _filters(query: SearchQuery) -> Filters:
    return Filters(
        kinds=tuple(kind.value for kind in query.kind),
        subject=query.subject,
        device=query.device,
        session=query.session,
        decision=query.decision,
        since=moment_of("from", query.since),
        until=moment_of("until", query.until),
        oldest_first=query.order == "oldest",
        cursor=query.cursor,
        limit=query.limit,
    )


def _device_key(call: Call, name: str) -> str:
    """`SITE/DEVICE` of a device named with or without its site; a device may have left the inventory, so a whole name
    is taken as it is. Raises Problem.
    """
    if not name or "/" in name:
        return name
    found = _devices_named(call, name)
    if len(found) == 1:
        return found[0]
    if not found:
        hint = "Check the name; a device that has left the inventory is found by SITE/DEVICE."
        raise Problem("device_unknown", f"The inventory has no device {name}.", members={"what_to_do": hint})
    problem = f"several devices have this name: {', '.join(found)}"
    raise Problem("query_invalid", f"device: {problem}", members={"errors": [{"at": "device", "problem": problem}]})


def _devices_named(call: Call, name: str) -> list[str]:
    """The devices of that name, with or without its site; a whole name is taken as it is."""
    if "/" in name:
        return [name]
    return [device.key for device in call.gate.inventory.devices if device.id == name]


def _only(found: list[str]) -> str:
    return found[0] if len(found) == 1 else ""


def _note(call: Call, what: str, details: dict[str, Any]) -> None:
    """Record the view before anything is shown. Raises LedgerUnavailableError."""
    told = " ".join(f"{name}={value}" for name, value in details.items())
    call.view(f"{what} {told}".strip())


async def _one(call: Call, index: int) -> Record:
    view = call.gate.ledger_view
    found = await call.aside(lambda: next(view.records(index, index + 1), None))
    if found is None or found[0] != index:
        raise Problem("record_unknown")
    return found[1]


def _proof(view: LedgerView, index: int) -> tuple[list[str], str]:
    try:
        return view.inclusion_proof(index)
    except LookupError:
        size = _size_in(view.checkpoint())
        raise Problem("record_unknown", f"The newest checkpoint covers {size} records.") from None


def _stored(view: LedgerView, index: int) -> bytes:
    try:
        return view.stored(index)
    except LookupError:
        raise Problem("record_unknown") from None


def _size_in(note: str) -> int:
    """The size a checkpoint states in its second line (C2SP tlog-checkpoint)."""
    lines = note.split("\n", 2)
    return int(lines[1]) if len(lines) > 2 else 0
