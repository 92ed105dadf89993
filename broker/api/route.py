"""What a route of the API is; the table of them is `routes`."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from broker.api.call import Call
from broker.api.models import Asked
from broker.model.ticket import TICKET
from broker.model.trust import Requirement
from broker.model.vocabulary import RecordKind

_PARAMETERS = {
    "site": r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    "device": r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    "index": r"(?:0|[1-9][0-9]{0,15})",
    "id": r"[A-Za-z0-9-]{1,64}",
    "revision": r"[A-Za-z0-9_-]{43}",
    "session": r"ses-[a-z0-9]{1,60}",
    "approval": r"arm-[a-z0-9]{1,60}",
    "request": r"req-[a-z0-9]{1,60}",
    "ticket": TICKET.pattern,
}


class DecidedBy(StrEnum):
    """Where the permission of a route is decided."""

    ADMIN = "admin.decision"
    """Before the handler, by the policy, with what the path names."""
    ADMIN_ON_RESOURCE = "admin.decision on the resource"
    """In the handler, by the policy, because whose thing it is must be looked up first."""
    OPERATION = "session.decision and operation.decision"
    """In the engine, by the policy, for the session and for each operation."""
    PROOF = "the proof in the call"
    """In the handler, by a one-time code or a certificate's key: nobody has to be proven before."""
    PARTS = "the settings and sealed parts"
    """In the handler, by what the settings fix and by who brings the parts: the policy may be what is down."""


class CertificateAlone(StrEnum):
    """Whether a client certificate alone proves the caller of a route, though the listener asks for a token."""

    NEVER = "never"
    IN_EMERGENCY = "while the caller holds an emergency at the site"
    ALWAYS = "always"


class Effect(StrEnum):
    """What a call leaves in the ledger beside the decision on it; every route says which."""

    PLAIN = "nothing more"
    """It shows no evidence and changes nothing."""
    EVIDENCE = "evidence_viewed"
    """It shows evidence: the handler calls `Call.view` before it shows any; without, the call fails."""
    CHANGES = "a record of the act"
    """It changes something: `recorded_as` says as what, before or as it takes effect."""
    OPERATES = "sessions, intents and outcomes"
    """The engine records all of it."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `problems` are codes that it adds to those every route has.

    `recorded_as` are the kinds of records that the acts of a route that changes something leave. An act without a kind
    of its own is `administered`, which `Call.require` writes.
    """

    name: str
    method: str
    path: str
    permission: str
    decided_by: DecidedBy
    effect: Effect
    summary: str
    handler: Callable[[Call], Awaitable[Any]]
    recorded_as: tuple[RecordKind, ...] = ()
    answer: type[BaseModel] | None = None
    body: type[Asked] | None = None
    query: type[Asked] | None = None
    resource: str = ""
    problems: tuple[str, ...] = ()
    description: str = ""
    media_type: str = "application/json"
    """What its answer is."""
    subprotocol: str = ""
    """Of a route that is a WebSocket: what it speaks."""
    streams: bool = False
    """Its answer goes on until one side ends it: no deadline."""
    requirement: Requirement | None = None
    """Of a route that is decided by a proof in the call: what the caller is proven by besides; None is nothing."""
    certificate_alone: CertificateAlone = CertificateAlone.NEVER

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a path of this route looks like, octet for octet: nothing is decoded before it is matched."""
        parts = re.split(r"\{(\w+)\}", self.path)
        literal = [re.escape(part) if place % 2 == 0 else _group(part) for place, part in enumerate(parts)]
        return re.compile("".join(literal), re.ASCII)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The kinds of the records that a call leaves beside the decision on it, in words where it is the engine's."""
        if self.effect is Effect.CHANGES:
            return tuple(kind.value for kind in self.recorded_as)
        return () if self.effect is Effect.PLAIN else (self.effect.value,)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


def _group(name: str) -> str:
    return f"(?P<{name}>{_PARAMETERS[name]})"
