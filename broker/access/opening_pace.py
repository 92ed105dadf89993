"""How often parts are looked at: each look costs memory and processor time, and must not be a way to guess or to bar
others.
"""

FREE_FAILURES = 3
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
BURST = 12
PER_SECOND = 0.2
MAX_SUBJECTS = 1000


class OpeningPace:
    """After three failures a subject waits, twice as long each time; all together have a bucket of looks.

    One subject's pauses leave most of the bucket to the others. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}
        self._looks = float(BURST)
        self._filled_at = 0.0

    def wait_seconds(self, subject: str, now: float) -> float:
        """How long until this subject's next attempt is looked at; 0: now."""
        looks = min(float(BURST), self._looks + (now - self._filled_at) * PER_SECOND)
        for_all = 0.0 if looks >= 1 else (1 - looks) / PER_SECOND
        _, not_before = self._failures.get(subject, (0, now))
        return max(for_all, not_before - now, 0.0)

    def look(self, now: float) -> None:
        """An attempt is looked at."""
        self._looks = min(float(BURST), self._looks + (now - self._filled_at) * PER_SECOND) - 1
        self._filled_at = now

    def failed(self, subject: str, now: float) -> None:
        """It did not open anything."""
        if len(self._failures) >= MAX_SUBJECTS and subject not in self._failures:
            self._failures.clear()
        count = self._failures.get(subject, (0, 0.0))[0] + 1
        doublings = min(count - FREE_FAILURES, 10)
        pause = 0.0 if doublings < 0 else min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS)
        self._failures[subject] = (count, now + pause)

    def succeeded(self, subject: str) -> None:
        """It did."""
        self._failures.pop(subject, None)
