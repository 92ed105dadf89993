"""Where callers connect: Modbus/TCP Security, BACnet/SC, HTTPS, and the operator's port on loopback."""

from typing import Annotated

from pydantic import Field, model_validator

from broker.model.trust import Requirement
from broker.settings.fields import (
    DeviceKey,
    DnsLabel,
    File,
    Host,
    IpAddress,
    OwnPort,
    SecretFile,
    Section,
    WssUri,
    is_loopback,
)

UnitId = Annotated[int, Field(ge=0, le=255)]


class ModbusTlsLimits(Section):
    """What one Modbus TLS listener bears at most."""

    max_connections: Annotated[int, Field(ge=1, le=65536)] = 4096
    """Connections open at once."""
    max_connections_per_peer: Annotated[int, Field(ge=1, le=65536)] = 1024
    """Connections open at once from one IP address."""
    max_pipelined: Annotated[int, Field(ge=1, le=256)] = 16
    """Requests of one connection that may wait for their replies; further ones are not read."""
    handshake_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """Time from TCP connect to a finished TLS handshake."""
    idle_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600.0
    """Time without a request after which a session is closed."""
    write_buffer_octets: Annotated[int, Field(ge=4096, le=16 * 1024**2)] = 65536
    """Replies that a slow reader may leave unread before its connection is paused."""


class ModbusTlsListener(Section):
    """One listener for Modbus/TCP Security; the client certificate is always required."""

    address: IpAddress
    """IP address to listen on."""
    port: OwnPort = 802
    """TCP port; 0 takes a free one."""
    certificate_file: File
    """PEM certificate chain that the listener shows, leaf first."""
    key_file: SecretFile
    """PEM private key of that certificate."""
    unit_ids: dict[UnitId, DeviceKey] = Field(default_factory=dict, max_length=256)
    """Device (`site/device`) by unit id, for callers whose TLS names no device (SNI)."""
    limits: ModbusTlsLimits = ModbusTlsLimits()
    """Limits of this listener."""


class BacnetScLimits(Section):
    """What one BACnet/SC hub bears at most, and how patient it is."""

    max_connections: Annotated[int, Field(ge=1, le=65536)] = 1024
    """Connections open at once."""
    max_connections_per_peer: Annotated[int, Field(ge=1, le=65536)] = 256
    """Connections open at once from one IP address."""
    handshake_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """Time from TCP connect to a finished TLS handshake, and again from there to a WebSocket."""
    connect_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Time from the WebSocket to an accepted Connect-Request."""
    heartbeat_seconds: Annotated[float, Field(ge=1, le=3600)] = 300.0
    """Silence after which a node is asked whether it is there; it has as long again to answer."""
    write_buffer_octets: Annotated[int, Field(ge=4096, le=16 * 1024**2)] = 65536
    """Messages that a slow node may leave unread before nothing more is taken from it."""


class BacnetScListener(Section):
    """One BACnet/SC hub in front of a site's devices; TLS 1.3 with a client certificate is always required."""

    address: IpAddress
    """IP address to listen on."""
    port: OwnPort = 47808
    """TCP port; 0 takes a free one."""
    certificate_file: File
    """PEM certificate chain that the hub shows, leaf first."""
    key_file: SecretFile
    """PEM private key of that certificate."""
    site: DnsLabel
    """Site whose devices are behind this hub; it needs a BACnet network in the inventory."""
    sites: dict[Host, DnsLabel] = Field(default_factory=dict, max_length=256)
    """Another site for nodes whose TLS names the hub so (SNI)."""
    direct_uris: Annotated[tuple[WssUri, ...], Field(max_length=8)] = ()
    """Where nodes may connect directly (`dc.bsc.bacnet.org`), as they see it; none: only as to a hub."""
    limits: BacnetScLimits = BacnetScLimits()
    """Limits of this hub."""


class BacnetScNode(Section):
    """The operational certificate with which the broker connects to the field's BACnet/SC hubs."""

    certificate_file: File
    """PEM certificate chain, leaf first, with both server and client authentication."""
    key_file: SecretFile
    """PEM private key of that certificate."""
    ca_file: File
    """PEM certificates of the field's BACnet/SC authority: a hub is believed if its certificate chains to them."""
    heartbeat_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """Silence after which the hub is asked whether it is there; it has as long again to answer."""
    reconnect_seconds: Annotated[float, Field(ge=2, le=300)] = 2.0
    """Least time before hubs are dialled again; it doubles up to a minute as long as no connection lasts."""


class HttpsLimits(Section):
    """What the HTTPS listener bears at most."""

    max_connections: Annotated[int, Field(ge=1, le=65536)] = 1024
    """Connections open at once."""
    max_connections_per_peer: Annotated[int, Field(ge=1, le=65536)] = 256
    """Connections open at once from one IP address."""
    max_tunnels: Annotated[int, Field(ge=0, le=65536)] = 512
    """WebSocket tunnels open at once."""
    max_body_octets: Annotated[int, Field(ge=1024, le=1024**2)] = 65536
    """Size of a request body."""
    handshake_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """Time from TCP connect to a finished TLS handshake."""
    request_seconds: Annotated[float, Field(gt=0, le=600)] = 90.0
    """Time for one request from its first octet to its answer; tunnels excepted."""
    keep_alive_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Time that a connection may wait for its next request."""
    tunnel_idle_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600.0
    """Time without a frame after which a tunnel is closed."""


class HttpsListener(Section):
    """The listener for the API, the tunnels and the console."""

    address: IpAddress
    """IP address to listen on."""
    port: OwnPort = 443
    """TCP port; 0 takes a free one."""
    certificate_file: File
    """PEM certificate chain that the listener shows, leaf first."""
    key_file: SecretFile
    """PEM private key of that certificate."""
    requirement: Requirement = Requirement.BOTH
    """What a caller must prove itself with; the certificate of somebody who enrolled here stands for both."""
    limits: HttpsLimits = HttpsLimits()
    """Limits of this listener."""


class OpsListener(Section):
    """Health and metrics for the host's operator, without authentication: loopback only."""

    address: Host = "127.0.0.1"
    """Loopback address to listen on."""
    port: OwnPort = 9802
    """TCP port; 0 takes a free one."""

    @model_validator(mode="after")
    def _loopback_only(self) -> "OpsListener":
        if not is_loopback(self.address):
            raise ValueError("the ops listener proves nobody: its address must be loopback, 127.0.0.1 or ::1")
        return self
