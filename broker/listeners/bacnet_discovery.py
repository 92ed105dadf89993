"""Who-Is and Who-Has of a client, answered from the inventory and from what devices have said, for those it may see.

Nothing of it reaches a device. A device is shown once the policy gave a session with it and allows to discover it; how
often a client may ask is limited, and so is how many sessions its asking opens at a time. Where the inventory wants it,
what an I-Am has to say and the inventory leaves out is read from the device, in the client's session and as far as the
client may; now and then, and for no longer than a moment: then the I-Am says what is known.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from broker.engine.bacnet_conversation import Told
from broker.engine.events import Refused
from broker.engine.inquiry import inquire_at_large
from broker.engine.self_reads import look_at_itself
from broker.engine.sessions import Session
from broker.listeners.driver import Driver
from broker.listeners.rate import Rate
from broker.model.decision import Decision
from broker.model.place import Device
from broker.wire.bacnet.device_said import DeviceSaid, LiveDevices
from broker.wire.bacnet.discovery import Sought, announcement, compose_question, decode_sought, fits, left_out
from broker.wire.bacnet.name_reads import compose_self_reads

BURST = 20.0
PER_SECOND = 5.0
MOST_ASKED_AT_ONCE = 4
MOST_QUEUED = 4096
MOST_READ_AT_ONCE = 16
READ_AGAIN_SECONDS = 600.0
MOMENT_SECONDS = 1.0
Admit = Callable[[Device, Callable[[Session | Refused], None]], None]


class Discovery:
    """`announce(told, device, bare)` sends an I-Am or I-Have to whoever asked; `live` is what devices have said.

    `asks` is whether devices are asked what they have not said yet.
    """

    def __init__(
        self,
        driver: Driver,
        candidates: Callable[[], list[Device]],
        admit: Admit,
        announce: Callable[[Told, Device, bytes], None],
        live: LiveDevices,
        asks: Callable[[], bool],
    ) -> None:
        self._driver = driver
        self._candidates = candidates
        self._admit = admit
        self._announce = announce
        self._queue: deque[tuple[Told, Device, Sought]] = deque()
        self._queued: set[tuple[object, ...]] = set()
        self._live = live
        self._asks = asks
        self._loop = asyncio.get_running_loop()
        self._reading: dict[str, list[Callable[[], None]]] = {}
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
                if fits(sought, device, self._live.of(device), now):
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
        def done(session: Session | None, bare: bytes, found: Refused | tuple[Decision, ...]) -> None:
            self._asking -= 1
            self._queued.discard((told.station, device.key, sought))
            if session is not None and not isinstance(found, Refused):
                if sought.service == "who-is":
                    self._know(session, partial(self._introduce, told, sought, device))
                else:
                    self._announce(told, device, bare)
            self._go_on()

        def admitted(result: Session | Refused) -> None:
            said, now = self._live.of(device), self._loop.time()
            if isinstance(result, Session) and fits(sought, device, said, now):
                # What is announced is the object that was decided, whatever the device says meanwhile.
                question, bare = compose_question(sought, device, said, now), announcement(sought, device, said, now)
                self._driver.run(result, inquire_at_large(result, question), partial(done, result, bare))
            else:
                done(None, b"", result if isinstance(result, Refused) else ())

        self._admit(device, admitted)

    def _introduce(self, told: Told, sought: Sought, device: Device) -> None:
        self._announce(told, device, announcement(sought, device, self._live.of(device), self._loop.time()))

    def _know(self, session: Session, tell: Callable[[], None]) -> None:
        """Tell once what an I-Am says is known, or will not be for now."""
        device, now = session.device, self._loop.time()
        said, waiting = self._live.of(device), self._reading.get(device.key)
        if said is None:
            tell()
        elif waiting is not None:
            waiting.append(tell)
        elif self._worth_reading(device, said, now):
            self._read(session, said, tell)
        else:
            tell()

    def _worth_reading(self, device: Device, said: DeviceSaid, now: float) -> bool:
        wanted = self._asks() and left_out(device) and said.lacks_any(now)
        return wanted and now >= said.asked_until and len(self._reading) < MOST_READ_AT_ONCE

    def _read(self, session: Session, said: DeviceSaid, tell: Callable[[], None]) -> None:
        device = session.device
        said.asked_until = self._loop.time() + READ_AGAIN_SECONDS
        self._reading[device.key] = [tell]
        late = self._loop.call_later(MOMENT_SECONDS, self._known, device.key)

        def over(asked: bool) -> None:
            late.cancel()
            if not asked:  # another client may be allowed to
                said.asked_until = 0.0
            self._known(device.key)

        self._driver.run(session, look_at_itself(session, compose_self_reads(device)), over)

    def _known(self, key: str) -> None:
        for tell in self._reading.pop(key, ()):
            tell()
