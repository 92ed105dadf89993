"""A running broker: built from settings, started in order, stopped in order."""

import asyncio
import importlib.metadata
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from broker.adapters.clock import SystemClock, random_id
from broker.adapters.jwks import KeyCache
from broker.adapters.ledger_files import FileLedger, State
from broker.adapters.opa import OpaPolicyEngine
from broker.adapters.opa_connection import OpaServer
from broker.adapters.rego_embedded import EmbeddedPolicyEngine
from broker.adapters.upstreams import Upstreams
from broker.calendar.zones import tzdata_version
from broker.engine.in_force import InForce
from broker.errors import BrokerError, ConfigError, LedgerUnavailableError, UnavailableError
from broker.identity.certificate import Trust
from broker.ledger import records
from broker.listeners.authentication import Authenticator
from broker.listeners.decision_desk import DecisionDesk
from broker.listeners.driver import Driver
from broker.listeners.frame_refusals import FrameRefusals
from broker.listeners.gate import Gate, Parts
from broker.listeners.identity_refusals import IdentityRefusals
from broker.listeners.interpreters import Interpreters
from broker.listeners.modbus_tls import LISTENER as MODBUS_TLS
from broker.listeners.modbus_tls import Floor, established
from broker.listeners.session_register import SessionRegister
from broker.listeners.tls import TlsConnection, TlsListener, server_context
from broker.listeners.watch import Watch
from broker.model.place import Device, Inventory, Protocol
from broker.model.subject import Subject
from broker.model.vocabulary import EndReason
from broker.settings.broker_file import Settings
from broker.settings.listening import ModbusTlsListener
from broker.wiring.reload import Reload, Sources

log = logging.getLogger(__name__)
SWITCH_INTERVAL_SECONDS = 0.0005
DRAIN_SECONDS = 5.0
STOPPING = "the broker stops"
LEDGER_CLOSED = "the ledger is closed"
_REVOKED = {"certificate_revoked": EndReason.CERTIFICATE_REVOKED, "crl_stale": EndReason.CRL_STALE}


@dataclass(slots=True)
class Addresses:
    """Where the broker can be reached, `host:port`; known once it has started."""

    modbus_tls: tuple[str, ...] = ()
    https: str = ""
    ops: str = ""


