"""Where an operation goes: site, segment, device and point, and the inventory that holds them all."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from broker.model.schedule import Freeze, Scope, Window
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay, BacnetScWay, Way, virtual_mac


class Table(StrEnum):
    """The four tables of the Modbus data model (Application Protocol v1.1b3, 4.3)."""

    COIL = "coil"
    DISCRETE_INPUT = "discrete-input"
    INPUT_REGISTER = "input-register"
    HOLDING_REGISTER = "holding-register"


class ValueType(StrEnum):
    """How the octets of a Modbus point are read; widths in registers are 1, 2 or 4, `string` is as long as its
    count.
    """

    BOOL = "bool"
    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    UINT64 = "uint64"
    INT64 = "int64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BIT = "bit"
    STRING = "string"


class Order(StrEnum):
    """Order of words in a value, or of octets in a word."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True, slots=True)
class ModbusAddress:
    """A Modbus datum: `start` is the zero-based protocol address, `count` its width in coils or registers.

    engineering value = raw * scale + offset. `bit` (0 = least significant) only with `ValueType.BIT`.
    """

    table: Table
    start: int
    count: int
    value_type: ValueType
    word_order: Order = Order.BIG
    byte_order: Order = Order.BIG
    bit: int | None = None
    scale: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class BacnetAddress:
    """A BACnet property: object type in ASHRAE's hyphenated words (`analog-value`), instance, property, array index.

    `priority_lowest`/`priority_highest` bound the write priority by number (10..16 means 10 <= priority <= 16);
    both None: the property is not commandable.
    """

    object_type: str
    instance: int
    property: str = "present-value"
    index: int | None = None
    priority_lowest: int | None = None
    priority_highest: int | None = None


class Confidential(StrEnum):
    """Why values of a point enter the ledger as commitments that can be erased, never in clear."""

    SECRET = "secret"
    PERSONAL = "personal"


class OnLeave(StrEnum):
    """What becomes of a value that somebody wrote when that one's access ends: it stays, the value before it is put
    back, or the BACnet priority is given back.
    """

    KEEP = "keep"
    RESTORE = "restore"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Point:
    """A named datum of a device; `action` is the class of a write to it, None if it is read-only."""

    id: str
    address: ModbusAddress | BacnetAddress
    action: Action | None = None
    engineering_unit: str = ""
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    allowed: tuple[str, ...] = ()
    description: str = ""
    confidential: Confidential | None = None
    on_leave: OnLeave = OnLeave.KEEP


class Protocol(StrEnum):
    """What a device speaks."""

    MODBUS = "modbus"
    BACNET = "bacnet"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a device or endpoint bears; times in seconds, 0 operations per second means unlimited."""

    connections: int = 1
    queue: int = 64
    operations_per_second: float = 0.0
    gap_seconds: float = 0.0
    idle_seconds: float = 10.0
    connect_timeout_seconds: float = 3.0
    response_timeout_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class EndpointBudget:
    """What a place bears in all, whoever is behind it; `at` is its `place_name`.

    With a `network`, what that network behind the router at `at` bears, or behind routers at that BACnet/SC hub: there
    `connections` are requests outstanding. Queues and response timeouts belong to the devices.
    """

    at: str
    budget: Budget
    network: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A zone of IEC 62443; the broker is its conduit."""

    id: str
    site: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Bbmd:
    """A BBMD of OT at which the broker registers as a foreign device, each time for so long (J.5.2).

    `segment` is the one it is in, if the inventory says so.
    """

    host: str
    port: int
    ttl_seconds: int
    segment: str = ""


@dataclass(frozen=True, slots=True)
class BacnetNetwork:
    """The network number under which BACnet tools see a site: to them the broker is a router with this behind it.

    At its `bbmds` the broker hears what devices of the site broadcast; none of it goes on. `audit_log` is the device of
    the site that is told who did what (empty: none is). `ask_devices`: what a device's I-Am has to say and the
    inventory leaves out is read from it.
    """

    site: str
    number: int
    bbmds: tuple[Bbmd, ...] = ()
    audit_log: str = ""
    ask_devices: bool = False


