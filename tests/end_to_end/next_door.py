"""A port that stands for one device behind a router, for clients that can only ask a device at an address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from broker.wire.bacnet.apdu import ConfirmedRequest, UnconfirmedRequest, bare, decode_apdu
from broker.wire.bacnet.bvlc import Function, decode_bvlc, encode_bvlc
from broker.wire.bacnet.npdu import Address, decode_npdu, encode_npdu

Place = tuple[str, int]


class NextDoor(asyncio.DatagramProtocol):
    """Puts the device's network and address into what the client sends, and takes them out of what it is sent.

    `address` is where a client finds it; `told` has the bare requests that came to the client.
    """

    def __init__(self, router: Place, device: Address) -> None:
        self.told: asyncio.Queue[bytes] = asyncio.Queue()
        self.address = ""
        self._router = router
        self._device = device
        self._client: Place | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.address = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: Place) -> None:
        npdu = decode_npdu(decode_bvlc(data).payload)
        if addr == self._router:
            apdu = decode_apdu(npdu.payload)
            if isinstance(apdu, ConfirmedRequest | UnconfirmedRequest):
                self.told.put_nowait(bare(apdu))
            to, npdu = self._client, npdu._replace(source=None, destination=None)
        else:
            self._client = addr
            to, npdu = self._router, npdu._replace(destination=self._device)
        if to is not None:
            self._transport.sendto(encode_bvlc(Function.ORIGINAL_UNICAST, encode_npdu(npdu)), to)


@asynccontextmanager
async def next_door(port: int, network: int, mac: bytes) -> AsyncIterator[NextDoor]:
    """Such a port for the device of that address behind the router at a local port."""
    transport, door = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NextDoor(("127.0.0.1", port), Address(network, mac)), local_addr=("127.0.0.1", 0)
    )
    try:
        yield door
    finally:
        transport.close()
