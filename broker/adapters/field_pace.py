"""How fast a look at the field goes, and how long it may take."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from broker.model.field import Bounds


class TimeIsUpError(Exception):
    """The look has taken as long as it may."""


class Pace:
    """When the next request may go."""

    def __init__(
        self,
        bounds: Bounds,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._between = 1 / bounds.requests_per_second
        self._next = monotonic()
        self._end = self._next + bounds.total_seconds

    async def turn(self) -> None:
        """Wait for it. Raises TimeIsUpError."""
        now = self._monotonic()
        if max(now, self._next) >= self._end:
            raise TimeIsUpError
        if now < self._next:
            await self._sleep(self._next - now)
        self._next = max(now, self._next) + self._between
