"""Break-glass: sealed parts, the emergency that enough of them open, and the review that follows it."""

from dataclasses import dataclass
from enum import StrEnum

from broker.model.vocabulary import Action

SIGNATURES_NEEDED = 2


@dataclass(frozen=True, slots=True)
class EmergencyTerms:
    """The fixed policy of a broker's settings: where, what, for how long, and who may open an emergency.

    Empty `organisations` are all that own the plant, empty `subjects` all their people.
    """

    sites: tuple[str, ...]
    actions: tuple[Action, ...]
    longest_minutes: int
    organisations: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedPart:
    """What is kept of one part: salt and slow hash (hexadecimal), and the emergency in which it was spent."""

    number: int
    salt: str
    digest: str
    spent_in: str = ""


@dataclass(frozen=True, slots=True)
class Seal:
    """A set of parts, of which `needed` together open an emergency, each part once."""

    id: str
    needed: int
    sealed_at: float
    parts: tuple[SealedPart, ...]

    @property
    def unspent(self) -> int:
        """How many parts can still open something."""
        return sum(not part.spent_in for part in self.parts)

    @property
    def usable(self) -> bool:
        """Whether there are enough of them left."""
        return self.unspent >= self.needed


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed a review, when (epoch seconds), and what they found."""

    by: str
    at: float
    comment: str


@dataclass(frozen=True, slots=True)
class Emergency:
    """An emergency grant with everything that its review asks about; times are epoch seconds.

    It holds on the broker whose ledger has the origin `broker`, and there alone. `parts` are the numbers of those that
    opened it; `passes` are the isolations that held when it was opened and that it therefore passes. `ended_by` is
    empty if its time ran out.
    """

    id: str
    site: str
    subject: str
    organisation: str
    why: str
    opened_at: float
    until: float
    actions: tuple[Action, ...]
    broker: str
    seal: str
    parts: tuple[int, ...]
    peer: str
    passes: tuple[str, ...] = ()
    ended_at: float | None = None
    ended_by: str = ""
    signatures: tuple[Signature, ...] = ()

    @property
    def reviewed(self) -> bool:
        """Whether as many people as must have signed its review."""
        return len(self.signatures) >= SIGNATURES_NEEDED

    def holds_at(self, now: float) -> bool:
        """Whether it gives anything at `now`."""
        return self.ended_at is None and now < self.until


class OpeningRefusal(StrEnum):
    """Why an emergency was not opened."""

    NOT_SET_UP = "not_set_up"
    NOT_SEALED = "not_sealed"
    NOT_ALLOWED = "not_allowed"
    SITE_NOT_COVERED = "site_not_covered"
    TOO_LONG = "too_long"
    LOCKED = "locked"
    NO_SESSIONS = "no_sessions"
    TOO_SOON = "too_soon"
    PARTS_MALFORMED = "parts_malformed"
    PARTS_REFUSED = "parts_refused"


class SigningRefusal(StrEnum):
    """Why a review was not signed."""

    STILL_OPEN = "still_open"
    OPENED_IT = "opened_it"
    SIGNED_BEFORE = "signed_before"
    REVIEWED = "reviewed"


@dataclass(frozen=True, slots=True)
class NotOpened:
    """Nothing was opened; `retry_seconds` is when another attempt is looked at."""

    because: OpeningRefusal
    retry_seconds: float = 0.0
