"""Sites, segments and devices as the inventory writes them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from broker.model.place import BacnetFace, BacnetNetwork, Bbmd, Budget, Device, EndpointBudget, Protocol, Segment
from broker.model.way import BacnetIpWay, ModbusTcpWay, RtuOverTcpWay, Segmentation, SerialWay, Way
from broker.settings.bacnet_fields import Instance, Mac, MaxApdu, NetworkNumber, VirtualMac
from broker.settings.bacnet_sc_way import BacnetScEntry
from broker.settings.fields import LABEL, DnsLabel, Host, IpAddress, Port, Section, Text
from broker.settings.inventory_points import BacnetPointEntry, ModbusPointEntry

UnitId = Annotated[int, Field(ge=0, le=255)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Labels = dict[LabelKey, Annotated[str, StringConstraints(min_length=1, max_length=100)]]
TlsName = Annotated[str, StringConstraints(pattern=rf"(?i)^{LABEL}(\.{LABEL})*$", max_length=253, to_lower=True)]
ListenAddress = Annotated[str, StringConstraints(pattern=r"^([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$")]


def _place(text: str) -> str:
    return text if text.startswith(("/", "wss:")) else text.lower()


EndpointPlace = Annotated[
    str,
    StringConstraints(
        pattern=r"^(/[^\x00]{1,200}|wss://[!-~]{1,250}|(\[[0-9a-fA-F:.]+\]|[^/:\[\]\s]{1,253}):[0-9]{1,5})$"
    ),
    AfterValidator(_place),
]


def _site(raw: object) -> object:
    return {"id": raw} if isinstance(raw, str) else raw


class BbmdEntry(Section):
    """A BBMD of the site's OT networks."""

    host: IpAddress
    """Its address."""
    port: Port = 47808
    """Its UDP port."""
    ttl_seconds: Annotated[int, Field(ge=30, le=65535)] = 300
    """How long a registration lasts; it is renewed after half of that."""
    segment: DnsLabel | None = None
    """Segment it is in, where the settings give segments UDP ports of their own; otherwise the only one of the site."""

    def to_model(self) -> Bbmd:
        """The same as the rest of the broker knows it."""
        return Bbmd(self.host, self.port, self.ttl_seconds, self.segment or "")


class SiteBacnetEntry(Section):
    """How BACnet tools see a site: the broker is a router to them, with this network behind it."""

    network: NetworkNumber
    """Network number of the site, which no other network that these tools can reach has."""
    bbmds: Annotated[tuple[BbmdEntry, ...], Field(max_length=16)] = ()
    """BBMDs in OT at which the broker registers as a foreign device, to hear notifications that devices broadcast."""
    audit_log: DnsLabel | None = None
    """BACnet device of the site with an audit log, which is told who did what; without it none is."""
    ask_devices: bool = False
    """Read from devices what an I-Am says and their entry leaves out, and names that are looked for, as far as whoever
    looks may.
    """


class SiteEntry(Section):
    """A place with devices: a plant or a building."""

    id: DnsLabel
    """Name of the site."""
    bacnet: SiteBacnetEntry | None = None
    """How BACnet tools see it; without it they cannot reach it, and the API only can."""
    description: Text = ""
    """What it is, for people."""

    def networks(self) -> tuple[BacnetNetwork, ...]:
        """The network under which BACnet tools see it, if they do."""
        if self.bacnet is None:
            return ()
        bbmds = tuple(sorted((bbmd.to_model() for bbmd in self.bacnet.bbmds), key=lambda b: (b.host, b.port)))
        told, asks = self.bacnet.audit_log or "", self.bacnet.ask_devices
        return (BacnetNetwork(self.id, self.bacnet.network, bbmds, told, asks),)


class SegmentEntry(Section):
    """A zone of IEC 62443 in a site."""

    id: DnsLabel
    """Name of the segment, unique in its site."""
    site: DnsLabel
    """The site it is in."""
    description: Text = ""
    """What it is, for people."""

    def to_model(self) -> Segment:
        """The segment as the rest of the broker knows it."""
        return Segment(self.id, self.site, self.description)


class ModbusTcpEntry(Section):
    """A Modbus/TCP device or gateway."""

    host: Host
    """Address of the device or gateway."""
    port: Port = 502
    """Its TCP port."""


class RtuOverTcpEntry(Section):
    """A serial device server that carries RTU frames in TCP."""

    host: Host
    """Address of the device server."""
    port: Port
    """Its TCP port."""


