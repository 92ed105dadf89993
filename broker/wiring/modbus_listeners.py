"""The Modbus TLS listeners: those of the settings, and one for each device that has an address of its own."""

import asyncio
import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

from broker.engine.ports import Clock, Ledger
from broker.errors import ConfigError, LedgerUnavailableError
from broker.ledger import records
from broker.listeners.identity_refusals import IdentityRefusals
from broker.listeners.modbus_tls import LISTENER, Floor, established
from broker.listeners.tls import TlsListener
from broker.model.place import Inventory, Protocol
from broker.settings.listening import ModbusTlsListener
from broker.wiring.parts import MakeContext, listener_context, renew_context

log = logging.getLogger(__name__)
LARGEST_FRAME = 260


class ModbusListeners:
    """Opens, follows the inventory, closes. A device's own listener has the settings of the first of `modbus_tls`.

    `floor` is what all of them share. A device's listener that cannot be opened is a fault: logged, recorded, shown and
    tried again at each look at the inventory, while the others serve.
    """

    def __init__(
        self,
        settings: tuple[ModbusTlsListener, ...],
        floor: Floor,
        identity_refusals: IdentityRefusals,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._floor = floor
        self._identity_refusals = identity_refusals
        self._ledger = ledger
        self._clock = clock
        self._shared: list[tuple[TlsListener, ModbusTlsListener]] = []
        self._own: dict[str, tuple[TlsListener, str]] = {}
        self._gone: Counter[str] = Counter()
        self._followed: Inventory | None = None
        self._following = asyncio.Lock()
        self._stopped = False
        self.faults: dict[str, str] = {}

    @property
    def connections(self) -> int:
        """Connections of all that are open."""
        return sum(listener.connections for listener in self._listeners())

    @property
    def refusals(self) -> Mapping[str, int]:
        """Refused connections by cause, those of listeners that are closed included."""
        return sum((listener.refusals for listener in self._listeners()), self._gone)

    async def open(self, inventory: Inventory) -> tuple[str, ...]:
        """Open all; the addresses of those of the settings. Raises OSError or ConfigError for these only."""
        addresses = []
        for settings in self._settings:
            listener = self._listener(settings, "", inventory)
            self._shared.append((listener, settings))
            host, port = await listener.start(settings.address, settings.port)
            addresses.append(f"{host}:{port}")
        await self.follow(inventory)
        return tuple(addresses)

    async def follow(self, inventory: Inventory) -> None:
        """Open, close and move the devices' own listeners as this inventory says."""
        async with self._following:
            if self._stopped or not self._settings or (inventory is self._followed and not self.faults):
                return
            wanted = {d.key: d.listen for d in inventory.devices if d.listen and d.protocol is Protocol.MODBUS}
            # All that go make room before any that come: two devices may change places.
            for key, (_, address) in tuple(self._own.items()):
                if wanted.get(key) != address:
                    await self._close_own(key)
            faults = {key: await self._open_own(key, wanted[key], inventory) for key in wanted if key not in self._own}
            self._report({key: fault for key, fault in faults.items() if fault})
            self._followed = inventory

    def renew(self, inventory: Inventory) -> None:
        """Take new certificates and anchors into the handshakes to come."""
        for listener, settings in self._shared:
            renew_context(listener, self._context(settings), inventory)
        for listener, _ in self._own.values():
            renew_context(listener, self._context(self._settings[0]), inventory)

    async def stop(self) -> None:
        """Accept nobody any more."""
        self._stopped = True
        async with self._following:
            for listener in self._listeners():
                await listener.stop()

    def close_all(self) -> None:
        """Close what is still connected."""
        for listener in self._listeners():
            listener.close_all()

    def _listeners(self) -> Iterator[TlsListener]:
        yield from (listener for listener, _ in self._shared)
        yield from (listener for listener, _ in self._own.values())

    async def _open_own(self, key: str, address: str, inventory: Inventory) -> str:
        """Why the listener of a device cannot be opened; "" if it is open."""
        host, _, port = address.rpartition(":")
        try:
            listener = self._listener(self._settings[0], key, inventory)
            await listener.start(host.strip("[]"), int(port))
        except (OSError, OverflowError, ConfigError) as error:
            return f"the listener {address} of {key} cannot be opened: {_why(error)}"
        self._own[key] = (listener, address)
        log.info("%s has its own listener at %s", key, address)
        return ""

    async def _close_own(self, key: str) -> None:
        """The sessions have ended before, with the true reason; what is left has none."""
        listener, address = self._own.pop(key)
        await listener.stop()
        listener.close_all()
        self._gone += listener.refusals
        log.info("the listener %s of %s is closed", address, key)

    def _report(self, faults: dict[str, str]) -> None:
        news = [fault for key, fault in faults.items() if self.faults.get(key) != fault]
        self.faults = faults
        for fault in news:
            log.error("%s; it is tried again", fault)
        if not news:
            return
        try:
            self._ledger.append(records.reload_refused(self._clock.now(), what="listeners", problems=news))
        except LedgerUnavailableError:
            log.error("listeners that cannot be opened were not recorded: the ledger is closed")

    def _listener(self, settings: ModbusTlsListener, own_device: str, inventory: Inventory) -> TlsListener:
        limits = settings.limits
        floor = dataclasses.replace(
            self._floor,
            own_device=own_device,
            unit_ids=dict(settings.unit_ids),
            backlog_octets=limits.max_pipelined * LARGEST_FRAME,
            idle_seconds=limits.idle_seconds,
        )
        return TlsListener(
            self._context(settings)(inventory),
            established=partial(established, floor),
            refused=lambda peer, code, detail: self._identity_refusals.count(LISTENER, peer, code),
            handshake_seconds=limits.handshake_seconds,
            max_connections=limits.max_connections,
            max_connections_per_peer=limits.max_connections_per_peer,
            write_high_water=limits.write_buffer_octets,
            idle_seconds=limits.idle_seconds,
            examine=self._examine,
        )

    def _context(self, settings: ModbusTlsListener) -> MakeContext:
        return partial(listener_context, settings, "required")

    def _examine(self, leaf: bytes, intermediates: tuple[bytes, ...]) -> None:
        self._floor.authenticator.certificate_subject(leaf, intermediates)


def _why(error: OSError | OverflowError | ConfigError) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
