"""The UDP ports that BACnet/IP devices are asked from: one for each segment that has its own, and one for the rest."""

from collections.abc import Iterable, Mapping

from broker.adapters.bacnet_port import BacnetIpPort, OwnPlace
from broker.adapters.bacnet_registrations import BacnetRegistrations
from broker.engine.ports import Clock
from broker.model.place import BacnetNetwork, Bbmd, Device


class BacnetIpPorts:
    """`segments` are the places of those that have their own, by `site/segment`."""

    def __init__(self, clock: Clock, rest: OwnPlace, segments: Mapping[str, OwnPlace]) -> None:
        self._rest = BacnetIpPort(clock, rest)
        self._own = {segment: BacnetIpPort(clock, place) for segment, place in segments.items()}
        ports = (self._rest, *self._own.values())
        self._registrations = {port: BacnetRegistrations(port) for port in ports}

    def of(self, device: Device) -> BacnetIpPort:
        """The port from which a device is asked."""
        return self._own.get(self.segment_of(device), self._rest)

    def segment_of(self, device: Device) -> str:
        """The segment of a device if that has a port of its own, else empty."""
        segment = f"{device.site}/{device.segment}"
        return segment if segment in self._own else ""

    def register(self, networks: Iterable[BacnetNetwork], devices: Iterable[Device]) -> None:
        """Be a foreign device at the BBMDs of these networks, and at no others, each from the port of its segment.

        A BBMD for which no segment is named is in the one that all `devices` of its site are in.
        """
        wanted: dict[BacnetIpPort, set[Bbmd]] = {port: set() for port in self._registrations}
        known = tuple(devices)
        for network in networks:
            of_site = {self.of(device) for device in known if device.site == network.site}
            for bbmd in network.bbmds:
                own = self._own.get(f"{network.site}/{bbmd.segment}") if bbmd.segment else None
                alone = next(iter(of_site)) if len(of_site) == 1 and not bbmd.segment else self._rest
                wanted[own or alone].add(bbmd)
        for port, bbmds in wanted.items():
            self._registrations[port].replace(bbmds)
