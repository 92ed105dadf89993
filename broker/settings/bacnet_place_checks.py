"""What is wrong between the entries of an inventory about where BACnet tools find things, and where the devices are."""

from collections.abc import Iterable, Iterator

from broker.model.place import virtual_mac
from broker.settings.findings import Finding, Path
from broker.settings.inventory_places import BacnetDeviceEntry, BacnetIpEntry, BbmdEntry, SiteEntry

_EVERY_NODE = "ff"


def network_findings(sites: Iterable[SiteEntry]) -> Iterator[Finding]:
    """A network number is one network, and so one site; paths begin at the inventory."""
    seen: dict[int, str] = {}
    lasts: dict[tuple[str, int], int] = {}
    for place, site in enumerate(sites):
        if site.bacnet is None:
            continue
        first = seen.setdefault(site.bacnet.network, site.id)
        if first != site.id:
            message = f"the network number {site.bacnet.network} is already that of the site '{first}'"
            yield Finding(("sites", place, "bacnet", "network"), message, "give each site a number of its own")
        for each, bbmd in enumerate(site.bacnet.bbmds):
            found = tuple(_bbmd_findings(bbmd, lasts.setdefault((bbmd.host, bbmd.port), bbmd.ttl_seconds)))
            yield from (finding.under(("sites", place, "bacnet", "bbmds", each)) for finding in found)


def _bbmd_findings(bbmd: BbmdEntry, lasts: int) -> Iterator[Finding]:
    if ":" in bbmd.host:
        yield Finding(("host",), "BACnet/IP, and so a BBMD, has IPv4 addresses (Annex J)")
    if bbmd.ttl_seconds != lasts:
        yield Finding(("ttl_seconds",), f"{lasts} was said before of the same BBMD", "one registration serves all")


def bacnet_way_findings(way: BacnetIpEntry) -> Iterator[Finding]:
    """What is wrong with one way; paths begin at `bacnet_ip`."""
    if way.network is None and way.address is not None:
        hint = "network: the number of the network behind the router at host"
        yield Finding(("address",), "an address is one on a network behind a router", hint)
    if way.network is not None and way.address is None:
        hint = "address: the device's address on that network"
        yield Finding(("network",), "of a device behind a router the address is needed too", hint)
    if way.address == _EVERY_NODE:
        # 9.3: 255 is the broadcast address of MS/TP.
        yield Finding(("address",), "255 is every device of an MS/TP network", "an address from 0 to 254")


def bacnet_device_findings(devices: Iterable[tuple[Path, BacnetDeviceEntry]]) -> Iterator[Finding]:
    """In a site an instance is one device, and so is an address on the site's network; each with its path."""
    instances: dict[tuple[str, int], str] = {}
    addresses: dict[tuple[str, bytes], str] = {}
    for path, device in devices:
        kind = "bacnet_ip" if device.upstream.bacnet_ip is not None else "bacnet_sc"
        entry = device.upstream.bacnet_ip or device.upstream.bacnet_sc
        if entry is None:
            continue
        instance = entry.instance
        first = instances.setdefault((device.site, instance), device.key)
        if first != device.key:
            message = f"the instance {instance} is already that of {first}"
            hint = "device instances are unique in an internetwork (12.11.1)"
            yield Finding((*path, "upstream", kind, "instance"), message, hint)
            continue
        given = device.bacnet.to_model().address
        first = addresses.setdefault((device.site, given or virtual_mac(instance)), device.key)
        if first != device.key:
            where = ("bacnet", "virtual_address") if given else ("upstream", kind, "instance")
            message = f"{first} already has this address on the network of the site"
            yield Finding((*path, *where), message, "give one of them another bacnet.virtual_address")
