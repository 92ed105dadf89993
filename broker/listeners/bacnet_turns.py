"""How many requests of one client side are under way at a device; what is more waits a moment for its turn.

Programs ask for everything there is at once, and a device asks nobody to wait: it does one after the other. Refusing
what is too much would lose it for good, since an Abort is an answer and nothing is asked again after one.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from broker.engine.bacnet_conversation import Asked
from broker.model.place import Device

MOST_AT_ONCE = 32
"""Two client sides together leave room in a device's usual queue."""
LONGEST_WAIT_SECONDS = 5.0
"""Clients ask again, the same, after 3 to 6 seconds; what is asked much later is asked for nobody."""


class Turns:
    """`begin(asked, late)` is called for each request, at once or when it is its turn.

    `late`: it has waited too long, or nobody wants its answer any more, and it is not to be begun. `waited` is called
    behind those that had to wait.
    """

    __slots__ = ("_begin", "_loop", "_under_way", "_waited", "_waiting")

    def __init__(self, begin: Callable[[Asked, bool], None], waited: Callable[[], None]) -> None:
        self._begin = begin
        self._waited = waited
        self._loop = asyncio.get_running_loop()
        self._under_way: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[float, Asked]]] = {}

    def take(self, asked: Asked, device: Device) -> None:
        """A request to a device."""
        if self._under_way[device.key] < MOST_AT_ONCE and device.key not in self._waiting:
            self._under_way[device.key] += 1
            self._begin(asked, False)
        else:
            waiting = self._waiting.setdefault(device.key, deque())
            waiting.append((self._loop.time() + LONGEST_WAIT_SECONDS, asked))

    def over(self, device: Device) -> None:
        """One that was begun has its answer."""
        self._under_way[device.key] -= 1
        if not self._under_way[device.key]:
            del self._under_way[device.key]
        if device.key in self._waiting:  # not in this call: what is answered at once would go deeper for each
            self._loop.call_soon(self._go_on, device.key)

    def clear(self) -> None:
        """Nobody is there any more."""
        self._waiting.clear()

    def _go_on(self, key: str) -> None:
        waiting, now, late = self._waiting.get(key), self._loop.time(), True
        while waiting and late and self._under_way[key] < MOST_AT_ONCE:
            until, asked = waiting.popleft()
            late = asked.given_up or now >= until
            self._under_way[key] += not late
            if not waiting:
                self._waiting.pop(key, None)
            self._begin(asked, late)
        self._waited()
