"""One timer that is moved on every request and set anew only now and then."""

import asyncio
from collections.abc import Callable

from broker.engine.ports import Clock

_NEVER = float("inf")
_EARLY_SECONDS = 0.0005


class Alarm:
    """Rings once when it is due; moving it later costs an assignment, because the event loop's timer stays as it is.

    Times are the clock's monotonic seconds.
    """

    __slots__ = ("_clock", "_due", "_handle", "_ring", "_rings_at")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._due = _NEVER
        self._rings_at = _NEVER
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due: float) -> None:
        """Ring at `due` instead of whenever it was."""
        self._due = due
        if due < self._rings_at:
            self._arm()

    def stop(self) -> None:
        """Never ring again, unless it is set again."""
        self._due = self._rings_at = _NEVER
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._rings_at = self._due
        delay = max(0.0, self._due - self._clock.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay, self._fired)

    def _fired(self) -> None:
        self._handle = None
        self._rings_at = _NEVER
        if self._due > self._clock.monotonic() + _EARLY_SECONDS:
            self._arm()
            return
        self._due = _NEVER
        self._ring()
