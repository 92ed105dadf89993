"""Who-Is and Who-Has of a client, answered from the inventory and from what devices have said, for those it may see.

Nothing of it reaches a device. A device is shown once the policy gave a session with it and allows to discover it; how
often a client may ask is limited, and so is how many sessions its asking opens at a time. Where the inventory wants it,
what an I-Am has to say and the inventory leaves out is read from the device first, and when a name is looked for that
nobody has told, the names of the objects of its points (`bacnet_device_reads`).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from broker.engine.bacnet_conversation import Told
from broker.engine.events import Refused
from broker.engine.inquiry import inquire_at_large
from broker.engine.rate import Rate
from broker.engine.sessions import Session
from broker.listeners.bacnet_device_reads import DeviceReads
from broker.listeners.driver import Driver
from broker.model.decision import Decision
from broker.model.place import Device
from broker.wire.bacnet.device_said import LiveDevices
from broker.wire.bacnet.discovery import Sought, announcement, compose_question, decode_sought, fits

BURST = 20.0
PER_SECOND = 5.0
"""Questions to all devices, each of which may bring an answer of every device."""
BURST_OF_ONE = 200.0
PER_SECOND_OF_ONE = 20.0
"""Questions that one device at most answers: a command-line tool looks for its device each time that it is started."""
MOST_ASKED_AT_ONCE = 4
MOST_QUEUED = 4096
Admit = Callable[[Device, Callable[[Session | Refused], None]], None]


class Discovery:
    """`announce(told, device, bare)` sends an I-Am or I-Have to whoever asked; `live` is what devices have said."""

    def __init__(
        self,
        driver: Driver,
        candidates: Callable[[], list[Device]],
        admit: Admit,
        announce: Callable[[Told, Device, bytes], None],
        live: LiveDevices,
        reads: DeviceReads,
    ) -> None:
        self._driver = driver
        self._candidates = candidates
        self._admit = admit
        self._announce = announce
        self._queue: deque[tuple[Told, Device, Sought]] = deque()
        self._queued: set[tuple[object, ...]] = set()
        self._live = live
        self._reads = reads
        self._loop = asyncio.get_running_loop()
        self._asking = 0
        self._looping = False
        self._rate = Rate(PER_SECOND, BURST)
        self._rate_of_one = Rate(PER_SECOND_OF_ONE, BURST_OF_ONE)

    def take(self, told: Told, now: float) -> bool:
        """Whether this is a question of this kind; what it asks for is then looked for. Raises FrameError."""
        sought = decode_sought(told.bare)
        if sought is None:
            return False
        narrow = not told.to_all or sought.low == sought.high
        if (self._rate_of_one if narrow else self._rate).admits(now):
            devices = self._candidates() if told.to_all else [told.device] if told.device else []
            for device in devices:
                if fits(sought, device, self._live.of(device), now) or self._may_have(sought, device, now):
                    self._look_for(told, device, sought)
            self._go_on()
        return True

    def _may_have(self, sought: Sought, device: Device, now: float) -> bool:
        """Whether a device may turn out to have an object of that name."""
        possible = bool(sought.name) and fits(sought._replace(service="who-is"), device)
        return possible and self._reads.may_name(device, now)

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
        def done(session: Session | None, bare: bytes, found: Refused | tuple[Decision, ...]) -> None:
            self._asking -= 1
            self._queued.discard((told.station, device.key, sought))
            if session is not None and not isinstance(found, Refused):
                if sought.service == "who-is":
                    self._reads.when_known(session, partial(self._introduce, told, sought, device))
                else:
                    self._announce(told, device, bare)
            self._go_on()

        def admitted(result: Session | Refused) -> None:
            said, now = self._live.of(device), self._loop.time()
            if isinstance(result, Session) and fits(sought, device, said, now):
                # What is announced is the object that was decided, whatever the device says meanwhile.
                question, bare = compose_question(sought, device, said, now), announcement(sought, device, said, now)
                self._driver.run(result, inquire_at_large(result, question), partial(done, result, bare))
            elif isinstance(result, Session) and self._may_have(sought, device, now):
                done(None, b"", ())
                self._reads.when_named(result, partial(self._named, told, device, sought))
            else:
                done(None, b"", result if isinstance(result, Refused) else ())

        self._admit(device, admitted)

    def _named(self, told: Told, device: Device, sought: Sought) -> None:
        """The device has told names: perhaps it is the one."""
        if fits(sought, device, self._live.of(device), self._loop.time()):
            self._look_for(told, device, sought)
            self._go_on()

    def _introduce(self, told: Told, sought: Sought, device: Device) -> None:
        self._announce(told, device, announcement(sought, device, self._live.of(device), self._loop.time()))
