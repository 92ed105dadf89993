"""What was written under an access request, with results, out of this broker's ledger: to be held against the plan.

Where several brokers give the same grant, each has recorded what it relayed itself; the answer says whose ledger it is.
"""

import time
from collections.abc import Iterator
from typing import Any

import orjson

from broker.api.call import Call
from broker.api.evidence_ports import Filters, LedgerView, Numbered, Record
from broker.api.problems import Problem
from broker.api.requests import READ, permitted
from broker.model.access_request import AccessRequest
from broker.model.vocabulary import RecordKind

MOST_DONE = 256
PAGE = 256
LATE_SECONDS = 600.0
"""How long after its end an outcome may still come."""


async def done(call: Call) -> dict[str, Any]:
    """The writes that rested on the request's grant, oldest first; whoever looks is recorded."""
    request = (await permitted(call, READ)).request
    call.view(f"request_done {request.id}")
    view, deadline = call.gate.ledger_view, call.read_deadline()

    def read() -> tuple[str, list[dict[str, Any]]]:
        origin, _, _ = view.checkpoint().partition("\n")
        return origin, [] if request.standing.activated_at is None else list(_writes(view, request, deadline))

    ledger, found = await call.aside(read)
    return {"ledger": ledger, "done": found[:MOST_DONE], "more": len(found) > MOST_DONE}


def _writes(view: LedgerView, request: AccessRequest, deadline: float) -> Iterator[dict[str, Any]]:
    """One more than are told, at most. Raises Problem if it takes too long."""
    decisions: dict[int, Record] = {}
    told = 0
    for index, outcome in _outcomes(view, request, deadline):
        intent = _record(view, outcome["intent"])
        decision = decisions.setdefault(intent["decision"], _record(view, intent["decision"]))
        operation = decision["input"].get("operation", {})
        if decision["answer"].get("rule") != f"grant/{request.id}" or not operation.get("writes"):
            continue
        told += 1
        yield _told(index, intent, outcome, decision)
        if told > MOST_DONE:
            return


def _outcomes(view: LedgerView, request: AccessRequest, deadline: float) -> Iterator[Numbered]:
    standing = request.standing
    filters = Filters(
        kinds=(RecordKind.OUTCOME.value,),
        subject=request.terms.subject,
        since=standing.activated_at,
        until=None if standing.ended_at is None else standing.ended_at + LATE_SECONDS,
        oldest_first=True,
        limit=PAGE,
    )
    cursor: int | None = None
    while True:
        if time.monotonic() >= deadline:
            raise Problem("deadline_passed")
        page = view.search(filters.going_on(cursor))
        yield from page.records
        cursor = page.cursor
        if cursor is None:
            return


def _told(index: int, intent: Record, outcome: Record, decision: Record) -> dict[str, Any]:
    """Values are those that were decided; of confidential points there are none."""
    asked = decision["input"]
    device = f"{asked['device']['site']}/{asked['device']['id']}"
    values = asked["operation"].get("values") or {}
    return {
        "device": device,
        "service": intent["service"],
        "values": {str(point): str(value) for point, value in values.items()},
        "priority": asked["operation"].get("priority"),
        "result": outcome["result"],
        "code": outcome.get("code", ""),
        "at": outcome["time"],
        "index": index,
    }


def _record(view: LedgerView, index: int) -> Record:
    record: Record = orjson.loads(view.stored(index))
    return record
