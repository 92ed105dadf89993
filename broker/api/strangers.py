"""Calls by whoever is not proven yet: so many a minute from one address, so many at a time from all."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from broker.api.problems import Problem

PER_SECOND = 1 / 3
BURST = 30.0
MOST_SOURCES = 1024
MOST_AT_ONCE = 16


class Strangers:
    """Holds back guessing and floods before anything is read."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._sources: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._under_way = 0

    @contextmanager
    def admitted(self, peer: str) -> Iterator[None]:
        """While a call is under way. Raises Problem `too_many_calls`."""
        source = peer.rpartition(":")[0]
        if self._under_way >= MOST_AT_ONCE or not self._admits(source):
            raise Problem("too_many_calls", headers={"Retry-After": str(round(1 / PER_SECOND))})
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def _admits(self, source: str) -> bool:
        """A bucket of tries for each address; addresses that are not heard of for long make room."""
        now = self._monotonic()
        left, at = self._sources.pop(source, (BURST, now))
        left = min(BURST, left + (now - at) * PER_SECOND)
        admitted = left >= 1.0
        self._sources[source] = (left - admitted, now)
        if len(self._sources) > MOST_SOURCES:
            self._sources.popitem(last=False)
        return admitted
