"""Devices for a look at the field, in a thread of their own beside the command; and an ear on what is sent to them."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bacpypes3.ipv4.app import BBMDApplication, NormalApplication
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import IPv4Address

from broker.wire.bacnet.apdu import ConfirmedRequest, UnconfirmedRequest, decode_apdu
from broker.wire.bacnet.bvlc import decode_bvlc
from broker.wire.bacnet.npdu import decode_npdu

READ_PROPERTY, READ_PROPERTY_MULTIPLE, WHO_IS = 12, 14, 8
VENDOR = 999


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*devices: AbstractAsyncContextManager[Any]) -> Iterator[list[Any]]:
    """The devices, served by a loop of their own while the test runs the command."""
    loop = asyncio.SelectorEventLoop()
    done: asyncio.Event
    ready = threading.Event()
    entered: list[Any] = []
    failure: list[BaseException] = []

    async def serve() -> None:
        nonlocal done
        done = asyncio.Event()
        async with AsyncExitStack() as stack:
            try:
                for device in devices:
                    entered.append(await stack.enter_async_context(device))
            except BaseException as error:
                failure.append(error)
                raise
            finally:
                ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        if failure:
            raise failure[0]
        yield entered
    finally:
        if not failure:
            loop.call_soon_threadsafe(lambda: done.set())
        thread.join(10)
        loop.close()


@dataclass
class Watched:
    """A device behind an ear: `services` are those that were sent to it, confirmed ones as `(True, service)`."""

    port: int = 0
    services: list[tuple[bool, int]] = field(default_factory=list)
    datagrams: int = 0


class _Ear(asyncio.DatagramProtocol):
    """Passes datagrams on to a device and back, and notes them."""

    def __init__(self, watched: Watched, device: tuple[str, int]) -> None:
        self._watched = watched
        self._device = device
        self._caller: Any = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr == self._device:
            self._transport.sendto(data, self._caller)
            return
        self._caller = addr
        self._watched.datagrams += 1
        note(self._watched.services, data)
        self._transport.sendto(data, self._device)


def note(services: list[tuple[bool, int]], datagram: bytes) -> None:
    """The service that a datagram asks for; messages of the network layer ask for none."""
    npdu = decode_npdu(decode_bvlc(datagram).payload)
    if npdu.message is None:
        apdu = decode_apdu(npdu.payload)
        assert isinstance(apdu, ConfirmedRequest | UnconfirmedRequest), apdu
        services.append((isinstance(apdu, ConfirmedRequest), apdu.service))


def only_reads(services: list[tuple[bool, int]]) -> bool:
    """Whether something was sent, and nothing that could change anything."""
    return bool(services) and set(services) <= {(False, WHO_IS), (True, READ_PROPERTY), (True, READ_PROPERTY_MULTIPLE)}


@asynccontextmanager
async def watched(device: AbstractAsyncContextManager[int]) -> AsyncIterator[Watched]:
    """A device on 127.0.0.1 behind an ear."""
    async with device as port:
        found = Watched()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Ear(found, ("127.0.0.1", port)), ("127.0.0.1", 0)
        )
        found.port = transport.get_extra_info("sockname")[1]
        yield found
        transport.close()


@asynccontextmanager
async def bacpypes_device(
    instance: int, name: str, objects: Callable[[], list[Any]] = list, **device: Any
) -> AsyncIterator[int]:
    """A device of bacpypes3."""
    port = free_udp_port()
    own = DeviceObject(objectIdentifier=("device", instance), objectName=name, vendorIdentifier=VENDOR, **device)
    application = NormalApplication(own, IPv4Address(f"127.0.0.1:{port}"))
    await asyncio.gather(*application.normal.server._transport_tasks)
    for each in objects():
        application.add_object(each)
    yield port
    application.close()


@asynccontextmanager
async def bbmd(instance: int, name: str) -> AsyncIterator[tuple[int, list[Any]]]:
    """A BBMD of bacpypes3 that takes foreign devices, and is a device itself: its port, and its table of them."""
    port = free_udp_port()
    own = DeviceObject(objectIdentifier=("device", instance), objectName=name, vendorIdentifier=VENDOR)
    application = BBMDApplication(own, IPv4Address(f"127.0.0.1:{port}"))
    await asyncio.gather(*application.server._transport_tasks)
    yield port, application.bbmd.bbmdFDT
    application.close()


@asynccontextmanager
async def rusty_device(instance: int, name: str) -> AsyncIterator[int]:
    """A device in Rust."""
    import rusty_bacnet

    port = free_udp_port()
    server = rusty_bacnet.BACnetServer(instance, name, interface="127.0.0.1", port=port)
    server.add_analog_value(1, "Zone Setpoint", units=62)
    server.add_analog_value(2, "Fixed", units=95, present_value_access="read_only")
    server.add_analog_input(1, "Zone Temp", present_value=21.0)
    server.add_analog_output(1, "Valve", units=98)
    server.add_binary_output(1, "Fan")
    server.add_multistate_value(1, "Mode", 3)
    await server.start()
    yield port
    await server.stop()
