"""How fast one subject may open sessions: each leaves records, and nobody may fill the disk by coming and going."""

BURST = 5000
PER_SECOND = 10.0
MAX_SUBJECTS = 10_000


class SessionPace:
    """A bucket a subject: so many at once (a fleet of masters that reconnects), then so many a second."""

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: dict[str, tuple[float, float]] = {}

    def admits(self, subject: str, now: float) -> bool:
        """Whether one more session may be opened at `now` (epoch seconds)."""
        room, since = self._buckets.get(subject, (float(self._burst), now))
        room = min(float(self._burst), room + max(0.0, now - since) * self._per_second)
        if len(self._buckets) >= MAX_SUBJECTS and subject not in self._buckets:
            self._buckets.clear()
        self._buckets[subject] = (max(0.0, room - 1.0), now)
        return room >= 1.0