class SerialEntry(Section):
    """A serial line of this machine."""

    path: Annotated[str, StringConstraints(pattern=r"^/[^\x00]{1,200}$")]
    """The line, such as `/dev/ttyS1`."""
    baud: Annotated[int, Field(ge=300, le=4_000_000)] = 19200
    """Bits per second."""
    parity: Literal["N", "E", "O"] = "N"
    """Parity: none, even or odd."""
    stop_bits: Annotated[int, Field(ge=1, le=2)] = 1
    """Stop bits."""


class BacnetIpEntry(Section):
    """A BACnet/IP device."""

    host: Host
    """Address of the device."""
    port: Port = 47808
    """Its UDP port."""
    instance: Instance
    """Instance of its device object."""
    network: NetworkNumber | None = None
    """Number of the network behind the router at `host`, if the device is behind one (MS/TP, another IP network)."""
    address: Mac | None = None
    """The device's address on that network: an MS/TP address such as 12, or octets such as 0x0c."""
    max_apdu: MaxApdu | None = None
    """Longest APDU that it takes, in octets; default is what it says itself, and 1476 until it does."""
    segmentation: Segmentation | None = None
    """Which messages in several segments it can handle; default is what it says itself, and both until it does."""

    def to_model(self) -> BacnetIpWay:
        """The way as the rest of the broker knows it."""
        return BacnetIpWay(
            host=self.host,
            port=self.port,
            instance=self.instance,
            network=self.network,
            address=bytes.fromhex(self.address or ""),
            max_apdu=self.max_apdu,
            segmentation=self.segmentation,
        )


class ModbusUpstreamEntry(Section):
    """The way to a Modbus device: exactly one of modbus_tcp, rtu_over_tcp and serial."""

    modbus_tcp: ModbusTcpEntry | None = None
    """Modbus/TCP."""
    rtu_over_tcp: RtuOverTcpEntry | None = None
    """RTU frames over TCP."""
    serial: SerialEntry | None = None
    """RTU on a serial line of this machine."""
    unit_id: UnitId | None = None
    """Unit id that goes to the device; default is the device's `unit_id`."""

    def ways(self) -> tuple[Way, ...]:
        """The ways that are given; one is right."""
        ways: list[Way] = []
        if self.modbus_tcp is not None:
            ways.append(ModbusTcpWay(self.modbus_tcp.host, self.modbus_tcp.port))
        if self.rtu_over_tcp is not None:
            ways.append(RtuOverTcpWay(self.rtu_over_tcp.host, self.rtu_over_tcp.port))
        if self.serial is not None:
            ways.append(SerialWay(**self.serial.model_dump()))
        return tuple(ways)


class BacnetUpstreamEntry(Section):
    """The way to a BACnet device: either bacnet_ip or bacnet_sc."""

    bacnet_ip: BacnetIpEntry | None = None
    """BACnet/IP."""
    bacnet_sc: BacnetScEntry | None = None
    """BACnet/SC."""

    def ways(self) -> tuple[Way, ...]:
        """The ways that are given; one is right."""
        return tuple(way.to_model() for way in (self.bacnet_ip, self.bacnet_sc) if way is not None)


class EndpointBudgetEntry(Section):
    """What a gateway or line bears in all."""

    connections: Annotated[int, Field(ge=1, le=1024)] = 1
    """Connections to it at once."""
    operations_per_second: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """Requests a second; 0 is unlimited."""
    gap_milliseconds: Annotated[float, Field(ge=0, le=60_000)] = 0.0
    """Least time between a reply and the next request."""
    idle_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """Time without a request after which a connection to it is closed."""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 3.0
    """Time for a connection to it to be made."""

    def to_model(self) -> Budget:
        """The budget as the rest of the broker knows it."""
        values = self.model_dump()
        return Budget(gap_seconds=values.pop("gap_milliseconds") / 1000, **values)


