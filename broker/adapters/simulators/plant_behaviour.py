"""What a simulated plant does between two looks at it: a temperature follows its setpoint, and nothing is random."""

from collections.abc import Callable

_DEGREES_PER_SECOND = 0.1


class Temperature:
    """Moves 0.1 degrees a second towards its setpoint, which it has reached at the start."""

    def __init__(self, setpoint: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._setpoint = setpoint
        self._from = setpoint
        self._since = monotonic()

    def follow(self, setpoint: float) -> None:
        """Head for another setpoint from here."""
        if setpoint != self._setpoint:
            self._from, self._since, self._setpoint = self.degrees(), self._monotonic(), setpoint

    def degrees(self) -> float:
        """Where it is now."""
        moved = _DEGREES_PER_SECOND * (self._monotonic() - self._since)
        distance = self._setpoint - self._from
        return self._setpoint if moved >= abs(distance) else self._from + (moved if distance > 0 else -moved)
