"""Calls by whoever is not proven yet: so many a minute and so few at a time from one source, and from all."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from broker.api.problems import Problem
from broker.api.source_pace import SourcePace
from broker.identity.source import source_of_peer

PER_SECOND = 1 / 3
BURST = 30.0
TOGETHER = 32.0
"""How many times what one source may all sources may together: ten calls a second."""
MOST_AT_ONCE = 16
MOST_OF_SOURCE = 4


class Strangers:
    """Holds back guessing and floods before anything is read."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pace = SourcePace(BURST, PER_SECOND, monotonic, together=TOGETHER)
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def admitted(self, caller: str) -> Iterator[None]:
        """While a call of `address:port`, or of the certificate of that fingerprint, is under way. Raises Problem
        `too_many_calls`.
        """
        source = source_of_peer(caller)
        full = self._under_way.total() >= MOST_AT_ONCE or self._under_way[source] >= MOST_OF_SOURCE
        if full or not self._pace.admits(caller):
            raise Problem("too_many_calls", headers={"Retry-After": str(round(1 / PER_SECOND))})
        self._under_way[source] += 1
        try:
            yield
        finally:
            self._under_way[source] -= 1
            if not self._under_way[source]:
                del self._under_way[source]
