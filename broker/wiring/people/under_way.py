"""What was begun and not completed yet: bounded, in memory, known by a ticket that only its holder has."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from broker.engine.ports import Clock
from broker.identity.enrolment_codes import enrolment_error
from broker.model.enrolment import Invitation
from broker.wiring.people.factors import NewFactor

SECONDS = 600.0
MOST = 256
MOST_OF_SUBJECT = 4
MOST_TRIES = 5
_TICKET_OCTETS = 32


@dataclass(slots=True)
class Begun:
    """An enrolment (by an invitation, with a new factor) or a renewal (of a certificate) that waits for its proof."""

    subject: str
    organisation: str
    request: bytes = field(repr=False)
    until: float
    invitation: Invitation | None = None
    factor: NewFactor | None = field(default=None, repr=False)
    certificate: str = ""
    challenge: str = ""
    tries: int = 0


class UnderWay:
    """One per broker; a restart forgets everything, and the code or certificate begins anew."""

    def __init__(self, clock: Clock, octets: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._octets = octets
        self._begun: dict[bytes, Begun] = {}

    @property
    def ends(self) -> float:
        """Until when (monotonic) what begins now may be completed."""
        return self._clock.monotonic() + SECONDS

    def add(self, begun: Begun) -> str:
        """Keep it; its ticket."""
        self._make_room(begun.subject)
        ticket = base64.urlsafe_b64encode(self._octets(_TICKET_OCTETS)).rstrip(b"=").decode()
        self._begun[_key(ticket)] = begun
        return ticket

    def tried(self, ticket: str, *, enrols: bool) -> Begun:
        """What a ticket is for, its try counted. Raises EnrolmentError `enrolment_unknown`."""
        key = _key(ticket)
        begun = self._begun.get(key)
        if begun is None or self._clock.monotonic() >= begun.until or (begun.invitation is not None) is not enrols:
            raise enrolment_error("enrolment_unknown")
        begun.tries += 1
        # A challenge is answered once; a mistyped code may be typed again.
        if begun.tries >= MOST_TRIES or begun.challenge or (begun.factor is not None and begun.factor.challenge):
            del self._begun[key]
        return begun

    def done(self, ticket: str) -> None:
        """It is completed."""
        self._begun.pop(_key(ticket), None)

    def _make_room(self, subject: str) -> None:
        """What ran out goes first, then the oldest of the same person; others lose theirs only when all is full."""
        now = self._clock.monotonic()
        self._begun = {key: begun for key, begun in self._begun.items() if now < begun.until}
        mine = [key for key, begun in self._begun.items() if begun.subject == subject]
        for key in mine[: max(0, len(mine) - MOST_OF_SUBJECT + 1)]:
            del self._begun[key]
        if len(self._begun) >= MOST:
            del self._begun[next(iter(self._begun))]


def _key(ticket: str) -> bytes:
    return sha256(ticket.encode(errors="replace")).digest()
