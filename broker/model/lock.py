"""An instant refusal of a subject, certificate, organisation, device, site, grant or session."""

from dataclasses import dataclass, replace
from enum import StrEnum


class LockKind(StrEnum):
    """What a lock is set on; `target` is its id, for certificates the fingerprint that proofs carry."""

    SUBJECT = "subject"
    CERTIFICATE = "certificate"
    ORGANISATION = "organisation"
    DEVICE = "device"
    SITE = "site"
    GRANT = "grant"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as it was set, and what the state says of its end; nothing else about it ever changes.

    Times are epoch seconds; `until` None means that it holds until somebody lifts it. `isolation` marks a site lock
    that spares those whom the policy names for emergencies and that the one who set it cannot lift. `broker` is the
    origin of the ledger of the broker at which it was set. `lift` is the signed note that ends it: only that proves
    what `lifted_by` and `lifted_at` claim.
    """

    id: str
    kind: LockKind
    target: str
    message: str
    set_by: str
    set_at: float
    broker: str
    until: float | None = None
    isolation: bool = False
    lifted_by: str = ""
    lifted_at: float | None = None
    lift: str = ""

    @property
    def as_set(self) -> "Lock":
        """The same with nothing said of its end."""
        return replace(self, lifted_by="", lifted_at=None, lift="")

    @property
    def site(self) -> str:
        """The site it is about, if it is about one or about a device."""
        if self.kind is LockKind.DEVICE:
            return self.target.partition("/")[0]
        return self.target if self.kind is LockKind.SITE else ""

    def holds_at(self, now: float) -> bool:
        """Whether it refuses anything at `now`."""
        return self.lifted_at is None and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class Lift:
    """Who lifted the lock of that id and digest when, as record `index` of the ledger `broker` holds it."""

    lock: str
    digest: str
    by: str
    at: float
    broker: str
    index: int


@dataclass(frozen=True, slots=True)
class LockTaken:
    """A lock that has taken effect: how many sessions it has ended here so far, and whether all brokers can see it."""

    lock: Lock
    ended: int
    shared: bool
