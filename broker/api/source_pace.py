"""How often strangers may try, before anything else is known of them: a bucket of tries for each source and, where it
is better that nobody is heard than that all try, one for all sources together.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from broker.identity.source import source_of_peer

MOST_SOURCES = 1024


@dataclass(slots=True)
class Bucket:
    """`burst` tries at once, then `per_second`."""

    burst: float
    per_second: float
    left: float
    at: float

    def has_one(self, now: float) -> bool:
        """Whether there is a try left."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_second)
        self.at = now
        return self.left >= 1.0


class SourcePace:
    """Sources that are not heard of for long make room for others and may then begin anew; the bucket that all share
    stays, so that many sources together have `together` times what one has. None: there is no such bucket.
    """

    def __init__(
        self, burst: float, per_second: float, monotonic: Callable[[], float], *, together: float | None
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._monotonic = monotonic
        self._sources: OrderedDict[str, Bucket] = OrderedDict()
        self._together = (
            None if together is None else Bucket(burst * together, per_second * together, burst * together, monotonic())
        )

    def admits(self, peer: str) -> bool:
        """Take one try of whoever is at `address:port`; False if it has none left, or all together have none."""
        now, source = self._monotonic(), source_of_peer(peer)
        bucket = self._sources.pop(source, None) or Bucket(self._burst, self._per_second, self._burst, now)
        self._sources[source] = bucket
        if len(self._sources) > MOST_SOURCES:
            self._sources.popitem(last=False)
        # A source without a try of its own takes none of those that all share.
        drawn = [bucket] if self._together is None else [bucket, self._together]
        if not all(each.has_one(now) for each in drawn):
            return False
        for each in drawn:
            each.left -= 1.0
        return True
