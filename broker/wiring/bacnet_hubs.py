"""The BACnet/SC hubs of the settings."""

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from broker.listeners.authentication import Authenticator
from broker.listeners.bacnet_sc import LISTENER, Floor, established
from broker.listeners.bacnet_stream import BacnetStream
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.gate import Gate
from broker.listeners.identity_refusals import IdentityRefusals
from broker.listeners.tls import TlsListener
from broker.model.place import Inventory
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason
from broker.settings.broker_file import Settings
from broker.settings.listening import BacnetScListener
from broker.wire.bacnet.sc_spoke import Hub
from broker.wiring.parts import MakeContext, listener_context, renew_context, sc_names

SPARE_SECONDS = 60.0


class BacnetHubs:
    """Opens, renews, closes."""

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator,
        gate: Gate,
        frame_refusals: FrameRefusals,
        identity_refusals: IdentityRefusals,
    ) -> None:
        self._whole = settings
        self._settings = settings.bacnet_sc
        self._authenticator = authenticator
        self._gate = gate
        self._frame_refusals = frame_refusals
        self._identity_refusals = identity_refusals
        self._listeners: list[tuple[TlsListener, BacnetScListener]] = []

    @property
    def connections(self) -> int:
        """Connections of all that are open."""
        return sum(listener.connections for listener, _ in self._listeners)

    @property
    def refusals(self) -> Mapping[str, int]:
        """Refused connections by cause."""
        return sum((listener.refusals for listener, _ in self._listeners), Counter())

    async def open(self, inventory: Inventory) -> tuple[str, ...]:
        """Open all; their addresses. Raises OSError or ConfigError."""
        addresses = []
        for settings in self._settings:
            listener = self._listener(settings, inventory)
            self._listeners.append((listener, settings))
            host, port = await listener.start(settings.address, settings.port)
            addresses.append(f"{host}:{port}")
        return tuple(addresses)

    def renew(self, inventory: Inventory) -> None:
        """Take new certificates and anchors into the handshakes to come."""
        for listener, settings in self._listeners:
            renew_context(listener, self._context(settings), inventory)

    async def stop(self) -> None:
        """Accept nobody any more."""
        for listener, _ in self._listeners:
            await listener.stop()

    def close_all(self) -> None:
        """Close what is still connected."""
        for listener, _ in self._listeners:
            listener.close_all()

    def _listener(self, settings: BacnetScListener, inventory: Inventory) -> TlsListener:
        limits = settings.limits
        floor = Floor(
            self._authenticator,
            self._open_stream,
            self._frame_refusals,
            lambda peer, code: self._identity_refusals.count(LISTENER, peer, code),
            lambda name: settings.sites.get((name or "").rstrip("."), settings.site),
            self._hub(settings),
            limits.handshake_seconds,
        )
        return TlsListener(
            self._context(settings)(inventory),
            established=partial(established, floor),
            refused=lambda peer, code, detail: self._identity_refusals.count(LISTENER, peer, code),
            handshake_seconds=limits.handshake_seconds,
            max_connections=limits.max_connections,
            max_connections_per_peer=limits.max_connections_per_peer,
            write_high_water=limits.write_buffer_octets,
            idle_seconds=2 * limits.heartbeat_seconds + limits.connect_seconds + SPARE_SECONDS,
            examine=self._examine,
        )

    def _open_stream(
        self,
        subject: Subject,
        site: str,
        peer: str,
        write: Callable[[bytes, bytes], None],
        close: Callable[[EndReason], None],
    ) -> BacnetStream:
        """A spoke has no ear for words: what it is denied it learns from the replies, and why is in the ledger."""
        return self._gate.bacnet(
            subject,
            site,
            LISTENER,
            peer,
            write=write,
            close=close,
            denied=lambda device, refused, what: None,
            failed=lambda device, failed: None,
            ended=lambda device, reason: None,
            warned=lambda device, when, why: None,
        )

    def _hub(self, settings: BacnetScListener) -> Hub:
        uuid, vmac = sc_names(self._whole, f"bacnet_sc {settings.site} {settings.address}")
        limits = settings.limits
        return Hub(
            vmac,
            uuid,
            settings.direct_uris,
            connect_seconds=limits.connect_seconds,
            heartbeat_seconds=limits.heartbeat_seconds,
        )

    def _context(self, settings: BacnetScListener) -> MakeContext:
        return partial(listener_context, settings, "required", oldest=ssl.TLSVersion.TLSv1_3)  # AB.7.4

    def _examine(self, leaf: bytes, intermediates: tuple[bytes, ...]) -> None:
        self._authenticator.certificate_subject(leaf, intermediates)
