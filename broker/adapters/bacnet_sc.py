"""BACnet/SC (ASHRAE 135-2020, Annex AB): slots on the connection to a hub of the field."""

from broker.adapters.bacnet_link import BacnetLink
from broker.adapters.bacnet_sc_places import Wanted
from broker.adapters.bacnet_sc_port import BacnetScPort
from broker.adapters.endpoint import Endpoint, OpenLink
from broker.adapters.lane import Link
from broker.model.way import BacnetScWay
from broker.wire.bacnet.npdu import Address


def bacnet_sc_opener(way: BacnetScWay, port: BacnetScPort) -> OpenLink:
    """What opens slots for one device at a hub; the endpoint bounds how long that may take."""

    async def open_link(endpoint: Endpoint) -> Link:
        await port.ready()
        address = None if way.network is None else Address(way.network, way.address)
        place = way.vmac or await port.locate(Wanted(way.instance, address))
        return BacnetLink(endpoint, port, place)

    return open_link
