"""POST …/read: points or ranges, few requests, and for each point its value or why there is none."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from broker.api import codecs
from broker.api.models import ReadCall, ReadRange
from broker.api.ports import Gate
from broker.api.problems import KINDS, Problem, chief_decision, reasons_document
from broker.engine.events import Answered, Finding, Refused
from broker.engine.sessions import Session
from broker.model.decision import Decision
from broker.model.operation import Request
from broker.model.place import Point
from broker.model.vocabulary import Reason, Result
from broker.model.words import device_code_text, reason_text

WAITS_FOR_PERSON = frozenset({Reason.STEP_UP_NEEDED, Reason.APPROVAL_NEEDED, Reason.APPROVAL_REFUSED})
_SPLIT = frozenset({Result.DEVICE_REFUSED})
_NOT_SENT = {"device_down": "device_down", "budget_exhausted": "budget_exhausted"}
_BY_RESULT = {
    Result.DEVICE_REFUSED: "device_refused",
    Result.NO_REPLY: "no_reply",
    Result.BAD_REPLY: "bad_reply",
    Result.UNKNOWN: "no_reply",
}


@dataclass(slots=True)
class Why:
    """Why there is no value: a code of the problem table, with what is known about it."""

    code: str
    reasons: tuple[str, ...] = ()
    decision: Decision | None = None
    device_code: str = ""

    @property
    def text(self) -> str:
        """The sentence for people, with the device's own code if it refused."""
        title = " ".join(reason_text(word) for word in self.reasons) or KINDS[self.code].title
        if self.code != "device_refused" or not self.device_code:
            return title
        return f"{title.removesuffix('.')}: {device_code_text(self.device_code)}."

    def document(self) -> dict[str, Any]:
        """The `error` member of a point."""
        document: dict[str, Any] = {"code": self.code, "text": self.text}
        if self.reasons:
            document["reasons"] = reasons_document(self.reasons)
        if self.decision is not None and self.decision.id:
            document["decision_id"] = self.decision.id
        if self.device_code:
            document["device_code"] = self.device_code
        return document


# A grant for single use, and what was approved by a second person, refuse after the policy has allowed.
_REFUSED_AFTER = frozenset({Reason.GRANT_USED, Reason.OUTSIDE_PLAN, Reason.OLD_VALUE_CHANGED})


def why_refused(refused: Refused) -> Why:
    """A refusal in the words of the problem table."""
    denied, about = next((d for d in refused.decisions if not d.allow), None), chief_decision(refused.decisions)
    for word in (Reason.LEDGER_CLOSED, Reason.LEDGER_PAUSED):
        if word in refused.reasons:
            return Why(word.value, refused.reasons, about)
    refusing = (WAITS_FOR_PERSON | _REFUSED_AFTER).intersection(refused.reasons)
    return Why("denied" if denied is not None or refusing else "not_sent", refused.reasons, about)


def why_failed(finding: Answered) -> Why:
    """A failure after the last look in the words of the problem table."""
    relayed = finding.relayed
    if not finding.recorded:
        return Why("ledger_closed", (Reason.LEDGER_CLOSED,))
    if relayed.result == Result.NOT_SENT:
        changed = (Reason.ACCESS_CHANGED,) if relayed.code == Reason.ACCESS_CHANGED else ()
        return Why(_NOT_SENT.get(relayed.code, "not_sent"), changed)
    return Why(_BY_RESULT[Result(relayed.result)], device_code=relayed.code)


