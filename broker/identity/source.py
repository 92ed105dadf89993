"""Whom that counts for which somebody does before he has proven who he is."""

import ipaddress

_NETWORK_OCTETS = 8


def source_of(address: str) -> str:
    """An IPv4 address, or the network of 64 bits of an IPv6 address: whoever has one address there has all of them.

    What is no address counts for itself.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    network = found.packed[:_NETWORK_OCTETS].ljust(len(found.packed), b"\0")
    return f"{ipaddress.IPv6Address(network)}/64"


def source_of_peer(peer: str) -> str:
    """The same of `address:port`."""
    return source_of((peer.rpartition(":")[0] or peer).strip("[]"))
