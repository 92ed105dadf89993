"""A thread for what may hang: name look-ups and libraries that block. It holds up nobody, not even the broker's end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class OwnThread:
    """Runs one function at a time, apart from the event loop's own threads, which the ledger and the locks need.

    A function that does not come back keeps only this thread: until it does, nothing else is run.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: Future[Any] | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """What the function returns or raises. Raises OSError if the last one is not back yet."""
        if self._last is not None and not self._last.done():
            raise OSError("the last attempt has not come back yet")
        done: Future[T] = Future()
        self._last = done
        threading.Thread(target=_run, args=(function, done), name=self._name, daemon=True).start()
        return await asyncio.wrap_future(done)


def _run(function: Callable[[], T], done: "Future[T]") -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(function())
    except BaseException as error:
        done.set_exception(error)