@dataclass(slots=True)
class Reader:
    """One call. `deadline` is on the monotonic clock: what is not asked by then is not asked."""

    gate: Gate
    session: Session
    deadline: float
    values: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Why] = field(default_factory=dict)

    async def points(self, points: tuple[Point, ...]) -> None:
        """Read points together; those whose request is refused are asked for one by one, for an exact answer each."""
        for request in self._composed(points):
            await self._several(request, _covered(request, points))

    async def range(self, request: Request) -> list[int] | Why:
        """Read one range."""
        finding = await self._read(request)
        if isinstance(finding, Why):
            return finding
        if not _done(finding):
            return _why(finding)
        assert isinstance(finding, Answered)
        return codecs.raw_values_of(request, finding.relayed.payload)

    async def _several(self, request: Request, points: tuple[Point, ...]) -> None:
        finding = await self._read(request)
        if len(points) > 1 and not isinstance(finding, Why) and _worth_splitting(finding):
            for point in points:
                for single in self._composed((point,)):
                    self._take(single, (point,), await self._read(single))
            return
        self._take(request, points, finding)

    async def _read(self, request: Request) -> Finding | Why:
        if time.monotonic() >= self.deadline:
            return Why("deadline_passed")
        return await self.gate.read(self.session, request)

    def _composed(self, points: tuple[Point, ...]) -> tuple[Request, ...]:
        return codecs.compose_read(self.session.device, points)

    def _take(self, request: Request, points: tuple[Point, ...], finding: Finding | Why) -> None:
        if isinstance(finding, Why) or not _done(finding):
            why = finding if isinstance(finding, Why) else _why(finding)
            self.failures.update((point.id, why) for point in points)
            return
        assert isinstance(finding, Answered)
        device, payload = self.session.device, finding.relayed.payload
        values = codecs.values_of(device, request, payload)
        errors = codecs.device_errors_of(device, request, payload)
        for point in points:
            if point.id in values:
                self.values[point.id] = values[point.id]
            else:
                code = errors.get(point.id, "")
                self.failures[point.id] = Why("device_refused" if code else "bad_reply", device_code=code)


def _why(finding: Finding) -> Why:
    return why_refused(finding) if isinstance(finding, Refused) else why_failed(finding)


def _done(finding: Finding) -> bool:
    return isinstance(finding, Answered) and finding.recorded and finding.relayed.result == Result.DONE


def _worth_splitting(finding: Finding) -> bool:
    """Whether the points of a request may fare differently alone: denied, or refused by a device that answers."""
    if isinstance(finding, Refused):
        return any(not decision.allow for decision in finding.decisions)
    return finding.recorded and finding.relayed.result in _SPLIT


def _covered(request: Request, points: tuple[Point, ...]) -> tuple[Point, ...]:
    touched = {touch.point.id for operation in request.operations for touch in operation.touches}
    return tuple(point for point in points if point.id in touched)


async def read(gate: Gate, session: Session, call: ReadCall, deadline: float) -> dict[str, Any]:
    """The answer to a call. Raises Problem if nothing at all could be read, or the call cannot be put in requests."""
    reader = Reader(gate, session, deadline)
    if call.raw is not None:
        return await _read_ranges(reader, call.raw)
    points = codecs.points_named(session.device, call.points or ())
    await reader.points(tuple(point for point in points.values() if point is not None))
    readings = {name: _reading(reader, name, point) for name, point in points.items()}
    document = {"device": session.device.key, "points": readings}
    if not reader.values:
        raise _nothing(document, [reader.failures.get(name, Why("point_unknown")) for name in points])
    return document


async def _read_ranges(reader: Reader, ranges: tuple[ReadRange, ...]) -> dict[str, Any]:
    device = reader.session.device
    requests = [
        codecs.composed(f"raw.{place}", partial(codecs.compose_read_range, device, asked))
        for place, asked in enumerate(ranges)
    ]
    readings: list[dict[str, Any]] = []
    failures: list[Why] = []
    for request, asked in zip(requests, ranges, strict=True):
        found = await reader.range(request)
        where = {"table": asked.table.value, "address": asked.address}
        if isinstance(found, Why):
            failures.append(found)
            readings.append(where | {"quality": "bad", "error": found.document()})
        else:
            readings.append(where | {"quality": "good", "values": found})
    document = {"device": device.key, "raw": readings}
    if len(failures) == len(readings):
        raise _nothing(document, failures)
    return document


def _reading(reader: Reader, name: str, point: Point | None) -> dict[str, Any]:
    if point is None:
        return {"quality": "bad", "error": Why("point_unknown").document()}
    if name not in reader.values:
        return {"quality": "bad", "error": reader.failures[name].document()}
    unit = {"unit": point.engineering_unit} if point.engineering_unit else {}
    return {"value": codecs.as_json(point, reader.values[name]), **unit, "quality": "good"}


def _nothing(document: dict[str, Any], failures: Iterable[Why]) -> Problem:
    """The problem for a call that read nothing: a denial first, else what happened first."""
    all_failures = list(failures)
    chief = next((why for why in all_failures if why.code == "denied"), all_failures[0])
    same = [why for why in all_failures if why.code == chief.code]
    reasons = tuple(dict.fromkeys(word for why in same for word in why.reasons))
    detail = "" if reasons else chief.text
    return Problem(chief.code, detail, reasons=reasons, decision=chief.decision, members=document)
