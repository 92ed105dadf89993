"""Counts attempts to open an emergency that did not, and records the sums: an attempt that alarms, not one that fills
the disk.
"""

from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError
from broker.ledger.emergency_records import break_glass_refused

SECONDS_BETWEEN_RECORDS = 10.0
MOST_COUNTED = 64
OTHERS = "others"


class OpeningRefusals:
    """Sums per subject and cause; the first of each is recorded at once, those that follow every ten seconds."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._counts: dict[tuple[str, str], tuple[int, float, float]] = {}
        self._recorded: dict[tuple[str, str], float] = {}
        self.total = 0

    def count(self, subject: str, code: str) -> None:
        """Count one, and record it if none of its kind was recorded lately."""
        self.total += 1
        now = self._clock.now()
        known = self._recorded.keys() | self._counts.keys()
        key = (subject, code) if (subject, code) in known or len(known) < MOST_COUNTED else (OTHERS, code)
        count, first, _ = self._counts.get(key, (0, now, now))
        self._counts[key] = (count + 1, first, now)
        self.flush(now)

    def flush(self, now: float | None = None) -> None:
        """Record what is due; without `now` all of it."""
        if now is not None:
            since = now - SECONDS_BETWEEN_RECORDS
            self._recorded = {key: at for key, at in self._recorded.items() if since < at <= now}
        due = [key for key in self._counts if now is None or key not in self._recorded]
        for key in due:
            count, first, last = self._counts[key]
            at = self._clock.now()
            record = break_glass_refused(at, subject=key[0], code=key[1], count=count, first=first, last=last)
            try:
                self._ledger.append(record)
            except LedgerUnavailableError:
                return
            del self._counts[key]
            self._recorded[key] = at
