"""Parts of a broker that are made from its settings."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import NAMESPACE_URL, uuid5

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy import make_url

from broker.adapters.bacnet_port import OwnPlace
from broker.adapters.bacnet_sc_port import ScIdentity
from broker.adapters.ledger_files import FileLedger, State
from broker.adapters.opa import OpaPolicyEngine
from broker.adapters.opa_connection import OpaServer
from broker.adapters.rego_embedded import EmbeddedPolicyEngine
from broker.adapters.state_database import StatePlace, sqlite_place
from broker.adapters.upstreams import Upstreams
from broker.engine.ports import Clock
from broker.errors import ConfigError
from broker.ledger.notes import verifier_of
from broker.listeners.gate import Gate
from broker.listeners.identity_refusals import IdentityRefusals
from broker.listeners.tls import TlsListener
from broker.listeners.tls_context import ServerContext, server_context
from broker.listeners.tunnel import Prove, TunnelListener
from broker.model.place import Inventory
from broker.settings.broker_file import BacnetIpPlace, LedgerSection, Settings
from broker.settings.listening import BacnetScListener, HttpsListener, ModbusTlsListener
from broker.wire.bacnet.sc_message import VMAC_OCTETS
from broker.wire.bacnet.sc_node import NodeTimes

log = logging.getLogger(__name__)
MakeContext = Callable[[Inventory], ServerContext]


@dataclass(slots=True)
class Addresses:
    """Where the broker can be reached, `host:port`; known once it has started."""

    modbus_tls: tuple[str, ...] = ()
    bacnet_sc: tuple[str, ...] = ()
    https: str = ""
    ops: str = ""


def tunnels(gate: Gate, prove: Prove, refusals: IdentityRefusals, settings: Settings) -> TunnelListener:
    """The tunnels, with the limits of the HTTPS listener."""
    if settings.https is None:
        return TunnelListener(gate, prove, refusals.count)
    limits = settings.https.limits
    return TunnelListener(
        gate,
        prove,
        refusals.count,
        max_tunnels=limits.max_tunnels,
        idle_seconds=limits.tunnel_idle_seconds,
    )


def listener_context(
    settings: ModbusTlsListener | BacnetScListener | HttpsListener,
    client_certificate: Literal["required", "optional"],
    inventory: Inventory,
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ServerContext:
    """A listener's TLS context; OpenSSL's store is the union of all organisations' anchors. Raises ConfigError."""
    return server_context(
        Path(settings.certificate_file),
        Path(settings.key_file),
        client_anchors_pem=[anchor for organisation in inventory.organisations for anchor in organisation.anchors],
        client_certificate=client_certificate,
        oldest=oldest,
    )


def renew_context(listener: TlsListener, context: MakeContext, inventory: Inventory) -> None:
    """New anchors and certificates for the handshakes to come.

    Without them (a broken key file) the old ones stay: OpenSSL only lets callers through to our own check, which has
    changed already.
    """
    try:
        listener.context = context(inventory)
    except ConfigError as error:
        log.error("a listener goes on with its old certificates: %s", error)


