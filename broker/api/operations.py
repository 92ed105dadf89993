"""Reads and writes of points, and tunnels: what touches a device. The policy decides each operation."""

import logging
from typing import Any

from aiohttp import web

from broker.api.call import Call
from broker.api.handshake import verify_handshake
from broker.api.idempotency import Answer, fingerprint_of, idempotency_key
from broker.api.json_text import json_octets
from broker.api.problems import MEDIA_TYPE, Problem, refusal
from broker.api.readings import read as read_points
from broker.api.writings import Writing
from broker.engine.events import Refused
from broker.model.place import Device, Protocol

log = logging.getLogger(__name__)
MODBUS_SUBPROTOCOL, BACNET_SUBPROTOCOL = "otb.modbus.v1", "otb.bacnet.v1"
_JSON = "application/json"


async def read(call: Call) -> dict[str, Any]:
    """Values of points or ranges."""
    device = call.device()
    return await read_points(call.gate, await call.session(device), call.body, call.read_deadline())


async def write(call: Call) -> web.Response:
    """Write points or ranges, once for each Idempotency-Key; finished and recorded whether or not the caller waits."""
    device = call.device()
    key = idempotency_key(call.request.headers.get("Idempotency-Key"))
    writing = Writing(device, call.body)
    if key is not None:
        fingerprint = fingerprint_of(call.path, call.body_octets)
        known = call.shared.idempotency.begin(call.subject.id, key, fingerprint)
        if known is not None:
            return _response(known, {"Idempotency-Replayed": "true"})
    work, seconds = _carry_out(call, device, writing, key), call.shared.limits.write_seconds + call.wait_seconds
    try:
        return _response(await call.shared.under_way.finish(work, seconds), {})
    except TimeoutError:
        raise _unknown(device) from None


async def tunnel(call: Call) -> web.StreamResponse:
    """Turn the connection into a Modbus/TCP stream."""
    device = call.device()
    verify_handshake(call.request, MODBUS_SUBPROTOCOL)
    if device.protocol is not Protocol.MODBUS:
        raise Problem("tunnel_needs_modbus")
    taken = await call.shared.tunnels.serve(call.request, call.subject, device)
    if isinstance(taken, Refused):
        raise refusal(taken.reasons, taken.decisions)
    return taken


async def bacnet(call: Call) -> web.StreamResponse:
    """Turn the connection into a client's side of a site's BACnet network."""
    site = call.site()
    verify_handshake(call.request, BACNET_SUBPROTOCOL)
    if call.gate.inventory.bacnet_network(site) is None:
        raise Problem("site_has_no_bacnet")
    return await _bacnet(call, site)


async def bacnet_device(call: Call) -> web.StreamResponse:
    """Turn the connection into a client's side of one BACnet device, without a router in between."""
    device = call.device()
    verify_handshake(call.request, BACNET_SUBPROTOCOL)
    if device.protocol is not Protocol.BACNET:
        raise Problem("tunnel_needs_bacnet")
    return await _bacnet(call, device.key)


async def _bacnet(call: Call, where: str) -> web.StreamResponse:
    taken = await call.shared.tunnels.serve_bacnet(call.request, call.subject, where)
    if isinstance(taken, Refused):
        raise refusal(taken.reasons, taken.decisions)
    return taken


async def _carry_out(call: Call, device: Device, writing: Writing, key: str | None) -> Answer:
    """One write call to its end; whatever happens, the key learns of it."""
    answer = None
    try:
        answer = await _answered(call, device, writing)
    finally:
        if key is not None:
            call.shared.idempotency.finish(call.subject.id, key, answer)
    return answer


async def _answered(call: Call, device: Device, writing: Writing) -> Answer:
    try:
        session = await call.session(device)
    except Problem as problem:
        return _answer(problem, kept=False)
    except ConnectionResetError:
        return _answer(Problem("not_sent"), kept=False)
    try:
        outcome, sent = await writing.carry_out(call.gate, session, call.wait_seconds)
    except Exception:
        log.exception("a write call failed; what it may have sent is not known", extra={"session": session.id})
        return _answer(_unknown(device), kept=True)
    return _answer(outcome, kept=sent)


def _unknown(device: Device) -> Problem:
    return Problem("outcome_unknown", members={"outcome": "unknown", "device": device.key})


def _answer(outcome: dict[str, Any] | Problem, *, kept: bool) -> Answer:
    if isinstance(outcome, Problem):
        return Answer(outcome.status, MEDIA_TYPE, json_octets(outcome.document()), kept)
    return Answer(200, _JSON, json_octets(outcome), kept)


def _response(answer: Answer, headers: dict[str, str]) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.media_type, **headers})
