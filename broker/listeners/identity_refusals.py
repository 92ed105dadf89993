"""Counts who could not prove anything, a source and code, and records the sums: strangers cannot fill the disk."""

from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError
from broker.ledger import records

MAX_SOURCES = 64
RECORDS_PER_MINUTE = 128
MINUTE_SECONDS = 60.0
OTHERS = "others"


class IdentityRefusals:
    """Aggregates per listener, source address (without port) and code; the watch flushes it about once a second."""

    def __init__(self, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._counts: dict[tuple[str, str, str], tuple[int, float, float]] = {}
        self.total = 0
        self._minute = (0.0, 0)

    def count(self, listener: str, peer: str, code: str) -> None:
        """Count one refusal; `peer` is `ip:port`."""
        self.total += 1
        now = self._clock.now()
        key = (listener, peer.rpartition(":")[0] or peer, code)
        if key not in self._counts and len(self._counts) >= MAX_SOURCES:
            key = (listener, OTHERS, code)
        count, first, _ = self._counts.get(key, (0, now, now))
        self._counts[key] = (count + 1, first, now)

    def flush(self) -> None:
        """Record what was counted since the last time, unless this minute has had its records: then count on."""
        now = self._clock.now()
        began, recorded = self._minute
        if not began <= now < began + MINUTE_SECONDS:
            began, recorded = now, 0
        if recorded + len(self._counts) > RECORDS_PER_MINUTE:
            return
        self._minute = (began, recorded + len(self._counts))
        counts, self._counts = self._counts, {}
        try:
            for (listener, source, code), (count, first, last) in counts.items():
                self._ledger.append(
                    records.identity_refused(
                        self._clock.now(),
                        source=source,
                        code=code,
                        count=count,
                        first=first,
                        last=last,
                        listener=listener,
                    )
                )
            if counts:
                self._ledger.settle(False, lambda _: None)
        except LedgerUnavailableError:
            self._counts = {**counts, **self._counts}
