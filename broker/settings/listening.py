"""Where callers connect: Modbus/TCP Security, HTTPS, and the operator's port on loopback."""

from typing import Annotated

from pydantic import Field, model_validator

from broker.model.trust import Requirement
from broker.settings.fields import DeviceKey, File, Host, IpAddress, OwnPort, SecretFile, Section, is_loopback

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
