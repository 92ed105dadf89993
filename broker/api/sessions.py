"""Live sessions: looking at them, pausing, resuming and ending them. The policy decides, with whose session it is."""

from collections.abc import Callable
from typing import Any

from broker.api.call import Call
from broker.api.ports import Outlook, Pause
from broker.api.problems import Problem, timestamp
from broker.engine.sessions import Session
from broker.model.subject import Subject

READ, PAUSE, RESUME, END = "sessions.read", "sessions.pause", "sessions.resume", "sessions.end"
_Act = Callable[[Session, Subject, str], None]


async def sessions(call: Call) -> dict[str, Any]:
    """Open sessions: all if the policy says so, else those at sites of which it says so, and the caller's own."""
    others = {session.device.site for session in call.gate.sessions() if session.subject.id != call.subject.id}
    sites = await call.sites(READ, "sessions", others)
    if not sites and sites is not None:
        await call.require(READ, {"kind": "sessions", "subject": call.subject.id})
    shown = [
        _document(call, session)
        for session in call.gate.sessions()
        if sites is None or session.device.site in sites or session.subject.id == call.subject.id
    ]
    return {"scope": "all" if sites is None else "sites" if sites else "own", "sessions": shown}


async def session(call: Call) -> dict[str, Any]:
    """One session."""
    return _document(call, await permitted_session(call, READ))


async def pause(call: Call) -> dict[str, Any]:
    """Refuse a session's operations without cutting it."""
    return await _act(call, PAUSE, call.gate.supervision.pause)


async def resume(call: Call) -> dict[str, Any]:
    """Let a paused session go on."""
    return await _act(call, RESUME, call.gate.supervision.resume)


async def end(call: Call) -> dict[str, Any]:
    """Cut a session."""
    return await _act(call, END, call.gate.supervision.end)


def resource_of(session: Session | None) -> dict[str, Any]:
    """What the policy is told of a session; only its kind if there is none."""
    if session is None:
        return {"kind": "session"}
    return {
        "kind": "session",
        "id": session.id,
        "subject": session.subject.id,
        "organisation": session.subject.organisation,
        "site": session.device.site,
        "device": session.device.id,
        "listener": session.listener,
    }


async def permitted_session(call: Call, permission: str) -> Session:
    """The session that the path names, for whom the policy lets do this with it. Raises Problem."""
    found = call.gate.supervision.session(call.parameters["session"])
    await call.require(permission, resource_of(found))
    if found is None:
        raise Problem("session_unknown")
    return found


async def _act(call: Call, permission: str, act: _Act) -> dict[str, Any]:
    found = await permitted_session(call, permission)
    act(found, call.subject, call.body.why)
    return _document(call, found)


def _document(call: Call, session: Session) -> dict[str, Any]:
    outlook = call.gate.supervision.outlook(session)
    return {
        "id": session.id,
        "state": "ended" if session.ended else "paused" if outlook.paused else "running",
        "subject": session.subject.id,
        "kind": session.subject.kind.value,
        "organisation": session.subject.organisation,
        "device": session.device.key,
        "listener": session.listener,
        "peer": session.peer,
        "started": timestamp(session.started),
        "operations": session.operations,
        "refusals": session.refusals,
        "ended_because": session.ended,
        "watched_by": list(session.watched_by),
        **_outlook(outlook),
    }


def _outlook(outlook: Outlook) -> dict[str, Any]:
    return {
        "grants": list(outlook.grants),
        "ends_at": None if outlook.ends is None else timestamp(outlook.ends[0]),
        "ends_because": None if outlook.ends is None else outlook.ends[1].value,
        "operations_per_second": round(outlook.per_second, 1),
        "paused": None if outlook.paused is None else _pause(outlook.paused),
        "supervised": outlook.supervised,
    }


def _pause(pause: Pause) -> dict[str, str]:
    return {"by": pause.by, "since": timestamp(pause.since), "why": pause.why}
