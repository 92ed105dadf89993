"""What waits to be told to the audit log of one site: bounded, tried a few times, and what is lost is counted.

    offered -> waiting -> under way -> told
                   ^----- failed -----|        -> lost: too many wait, tried too often, refused by the log

One message is under way at a time, so a log that is down costs nobody anything but its own queue.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

MOST_WAITING = 1000
MOST_DENIALS_WAITING = 500
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
TOO_MANY = "too_many_waiting"
NEVER = float("inf")

Fitting = Callable[[Iterable[bytes]], int]


class AuditCount(NamedTuple):
    """How many reports were told and lost in the last so many seconds, and why the last was lost."""

    told: int
    lost: int
    why: str
    seconds: float


class AuditOutbox:
    """The reports for one log, in their order; times are monotonic seconds. `told` and `lost` are since it was made."""

    __slots__ = (
        *("_attempts", "_counted", "_failures", "_ready_at", "_since", "_under_way", "_waiting", "_why"),
        *("lost", "told"),
    )

    def __init__(self) -> None:
        self.told = 0
        self.lost = 0
        self._waiting: deque[bytes] = deque()
        self._under_way = 0
        self._attempts = 0
        self._failures = 0
        self._ready_at = 0.0
        self._counted = (0, 0)
        self._since = 0.0
        self._why = ""

    @property
    def waiting(self) -> int:
        """How many reports are not told yet."""
        return len(self._waiting)

    def busy(self, now: float) -> bool:
        """Whether a message is under way, or could be."""
        return bool(self._under_way) or self.due_at <= now

    @property
    def due_at(self) -> float:
        """When something may be sent; `NEVER` while nothing waits or a message is under way."""
        return self._ready_at if self._waiting and not self._under_way else NEVER

    def offer(self, report: bytes, now: float, *, denial: bool = False) -> None:
        """One more report; if too many wait it is lost, so that nobody can push out what was told of him before, nor
        by being denied again and again what others do.
        """
        if len(self._waiting) < (MOST_DENIALS_WAITING if denial else MOST_WAITING):
            self._waiting.append(report)
        else:
            self.lose(1, TOO_MANY, now)

    def take(self, fitting: Fitting, now: float) -> tuple[bytes, ...]:
        """As many of the oldest as `fitting` says go into one message, which is under way from here on; or none."""
        if now < self.due_at:
            return ()
        self._under_way = fitting(self._waiting)
        self._attempts += 1
        return tuple(self._waiting[place] for place in range(self._under_way))

    def delivered(self, now: float) -> None:
        """The log has taken what was under way."""
        self._note(now)
        self.told += self._under_way
        self._forget()
        self._failures, self._ready_at = 0, 0.0

    def failed(self, why: str, now: float, *, final: bool) -> None:
        """The log did not; with `final` there is no use in trying again, else a few times, later and later."""
        self._failures += 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 10))
        self._ready_at = now + pause
        if final or self._attempts >= ATTEMPTS:
            self.lose(self._under_way, why, now)
            self._forget()
        self._under_way = 0

    def give_up(self, why: str, now: float) -> None:
        """Nothing more is told: what waits is lost."""
        if self._waiting:
            self.lose(len(self._waiting), why, now)
        self._waiting.clear()
        self._under_way = self._attempts = 0

    def lose(self, count: int, why: str, now: float) -> None:
        """So many are never told."""
        self._note(now)
        self.lost += count
        self._why = why

    def count(self, now: float) -> AuditCount | None:
        """What was told and lost since it was last asked; None if nothing was."""
        told, lost = self.told - self._counted[0], self.lost - self._counted[1]
        if not told and not lost:
            return None
        counted = AuditCount(told, lost, self._why, now - self._since)
        self._counted, self._why = (self.told, self.lost), ""
        return counted

    def _note(self, now: float) -> None:
        if (self.told, self.lost) == self._counted:
            self._since = now

    def _forget(self) -> None:
        for _ in range(self._under_way):
            self._waiting.popleft()
        self._under_way = self._attempts = 0