class Broker:
    """One broker process. `start` raises BrokerError if something that must be there is not."""

    def __init__(self, settings: Settings, sources: Sources, inventory: Inventory) -> None:
        self.settings = settings
        self.addresses = Addresses()
        self._sources = sources
        self.clock = SystemClock()
        self.ledger = FileLedger(
            Path(settings.ledger_folder),
            settings.ledger.origin,
            _ledger_key(Path(settings.ledger.key_file)),
            self.clock.now,
            durability=settings.ledger.durability,
            segment_octets=settings.ledger.segment_octets,
            on_state=self._ledger_state,
            on_checkpoint=self._checkpoint,
        )
        self.policy = _policy_engine(settings)
        self.desk = DecisionDesk(self.clock, self.ledger, self.policy, InForce(inventory), random_id)
        self.keys = KeyCache(settings.trust_issuers(), self.clock)
        self.authenticator = Authenticator(
            Trust(inventory.organisations), settings.trust_issuers(), self.keys, self.clock
        )
        self.register = SessionRegister(self.clock, self.ledger, self.desk, random_id, self._doubt)
        self.upstreams = Upstreams(inventory.devices, self.clock)
        self.driver = Driver(self.clock, self.ledger, self.desk, self.upstreams.upstream, self.register.end)
        self.identity_refusals = IdentityRefusals(self.clock, self.ledger)
        self.frame_refusals = FrameRefusals(self.clock, self.ledger)
        self.interpreters = Interpreters()
        self.watch = Watch(self.clock, self.ledger, self.desk, self.register, self.identity_refusals)
        self.reload = Reload(
            self.clock,
            self.ledger,
            self.desk,
            self.register,
            self.authenticator,
            self.upstreams,
            self.policy,
            sources,
            review_gains=settings.reload.gains == "review",
            invalid_stop_seconds=settings.reload.invalid_stop_seconds,
            trust_changed=self._trust_changed,
        )
        self._listeners: list[tuple[TlsListener, Callable[[Inventory], object]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Ledger first (orphan intents get their outcome before anybody can connect), listeners last."""
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        await self.ledger.open()
        await self.keys.start()
        await self._publish_policy()
        self._record_start()
        await self.reload.remember()
        await self._open_listeners()
        self.watch.start()
        self._tasks.append(asyncio.create_task(self.reload.run(self.settings.reload.poll_seconds)))

    async def stop(self, reason: str = "stopped") -> None:
        """Accept nobody, end all sessions with the true reason, let operations in flight finish, close the ledger."""
        self.register.shut_for.add(STOPPING)
        for listener, _ in self._listeners:
            await listener.stop()
        self.register.end_all(EndReason.BROKER_STOPPED)
        await self.driver.quiet(DRAIN_SECONDS)
        for listener, _ in self._listeners:
            listener.close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.watch.stop()
        await self.upstreams.close()
        await self.driver.quiet(DRAIN_SECONDS)
        await self.policy.close()
        await self.keys.close()
        try:
            self.ledger.append(records.broker_stopped(self.clock.now(), reason=reason))
        except LedgerUnavailableError:
            log.error("the stop was not recorded: the ledger is closed")
        await self.ledger.close()

    def readiness(self) -> dict[str, tuple[bool, str]]:
        """Parts of readiness: good or not, and in what state."""
        invalid = ", ".join(self.reload.invalid)
        shut = ", ".join(sorted(self.register.shut_for))
        return {
            "ledger": (self.ledger.state is State.OPEN, str(self.ledger.state)),
            "policy": (bool(self.policy.revision), self.policy.revision or "no policy is published"),
            "files": (not invalid, f"invalid: {invalid}" if invalid else "valid"),
            "sessions": (not shut, shut or "accepted"),
        }

    async def _publish_policy(self) -> None:
        files = await asyncio.to_thread(self._sources.policies)
        await asyncio.to_thread(self._sources.archive_policies, files)
        try:
            await self.policy.publish(files.modules, files.data, files.revision)
        except UnavailableError as error:
            log.error("the policy is not published yet, everything is denied until it is: %s", error)

    def _record_start(self) -> None:
        revisions = {
            "inventory": self.desk.in_force.inventory.revision,
            "policy": self.policy.revision,
            "tzdata": tzdata_version(),
        }
        version = importlib.metadata.version("otbroker")
        self.ledger.append(records.broker_started(self.clock.now(), version=version, revisions=revisions))

    async def _open_listeners(self) -> None:
        addresses = []
        for settings in self.settings.modbus_tls:
            addresses.append(await self._open_modbus(settings, "", settings.address, settings.port))
        if self.settings.modbus_tls:
            for device in self.desk.in_force.inventory.devices:
                if device.listen and device.protocol is Protocol.MODBUS:
                    host, _, port = device.listen.rpartition(":")
                    await self._open_modbus(self.settings.modbus_tls[0], device.key, host.strip("[]"), int(port))
        self.addresses.modbus_tls = tuple(addresses)

    async def _open_modbus(self, settings: ModbusTlsListener, own_device: str, host: str, port: int) -> str:
        floor = Floor(
            self.driver,
            self.register,
            self.authenticator,
            self.interpreters,
            self.frame_refusals,
            lambda: self.desk.in_force,
            own_device=own_device,
            unit_ids=dict(settings.unit_ids),
            idle_seconds=settings.limits.idle_seconds,
        )
        limits = settings.limits

        def context(inventory: Inventory) -> object:
            return server_context(
                Path(settings.certificate_file),
                Path(settings.key_file),
                client_anchors_pem=_anchors(inventory),
                client_certificate="required",
            )

        listener = TlsListener(
            context(self.desk.in_force.inventory),  # type: ignore[arg-type]
            established=lambda connection: established(floor, connection),
            refused=lambda peer, code, detail: self.identity_refusals.count(MODBUS_TLS, peer, code),
            handshake_seconds=limits.handshake_seconds,
            max_connections=limits.max_connections,
            max_connections_per_peer=limits.max_connections_per_peer,
            write_high_water=limits.write_buffer_octets,
            idle_seconds=limits.idle_seconds,
            examine=self._examine,
        )
        self._listeners.append((listener, context))
        bound_host, bound_port = await listener.start(host, port)
        return f"{bound_host}:{bound_port}"

    def _examine(self, leaf: bytes, intermediates: tuple[bytes, ...]) -> None:
        self.authenticator.certificate_subject(leaf, intermediates)

    def _doubt(self, subject: Subject, now: float) -> EndReason | None:
        code = self.authenticator.trust.revoked_or_stale(subject, now)
        return None if code is None else _REVOKED.get(code, EndReason.INVENTORY_CHANGED)

    def _trust_changed(self, inventory: Inventory) -> None:
        for listener, context in self._listeners:
            listener.context = context(inventory)  # type: ignore[assignment]

    def _ledger_state(self, state: State, detail: str) -> None:
        log.warning("ledger %s: %s", state, detail)
        if state is State.CLOSED:
            self.register.shut_for.add(LEDGER_CLOSED)
            self.register.end_all(EndReason.LEDGER_CLOSED)

    def _checkpoint(self, note: str) -> None:
        """Hand a new checkpoint to the exports, which never block."""


def _anchors(inventory: Inventory) -> list[str]:
    return [anchor for organisation in inventory.organisations for anchor in organisation.anchors]


def _ledger_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError("ledger_key", "The ledger's key cannot be used.", f"{path}: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("ledger_key", "The ledger's key must be an Ed25519 key.", str(path))
    return key


def _policy_engine(settings: Settings) -> EmbeddedPolicyEngine | OpaPolicyEngine:
    policy = settings.policy
    if policy.opa is None:
        return EmbeddedPolicyEngine(budget_seconds=policy.embedded_deadline_milliseconds / 1000)
    server = OpaServer(
        policy.opa.url,
        ca_file=policy.opa.ca_file,
        certificate_file=policy.opa.certificate_file,
        key_file=policy.opa.key_file,
        token_file=policy.opa.token_file,
    )
    return OpaPolicyEngine(server, deadline_seconds=policy.opa_deadline_milliseconds / 1000)

