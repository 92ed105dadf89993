"""Calls by whoever is not proven yet: so many a minute from one address, so many at a time from all."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from broker.api.problems import Problem
from broker.api.source_pace import SourcePace

PER_SECOND = 1 / 3
BURST = 30.0
MOST_AT_ONCE = 16


class Strangers:
    """Holds back guessing and floods before anything is read."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pace = SourcePace(BURST, PER_SECOND, monotonic)
        self._under_way = 0

    @contextmanager
    def admitted(self, peer: str) -> Iterator[None]:
        """While a call is under way. Raises Problem `too_many_calls`."""
        if self._under_way >= MOST_AT_ONCE or not self._pace.admits(peer):
            raise Problem("too_many_calls", headers={"Retry-After": str(round(1 / PER_SECOND))})
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
