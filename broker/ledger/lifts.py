"""Lifts of locks as signed notes, so that whoever writes the state's database can lift none.

The text is two lines: `otbroker-lift/v1`, so that no signature of anything else can pass for one, and canonical JSON
that names the lock and the digest of how it was set.
"""

import base64
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.errors import IntegrityError
from broker.ledger.canonical import canonical
from broker.ledger.notes import Verifier, sign_note, verify_note
from broker.model.lock import Lift, Lock

FIRST_LINE = "otbroker-lift/v1"
MICROSECONDS = 1_000_000
_TYPES = {"lock": str, "digest": str, "by": str, "at": int, "broker": str, "index": int}


def lock_digest(lock: Lock) -> str:
    """The SHA-256 of a lock as it was set, base64url without padding."""
    members = {
        "id": lock.id,
        "kind": lock.kind.value,
        "target": lock.target,
        "message": lock.message,
        "set_by": lock.set_by,
        "set_at": repr(float(lock.set_at)),
        "broker": lock.broker,
        "until": None if lock.until is None else repr(float(lock.until)),
        "isolation": lock.isolation,
    }
    return base64.urlsafe_b64encode(sha256(canonical(members)).digest()).rstrip(b"=").decode()


def sign_lift(lift: Lift, key: Ed25519PrivateKey) -> str:
    """The note of the broker that it names."""
    members = asdict(lift) | {"at": round(lift.at * MICROSECONDS)}
    return sign_note(f"{FIRST_LINE}\n{canonical(members).decode()}\n", lift.broker, key)


def verify_lift(raw_note: str, lock: Lock, verifiers: Iterable[Verifier]) -> Lift:
    """The lift of just this lock that a known broker signed. Raises IntegrityError."""
    if not raw_note:
        raise IntegrityError("lift_unsigned", "the lift is signed by nobody")
    text, signatures = verify_note(raw_note, verifiers)
    lift = _decoded(text)
    if lift.lock != lock.id or lift.digest != lock_digest(lock):
        raise IntegrityError("lift_of_other_lock", "the lift is of another lock", lift.lock)
    if all(signature.verifier.name != lift.broker for signature in signatures):
        raise IntegrityError("lift_of_other_broker", "the lift names another broker than the one that signed it")
    if lock.isolation and lift.by == lock.set_by:
        raise IntegrityError("lift_by_setter", "who isolated a site cannot lift that")
    return lift


def _decoded(text: str) -> Lift:
    first, _, body = text.removesuffix("\n").partition("\n")
    try:
        members: dict[str, Any] = orjson.loads(body)
        typed = {name: type(member) for name, member in members.items()} == _TYPES
        if first == FIRST_LINE and typed and canonical(members) == body.encode():
            return Lift(**members | {"at": members["at"] / MICROSECONDS})
    except (ValueError, TypeError, AttributeError):
        pass
    raise IntegrityError("lift_malformed", "the note is no lift of a lock")
