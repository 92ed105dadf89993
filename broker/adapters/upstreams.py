"""The ways to all devices of the inventory, one endpoint per place."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from broker.adapters.bacnet_ip import bacnet_ip_opener
from broker.adapters.bacnet_notices import BacnetNotices
from broker.adapters.bacnet_port import ANYWHERE, OwnPlace
from broker.adapters.bacnet_ports import BacnetIpPorts
from broker.adapters.bacnet_sc import bacnet_sc_opener
from broker.adapters.bacnet_sc_port import BacnetScPort, ScIdentity
from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.field_network import FieldNetwork
from broker.adapters.lane import Lane
from broker.adapters.modbus_rtu_over_tcp import rtu_over_tcp_opener
from broker.adapters.modbus_serial import check_serial, serial_opener, silence_seconds
from broker.adapters.modbus_tcp import modbus_tcp_opener
from broker.engine.ports import Clock
from broker.errors import ConfigError, DeviceUnavailableError
from broker.model.place import BacnetNetwork, Budget, Device, EndpointBudget
from broker.model.way import (
    BacnetIpWay,
    BacnetScWay,
    ModbusTcpWay,
    RtuOverTcpWay,
    SerialWay,
    Way,
    network_place,
    place_name,
)
from broker.wire.bacnet.device_said import LiveDevices

_LAST_RTU_UNIT = 247  # MODBUS over Serial Line v1.02, 2.2


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What an endpoint is doing: open links, requests outstanding and queued, and counts since it was made.

    `faults` are replies that cannot be; `timeouts` are requests that got none in time; `down`: back-off is running.
    """

    address: str
    connected: int
    in_flight: int
    queued: int
    operations: int
    faults: int
    timeouts: int
    down: bool


def place_of(way: Way) -> tuple[str, ...]:
    """What two devices share if they are behind the same endpoint."""
    if isinstance(way, SerialWay):
        return ("serial", way.path)
    if isinstance(way, BacnetScWay):
        return ("bacnet-sc", way.hub, way.failover_hub, str(way.instance))
    kind = {ModbusTcpWay: "modbus-tcp", RtuOverTcpWay: "rtu-over-tcp", BacnetIpWay: "bacnet-ip"}[type(way)]
    return (kind, way.host.lower(), str(way.port))


def check_ways(devices: Iterable[Device]) -> None:
    """Raises ConfigError for a way that cannot be: an RTU unit that is a broadcast, one line with two settings."""
    lines: dict[str, SerialWay] = {}
    for device in devices:
        way = device.way
        if isinstance(way, SerialWay):
            check_serial(way)
            if lines.setdefault(way.path, way) != way:
                raise ConfigError("serial_invalid", f"{device.key}: {way.path} has other settings elsewhere")
        rtu = isinstance(way, SerialWay | RtuOverTcpWay)
        if rtu and not 1 <= device.upstream_unit_id <= _LAST_RTU_UNIT:
            raise ConfigError("unit_id_invalid", f"{device.key}: unit ids on a serial line are 1 to {_LAST_RTU_UNIT}")


