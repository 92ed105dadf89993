"""How a device is reached: the protocol below, the place, and what BACnet devices take there."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ModbusTcpWay:
    """Modbus/TCP to `host:port` (4.1 of the messaging guide)."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RtuOverTcpWay:
    """RTU frames with CRC in a TCP stream, as serial device servers carry them."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SerialWay:
    """RTU on a serial line; parity is N, E or O."""

    path: str
    baud: int = 19200
    parity: str = "N"
    stop_bits: int = 1


LONGEST_APDU = 1476
"""Octets that fit BACnet/IP and BACnet/SC (20.1.2.5), and what a device takes of which nobody has said anything."""


class Segmentation(StrEnum):
    """Which segmented messages a BACnet device can handle (20.1.2.8, BACnetSegmentation in clause 21)."""

    BOTH = "both"
    TRANSMIT = "transmit"
    RECEIVE = "receive"
    NONE = "none"


class _BacnetTakes:
    """What a BACnet device takes, whichever way leads to it."""

    __slots__ = ()
    max_apdu: int | None
    segmentation: Segmentation | None

    @property
    def longest_apdu(self) -> int:
        """Octets of an APDU that it takes, as far as anybody has said."""
        return self.max_apdu or LONGEST_APDU

    @property
    def takes_segments(self) -> bool:
        """Whether it takes messages in segments, unless somebody has said that it does not."""
        return self.segmentation in (None, Segmentation.BOTH, Segmentation.RECEIVE)


@dataclass(frozen=True, slots=True)
class BacnetIpWay(_BacnetTakes):
    """BACnet/IP unicast to `host:port`; `instance` is the device's object instance.

    With a `network` there is a router at that place, and the device has the MAC `address` on that network behind it
    (DNET and DADR, 6.2.2). `max_apdu` (octets) and `segmentation` are what the device can take; None: to be
    learned from it.
    """

    host: str
    port: int
    instance: int
    network: int | None = None
    address: bytes = b""
    max_apdu: int | None = None
    segmentation: Segmentation | None = None


@dataclass(frozen=True, slots=True)
class BacnetScWay(_BacnetTakes):
    """BACnet/SC through the hub at that URI, or through the failover hub; `instance` is the device's object instance.

    `vmac` is the device's, or that of the router in front of it (then `network` and `address` are as with BACnet/IP);
    without it, the network is asked for the device by its instance.
    """

    hub: str
    instance: int
    failover_hub: str = ""
    vmac: bytes = b""
    network: int | None = None
    address: bytes = b""
    max_apdu: int | None = None
    segmentation: Segmentation | None = None


BacnetWay = BacnetIpWay | BacnetScWay


Way = ModbusTcpWay | RtuOverTcpWay | SerialWay | BacnetIpWay | BacnetScWay


def place_name(way: Way) -> str:
    """Where a way leads, for people: `host:port` (an IPv6 address in brackets), the path of a line, or a device's
    instance at a hub.
    """
    if isinstance(way, SerialWay):
        return way.path
    if isinstance(way, BacnetScWay):
        return f"{way.instance} at {way.hub}"
    return f"[{way.host}]:{way.port}" if ":" in way.host else f"{way.host}:{way.port}"


def network_place(way: Way) -> tuple[str, int] | None:
    """The network behind a router that a way leads to, if it does: where the router is (`at` of `EndpointBudget`), and
    its number, which is unique in an internetwork (6.2.2).
    """
    if not isinstance(way, BacnetIpWay | BacnetScWay) or way.network is None:
        return None
    return (way.hub if isinstance(way, BacnetScWay) else place_name(way)), way.network


def virtual_mac(instance: int) -> bytes:
    """The MAC of a virtual device: its instance in three octets (H.7.2)."""
    return instance.to_bytes(3, "big")