class BudgetEntry(EndpointBudgetEntry):
    """What a device bears."""

    queue: Annotated[int, Field(ge=1, le=65536)] = 64
    """Requests that may wait for it; further ones are refused at once."""
    response_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Time for its reply."""


class EndpointEntry(Section):
    """A place where several devices are reached: a gateway, a device server, a line, or a network behind a router."""

    at: EndpointPlace
    """`host:port` as in the devices' `upstream`, an IPv6 address in brackets; or the path of a serial line; with
    `network` also the URI of a BACnet/SC hub.
    """
    network: NetworkNumber | None = None
    """The network behind a BACnet router there that the budget is of; `connections` are then requests outstanding."""
    budget: EndpointBudgetEntry
    """What it bears in all; each device behind it is held to its own budget as well."""
    description: Text = ""
    """What it is, for people."""

    def to_model(self) -> EndpointBudget:
        """The endpoint's budget as the rest of the broker knows it."""
        return EndpointBudget(self.at, self.budget.to_model(), self.network)


class _DeviceEntry(Section):
    """What every device has."""

    id: DnsLabel
    """Name of the device, unique in its site."""
    site: DnsLabel
    """The site it is in."""
    segment: DnsLabel
    """The segment of that site it is in."""
    criticality: Literal["low", "medium", "high", "critical"] = "low"
    """How bad a mistake with it would be; policies look at it."""
    labels: Labels = Field(default_factory=dict, max_length=64)
    """Freely chosen words by which windows and grants can name groups of devices."""
    budget: BudgetEntry = BudgetEntry()
    """What it bears."""
    description: Text = ""
    """What it is, for people."""

    @property
    def key(self) -> str:
        """`site/device`."""
        return f"{self.site}/{self.id}"


class ModbusDeviceEntry(_DeviceEntry):
    """A device that speaks Modbus."""

    protocol: Literal["modbus"]
    """`modbus`"""
    upstream: ModbusUpstreamEntry
    """The way to it."""
    unit_id: UnitId = 1
    """Unit id that callers use."""
    sni: TlsName = ""
    """TLS server name that selects it; default is `<device>.<site>`."""
    listen: ListenAddress = ""
    """Listener of its own, as `address:port`; otherwise like the first of `modbus_tls` in the settings."""
    points: tuple[ModbusPointEntry, ...] = ()
    """Its points."""

    @property
    def upstream_unit_id(self) -> int:
        """The unit id that goes to the device, with its default."""
        return self.unit_id if self.upstream.unit_id is None else self.upstream.unit_id

    @property
    def tls_name(self) -> str:
        """The TLS server name, with its default."""
        return self.sni or f"{self.id}.{self.site}"


class DeviceBacnetEntry(Section):
    """What BACnet tools are told of a device; instead of what is left out, what the device has said itself."""

    virtual_address: VirtualMac | None = None
    """Its address on the network of the site, such as 12 or 0x00000c; default is its instance in three octets."""
    vendor_identifier: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Number of its vendor, for I-Am."""
    name: Annotated[str, StringConstraints(max_length=255)] = ""
    """Name of its device object, for Who-Has and I-Have."""

    def to_model(self) -> BacnetFace:
        """The same as the rest of the broker knows it."""
        return BacnetFace(bytes.fromhex(self.virtual_address or ""), self.vendor_identifier, self.name)


class BacnetDeviceEntry(_DeviceEntry):
    """A device that speaks BACnet."""

    protocol: Literal["bacnet"]
    """`bacnet`"""
    upstream: BacnetUpstreamEntry
    """The way to it."""
    bacnet: DeviceBacnetEntry = DeviceBacnetEntry()
    """What BACnet tools are told of it."""
    points: tuple[BacnetPointEntry, ...] = ()
    """Its points."""


DeviceEntry = Annotated[ModbusDeviceEntry | BacnetDeviceEntry, Field(discriminator="protocol")]
SiteOrName = Annotated[SiteEntry, BeforeValidator(_site)]


def device_model(entry: ModbusDeviceEntry | BacnetDeviceEntry) -> Device:
    """The device as the rest of the broker knows it."""
    own: dict[str, Any] = {}
    if isinstance(entry, ModbusDeviceEntry):
        own["unit_id"], own["upstream_unit_id"] = entry.unit_id, entry.upstream_unit_id
        own["sni"], own["listen"] = entry.tls_name, entry.listen
    else:
        own["bacnet"] = entry.bacnet.to_model()
    points = tuple(point.to_model() for point in entry.points)
    return Device(
        site=entry.site,
        id=entry.id,
        segment=entry.segment,
        protocol=Protocol(entry.protocol),
        way=entry.upstream.ways()[0],
        points=tuple(sorted(points, key=lambda point: point.id)),
        **own,
        budget=entry.budget.to_model(),
        labels=tuple(sorted(entry.labels.items())),
        criticality=entry.criticality,
        description=entry.description,
    )
