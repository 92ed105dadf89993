"""ONE table of what the API serves: method, path, permission, models. Everything else is generated from it."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from broker.api import (
    evidence,
    lock_models,
    locks,
    models,
    operations,
    session_models,
    sessions,
    views,
    watching,
)
from broker.api.call import Call

_PARAMETERS = {
    "site": r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    "device": r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    "index": r"(?:0|[1-9][0-9]{0,15})",
    "id": r"[A-Za-z0-9-]{1,64}",
    "session": r"ses-[a-z0-9]{1,60}",
}
_ACTING = "The ledger holds who did it and why. What is so already stays so, and nothing is recorded again."
_DEVICE_PROBLEMS = ("denied", "device_unknown", "ledger_closed", "ledger_paused", "state_unavailable")


class DecidedBy(StrEnum):
    """Where the permission of a route is decided."""

    ADMIN = "admin.decision"
    """Before the handler, by the policy, with what the path names."""
    ADMIN_ON_RESOURCE = "admin.decision on the resource"
    """In the handler, by the policy, because whose thing it is must be looked up first."""
    OPERATION = "session.decision and operation.decision"
    """In the engine, by the policy, for the session and for each operation."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `problems` are codes that it adds to those every route has."""

    name: str
    method: str
    path: str
    permission: str
    decided_by: DecidedBy
    summary: str
    handler: Callable[[Call], Awaitable[Any]]
    answer: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    resource: str = ""
    problems: tuple[str, ...] = ()
    description: str = ""
    streams: bool = False
    """Its answer goes on until one side ends it: no deadline."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a path of this route looks like, octet for octet: nothing is decoded before it is matched."""
        parts = re.split(r"\{(\w+)\}", self.path)
        literal = [re.escape(part) if place % 2 == 0 else _group(part) for place, part in enumerate(parts)]
        return re.compile("".join(literal), re.ASCII)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


def _group(name: str) -> str:
    return f"(?P<{name}>{_PARAMETERS[name]})"


