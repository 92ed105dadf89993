"""The HTTPS listener with the API behind it."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

from broker.api.application import Api
from broker.api.call import Limits
from broker.listeners.authentication import Authenticator
from broker.listeners.gate import Gate
from broker.listeners.https import HttpsListener
from broker.listeners.identity_refusals import IdentityRefusals
from broker.listeners.tls import TlsListener
from broker.listeners.tls_transport import protocol_established
from broker.listeners.tunnel import TunnelListener
from broker.model.place import Inventory
from broker.settings.listening import HttpsListener as HttpsSettings
from broker.wiring.logouts import LogoutKeeper
from broker.wiring.parts import listener_context, renew_context

LISTENER = "https"
# aiohttp waits so long twice, and never for what it does not take any more, such as a body that follows its head: all
# callers must be cut within a second of the stop.
CLOSE_SECONDS = 0.3


class HttpsApi:
    """Opens and closes; without settings for it there is none, and everything here does nothing."""

    def __init__(
        self,
        settings: HttpsSettings | None,
        gate: Gate,
        authenticator: Authenticator,
        tunnels: TunnelListener,
        logouts: LogoutKeeper,
        identity_refusals: IdentityRefusals,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._authenticator = authenticator
        self._tunnels = tunnels
        self._logouts = logouts
        self._identity_refusals = identity_refusals
        self._api: Api | None = None
        self._https: HttpsListener | None = None
        self._listener: TlsListener | None = None

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return self._listener.connections if self._listener is not None else 0

    @property
    def refusals(self) -> Mapping[str, int]:
        """Refused connections by cause."""
        return self._listener.refusals if self._listener is not None else Counter()

    @property
    def answers(self) -> Mapping[tuple[str, int], int]:
        """Answers of the API by route and status."""
        return self._api.answers if self._api is not None else {}

    async def open(self, inventory: Inventory) -> str:
        """Listen; the address, "" if the settings name none. Raises OSError or ConfigError."""
        settings = self._settings
        if settings is None:
            return ""
        self._api = self._new_api(settings)
        self._https = HttpsListener(
            self._api.handle, self._api.refuse, self._gate.leave, settings.limits.keep_alive_seconds
        )
        self._listener = self._new_listener(settings, self._https, inventory)
        host, port = await self._listener.start(settings.address, settings.port)
        return f"{host}:{port}"

    def renew(self, inventory: Inventory) -> None:
        """Take new certificates and anchors into the handshakes to come."""
        if self._listener is not None and self._settings is not None:
            renew_context(self._listener, partial(listener_context, self._settings, "optional"), inventory)

    async def stop(self) -> None:
        """Accept nobody any more."""
        if self._listener is not None:
            await self._listener.stop()

    async def quiet(self, seconds: float) -> None:
        """Wait so long for calls under way."""
        if self._api is not None:
            await self._api.quiet(seconds)

    async def close(self) -> None:
        """End what is kept alive."""
        if self._https is not None:
            await self._https.close(CLOSE_SECONDS)

    def close_all(self) -> None:
        """Close what is still connected."""
        if self._listener is not None:
            self._listener.close_all()

    def _new_api(self, settings: HttpsSettings) -> Api:
        limits = settings.limits
        return Api(
            self._gate,
            self._authenticator,
            self._tunnels,
            self._logouts,
            identity_refused=self._identity_refusals.count,
            requirement=settings.requirement,
            limits=Limits(body_octets=limits.max_body_octets, call_seconds=limits.request_seconds),
        )

    def _new_listener(self, settings: HttpsSettings, https: HttpsListener, inventory: Inventory) -> TlsListener:
        limits = settings.limits
        return TlsListener(
            listener_context(settings, "optional", inventory),
            established=protocol_established(https.protocol),
            refused=lambda peer, code, detail: self._identity_refusals.count(LISTENER, peer, code),
            handshake_seconds=limits.handshake_seconds,
            max_connections=limits.max_connections + limits.max_tunnels,
            max_connections_per_peer=limits.max_connections_per_peer,
            idle_seconds=limits.tunnel_idle_seconds,
        )
