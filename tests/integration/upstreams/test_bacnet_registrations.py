"""The broker is a foreign device at a BBMD of OT that nobody here wrote, and hears through it only what is news."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from bacpypes3.ipv4.link import BBMDLinkLayer
from bacpypes3.pdu import IPv4Address

from broker.adapters.bacnet_peers import Peer, Whereabouts
from broker.adapters.bacnet_port import BacnetIpPort, OwnPlace
from broker.adapters.bacnet_ports import BacnetIpPorts
from broker.adapters.bacnet_registrations import BacnetRegistrations
from broker.adapters.clock import SystemClock
from broker.model.place import BacnetNetwork, Bbmd, Device, Protocol
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.apdu import ConfirmedRequest, UnconfirmedRequest
from broker.wire.bacnet.bvlc import encode_forwarded, encode_register, encode_result, mac_of
from broker.wire.bacnet.npdu import Address, Npdu, encode_npdu

HERE = "127.0.0.1"
I_AM = bytes.fromhex("1000c4020003e922059191032203e7")
SIMPLE_ACK = bytes.fromhex("20010f")
EVERYWHERE = Address(65535, b"")


class Station(asyncio.DatagramProtocol):
    """A device; what it is sent is in `heard`, and where that came from in `places`."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.places: list[tuple[str, int]] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.put_nowait(data)
        self.places.append(addr)


async def station() -> tuple[asyncio.DatagramTransport, Station, tuple[str, int]]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Station, local_addr=(HERE, 0))
    return transport, protocol, transport.get_extra_info("sockname")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind((HERE, 0))
        return int(found.getsockname()[1])


def answered(port: BacnetIpPort) -> asyncio.Event:
    """Set once a BBMD has said what became of a registration."""
    event, take = asyncio.Event(), port.result
    assert take is not None

    def result(place: tuple[str, int], payload: bytes) -> None:
        take(place, payload)
        event.set()

    port.result = result
    return event


def run(story: Callable[[], Any]) -> None:
    async def timed() -> None:
        async with asyncio.timeout(30):
            await story()

    asyncio.run(timed())


def test_it_registers_and_hears_what_a_device_broadcasts_but_no_reply_in_its_name() -> None:
    async def story() -> None:
        at = (HERE, free_port())
        bbmd = BBMDLinkLayer(IPv4Address(f"{HERE}:{at[1]}"))
        await asyncio.gather(*bbmd.server._transport_tasks)
        port = BacnetIpPort(SystemClock(), OwnPlace(HERE))
        registrations = BacnetRegistrations(port)
        done = answered(port)
        registrations.replace([Bbmd(*at, 60)])
        await done.wait()
        assert registrations.states() == ((f"{HERE}:{at[1]}", True),)
        assert [entry.fdTTL for entry in bbmd.bbmdFDT] == [60]
        transport, _, place = await station()
        heard: asyncio.Queue[UnconfirmedRequest | ConfirmedRequest] = asyncio.Queue()
        peer: Peer = port.peer(Whereabouts(place))
        peer.requests = lambda _, apdu: heard.put_nowait(apdu)
        for apdu in (SIMPLE_ACK, I_AM):  # as another BBMD forwards what the device has broadcast
            npdu = encode_npdu(Npdu(apdu, destination=EVERYWHERE))
            transport.sendto(encode_forwarded(mac_of(*place), npdu), at)
        assert await heard.get() == UnconfirmedRequest(0, I_AM[2:])
        assert heard.empty()
        registrations.replace(())
        assert registrations.states() == ()
        transport.close()
        bbmd.close()

    run(story)


@pytest.mark.parametrize(
    ("segments", "named", "expected"),
    [
        (("hvac", "hvac"), "", "127.0.0.2"),  # all devices of the site are there
        (("hvac", "lab"), "", "127.0.0.1"),
        (("hvac", "lab"), "hvac", "127.0.0.2"),
        (("hvac", "hvac"), "lab", "127.0.0.1"),
    ],
)
def test_it_registers_from_the_port_of_the_segment_that_the_bbmd_is_in(
    segments: tuple[str, str], named: str, expected: str
) -> None:
    async def story() -> None:
        transport, bbmd, at = await station()
        devices = [
            Device("plant", f"d{number}", segment, Protocol.BACNET, BacnetIpWay(HERE, 1, number))
            for number, segment in enumerate(segments)
        ]
        other = Device("annex", "far", "lab", Protocol.BACNET, BacnetIpWay(HERE, 1, 9))
        ports = BacnetIpPorts(SystemClock(), OwnPlace(HERE), {"plant/hvac": OwnPlace("127.0.0.2")})
        ports.register([BacnetNetwork("plant", 7, (Bbmd(*at, 300, named),))], [*devices, other])
        await bbmd.heard.get()
        assert bbmd.places[0][0] == expected
        await asyncio.sleep(0.05)
        assert bbmd.heard.empty()
        ports.register((), ())
        transport.close()

    run(story)


def test_a_refusal_is_known_and_what_others_say_of_it_is_not_believed() -> None:
    async def story() -> None:
        transport, bbmd, at = await station()
        port = BacnetIpPort(SystemClock(), OwnPlace(HERE))
        registrations = BacnetRegistrations(port)
        done = answered(port)
        registrations.replace([Bbmd(*at, 300)])
        assert (await bbmd.heard.get()) == encode_register(300)
        stranger, _, _ = await station()
        stranger.sendto(encode_result(0), port.address)
        transport.sendto(encode_result(0x30), port.address)
        await done.wait()
        assert registrations.states()[0][1] is False
        registrations.replace(())
        transport.close()
        stranger.close()

    run(story)


def test_it_is_renewed_after_half_of_its_time_and_tried_again_sooner_while_there_is_no_answer() -> None:
    async def story() -> None:
        delays: list[float] = []
        loop = asyncio.get_running_loop()
        later = loop.call_later
        loop.call_later = lambda delay, *about: delays.append(delay) or later(delay, *about)  # type: ignore[method-assign]
        transport, bbmd, at = await station()
        port = BacnetIpPort(SystemClock(), OwnPlace(HERE))
        registrations = BacnetRegistrations(port)
        registrations.replace([Bbmd(*at, 300)])
        registrations.replace([Bbmd(*at, 300)])
        await bbmd.heard.get()
        assert delays[-1:] == [10.0]
        done = answered(port)
        transport.sendto(encode_result(0), port.address)
        await done.wait()
        assert delays[-1:] == [150.0]
        assert bbmd.heard.empty()
        registrations.replace(())
        transport.close()

    run(story)