class Upstreams:
    """Keeps one endpoint per place and one lane per device.

    `endpoints` are the budgets of places and of networks behind routers; without one, a place or network bears what the
    most capable device there does. `bacnet` is where BACnet/IP devices are asked from, `segments` where those of some
    segments (`site/segment`) are, `sc_identity` what the broker is at BACnet/SC hubs. `disputed` is called with a
    device's key when several nodes of its network say that they are it.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        clock: Clock,
        bacnet: OwnPlace = ANYWHERE,
        *,
        segments: Mapping[str, OwnPlace] | None = None,
        endpoints: Iterable[EndpointBudget] = (),
        sc_identity: ScIdentity | None = None,
    ) -> None:
        self._clock = clock
        self._sc_identity = sc_identity
        self._sc_ports: dict[tuple[str, ...], BacnetScPort] = {}
        self.disputed: Callable[[str, tuple[bytes, ...]], None] | None = None
        self.live = LiveDevices()
        self._leaving: set[asyncio.Task[None]] = set()
        self._bacnet_ports = BacnetIpPorts(clock, bacnet, segments or {})
        self._endpoints: dict[tuple[str, ...], Endpoint] = {}
        self._networks: dict[tuple[str, int], FieldNetwork] = {}
        self._lanes: dict[str, Lane] = {}
        self._set_up(tuple(devices), endpoints)

    def upstream(self, device_key: str) -> Lane:
        """The way to a device. Raises DeviceUnavailableError if there is no such device."""
        lane = self._lanes.get(device_key)
        if lane is None:
            raise DeviceUnavailableError("device_unknown", "there is no such device", device_key)
        return lane

    async def replace(self, devices: Iterable[Device], endpoints: Iterable[EndpointBudget] = ()) -> None:
        """Use these devices from now on; what did not change keeps its connections and requests.

        Raises ConfigError, leaving everything as it was.
        """
        self._set_up(tuple(devices), endpoints)

    def register(self, networks: Iterable[BacnetNetwork]) -> None:
        """Be a foreign device at the BBMDs of these networks, and at no others."""
        devices = [lane.device for lane in self._lanes.values() if isinstance(lane.device.way, BacnetIpWay)]
        self._bacnet_ports.register(networks, devices)

    async def close(self) -> None:
        """End everything: what is queued is not sent, what is in flight ends as unknown or without a reply."""
        self.register(())
        self._set_up((), ())
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def states(self) -> tuple[EndpointState, ...]:
        """What each endpoint is doing now."""
        return tuple(
            EndpointState(
                endpoint.address,
                len(endpoint.links),
                endpoint.in_flight,
                endpoint.queued,
                endpoint.operations,
                endpoint.faults,
                endpoint.timeouts,
                endpoint.down,
            )
            for endpoint in self._endpoints.values()
        )

    def _set_up(self, devices: tuple[Device, ...], endpoints: Iterable[EndpointBudget]) -> None:
        check_ways(devices)
        wanted_hubs = {_hubs(device.way) for device in devices if isinstance(device.way, BacnetScWay)}
        self._dial(wanted_hubs - self._sc_ports.keys())
        wanted = {device.key: device for device in devices}
        for key, lane in tuple(self._lanes.items()):
            if key not in wanted or not self._same_way(lane.device, wanted[key]):
                del self._lanes[key]
                lane.endpoint.remove(lane)
        self._endpoints = {place: endpoint for place, endpoint in self._endpoints.items() if endpoint.lanes}
        for key, device in wanted.items():
            if key not in self._lanes:
                self._lanes[key] = self._endpoint(device).add(device, self._notices(device), self._network(device.way))
        self.live.keep(wanted)
        self._bear({(endpoint.at, endpoint.network): endpoint.budget for endpoint in endpoints})
        for hubs in self._sc_ports.keys() - wanted_hubs:
            task = asyncio.get_running_loop().create_task(self._sc_ports.pop(hubs).close())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _bear(self, stated: dict[tuple[str, int | None], Budget]) -> None:
        """Hold places and networks to what is stated for them."""
        for endpoint in self._endpoints.values():
            endpoint.bear(stated.get((endpoint.address, None)))
        self._networks = {place: network for place, network in self._networks.items() if network.lanes}
        for place, network in self._networks.items():
            network.bear(stated.get(place))

    def _network(self, way: Way) -> FieldNetwork | None:
        place = network_place(way)
        return None if place is None else self._networks.setdefault(place, FieldNetwork(self._clock))

    def _dial(self, hubs: set[tuple[str, ...]]) -> None:
        """Have a way to each of these hubs. Raises ConfigError."""
        if hubs and self._sc_identity is None:
            raise ConfigError("sc_identity_missing", "BACnet/SC devices need bacnet_sc_node in the settings.")
        for pair in hubs:
            assert self._sc_identity is not None
            port = self._sc_ports[pair] = BacnetScPort(self._clock, pair, self._sc_identity)
            port.disputed = partial(self._dispute, pair)

    def _dispute(self, hubs: tuple[str, ...], instance: int, nodes: tuple[bytes, ...]) -> None:
        for key, lane in self._lanes.items():
            way = lane.device.way
            at_hubs = isinstance(way, BacnetScWay) and _hubs(way) == hubs and way.instance == instance
            if at_hubs and self.disputed is not None:
                self.disputed(key, nodes)

    def _endpoint(self, device: Device) -> Endpoint:
        way = device.way
        place = place_of(way)
        if isinstance(way, BacnetIpWay):  # the same address is another place where another port leads to it
            place = (*place, self._bacnet_ports.segment_of(device))
        endpoint = self._endpoints.get(place)
        if endpoint is None:
            silence = silence_seconds(way) if isinstance(way, SerialWay) else 0.0
            endpoint = Endpoint(place_name(way), self._opener(device), self._clock, silence)
            self._endpoints[place] = endpoint
        return endpoint

    def _notices(self, device: Device) -> BacnetNotices | None:
        said, way = self.live.of(device), device.way
        if said is None:
            return None
        if isinstance(way, BacnetScWay):
            return BacnetNotices(said, self._sc_ports[_hubs(way)])
        return BacnetNotices(said, self._bacnet_ports.of(device))

    def _opener(self, device: Device) -> OpenLink:
        way = device.way
        if isinstance(way, ModbusTcpWay):
            return modbus_tcp_opener(way.host, way.port)
        if isinstance(way, RtuOverTcpWay):
            return rtu_over_tcp_opener(way.host, way.port)
        if isinstance(way, SerialWay):
            return serial_opener(way)
        if isinstance(way, BacnetScWay):
            return bacnet_sc_opener(way, self._sc_ports[_hubs(way)])
        return bacnet_ip_opener(way.host, way.port, self._bacnet_ports.of(device))

    def _same_way(self, old: Device, new: Device) -> bool:
        """Whether a lane made for one serves the other: the same place, unit and budget, asked from the same port."""
        same_port = self._bacnet_ports.of(old) is self._bacnet_ports.of(new)
        return same_port and (old.way, old.upstream_unit_id, old.budget) == (new.way, new.upstream_unit_id, new.budget)


def _hubs(way: BacnetScWay) -> tuple[str, ...]:
    """The primary hub, and the failover hub if there is one."""
    return (way.hub, way.failover_hub) if way.failover_hub else (way.hub,)
