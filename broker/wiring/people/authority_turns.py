"""Work on an authority's folder and keys, which may hang or be held by somebody else: one at a time, and not long."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from broker.adapters.own_thread import OwnThread

T = TypeVar("T")
ANSWER_SECONDS = 5.0


class AuthorityTurns:
    """A thread apart from those on which revocations are read: a token that never answers keeps this one alone."""

    def __init__(self, organisation: str) -> None:
        self._thread = OwnThread(f"authority-{organisation}")
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[], T], late: Callable[[T], None] | None = None) -> T:
        """What the work returns or raises; `late` is given what it returns when nobody waits for it any more.

        Raises OSError if it is not back in time, and at once while what was given up is not back.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._turn:
                return await _or_late(asyncio.ensure_future(self._thread.run(work)), late)
        except TimeoutError:
            raise OSError(f"it did not answer within {ANSWER_SECONDS:g} s") from None


async def _or_late(running: "asyncio.Task[T]", late: Callable[[T], None] | None) -> T:
    try:
        return await asyncio.shield(running)
    except BaseException:
        running.add_done_callback(lambda done: _hand_over(done, late))
        raise


def _hand_over(done: "asyncio.Future[T]", late: Callable[[T], None] | None) -> None:
    if not done.cancelled() and done.exception() is None and late is not None:
        late(done.result())
