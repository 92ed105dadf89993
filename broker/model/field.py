"""What a look at the field found: what devices say of themselves, before anybody has decided anything about it.

Texts are as the device sent them, of bounded length and possibly unprintable: whoever shows them escapes them.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class FieldAddress:
    """Where a BACnet device was heard: at `host:port`, or with MAC `mac` on `network` behind the router there."""

    host: str
    port: int
    network: int | None = None
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object. `state_texts` are of states 1 to n, or of inactive and active.

    `commandable` says whether it has a priority array, None if the device would not say; `trouble` is what it said
    that cannot be used.
    """

    object_type: str
    instance: int
    name: str = ""
    description: str = ""
    unit: str = ""
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    states: int | None = None
    state_texts: tuple[str, ...] = ()
    commandable: bool | None = None
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A BACnet device. `objects_told` is how many objects it says it has (None: it does not say), `requests` how many
    it was sent; with `trouble`, what is here is not all there is.
    """

    instance: int
    address: FieldAddress
    vendor_identifier: int
    max_apdu: int
    segmentation: str
    name: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    software: str = ""
    description: str = ""
    location: str = ""
    revision: int | None = None
    services: tuple[str, ...] = ()
    objects_told: int | None = None
    objects: tuple[FoundObject, ...] = ()
    requests: int = 0
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A Modbus unit that answered; `identification` is by the standard's names, `server_id` what function 17 says."""

    host: str
    port: int
    unit_id: int
    identification: tuple[tuple[str, str], ...] = ()
    server_id: str = ""
    requests: int = 0
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a look may go, and how gently."""

    requests_per_second: float = 10.0
    devices: int = 256
    objects: int = 5000
    total_seconds: float = 1800.0
    response_seconds: float = 3.0
    listen_seconds: float = 5.0
