"""Keeps a file as what is held changes, beside everything else: a disk that hangs holds up the file alone."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

from broker.adapters.own_thread import OwnThread

log = logging.getLogger(__name__)
T = TypeVar("T")
LATE_SECONDS = 5.0
LAST_SECONDS = 2.0


class KeptFile(Generic[T]):
    """One write at a time, on a thread of its own; what could not be written is tried again when next asked for.

    `kept` is what the file has; `what` says in a few words what cannot be kept if it cannot.
    """

    def __init__(self, kept: T, held: Callable[[], T], write: Callable[[T], None], what: str) -> None:
        self.kept = kept
        self._held = held
        self._write = write
        self._what = what
        self._thread = OwnThread("keeping")
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """What is wrong with it; nothing if the file has what is held, or soon will."""
        late = self._is_busy and asyncio.get_running_loop().time() - self._began > LATE_SECONDS
        return f"{self._what} cannot be kept: the disk does not answer" if late else self._trouble

    @property
    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def wake(self) -> None:
        """Bring the file to what is held now; nobody waits for it."""
        self._begun()

    async def settled(self) -> None:
        """Until the file has what is held now, or could not be written; whoever waits may be cancelled."""
        if self._task is not None:
            await asyncio.shield(self._task)  # it may be writing what was held before
        await asyncio.shield(self._begun())

    async def stop(self) -> None:
        """Give what is held now a last chance to be kept."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self.settled()

    def _begun(self) -> "asyncio.Task[None]":
        if self._task is None or self._task.done():
            self._began = asyncio.get_running_loop().time()
            self._task = asyncio.create_task(self._bring())
        return self._task

    async def _bring(self) -> None:
        held = self._held()
        if held == self.kept:
            return
        try:
            await self._thread.run(partial(self._write, held))
        except OSError as error:
            log.error("%s cannot be kept: %s", self._what, error)
            self._trouble = f"{self._what} cannot be kept: {error}"
        except Exception as error:
            log.exception("%s cannot be kept", self._what)
            self._trouble = f"{self._what} cannot be kept: {type(error).__name__}"
        else:
            self.kept, self._trouble = held, ""
