"""How many denials of one subject are recorded one by one; beyond that they are counted, so nobody fills the disk."""

DENIALS_PER_MINUTE = 300
MAX_SUBJECTS = 10_000
MINUTE_SECONDS = 60.0


class DenialQuota:
    """Counts denials per subject and minute; what was only counted is drained into one record a subject."""

    def __init__(self, per_minute: int = DENIALS_PER_MINUTE) -> None:
        self._per_minute = per_minute
        self._minutes: dict[str, tuple[float, int]] = {}
        self._suppressed: dict[str, tuple[int, float, float]] = {}

    def admits(self, subject: str, now: float) -> bool:
        """Whether this denial is recorded by itself; otherwise it is counted."""
        began, count = self._minutes.get(subject, (now, 0))
        if not began <= now < began + MINUTE_SECONDS:
            began, count = now, 0
        if len(self._minutes) >= MAX_SUBJECTS and subject not in self._minutes:
            self._minutes.clear()
        self._minutes[subject] = (began, count + 1)
        if count < self._per_minute:
            return True
        self.suppress(subject, now)
        return False

    def suppress(self, subject: str, now: float) -> None:
        """Count one denial that gets no record of its own."""
        count, first, _ = self._suppressed.get(subject, (0, now, now))
        self._suppressed[subject] = (count + 1, first, now)

    def drain(self) -> dict[str, tuple[int, float, float]]:
        """Counts since the last call: subject -> (count, first, last in epoch seconds)."""
        drained, self._suppressed = self._suppressed, {}
        return drained

    def put_back(self, drained: dict[str, tuple[int, float, float]]) -> None:
        """Counts that could not be recorded yet."""
        for subject, (count, first, last) in drained.items():
            since, _, latest = self._suppressed.get(subject, (0, first, last))
            self._suppressed[subject] = (count + since, first, max(last, latest))
