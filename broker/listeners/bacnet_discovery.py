"""Who-Is and Who-Has of a client, answered from the inventory for exactly the devices that it may see.

Nothing of it reaches a device. A device is shown once the policy gave a session with it and allows to discover it; how
often a client may ask is limited, and so is how many sessions its asking opens at a time.
"""

from collections import deque
from collections.abc import Callable

from broker.engine.bacnet_conversation import Told
from broker.engine.events import Refused
from broker.engine.inquiry import inquire_at_large
from broker.engine.sessions import Session
from broker.listeners.driver import Driver
from broker.listeners.rate import Rate
from broker.model.decision import Decision
from broker.model.place import Device
from broker.wire.bacnet.discovery import Sought, announcement, compose_question, decode_sought, fits

BURST = 20.0
PER_SECOND = 5.0
MOST_ASKED_AT_ONCE = 4
MOST_QUEUED = 4096
Admit = Callable[[Device, Callable[[Session | Refused], None]], None]


class Discovery:
    """`announce(told, device, bare)` sends an I-Am or I-Have to whoever asked."""

    def __init__(
        self,
        driver: Driver,
        candidates: Callable[[], list[Device]],
        admit: Admit,
        announce: Callable[[Told, Device, bytes], None],
    ) -> None:
        self._driver = driver
        self._candidates = candidates
        self._admit = admit
        self._announce = announce
        self._queue: deque[tuple[Told, Device, Sought]] = deque()
        self._queued: set[tuple[object, ...]] = set()
        self._asking = 0
        self._looping = False
        self._rate = Rate(PER_SECOND, BURST)

    def take(self, told: Told, now: float) -> bool:
        """Whether this is a question of this kind; what it asks for is then looked for. Raises FrameError."""
        sought = decode_sought(told.bare)
        if sought is None:
            return False
        if self._rate.admits(now):
            devices = self._candidates() if told.to_all else [told.device] if told.device else []
            for device in devices:
                if fits(sought, device):
                    self._look_for(told, device, sought)
            self._go_on()
        return True

    def _look_for(self, told: Told, device: Device, sought: Sought) -> None:
        key = (told.station, device.key, sought)
        if key not in self._queued and len(self._queue) < MOST_QUEUED:
            self._queued.add(key)
            self._queue.append((told, device, sought))

    def _go_on(self) -> None:
        """A loop, not recursion: what is leased is answered many in a row at once."""
        if self._looping:
            return
        self._looping = True
        try:
            while self._queue and self._asking < MOST_ASKED_AT_ONCE:
                told, device, sought = self._queue.popleft()
                self._asking += 1
                self._ask(told, device, sought)
        finally:
            self._looping = False

    def _ask(self, told: Told, device: Device, sought: Sought) -> None:
        def done(found: Refused | tuple[Decision, ...]) -> None:
            self._asking -= 1
            self._queued.discard((told.station, device.key, sought))
            if not isinstance(found, Refused):
                self._announce(told, device, announcement(sought, device))
            self._go_on()

        def admitted(result: Session | Refused) -> None:
            if isinstance(result, Session):
                self._driver.run(result, inquire_at_large(result, compose_question(sought, device)), done)
            else:
                done(result)

        self._admit(device, admitted)