def ledger_key(settings: LedgerSection) -> Ed25519PrivateKey:
    """The key that signs checkpoints; the public key, if given, must be its own. Raises ConfigError."""
    path = Path(settings.key_file)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError("ledger_key", "The ledger's key cannot be used.", f"{path}: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("ledger_key", "The ledger's key must be an Ed25519 key.", str(path))
    vkey = verifier_of(settings.origin, key).vkey
    if settings.public_key_file and Path(settings.public_key_file).read_text().strip() != vkey:
        detail = f"{settings.public_key_file} is not the public key of {path} for the origin {settings.origin}: {vkey}"
        raise ConfigError("ledger_key", "The ledger's two keys do not belong together.", detail)
    return key


def file_ledger(
    settings: Settings,
    clock: Clock,
    on_state: Callable[[State, str], None],
    on_checkpoint: Callable[[str], None],
    on_record: Callable[[int, bytes], None],
) -> FileLedger:
    """The ledger; records are told only where somebody is notified of them. Raises ConfigError."""
    ledger = settings.ledger
    return FileLedger(
        Path(settings.ledger_folder),
        ledger.origin,
        ledger_key(ledger),
        clock.now,
        durability=ledger.durability,
        segment_octets=ledger.segment_octets,
        on_state=on_state,
        on_checkpoint=on_checkpoint,
        on_record=on_record if settings.notifications else None,
    )


def command_places(settings: Settings) -> list[Path]:
    """The folders that commands on this host act on."""
    return [Path(place) for place in (settings.state_dir, settings.ledger_folder, *settings.host_journals)]


def sc_names(settings: Settings, place: str) -> tuple[bytes, bytes]:
    """The device UUID and the VMAC that this broker has at a place: they stay (AB.1.5.3), since they follow from the
    place and from the name of the ledger, which no other broker has. A Random-48 VMAC has 2 in the lower half of its
    first octet (AB.1.5.2).
    """
    uuid = uuid5(NAMESPACE_URL, f"{settings.ledger.origin} {place}").bytes
    return uuid, bytes((uuid[0] & 0xF0 | 0x02, *uuid[1:VMAC_OCTETS]))


def upstreams(settings: Settings, inventory: Inventory, clock: Clock) -> Upstreams:
    """The ways to all devices. Raises ConfigError."""
    node, identity = settings.bacnet_sc_node, None
    if node is not None:
        files = Path(node.certificate_file), Path(node.key_file), Path(node.ca_file)
        times = NodeTimes(heartbeat_seconds=node.heartbeat_seconds, reconnect_seconds=node.reconnect_seconds)
        identity = ScIdentity(*sc_names(settings, "bacnet_sc_node"), *files, times)
    segments = {each.segment: _own_place(each) for each in settings.bacnet_ip.segments}
    return Upstreams(
        inventory.devices,
        clock,
        _own_place(settings.bacnet_ip),
        segments=segments,
        endpoints=inventory.endpoints,
        sc_identity=identity,
    )


def _own_place(settings: BacnetIpPlace) -> OwnPlace:
    return OwnPlace(settings.address, settings.port, settings.interface)


def state_place(settings: Settings) -> StatePlace:
    """Where the state is kept. Raises ConfigError."""
    state = settings.state
    if not state.url:
        return sqlite_place(Path(settings.state_dir) / "broker.db")
    url = make_url(state.url).set(drivername="postgresql+asyncpg")
    try:
        if state.password_file:
            url = url.set(password=Path(state.password_file).read_text().strip())
        tls = ssl.create_default_context(cafile=state.ca_file) if state.ca_file else None
    except (OSError, ValueError) as error:
        raise ConfigError("state_place", "The access to the state cannot be used.", str(error)) from None
    return StatePlace(url, tls)


# An evaluation's time on the clock, where its worker has to share the processor, in budgets of processor time.
WALL_CLOCK_FACTOR = 5


def policy_engine(settings: Settings) -> EmbeddedPolicyEngine | OpaPolicyEngine:
    """The engine that the settings name, not yet with a policy."""
    policy = settings.policy
    if policy.opa is None:
        return embedded_engine(settings)
    server = OpaServer(
        policy.opa.url,
        ca_file=policy.opa.ca_file,
        certificate_file=policy.opa.certificate_file,
        key_file=policy.opa.key_file,
        token_file=policy.opa.token_file,
    )
    return OpaPolicyEngine(server, deadline_seconds=policy.opa_deadline_milliseconds / 1000)


def embedded_engine(settings: Settings) -> EmbeddedPolicyEngine:
    """An engine beside the broker, not yet with a policy."""
    budget = settings.policy.embedded_deadline_milliseconds / 1000
    return EmbeddedPolicyEngine(budget_seconds=budget, wait_seconds=WALL_CLOCK_FACTOR * budget)