@dataclass(frozen=True, slots=True)
class BacnetFace:
    """What BACnet tools are told of a device: its address on the site's network, and what I-Am and I-Have say.

    Empty `address`: made from the device instance. `vendor_identifier` None, `name` empty: to be asked of the device.
    """

    address: bytes = b""
    vendor_identifier: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One controller. `unit_id` is what callers use; `upstream_unit_id` is what goes to the device.

    `listen` is an own listener address for this device ("host:port"); `sni` the TLS name that selects it.
    """

    site: str
    id: str
    segment: str
    protocol: Protocol
    way: Way
    points: tuple[Point, ...] = ()
    unit_id: int = 1
    upstream_unit_id: int = 1
    sni: str = ""
    listen: str = ""
    budget: Budget = field(default_factory=Budget)
    labels: tuple[tuple[str, str], ...] = ()
    criticality: str = "low"
    description: str = ""
    bacnet: BacnetFace = BacnetFace()

    @property
    def key(self) -> str:
        """`site/device`, unique in the inventory."""
        return f"{self.site}/{self.id}"

    @property
    def bacnet_address(self) -> bytes:
        """The MAC under which BACnet tools reach it on the site's network; empty if it does not speak BACnet."""
        if self.bacnet.address or not isinstance(self.way, BacnetIpWay | BacnetScWay):
            return self.bacnet.address
        return virtual_mac(self.way.instance)

    @property
    def confidential(self) -> bool:
        """Whether any of its points is."""
        return any(point.confidential is not None for point in self.points)


@dataclass(frozen=True, slots=True)
class Organisation:
    """Who subjects belong to. `anchors` are PEM certificates; `namespaces` are the SAN patterns they may name.

    A namespace is `spiffe://domain/path/*`, `*@mail.domain`, or `*.dns.domain`; contract times are epoch seconds.
    `roles` maps a subject id to its roles. `crl_required`: without a fresh CRL of every CA nobody is let in. `sponsor`
    is the subject of the owner who answers for it; `allowed` is where its subjects may ask for access (None: nowhere).
    """

    id: str
    anchors: tuple[str, ...]
    namespaces: tuple[str, ...]
    owner: bool = False
    crls: tuple[bytes, ...] = ()
    crl_required: bool = False
    max_path_length: int = 1
    contract_from: float | None = None
    contract_until: float | None = None
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sponsor: str = ""
    allowed: Scope | None = None

    def may_ask_for(self, device: Device) -> bool:
        """Whether its subjects may ask for access to a device; the owner's may anywhere."""
        covered = self.allowed is not None and self.allowed.covers(device.site, device.key, device.labels)
        return self.owner or covered


class GrantKind(StrEnum):
    """Where a grant comes from: the inventory, an approved access request, or broken glass."""

    STANDING = "standing"
    REQUEST = "request"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """One exact write: `device` is a `site/device` key, `value` as in `Touch`, `priority` as in `Operation.acts_at`."""

    device: str
    point: str
    value: str
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Which subjects may do which actions on which points, until when (epoch seconds).

    Empty `points` means every point of the device. `windows`: the grant holds only while one of these is open; a grant
    without windows still needs *some* open window for everything but `view` (policy). With a `plan` nothing else is
    written; `single_use`: each planned write, or without a plan one write, and then nothing is written any more.
    `supervised`: only while a supervisor watches. `extends` is the grant that it prolongs, whose sessions go on.
    """

    id: str
    scope: Scope
    actions: tuple[Action, ...]
    subjects: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    not_before: float | None = None
    not_after: float | None = None
    description: str = ""
    kind: GrantKind = GrantKind.STANDING
    plan: tuple[PlannedWrite, ...] = ()
    single_use: bool = False
    supervised: bool = False
    extends: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that the folder of YAML says, frozen; `revision` is the SHA-256 of its canonical form, base64url."""

    revision: str
    sites: tuple[str, ...]
    segments: tuple[Segment, ...]
    devices: tuple[Device, ...]
    organisations: tuple[Organisation, ...]
    windows: tuple[Window, ...]
    freezes: tuple[Freeze, ...]
    grants: tuple[Grant, ...]
    endpoints: tuple[EndpointBudget, ...] = ()
    bacnet_networks: tuple[BacnetNetwork, ...] = ()

    def bacnet_network(self, site: str) -> int | None:
        """The network number under which BACnet tools see the site; None: they cannot reach it."""
        return next((network.number for network in self.bacnet_networks if network.site == site), None)

    def device(self, site: str, device: str) -> Device | None:
        """The device of that name, if there is one."""
        return next((d for d in self.devices if d.site == site and d.id == device), None)
