"""Follows the state that brokers share: looks when another one announces a change, and at its own pace anyway.

Announcements are hints that make it faster; nothing rests on them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from broker.adapters.state_database import StateDatabase

log = logging.getLogger(__name__)


class StateFollower:
    """Calls `look` again and again, one at a time. What goes wrong there is logged as `complaint`, and it goes on."""

    def __init__(
        self, database: StateDatabase, pace_seconds: float, look: Callable[[], Awaitable[None]], complaint: str
    ) -> None:
        self._pace_seconds = pace_seconds
        self._look = look
        self._complaint = complaint
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        database.changed.append(self._woken.set)

    def start(self) -> None:
        """Follow from here on."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Look again soon."""
        self._woken.set()

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it forgets a cancellation that comes together with the event.
                async with asyncio.timeout(self._pace_seconds):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self._look()
            except Exception:
                log.exception(self._complaint)
