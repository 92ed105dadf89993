"""BACnet/IP (ASHRAE 135-2020, Annex J): slots on the UDP port of our own."""

import asyncio
import socket

from broker.adapters.bacnet_link import BacnetLink
from broker.adapters.bacnet_port import BacnetIpPort
from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.lane import Link


def bacnet_ip_opener(host: str, port: int, own: BacnetIpPort) -> OpenLink:
    """What opens slots on our own port for the devices at this place."""

    async def open_link(endpoint: Endpoint) -> Link:
        loop = asyncio.get_running_loop()
        # J.1: BACnet/IP is of IPv4
        found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        place = found[0][4]
        return BacnetLink(endpoint, own, (str(place[0]), int(place[1])))

    return open_link
