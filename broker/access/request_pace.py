"""How fast one subject may ask for access: each request stays in ledger and state, and nobody may fill the disk by
asking and taking back, or bury what others ask for.
"""

BURST = 60
SECONDS_EACH = 60.0
MAX_SUBJECTS = 10_000


class RequestPace:
    """A bucket a subject: so many at once (more than may be under way), then one a minute. Times are monotonic seconds.

    It is of one broker, and begins anew with it. Of too many subjects the one that asked longest ago is forgotten.
    """

    def __init__(self, burst: int = BURST, seconds_each: float = SECONDS_EACH) -> None:
        self._burst = burst
        self._seconds_each = seconds_each
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_seconds(self, subject: str, now: float) -> float:
        """Take one more up, 0; or how long until there is room for it."""
        room, since = self._buckets.pop(subject, (float(self._burst), now))
        room = min(float(self._burst), room + (now - since) / self._seconds_each)
        wait = 0.0 if room >= 1.0 else (1.0 - room) * self._seconds_each
        if len(self._buckets) >= MAX_SUBJECTS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[subject] = (room if wait else room - 1.0, now)
        return wait
