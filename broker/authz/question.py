"""What is asked of a policy: the input documents, complete, so that a decision is a pure function of policy and input.

Documents hold no floats: times are whole epoch seconds (beginnings rounded up, ends rounded down, so that rounding
never lengthens anything), engineering values and limits are decimal strings. Their schemas are in
`broker/authz/schema`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor
from typing import Any

import orjson

from broker.model.decision import Arming
from broker.model.leave import Debt, Errand
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Touch
from broker.model.place import BacnetAddress, Device, Grant, OnLeave, Organisation, Point
from broker.model.schedule import CalendarState, Interval
from broker.model.subject import Proof, Subject

VERSION = 1
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a policy may know of the session; `mfa_at` is when the subject last proved itself to its issuer.

    `watched_by` are those who supervise it live, now.
    """

    id: str
    listener: str
    peer: str
    started: float
    mfa_at: float | None = None
    watched_by: tuple[str, ...] = ()


def operation_question(
    *,
    now: float,
    subject: Subject,
    organisation: Organisation | None,
    device: Device,
    operation: Operation,
    calendar: CalendarState,
    grants: tuple[Grant, ...],
    session: SessionFacts,
    armed: tuple[Arming, ...] = (),
) -> Document:
    """May this operation be done now? `grants` are those that name this subject and device; `armed` is what persons
    have armed of exactly this operation.
    """
    return compose(
        now,
        caller_part(subject, organisation, session),
        device_part(device),
        {"operation": operation_part(operation), "armed": [_arming(arming) for arming in armed]},
        surroundings_part(calendar, grants, device.key),
    )


def session_question(
    *,
    now: float,
    subject: Subject,
    organisation: Organisation | None,
    device: Device,
    calendar: CalendarState,
    grants: tuple[Grant, ...],
    session: SessionFacts,
) -> Document:
    """May this session to the device be there now?"""
    return compose(
        now,
        caller_part(subject, organisation, session),
        device_part(device),
        surroundings_part(calendar, grants, device.key),
    )


def leave_question(
    *,
    now: float,
    subject: Subject,
    organisation: Organisation | None,
    device: Device,
    operation: Operation | None,
    errand: Errand,
    calendar: CalendarState,
    grants: tuple[Grant, ...],
    session: SessionFacts,
) -> Document:
    """May the broker itself undo what somebody left: have a session for it, or (`operation`) do this one step?"""
    return compose(
        now,
        caller_part(subject, organisation, session),
        device_part(device),
        {"operation": None if operation is None else operation_part(operation), "leave": _leave(errand)},
        surroundings_part(calendar, grants, device.key),
    )


def admin_question(
    *,
    now: float,
    subject: Subject,
    organisation: Organisation | None,
    permission: str,
    resource: Mapping[str, object],
    session: SessionFacts,
) -> Document:
    """May this subject use this function? `resource`: what it is about, texts or tuples of them by name; `subject`
    is whose it is.
    """
    return compose(
        now,
        caller_part(subject, organisation, session),
        {
            "permission": permission,
            "resource": {k: list(v) if isinstance(v, tuple) else v for k, v in resource.items()},
        },
    )


def compose(now: float, *parts: Document) -> Document:
    """A question from parts; every part but the time may be kept and used again while its sources stay the same."""
    question: Document = {"version": VERSION, "now": floor(now)}
    for part in parts:
        question.update(part)
    return question


def encode(question: Document) -> bytes:
    """The question as canonical JSON (RFC 8785 for documents without floats and with keys of ASCII letters)."""
    return orjson.dumps(question, option=orjson.OPT_SORT_KEYS)


def caller_part(subject: Subject, organisation: Organisation | None, session: SessionFacts) -> Document:
    """Who asks, and through which session. Of an organisation that is no longer known the contract has ended."""
    return {
        "subject": {
            "id": subject.id,
            "kind": subject.kind.value,
            "organisation": organisation_part(subject.organisation, organisation),
            "roles": list(subject.roles),
            "modbus_role": subject.modbus_role,
            "proofs": [_proof(proof) for proof in subject.proofs],
        },
        "session": {
            "id": session.id,
            "listener": session.listener,
            "peer": session.peer,
            "started": floor(session.started),
            "mfa_at": _end(session.mfa_at),
            "watched_by": list(session.watched_by),
        },
    }


def device_part(device: Device) -> Document:
    """Which device it is about."""
    return {
        "device": {
            "id": device.id,
            "site": device.site,
            "segment": device.segment,
            "labels": dict(device.labels),
            "criticality": device.criticality,
            "protocol": device.protocol.value,
        }
    }


