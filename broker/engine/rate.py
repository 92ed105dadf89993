"""How fast something may come: so many a second, and some at once."""


class Rate:
    """Admits `per_second`, and `at_once` after a pause (as many as in a second if that is not said)."""

    __slots__ = ("_at_once", "_per_second", "_room", "_since")

    def __init__(self, per_second: float, at_once: float = 0.0) -> None:
        self._per_second = per_second
        self._at_once = self._room = at_once or per_second
        self._since = 0.0

    def admits(self, now: float, weight: float = 1.0) -> bool:
        """Whether one more of that weight may pass (`now` in seconds of any clock that does not go back)."""
        self._room = min(self._at_once, self._room + (now - self._since) * self._per_second)
        self._since = now
        if self._room < weight:
            return False
        self._room -= weight
        return True


class Rates:
    """Admits what each of several admits, asked in their order."""

    __slots__ = ("_rates",)

    def __init__(self, *rates: Rate) -> None:
        self._rates = rates

    def admits(self, now: float, weight: float = 1.0) -> bool:
        """Whether one more of that weight may pass; the first that refuses it is not counted in those behind it."""
        return all(rate.admits(now, weight) for rate in self._rates)
