"""Reads of what BACnet devices have not said of themselves yet, where the inventory wants that.

They are views in the session of the client for whom it is needed, of what that client may read, decided and recorded as
if it had asked itself; each of a device only now and then.
"""

import asyncio
from collections.abc import Callable

from broker.engine.self_reads import look_at_itself
from broker.engine.sessions import Session
from broker.listeners.driver import Driver
from broker.model.place import Device
from broker.wire.bacnet.device_said import DeviceSaid, LiveDevices
from broker.wire.bacnet.discovery import left_out
from broker.wire.bacnet.name_reads import compose_name_reads, compose_self_reads, unnamed

MOST_READ_AT_ONCE = 16
READ_AGAIN_SECONDS = 600.0
MOMENT_SECONDS = 1.0


class DeviceReads:
    """Those of one client. `asks` is whether devices are asked at all, `granted` which of a device's points it has."""

    def __init__(
        self,
        driver: Driver,
        live: LiveDevices,
        asks: Callable[[], bool],
        granted: Callable[[Device], frozenset[str] | None],
    ) -> None:
        self._driver = driver
        self._live = live
        self._asks = asks
        self._granted = granted
        self._loop = asyncio.get_running_loop()
        self._reading: dict[str, list[Callable[[], None]]] = {}
        self._named: dict[str, float] = {}
        self._naming = 0

    def when_known(self, session: Session, tell: Callable[[], None]) -> None:
        """Call `tell` once what an I-Am of the device says is known, or will not be for now."""
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

    def may_name(self, device: Device, now: float) -> bool:
        """Whether the device can be asked for names of its objects that are not known."""
        if not self._asks() or now < self._named.get(device.key, 0.0) or self._naming >= MOST_READ_AT_ONCE:
            return False
        said = self._live.of(device)
        return said is not None and bool(unnamed(device, self._granted(device), said, now))

    def when_named(self, session: Session, named: Callable[[], None]) -> None:
        """Ask the device for names of the objects of its points, and call `named` when that is over."""
        device, now = session.device, self._loop.time()
        said = self._live.of(device)
        self._named[device.key] = now + READ_AGAIN_SECONDS
        requests = () if said is None else compose_name_reads(device, self._granted(device), said, now)
        self._naming += 1

        def over(_: bool) -> None:
            self._naming -= 1
            named()

        self._driver.run(session, look_at_itself(session, requests), over)