def operation_part(operation: Operation) -> Document:
    """What is to be done, with the points it touches and what the inventory says of them."""
    return {
        "protocol": operation.protocol,
        "action": operation.action.value,
        "service": operation.service,
        "unit_id": operation.unit_id,
        "address": _address(operation.address),
        "points": [_touch(touch) for touch in operation.touches],
        "raw_values": list(operation.raw_values),
        "values": {touch.point.id: touch.value for touch in operation.touches if touch.value is not None},
        "priority": operation.priority,
        "described": operation.described,
        "writes": operation.writes,
        "facts": dict(operation.facts),
    }


def surroundings_part(calendar: CalendarState, grants: tuple[Grant, ...], device: str) -> Document:
    """What is open, frozen and granted. `views` is False on all freezes while one of them forbids viewing too.

    Of a grant's plan there is what it plans for `device`: none at all is null, nothing for this device is empty.
    """
    views = not calendar.views_frozen
    return {
        "windows": {
            "open": [_interval(interval) for interval in calendar.open],
            "next": None if calendar.next is None else _interval(calendar.next),
        },
        "freezes": [{**_interval(interval), "views": views} for interval in calendar.frozen],
        "grants": [_grant(grant, device) for grant in grants],
    }


def organisation_part(identifier: str, organisation: Organisation | None) -> Document:
    """An organisation; the contract of one that is no longer known has ended."""
    if organisation is None:
        return {"id": identifier, "owner": False, "contract_from": None, "contract_until": 0}
    return {
        "id": identifier,
        "owner": organisation.owner,
        "contract_from": _beginning(organisation.contract_from),
        "contract_until": _end(organisation.contract_until),
    }


def _proof(proof: Proof) -> Document:
    return {
        "kind": proof.kind.value,
        "issuer": proof.issuer,
        "identifier": proof.identifier,
        "fingerprint": proof.fingerprint,
        "serial": proof.serial,
        "proven_at": floor(proof.proven_at),
        "not_after": floor(proof.not_after),
        "crl_next_update": _end(proof.crl_next_update),
        "authenticated_at": _end(proof.authenticated_at),
        "acr": proof.acr,
        "methods": list(proof.methods),
    }


def _grant(grant: Grant, device: str) -> Document:
    plan = [
        {"point": write.point, "value": write.value, "priority": write.priority}
        for write in grant.plan
        if write.device == device
    ]
    return {
        "id": grant.id,
        "kind": grant.kind.value,
        "actions": [action.value for action in grant.actions],
        "points": list(grant.points),
        "windows": list(grant.windows),
        "not_before": _beginning(grant.not_before),
        "not_after": _end(grant.not_after),
        "plan": plan if grant.plan else None,
        "single_use": grant.single_use,
        "supervised": grant.supervised,
    }


def _arming(arming: Arming) -> Document:
    return {
        "approval": arming.approval,
        "kind": arming.kind.value,
        "by": arming.by,
        "at": floor(arming.at),
        "until": floor(arming.until),
    }


def _leave(errand: Errand) -> Document:
    return {
        "id": errand.leave,
        "subject": errand.subject.id,
        "organisation": errand.subject.organisation,
        "why": errand.why,
        "debt": None if errand.debt is None else _debt(errand.debt),
    }


def _debt(debt: Debt) -> Document:
    """What is undone: `own` are the values that may be written over, `before` is the one to be put back."""
    return {
        "point": debt.point,
        "undo": debt.undo.value,
        "priority": debt.priority,
        "before": debt.before if debt.undo is OnLeave.RESTORE else None,
        "own": sorted(debt.own),
        "session": debt.session,
        "intent": debt.intent,
    }


def _address(address: ModbusRange | BacnetProperty) -> Document:
    if isinstance(address, ModbusRange):
        table = None if address.table is None else address.table.value
        return {"table": table, "start": address.start, "count": address.count}
    return {
        "object_type": address.object_type,
        "instance": address.instance,
        "property": address.property,
        "index": address.index,
    }


def _touch(touch: Touch) -> Document:
    point = touch.point
    return {
        "name": point.id,
        "class": None if point.action is None else point.action.value,
        "engineering_unit": point.engineering_unit,
        "limits": {
            "minimum": _decimal(point.minimum),
            "maximum": _decimal(point.maximum),
            "allowed": list(point.allowed),
        },
        "priority": _priorities(point),
        "on_leave": point.on_leave.value,
        "whole": touch.whole,
        "value": touch.value,
    }


def _priorities(point: Point) -> Document | None:
    address = point.address
    if not isinstance(address, BacnetAddress) or address.priority_lowest is None:
        return None
    return {"lowest": address.priority_lowest, "highest": address.priority_highest}


def _interval(interval: Interval) -> Document:
    return {"id": interval.id, "opens": ceil(interval.opens), "closes": floor(interval.closes)}


def _beginning(time: float | None) -> int | None:
    return None if time is None else ceil(time)


def _end(time: float | None) -> int | None:
    return None if time is None else floor(time)


def _decimal(number: Decimal | None) -> str | None:
    return None if number is None else format(number, "f")
