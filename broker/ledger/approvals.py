"""Approvals of proposals, and the warrants made of them, as signed notes: whoever writes the state's database, or hands
a file to an authority, can forge none.

The text is two lines: `otbroker-proposal-approval/v2` or `otbroker-warrant/v1`, so that no signature of anything else
can pass for one, and canonical JSON.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TypeVar

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.errors import IntegrityError
from broker.ledger.canonical import canonical
from broker.ledger.notes import Verifier, sign_note, verify_note
from broker.model.backer import Backer
from broker.model.proposal import Approval, ProposalAct, Warrant

FIRST_LINES = {Approval: "otbroker-proposal-approval/v2", Warrant: "otbroker-warrant/v1"}
MOST_PARAMETERS = 16
LONGEST_PARAMETER = 1000
MICROSECONDS = 1_000_000
_TIMES = ("at", "until")
T = TypeVar("T", Approval, Warrant)


def sign(said: Approval | Warrant, key: Ed25519PrivateKey) -> str:
    """The note of the broker that it names."""
    members = asdict(said) | {"act": said.act.value, "parameters": dict(said.parameters)}
    members |= {name: round(members[name] * MICROSECONDS) for name in _TIMES if name in members}
    if isinstance(said, Warrant):
        members["approved_by"] = list(said.approved_by)
    else:
        members["by"] = asdict(said.by) | {"roles": list(said.by.roles)}
    return sign_note(f"{FIRST_LINES[type(said)]}\n{canonical(members).decode()}\n", said.broker, key)


def verify(kind: type[T], raw_note: str, verifiers: Iterable[Verifier]) -> T:
    """What a known broker signed. Raises IntegrityError."""
    text, signatures = verify_note(raw_note, verifiers)
    said = _decoded(kind, text)
    if all(signature.verifier.name != said.broker for signature in signatures):
        raise IntegrityError("approval_of_other_broker", "the note names another broker than the one that signed it")
    return said


def _decoded(kind: type[T], text: str) -> T:
    first, _, body = text.removesuffix("\n").partition("\n")
    try:
        members: dict[str, Any] = orjson.loads(body)
        if first == FIRST_LINES[kind] and canonical(members) == body.encode():
            fields = members | {"act": ProposalAct(members["act"]), "parameters": _parameters(members["parameters"])}
            fields |= {name: members[name] / MICROSECONDS for name in _TIMES if name in members}
            if "approved_by" in fields:
                fields["approved_by"] = tuple(fields["approved_by"])
            if kind is Approval:
                fields["by"] = _approver(members["by"])
            return kind(**fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise IntegrityError("approval_malformed", f"the note is no {kind.__name__.lower()}")


def _approver(members: dict[str, Any]) -> Backer:
    roles = members["roles"]
    if not isinstance(roles, list) or not all(isinstance(word, str) for word in (*roles, members["id"])):
        raise ValueError("approver")
    return Backer(**members | {"roles": tuple(roles)})


def _parameters(members: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if len(members) > MOST_PARAMETERS or not all(isinstance(value, str) for value in members.values()):
        raise ValueError("parameters")
    return tuple(sorted(members.items()))
