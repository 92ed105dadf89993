"""What is wrong between the entries of an inventory about where BACnet tools find things, and where the devices are."""

from collections.abc import Collection, Iterable, Iterator

from broker.model.way import BacnetIpWay, BacnetScWay, virtual_mac
from broker.settings.bacnet_sc_way import BacnetScEntry
from broker.settings.findings import Finding, Path, did_you_mean
from broker.settings.inventory_places import BacnetDeviceEntry, BacnetIpEntry, BbmdEntry, DeviceEntry, SiteEntry

_EVERY_NODE = "ff"
LEAST_AUDITED_APDU = 206
"""Octets that a log must take at a time, so that it can be told of an operation with who it was."""


def network_findings(sites: Iterable[SiteEntry], segments: Collection[str]) -> Iterator[Finding]:
    """A network number is one network, and so one site; paths begin at the inventory. `segments` are `site/id` of all
    that there are.
    """
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
            if bbmd.segment is not None and f"{site.id}/{bbmd.segment}" not in segments:
                path = ("sites", place, "bacnet", "bbmds", each, "segment")
                here = [key.partition("/")[2] for key in segments if key.startswith(f"{site.id}/")]
                message = f"the site '{site.id}' has no segment '{bbmd.segment}'"
                yield Finding(path, message, did_you_mean(bbmd.segment, here))


def audit_log_findings(
    sites: Iterable[SiteEntry], devices: Iterable[DeviceEntry], known: Iterable[str]
) -> Iterator[Finding]:
    """An audit log is a BACnet device of its site that takes a whole notification; `known` are all that there are."""
    ways = {device.key: device.upstream.ways()[:1] for device in devices}
    for place, site in enumerate(sites):
        if site.bacnet is None or site.bacnet.audit_log is None:
            continue
        name, path = site.bacnet.audit_log, ("sites", place, "bacnet", "audit_log")
        key = f"{site.id}/{name}"
        if key not in known:
            here = [each.partition("/")[2] for each in known if each.startswith(f"{site.id}/")]
            yield Finding(path, f"the site '{site.id}' has no device '{name}'", did_you_mean(name, here))
        for way in ways.get(key, ()):
            if not isinstance(way, BacnetIpWay | BacnetScWay):
                yield Finding(path, f"'{name}' does not speak BACnet, and so cannot hold an audit log")
            elif way.longest_apdu < LEAST_AUDITED_APDU:
                message = f"'{name}' takes {way.longest_apdu} octets at a time, too few for an audit notification"
                yield Finding(path, message, f"a device with max_apdu {LEAST_AUDITED_APDU} or more")


def _bbmd_findings(bbmd: BbmdEntry, lasts: int) -> Iterator[Finding]:
    if ":" in bbmd.host:
        yield Finding(("host",), "BACnet/IP, and so a BBMD, has IPv4 addresses (Annex J)")
    if bbmd.ttl_seconds != lasts:
        yield Finding(("ttl_seconds",), f"{lasts} was said before of the same BBMD", "one registration serves all")


def bacnet_way_findings(way: BacnetIpEntry | BacnetScEntry) -> Iterator[Finding]:
    """What is wrong with one way; paths begin at `bacnet_ip` or `bacnet_sc`."""
    if way.network is None and way.address is not None:
        hint = "network: the number of the network behind the router"
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
