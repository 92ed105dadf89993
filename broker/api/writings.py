"""POST …/write: decided whole, carried out in order, and for each point what became of it."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from broker.api import codecs
from broker.api.models import WriteCall, WriteItem
from broker.api.ports import Gate
from broker.api.problems import Problem, refusal
from broker.api.readings import WAITS_FOR_PERSON, Why, why_failed, why_refused
from broker.engine.events import Answered, Finding, Refused
from broker.engine.sessions import Session
from broker.model.operation import LEAST_URGENT, Request
from broker.model.place import BacnetAddress, Device, Point
from broker.model.vocabulary import Reason, Result
from broker.model.words import chief_reason

_BY_THE_SITE = "The point takes this priority, but a rule of this site denies it: ask the owner of the site."
_SENT = frozenset({"done", "unknown", "device_refused"})


class Writing:
    """One call, put in requests; nothing is asked of anybody before all of it can be. Raises Problem."""

    def __init__(self, device: Device, call: WriteCall) -> None:
        self._device = device
        self._raw = call.raw
        self._names = tuple(call.points or ())
        self.requests = self._compose_points(call.points) if call.points else self._compose_ranges()

    async def carry_out(
        self, gate: Gate, session: Session, wait_seconds: float = 0
    ) -> tuple[dict[str, Any] | Problem, bool]:
        """The answer or the problem, and whether anything may have reached the device."""
        findings = await gate.write(session, self.requests)
        # What was armed may be armed no more when its turn comes: by then those before it are written.
        if wait_seconds and not _begun(findings) and (waiting := _approvals(findings)):
            over = await gate.approvals.wait(waiting, wait_seconds)
            findings = await gate.write(session, self.requests) if over else findings
        denied = [] if _begun(findings) else [finding for finding in findings if _is_denied(finding)]
        told = [_denied(f) if denied else _outcome(f) for f in findings]
        sent = any(outcome in _SENT for outcome, _ in told)
        document = self._document(told) | ({"approvals": waiting} if (waiting := _approvals(findings)) else {})
        if all(outcome == "done" for outcome, _ in told):
            return document, sent
        return (self._denial(document, denied) if denied else _failure(document, told)), sent

    def _compose_points(self, asked: Mapping[str, WriteItem]) -> tuple[Request, ...]:
        points = codecs.points_named(self._device, tuple(asked))
        missing = [name for name, point in points.items() if point is None]
        if missing:
            errors = [{"at": f"points.{name}", "problem": "the device has no such point"} for name in missing]
            raise Problem("point_unknown", f"No such point: {', '.join(missing)}.", members={"errors": errors})
        return tuple(
            codecs.composed(f"points.{point.id}", partial(codecs.compose_write, self._device, point, asked[point.id]))
            for point in points.values()
            if point is not None
        )

    def _compose_ranges(self) -> tuple[Request, ...]:
        return tuple(
            codecs.composed(f"raw.{place}", partial(codecs.compose_write_range, self._device, asked))
            for place, asked in enumerate(self._raw or ())
        )

    def _denial(self, document: dict[str, Any], denied: list[Finding]) -> Problem:
        decisions = tuple(decision for finding in denied for decision in finding.decisions if not decision.allow)
        told = (word for finding in denied if isinstance(finding, Refused) for word in finding.reasons)
        reasons = tuple(dict.fromkeys(told))
        if chief_reason(reasons) is Reason.PRIORITY_NOT_ALLOWED and (advice := self._priorities()):
            document = document | {"what_to_do": advice}
        return refusal(reasons, decisions, **document)

    def _priorities(self) -> str:
        """Which priorities the points take that were to be written at others; empty if none of them takes any."""
        named = codecs.points_named(self._device, self._names).values()
        bounded = [(p, p.address) for p in named if p is not None and isinstance(p.address, BacnetAddress)]
        ranges = [
            (f"{where.priority_lowest} to {where.priority_highest} for {point.id}", self._within(point, where))
            for point, where in bounded
            if where.priority_lowest is not None
        ]
        missed = [told for told, within in ranges if not within]
        if missed:
            return f"Use a priority of {', '.join(missed)}."
        return _BY_THE_SITE if ranges else ""

    def _within(self, point: Point, where: BacnetAddress) -> bool:
        """Whether the point is to be written at priorities that it takes."""
        operations = [operation for request in self.requests for operation in request.operations]
        asked = [o.priority for o in operations if any(touch.point == point for touch in o.touches)]
        lowest, highest = where.priority_lowest or 1, where.priority_highest or LEAST_URGENT
        return all(priority is not None and lowest <= priority <= highest for priority in asked)

    def _document(self, told: list[tuple[str, Why | None]]) -> dict[str, Any]:
        entries = [{"outcome": outcome} | ({"error": why.document()} if why else {}) for outcome, why in told]
        if self._raw is None:
            points = [
                entry | ({} if (at := request.operations[0].priority) is None else {"priority": at})
                for request, entry in zip(self.requests, entries, strict=True)
            ]
            return {"device": self._device.key, "points": dict(zip(self._names, points, strict=True))}
        places = [{"table": asked.table.value, "address": asked.address} for asked in self._raw]
        return {"device": self._device.key, "raw": [p | e for p, e in zip(places, entries, strict=True)]}


def _begun(findings: Iterable[Finding]) -> bool:
    """Whether any of the call was carried out; then nothing of it is ever tried again."""
    return any(isinstance(finding, Answered) for finding in findings)


def _is_denied(finding: Finding) -> bool:
    """Whether the policy denied it, or a person is missing for it."""
    if not isinstance(finding, Refused):
        return False
    return any(not d.allow for d in finding.decisions) or not WAITS_FOR_PERSON.isdisjoint(finding.reasons)


def _approvals(findings: Iterable[Finding]) -> list[str]:
    """The ids of what waits for a person."""
    return [finding.approval for finding in findings if isinstance(finding, Refused) and finding.approval]


def _denied(finding: Finding) -> tuple[str, Why | None]:
    """Of a call that was denied: which of its operations were, and which would have been allowed."""
    if isinstance(finding, Refused) and _is_denied(finding):
        return "denied", why_refused(finding)
    return "allowed", None


def _outcome(finding: Finding) -> tuple[str, Why | None]:
    if isinstance(finding, Refused):
        return ("not_sent", why_refused(finding)) if finding.reasons else ("unattempted", None)
    return _relayed(finding)


def _relayed(finding: Answered) -> tuple[str, Why | None]:
    """A success that could not be recorded is no success, and a reply that makes no sense proves nothing."""
    result = finding.relayed.result
    if result == Result.DONE and finding.recorded:
        return "done", None
    if result == Result.NOT_SENT:
        return "not_sent", why_failed(finding)
    if result == Result.DEVICE_REFUSED and finding.recorded:
        return "device_refused", why_failed(finding)
    return "unknown", Why("outcome_unknown", device_code=finding.relayed.code)


def _failure(document: dict[str, Any], told: list[tuple[str, Why | None]]) -> Problem:
    """The problem for a call that was not wholly done: an unknown outcome before anything else."""
    if any(outcome == "unknown" for outcome, _ in told):
        return Problem("outcome_unknown", members={"outcome": "unknown", **document})
    why = next(why for _, why in told if why is not None)
    detail = "" if why.reasons else why.text
    code = "partly_denied" if why.code == "denied" and any(outcome == "done" for outcome, _ in told) else why.code
    return Problem(code, detail, reasons=why.reasons, decision=why.decision, members=document)