ROUTES: tuple[Route, ...] = (
    Route(
        name="me",
        method="GET",
        path="/v1/me",
        permission="me.read",
        decided_by=DecidedBy.ADMIN,
        summary="Who you are to the broker, and what proved it",
        handler=views.me,
        answer=models.Me,
        resource="me",
    ),
    Route(
        name="devices",
        method="GET",
        path="/v1/devices",
        permission="devices.read",
        decided_by=DecidedBy.ADMIN,
        summary="The devices you may see, with what is open now and next",
        handler=views.devices,
        answer=models.Devices,
        resource="devices",
    ),
    Route(
        name="points",
        method="GET",
        path="/v1/devices/{site}/{device}/points",
        permission="devices.read",
        decided_by=DecidedBy.ADMIN,
        summary="The points of a device",
        handler=views.points,
        answer=models.Points,
        resource="points",
        problems=("device_unknown",),
    ),
    Route(
        name="read",
        method="POST",
        path="/v1/devices/{site}/{device}/read",
        permission="device.read",
        decided_by=DecidedBy.OPERATION,
        summary="Read points by name, or ranges of raw Modbus addresses",
        handler=operations.read,
        answer=models.ReadAnswer,
        body=models.ReadCall,
        problems=(
            *_DEVICE_PROBLEMS,
            "point_unknown",
            "value_invalid",
            "device_refused",
            "bad_reply",
            "device_down",
            "budget_exhausted",
            "not_sent",
            "no_reply",
            "deadline_passed",
        ),
        description=(
            "Neighbouring points are read together. The answer is 200 if anything could be read; a point that could "
            "not says why in `error`. If nothing could be read the answer is a problem: 403 if anything was denied."
        ),
    ),
    Route(
        name="write",
        method="POST",
        path="/v1/devices/{site}/{device}/write",
        permission="device.write",
        decided_by=DecidedBy.OPERATION,
        summary="Write points by name, or ranges of raw Modbus addresses",
        handler=operations.write,
        answer=models.WriteAnswer,
        body=models.WriteCall,
        problems=(
            *_DEVICE_PROBLEMS,
            "point_unknown",
            "value_invalid",
            "idempotency_in_flight",
            "idempotency_key_invalid",
            "idempotency_key_reused",
            "device_refused",
            "device_down",
            "budget_exhausted",
            "not_sent",
            "outcome_unknown",
        ),
        description=(
            "The call is decided whole before anything is relayed: one denial and nothing is written (403). Then the "
            "writes are carried out in the order given, each relayed at most once; the first that is not done leaves "
            "those after it `unattempted`. 200 means that all are done; anything else is a problem with an `outcome` "
            "for each. After `outcome: unknown` (504) a write may have taken effect: read before you repeat it.\n\n"
            "With an `Idempotency-Key` a repeated call gets the first one's answer, with `Idempotency-Replayed: true`, "
            "and writes nothing again. Answers are kept in memory for 24 hours, the newest 1,000 of a subject and "
            "10,000 of all, 32 MiB together. A key whose answer is no longer kept is a new key: its call is decided "
            "and written again; a restart of the broker makes every key new. Before you repeat a call from before a "
            "restart, read the point or ask the ledger. A call that sent nothing to the device leaves its key unused."
        ),
    ),
    Route(
        name="tunnel",
        method="GET",
        path="/v1/devices/{site}/{device}/tunnel",
        permission="device.tunnel",
        decided_by=DecidedBy.OPERATION,
        summary="A WebSocket that carries Modbus/TCP",
        handler=operations.tunnel,
        problems=(*_DEVICE_PROBLEMS, "handshake_invalid", "tunnel_needs_modbus", "origin_refused", "upgrade_required"),
        description=(
            "Subprotocol `otb.modbus.v1`. Binary frames are a Modbus/TCP octet stream, cut anywhere; every request in "
            "it is decided and recorded. Text frames are control messages in JSON. The broker sends "
            '`{"type":"denied","reasons":[…],"decision_id":…,"next_window":…}` beside the exception that the stream '
            'carries, and `{"type":"ending","reason":…,"text":…,"at":…}` before it closes. You may send '
            '`{"type":"renew","token":"…"}` with a fresh token of the same subject, which the broker answers with '
            '`{"type":"renewed"}` or `{"type":"renew_refused","code":…}`; a token of another subject ends the tunnel.'
        ),
    ),
    Route(
        name="windows",
        method="GET",
        path="/v1/windows",
        permission="windows.read",
        decided_by=DecidedBy.ADMIN,
        summary="Windows and freezes of your devices: open now, frozen now, next",
        handler=views.windows,
        answer=models.Windows,
        resource="windows",
    ),
    Route(
        name="sessions",
        method="GET",
        path="/v1/sessions",
        permission="sessions.read",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="Open sessions: all, if you may see all, else your own",
        handler=sessions.sessions,
        answer=session_models.Sessions,
    ),
    Route(
        name="session",
        method="GET",
        path="/v1/sessions/{session}",
        permission="sessions.read",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="One open session: what it rests on, what will end it, how busy it is",
        handler=sessions.session,
        answer=session_models.SessionEntry,
        problems=("session_unknown",),
    ),
    Route(
        name="watch_sessions",
        method="GET",
        path="/v1/sessions/events",
        permission="sessions.watch",
        decided_by=DecidedBy.ADMIN,
        summary="The operations of all sessions as they happen",
        handler=watching.watch_all,
        resource="sessions",
        problems=("too_many_watchers", "ledger_closed"),
        streams=True,
        description=watching.DESCRIPTION,
    ),
    Route(
        name="watch_session",
        method="GET",
        path="/v1/sessions/{session}/events",
        permission="sessions.watch",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="The operations of one session as they happen",
        handler=watching.watch_one,
        problems=("session_unknown", "too_many_watchers", "ledger_closed"),
        streams=True,
        description="As for all sessions; it ends with the session.",
    ),
    Route(
        name="pause_session",
        method="POST",
        path="/v1/sessions/{session}/pause",
        permission="sessions.pause",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="Refuse the operations of a session without cutting it",
        handler=sessions.pause,
        answer=session_models.SessionEntry,
        body=session_models.Act,
        problems=("session_unknown", "ledger_closed"),
        description=_ACTING,
    ),
    Route(
        name="resume_session",
        method="POST",
        path="/v1/sessions/{session}/resume",
        permission="sessions.resume",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="Let a paused session go on",
        handler=sessions.resume,
        answer=session_models.SessionEntry,
        body=session_models.Act,
        problems=("session_unknown", "ledger_closed"),
        description=_ACTING,
    ),
    Route(
        name="end_session",
        method="POST",
        path="/v1/sessions/{session}/end",
        permission="sessions.end",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="Cut a session",
        handler=sessions.end,
        answer=session_models.SessionEntry,
        body=session_models.Act,
        problems=("session_unknown", "ledger_closed"),
        description="The ledger holds who did it and why. Its caller may connect again, if the policy still allows it.",
    ),
    Route(
        name="locks",
        method="GET",
        path="/v1/locks",
        permission="lock.read",
        decided_by=DecidedBy.ADMIN,
        summary="The locks that hold",
        handler=locks.locks,
        answer=lock_models.LockEntries,
        resource="locks",
    ),
    Route(
        name="lock",
        method="POST",
        path="/v1/locks",
        permission=locks.SET,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="Lock a subject, certificate, organisation, device, site, grant or session",
        handler=locks.set_lock,
        answer=lock_models.LockAnswer,
        body=lock_models.LockCall,
        problems=("lock_of_oneself", "lock_target_unknown"),
        description=(
            "It takes effect before the answer: what it names is refused, and sessions are cut, on this broker at once "
            "and on the others within a second. If the state cannot be reached it holds on this broker alone "
            "(`shared` false) until it can. Subjects, certificates and sessions may be locked before they are known."
        ),
    ),
    Route(
        name="lift",
        method="POST",
        path="/v1/locks/{id}/lift",
        permission=locks.LIFT,
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="Lift a lock; an isolation only as a second person",
        handler=locks.lift,
        answer=lock_models.LiftAnswer,
        body=lock_models.LiftCall,
        problems=("lock_unknown", "state_unavailable"),
    ),
    Route(
        name="isolate",
        method="POST",
        path="/v1/sites/{site}/isolate",
        permission="site.isolate",
        decided_by=DecidedBy.ADMIN,
        summary="End everything to a site, but for those whom the policy names for emergencies",
        handler=locks.isolate,
        answer=lock_models.LockAnswer,
        body=lock_models.IsolateCall,
        resource="site",
        problems=("lock_target_unknown",),
        description="Holds until a second person lifts the lock that the answer names.",
    ),
    Route(
        name="decision",
        method="GET",
        path="/v1/decisions/{id}",
        permission="decision.explain",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        summary="Why something was allowed or denied",
        handler=evidence.decision,
        answer=models.DecisionAnswer,
        problems=("decision_unknown", "ledger_closed"),
    ),
    Route(
        name="records",
        method="GET",
        path="/v1/ledger/records",
        permission="ledger.read",
        decided_by=DecidedBy.ADMIN,
        summary="Search the ledger; the search itself is recorded",
        handler=evidence.records,
        answer=models.LedgerPage,
        query=models.SearchQuery,
        resource="records",
        problems=("device_unknown", "ledger_closed"),
    ),
    Route(
        name="record",
        method="GET",
        path="/v1/ledger/records/{index}",
        permission="ledger.read",
        decided_by=DecidedBy.ADMIN,
        summary="One record",
        handler=evidence.record,
        answer=models.LedgerRecord,
        resource="record",
        problems=("record_unknown", "ledger_closed"),
    ),
    Route(
        name="checkpoint",
        method="GET",
        path="/v1/ledger/checkpoint",
        permission="ledger.read",
        decided_by=DecidedBy.ADMIN,
        summary="The newest signed checkpoint",
        handler=evidence.checkpoint,
        answer=models.Checkpoint,
        resource="checkpoint",
        problems=("ledger_closed",),
    ),
    Route(
        name="proof",
        method="GET",
        path="/v1/ledger/proof/{index}",
        permission="ledger.read",
        decided_by=DecidedBy.ADMIN,
        summary="Proof that a record is in the tree of the newest checkpoint",
        handler=evidence.proof,
        answer=models.InclusionProof,
        resource="proof",
        problems=("record_unknown", "ledger_closed"),
    ),
    Route(
        name="openapi",
        method="GET",
        path="/v1/openapi.json",
        permission="me.read",
        decided_by=DecidedBy.ADMIN,
        summary="This description",
        handler=views.openapi,
        resource="openapi",
    ),
)
