"""The inventory in force, with its calendar and standing grants ready to be asked."""

from dataclasses import dataclass, field, replace

from broker.access.standing import StandingGrants
from broker.calendar.calendar import Calendar
from broker.engine.sessions import Situation
from broker.model.place import Device, Inventory, Organisation, Protocol
from broker.model.schedule import CalendarState, Interval
from broker.model.subject import Subject
from broker.wire.modbus.places import places_of

NOWHERE = "/"
ITSELF = Organisation("broker.itself", (), (), owner=True)
"""What the broker belongs to when it acts for itself; no organisation of an inventory can have that id."""


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """What BACnet tools see behind the broker: a network number, and a site's devices by their address on it.

    `asks_devices`: what their I-Am has to say and the inventory leaves out is read from them. With `alone`, the address
    of its only device, there is no router in between: the tool speaks with that device as with one on its own network.
    """

    number: int
    devices: dict[bytes, Device] = field(default_factory=dict)
    asks_devices: bool = False
    alone: bytes = b""


NO_NETWORK = VirtualNetwork(0)


class InForce:
    """What holds until the next reload; asking it costs a look-up.

    Raises ConfigError `point_impossible` for a Modbus point whose type, table, width or scale cannot be.
    """

    def __init__(self, inventory: Inventory) -> None:
        for device in inventory.devices:
            if device.protocol is Protocol.MODBUS:
                places_of(device)
        self.inventory = inventory
        self.anything_confidential = any(device.confidential for device in inventory.devices)
        self._calendar = Calendar(inventory.windows, inventory.freezes)
        self._grants = StandingGrants(inventory.grants)
        self._organisations = {organisation.id: organisation for organisation in (*inventory.organisations, ITSELF)}
        self._devices = {device.key: device for device in inventory.devices}
        self._audit_logs = {n.site: f"{n.site}/{n.audit_log}" for n in inventory.bacnet_networks if n.audit_log}
        networks = inventory.bacnet_networks
        self._networks = {each.site: VirtualNetwork(each.number, {}, each.ask_devices) for each in networks}
        for device in inventory.devices:
            if device.bacnet_address:
                self._add_to_networks(device, device.bacnet_address)
        named = [d for d in inventory.devices if d.sni and d.protocol is Protocol.MODBUS]
        self._names = {device.sni: device.key for device in named}
        self._zones = {device.sni.partition(".")[2] for device in named} - {""}

    def organisation(self, subject: Subject) -> Organisation | None:
        """The organisation of a subject; None if the inventory no longer knows it."""
        return self._organisations.get(subject.organisation)

    def organisation_of(self, identifier: str) -> Organisation | None:
        """The organisation of that id."""
        return self._organisations.get(identifier)

    def roles_of(self, organisation: str, subject: str) -> tuple[str, ...]:
        """The roles that the inventory gives somebody."""
        found = self.organisation_of(organisation)
        return () if found is None else dict(found.roles).get(subject, ())

    def occurrence(self, window: str, device: Device, organisation: str, now: float) -> Interval | None:
        """When that window is open for a device and organisation: now, or next; None if it does not open again."""
        return self._calendar.occurrence(window, device, organisation, now)

    def device(self, key: str) -> Device | None:
        """The device `site/device`."""
        return self._devices.get(key)

    def virtual_network(self, where: str) -> VirtualNetwork:
        """What BACnet tools see of a site, or of a device (`site/device`) alone; `NO_NETWORK` if it is nothing."""
        return self._networks.get(where, NO_NETWORK)

    def _add_to_networks(self, device: Device, mac: bytes) -> None:
        whole = self._networks.get(device.site, NO_NETWORK)
        if whole is not NO_NETWORK:
            whole.devices[mac] = device
        self._networks[device.key] = VirtualNetwork(whole.number, {mac: device}, whole.asks_devices, mac)

    def audit_log(self, site: str) -> Device | None:
        """The device that is told who did what at a site, if there is one."""
        return self._devices.get(self._audit_logs.get(site, ""))

    def named(self, name: str) -> str:
        """The key of the Modbus device of that server name; "" if the name is none of a device.

        A name like those of devices (`ahu-9.plant`) that no device has gives a key that leads nowhere: a slip of the
        pen must not reach another device through its unit id.
        """
        key = self._names.get(name)
        if key is not None:
            return key
        return NOWHERE if name.partition(".")[2] in self._zones else ""

    def calendar_state(self, device: Device, organisation: str, now: float) -> CalendarState:
        """What is open, frozen and next for a device and organisation."""
        return self._calendar.state(device, organisation, now)

    def situation(self, subject: Subject, device: Device, now: float) -> Situation:
        """What the inventory says about this subject at this device now; whoever decides asks the desk."""
        organisation = self.organisation(subject)
        calendar = self._calendar.state(device, subject.organisation, now)
        return Situation(
            now,
            self._grants.for_(subject, device, now),
            self._strictest(calendar, device, now) if organisation is ITSELF else calendar,
            organisation.contract_until if organisation else 0.0,
            self._grants.changes_at(subject, device, now),
        )

    def _strictest(self, calendar: CalendarState, device: Device, now: float) -> CalendarState:
        """The broker itself holds to every freeze at a device, whomever it names."""
        states = [calendar, *(self._calendar.state(device, each, now) for each in self._organisations)]
        return replace(
            calendar,
            frozen=tuple(dict.fromkeys(interval for state in states for interval in state.frozen)),
            changes_at=min(state.changes_at for state in states),
            views_frozen=any(state.views_frozen for state in states),
        )
