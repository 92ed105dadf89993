"""Which node of a BACnet/SC network is a device whose VMAC the inventory does not say.

The first that says so is believed if nobody else does for a moment. Whenever another says it too, the device is not
asked anything until it has been looked for anew: then one that answers alone has moved, and several are in dispute.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from broker.errors import FrameError
from broker.wire.bacnet.apdu import UnconfirmedRequest, decode_apdu
from broker.wire.bacnet.locating import decode_i_am
from broker.wire.bacnet.npdu import Address, decode_npdu

OTHERS_SECONDS = 0.5
"""How long others may say, too, that they are the device; all of them were asked at the same time."""
_MOST_NODES = 8
Disputed = Callable[[int, tuple[bytes, ...]], None]


class Wanted(NamedTuple):
    """A device by its instance; with an address, behind a router of the network."""

    instance: int
    address: Address | None


class Found(NamedTuple):
    """Where a device is, and the I-Am by which it said so."""

    place: bytes
    i_am: UnconfirmedRequest


class _Search:
    """Who has said that it is the device, since it is looked for."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, UnconfirmedRequest] = {}
        self.heard = asyncio.Event()
        self.found: asyncio.Task[Found] | None = None


class DevicePlaces:
    """`doubted(place, address)` is called when a device is not believed any more to be there.

    `disputed(instance, nodes)` is called when several say that they are it.
    """

    def __init__(self, doubted: Callable[[bytes, Address | None], None], disputed: Disputed) -> None:
        self._doubted = doubted
        self._disputed = disputed
        self._bound: dict[Wanted, bytes] = {}
        self._searches: dict[Wanted, _Search] = {}

    def bound(self, wanted: Wanted) -> bytes | None:
        """Where the device is, if that is known."""
        return self._bound.get(wanted)

    async def search(self, wanted: Wanted) -> Found:
        """Where the device is, once it has said so; somebody has to ask it. Raises OSError if several say so."""
        search = self._searches.setdefault(wanted, _Search())
        if search.found is None:
            search.found = asyncio.get_running_loop().create_task(self._search(wanted, search))
        return await asyncio.shield(search.found)

    async def _search(self, wanted: Wanted, search: _Search) -> Found:
        try:
            await search.heard.wait()
            await asyncio.sleep(OTHERS_SECONDS)
        finally:
            self._searches.pop(wanted, None)
        if len(search.nodes) > 1:
            self._disputed(wanted.instance, tuple(sorted(search.nodes)))
            raise OSError(f"several nodes are device {wanted.instance}")
        (found,) = (Found(*node) for node in search.nodes.items())
        self._bound[wanted] = found.place
        return found

    def hear(self, origin: bytes, octets: bytes) -> None:
        """An NPDU of a node: perhaps it says which device it is."""
        if not (self._searches or self._bound):
            return
        try:
            npdu = decode_npdu(octets)
            told = decode_i_am(npdu.payload) if npdu.message is None else None
            i_am = None if told is None else decode_apdu(npdu.payload)
        except FrameError:
            return
        if told is not None and isinstance(i_am, UnconfirmedRequest):
            self._said(Wanted(told.instance, npdu.source), origin, i_am)

    def _said(self, wanted: Wanted, origin: bytes, i_am: UnconfirmedRequest) -> None:
        search, bound = self._searches.get(wanted), self._bound.get(wanted)
        if search is not None and len(search.nodes) < _MOST_NODES:
            search.nodes[origin] = i_am
            search.heard.set()
        if bound is not None and bound != origin:
            del self._bound[wanted]
            self._doubted(bound, wanted.address)

    def close(self) -> None:
        """Look for nobody any more."""
        for search in self._searches.values():
            if search.found is not None:
                search.found.cancel()
