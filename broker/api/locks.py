"""Locks: who is refused what until when, and the switch that isolates a site."""

import base64
import re
from typing import Any

from broker.api.call import Call
from broker.api.lock_models import IsolateCall, LockCall
from broker.api.problems import Problem, timestamp
from broker.errors import StateUnavailableError
from broker.model.lock import Lock, LockKind, LockTaken
from broker.model.subject import Subject

READ, SET, LIFT = "lock.read", "lock.set", "lock.lift"
_FINGERPRINT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}", re.ASCII)


async def locks(call: Call) -> dict[str, Any]:
    """The locks that hold: all if the policy says so, else those on sites and devices of which it says so."""
    sites = await call.sites(READ, "locks", call.gate.inventory.sites)
    if not sites and sites is not None:
        await call.require(READ, {"kind": "locks"})
    found = call.gate.locks.locks()
    return {"locks": [_lock(lock) for lock in found if sites is None or lock.site in sites]}


async def set_lock(call: Call) -> dict[str, Any]:
    """Set a lock, if the policy lets the caller and there is something of that name."""
    asked: LockCall = call.body
    kind, target = asked.kind, _target(call, asked.kind, asked.target)
    site = target.partition("/")[0] if kind in (LockKind.DEVICE, LockKind.SITE) else ""
    await call.require(SET, {"kind": kind.value, "id": target} | ({"site": site} if site else {}))
    _require_target(call, kind, target)
    if _bars(kind, target, call.subject):
        raise Problem("lock_of_oneself")
    taken = await call.gate.locks.set(kind, target, message=asked.message, by=call.subject.id, seconds=asked.seconds)
    return _taken(taken)


async def isolate(call: Call) -> dict[str, Any]:
    """End everything to a site, but for those whom the policy names for emergencies."""
    asked: IsolateCall = call.body
    site = call.parameters["site"]
    _require_target(call, LockKind.SITE, site)
    taken = await call.gate.locks.set(LockKind.SITE, site, message=asked.message, by=call.subject.id, isolation=True)
    return _taken(taken)


async def lift(call: Call) -> dict[str, Any]:
    """Lift a lock; of an isolation, only another person than the one who set it."""
    wanted = call.parameters["id"]
    lock = next((lock for lock in call.gate.locks.locks() if lock.id == wanted), None)
    await call.require(LIFT, {"kind": "lock", "id": wanted} | (_about(lock) if lock else {}))
    if lock is None:
        raise Problem("lock_unknown")
    if lock.isolation:
        call.require_person(other_than=lock.set_by)
    try:
        lifted = await call.gate.locks.lift(lock, call.subject.id)
    except StateUnavailableError:
        raise Problem("state_unavailable") from None
    if not lifted:
        raise Problem("lock_unknown")
    return {"lock": _lock(lock)}


def _about(lock: Lock) -> dict[str, str]:
    """What the policy is told of a lock that is to be lifted."""
    told = {"locks": lock.kind.value, "target": lock.target, "set_by": lock.set_by}
    told |= {"site": lock.site} if lock.site else {}
    return told | ({"isolation": "yes"} if lock.isolation else {})


def _target(call: Call, kind: LockKind, text: str) -> str:
    """The target as locks have it: of devices SITE/DEVICE, which DEVICE means where only one site has it; of
    certificates the SHA-256 in base64url, which may be asked for in hexadecimal.
    """
    if kind is LockKind.DEVICE:
        named = _devices_called(call, text)
        return named[0] if len(named) == 1 else text
    if kind is not LockKind.CERTIFICATE or _FINGERPRINT.fullmatch(text):
        return text
    octets = text.replace(":", "").lower()
    if _HEXADECIMAL.fullmatch(octets) is None:
        problem = "must be the SHA-256 of a certificate, in hexadecimal or base64url"
        raise Problem("body_invalid", f"target: {problem}", members={"errors": [{"at": "target", "problem": problem}]})
    return base64.urlsafe_b64encode(bytes.fromhex(octets)).rstrip(b"=").decode()


def _require_target(call: Call, kind: LockKind, target: str) -> None:
    """A slip of the pen must not look like a lock. Who may come or not yet be known can be locked by any name."""
    inventory = call.gate.inventory
    known: dict[LockKind, set[str]] = {
        LockKind.DEVICE: {device.key for device in inventory.devices},
        LockKind.SITE: set(inventory.sites),
        LockKind.ORGANISATION: {organisation.id for organisation in inventory.organisations},
        LockKind.GRANT: {grant.id for grant in inventory.grants},
    }
    if kind is LockKind.GRANT and (call.gate.given(target) or target in _emergencies(call)):
        return
    if target not in known.get(kind, {target}):
        several = _devices_called(call, target) if kind is LockKind.DEVICE else []
        hint = {"what_to_do": f"Say which: {' or '.join(several)}; nothing was locked."} if several else {}
        raise Problem("lock_target_unknown", f"The inventory has no {kind.value} {target}.", members=hint)


def _devices_called(call: Call, name: str) -> list[str]:
    return [device.key for device in call.gate.inventory.devices if device.id == name]


def _emergencies(call: Call) -> set[str]:
    """What an emergency gives is a grant of its id."""
    return {emergency.id for emergency in call.gate.break_glass.emergencies}


def _bars(kind: LockKind, target: str, subject: Subject) -> bool:
    return (kind, target) in {
        (LockKind.SUBJECT, subject.id),
        (LockKind.ORGANISATION, subject.organisation),
        *((LockKind.CERTIFICATE, proof.fingerprint) for proof in subject.proofs),
    }


def _taken(taken: LockTaken) -> dict[str, Any]:
    return {"lock": _lock(taken.lock), "ended": taken.ended, "shared": taken.shared}


def _lock(lock: Lock) -> dict[str, Any]:
    return {
        "id": lock.id,
        "kind": lock.kind.value,
        "target": lock.target,
        "message": lock.message,
        "set_by": lock.set_by,
        "set_at": timestamp(lock.set_at),
        "until": None if lock.until is None else timestamp(lock.until),
        "isolation": lock.isolation,
        "broker": lock.broker,
    }
