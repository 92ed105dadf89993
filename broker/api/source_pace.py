"""How often strangers may try: a bucket of tries for each address, before anything else is known of them."""

from collections import OrderedDict
from collections.abc import Callable

MOST_SOURCES = 1024


class SourcePace:
    """`burst` tries at once, then `per_second`; addresses that are not heard of for long make room."""

    def __init__(self, burst: float, per_second: float, monotonic: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._monotonic = monotonic
        self._sources: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, peer: str) -> bool:
        """Take one try of whoever is at `address:port`; False if it has none left."""
        now, source = self._monotonic(), peer.rpartition(":")[0]
        left, at = self._sources.pop(source, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        admitted = left >= 1.0
        self._sources[source] = (left - admitted, now)
        if len(self._sources) > MOST_SOURCES:
            self._sources.popitem(last=False)
        return admitted
