"""Watching sessions live, as server-sent events. The watcher's own access is looked at again and again: when it ends,
so does the stream, within a second and with the reason.
"""

import asyncio
import contextlib
import socket
from typing import Any

from aiohttp import web

from broker.api.call import ALWAYS, Call
from broker.api.ports import Watcher
from broker.api.problems import Problem
from broker.api.session_events import ending, frame, frames
from broker.api.sessions import permitted_session, resource_of
from broker.engine.sessions import Session
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason, Reason

WATCH, SUPERVISE = "sessions.watch", "sessions.supervise"
LOOK_SECONDS = 0.4
GLANCE_SECONDS = 0.05
GOODBYE_SECONDS = 0.3
HEARTBEAT_SECONDS = 15.0
SUPERVISOR_HEARTBEAT_SECONDS = 2.0
SUPERVISOR_SILENT_SECONDS = 4.0
BATCH = 64
DESCRIPTION = (
    "Server-sent events (`text/event-stream`), their data JSON in ASCII. `watching` comes first. `operation` tells "
    "who asked what of which device, the values written (in engineering units; none of confidential points, and "
    "never what was read) and the result; `session` that one was opened, paused, resumed, ends soon or was closed. "
    "`lost` has the `count` of events that came faster than you took them. `ending` comes last, with the `reason`: "
    "the end of the session or of the broker, or (`own_access`) of your own access, within a second. Nothing is "
    "repeated after a reconnection. At most 16 watch at once, 4 times one subject; to watch is to view evidence and "
    "is recorded as such, and so is its end. Who watches and has the permission `sessions.supervise` (`supervises`) "
    "is a supervisor of all that it watches but its own, as long as it takes what it is told: sessions under a "
    "supervised grant end within a second after the last one has left."
)


async def watch_all(call: Call) -> web.StreamResponse:
    """Every session, or those at one site."""
    site = call.query.site
    resource = {"kind": "sessions"} | ({"site": site} if site else {})
    await call.require(WATCH, resource)
    return await _watch(call, None, resource)


async def watch_one(call: Call) -> web.StreamResponse:
    """One session, until it ends."""
    session = await permitted_session(call, WATCH)
    return await _watch(call, session, resource_of(session))


async def _watch(call: Call, session: Session | None, resource: dict[str, Any]) -> web.StreamResponse:
    supervision = call.gate.supervision
    watcher = supervision.watch(call.subject, session, resource.get("site", ""))
    if watcher is None:
        raise Problem("too_many_watchers")
    what, reason = "", EndReason.PEER_CLOSED
    try:
        call.view(f"watch {_watched(session, resource)}")
        what = f"watch {_watched(session, resource)}"
        response, reason = await _stream(call, watcher, resource)
        return response
    finally:
        supervision.leave(watcher, what, reason)


def _watched(session: Session | None, resource: dict[str, Any]) -> str:
    if session is not None:
        return f"session {session.id}"
    return f"sessions at {resource['site']}" if "site" in resource else "all sessions"


async def _supervise(call: Call, watcher: Watcher, resource: dict[str, Any]) -> None:
    """Let who watches count as a supervisor while the policy says so, and while it takes what it is told."""
    allowed = (await call.permission(SUPERVISE, resource)).allow
    call.gate.supervision.supervise(watcher, allowed and watcher.keeps_up)


async def _stream(call: Call, watcher: Watcher, resource: dict[str, Any]) -> tuple[web.StreamResponse, EndReason]:
    """Tell until it is over; the response, and why."""
    response = web.StreamResponse(headers=ALWAYS | {"Content-Type": "text/event-stream"})
    response.force_close()
    await response.prepare(call.request)
    connection = call.request.transport and call.request.transport.get_extra_info("tls_connection")
    _notice_silence(call.request.transport)
    await _supervise(call, watcher, resource)
    sending = asyncio.create_task(_send(response, watcher, resource, connection))
    try:
        reason = await _end_of(call, watcher, resource, sending)
    except ConnectionError:
        return response, EndReason.PEER_CLOSED
    finally:
        call.gate.supervision.supervise(watcher, False)
        sending.cancel()
        await asyncio.wait({sending})
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            await response.write(ending(reason, own_access=watcher.ended is None))
            await response.write_eof()
            return response, reason
    if call.request.transport is not None:
        call.request.transport.abort()
    return response, reason


def _notice_silence(transport: asyncio.Transport | None) -> None:
    """Let the connection of a machine that is no longer there break a few seconds after what it does not acknowledge;
    a supervisor is told something every two seconds.
    """
    connected = None if transport is None else transport.get_extra_info("socket")
    if connected is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(SUPERVISOR_SILENT_SECONDS * 1000)
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


async def _send(response: web.StreamResponse, watcher: Watcher, resource: dict[str, Any], connection: Any) -> None:
    """Write what comes until there is nothing more to come; the watcher's queue, not we, bounds a slow reader.

    A watcher says nothing more; that it takes what is sent keeps its connection from counting as idle.
    """
    await response.write(frame("watching", resource | {"supervises": watcher.supervises}))
    while True:
        heartbeat = SUPERVISOR_HEARTBEAT_SECONDS if watcher.supervises else HEARTBEAT_SECONDS
        seen, lost = await watcher.take(BATCH, heartbeat)
        octets = b"".join(frames(each) for each in seen) + (frame("lost", {"count": lost}) if lost else b"")
        if not octets and watcher.ended is not None:
            return
        await response.write(octets or b": still here\n\n")
        connection.heard = asyncio.get_running_loop().time()


async def _end_of(call: Call, watcher: Watcher, resource: dict[str, Any], sending: asyncio.Task[None]) -> EndReason:
    """Why the stream is over. Raises ConnectionError if the watcher has left."""
    revisions = seen = call.gate.supervision.revisions()
    look_at = asyncio.get_running_loop().time() + LOOK_SECONDS
    while True:
        done, _ = await asyncio.wait({sending}, timeout=GLANCE_SECONDS)
        if done:
            sending.result()
            return watcher.ended or EndReason.BROKER_FAULT
        if call.request.transport is None or call.request.transport.is_closing():
            raise ConnectionResetError("the watcher has left")
        now, changed = asyncio.get_running_loop().time(), call.gate.supervision.revisions()
        if now < look_at and changed == seen:
            continue
        look_at, seen = now + LOOK_SECONDS, changed
        lost = await _lost_access(call, resource, revisions)
        if lost is not None:
            return lost
        await _supervise(call, watcher, resource)


async def _lost_access(call: Call, resource: dict[str, Any], revisions: tuple[str, str]) -> EndReason | None:
    """Why the watcher may watch no longer: its proofs first, then the policy, which is asked again."""
    proven = call.gate.supervision.standing(call.subject)
    if not isinstance(proven, Subject):
        return proven
    decision = await call.gate.permitted(proven, WATCH, resource, call.peer)
    if decision.allow:
        return None
    if Reason.LOCKED in decision.reasons:
        return EndReason.LOCKED
    policy, inventory = call.gate.supervision.revisions()
    if policy != revisions[0]:
        return EndReason.POLICY_CHANGED
    return EndReason.INVENTORY_CHANGED if inventory != revisions[1] else EndReason.DENIED
