"""One contract for BACnet/IP and BACnet/SC, held by the simulator and by devices that nobody here wrote."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from bacpypes3.comm import bind
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address

from broker.adapters.simulators.bacnet_device import BacnetDeviceSimulator
from broker.model.operation import BacnetProperty, Operation, Relayed, Request
from broker.model.place import BacnetAddress, Budget, Device, Point, Protocol
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay, BacnetScWay, BacnetWay, Segmentation
from broker.wire.bacnet.bvlc import mac_of
from broker.wire.bacnet.cov import CovNotification, encode_cov_subscription
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.meaning import compose_read, compose_write, errors_of
from broker.wire.bacnet.property_requests import (
    Write,
    encode_read_property_multiple,
    encode_write_property,
    encode_write_property_multiple,
)
from broker.wire.bacnet.references import reference_of
from broker.wire.bacnet.values import encode_value, text_of_value
from broker.wire.meaning import compose_look, compose_undo, values_of
from tests.contract.sc_field import field_pki, foreign_device, foreign_hub, identity
from tests.integration.upstreams.asking import asked, upstreams

INSTANCE = 1001
SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
TEMPERATURE = Point("temperature", BacnetAddress("analog-input", 1))
OCCUPIED = Point(
    "occupied", BacnetAddress("binary-value", 1, priority_lowest=8, priority_highest=16), action=Action.CONTROL
)
UNITS = Point("units", BacnetAddress("analog-value", 1, "units"))
NAME = Point("name", BacnetAddress("device", INSTANCE, "object-name"))
SLOT_16 = Point("slot-16", BacnetAddress("analog-value", 1, "priority-array", 16))
MISSING = Point("missing", BacnetAddress("analog-value", 77))
UNKNOWN_PROPERTY = Point("unknown", BacnetAddress("analog-value", 1, "setpoint"))


@asynccontextmanager
async def simulated() -> AsyncIterator[BacnetIpWay]:
    device = BacnetDeviceSimulator(INSTANCE)
    yield BacnetIpWay("127.0.0.1", await device.start(), INSTANCE)
    await device.stop()


@asynccontextmanager
async def rusty() -> AsyncIterator[BacnetIpWay]:
    """A device in Rust."""
    rusty_bacnet = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    port = free_port()
    server = rusty_bacnet.BACnetServer(
        INSTANCE,
        f"simulated-{INSTANCE}",
        interface="127.0.0.1",
        port=port,
        segmentation_supported=rusty_bacnet.Segmentation.BOTH,
        rpm_max_result_elements=1000,
        rpm_max_service_ack_bytes=65536,
    )
    server.add_analog_value(1, "setpoint")
    server.add_analog_input(1, "temperature", present_value=21.0)
    server.add_binary_value(1, "occupied")
    await server.start()
    yield BacnetIpWay("127.0.0.1", port, INSTANCE)
    await server.stop()


@asynccontextmanager
async def routed() -> AsyncIterator[BacnetIpWay]:
    """The simulator on a network of its own, behind a router made of what bacpypes3 has for one."""
    access, element, links, ports = NetworkServiceAccessPoint(), NetworkServiceElement(), [], []
    bind(element, access)
    async with simulated() as behind:
        for network in (100, 200):
            ports.append(free_port())
            address = IPv4Address(f"127.0.0.1:{ports[-1]}")
            links.append(NormalLinkLayer(address))
            access.bind(links[-1], net=network, address=address)
            await asyncio.gather(*links[-1].server._transport_tasks)
        yield replace(behind, port=ports[0], network=200, address=mac_of(behind.host, behind.port))
        for link in links:
            link.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def rusty_sc() -> AsyncIterator[BacnetWay]:
    """The same at a hub in Rust."""
    pki = field_pki()
    async with foreign_hub(pki) as hub:
        url = await hub.url()
        async with foreign_device(pki, url, INSTANCE):
            yield BacnetScWay(url, INSTANCE)


DEVICES = {
    "BacnetDeviceSimulator": simulated,
    "rusty-bacnet": rusty,
    "behind a router": routed,
    "rusty-bacnet over BACnet/SC": rusty_sc,
}
every_device = pytest.mark.parametrize("name", DEVICES)
Ask = Callable[[Request], Awaitable[Relayed]]


DEVICE = Device(
    "plant",
    "vav-1",
    "hvac",
    Protocol.BACNET,
    BacnetIpWay("127.0.0.1", 0, INSTANCE),
    budget=Budget(response_timeout_seconds=5.0),
)


def with_device(name: str, test: Callable[[Ask, Device], Awaitable[None]], **way: object) -> None:
    async def play() -> None:
        async with DEVICES[name]() as there:
            device = replace(DEVICE, way=replace(there, **way))  # type: ignore[arg-type]
            async with upstreams(device, sc_identity=identity(field_pki())) as ways:
                await test(lambda request: asked(ways.upstream(device.key), request), device)
                (state,) = ways.states()
                assert (state.faults, state.timeouts, state.in_flight) == (0, 0, 0)

    asyncio.run(play())


async def read(ask: Ask, device: Device, *points: Point) -> dict[str, str]:
    (request,) = compose_read(device, points)
    relayed = await ask(request)
    assert relayed.result == Result.DONE, relayed
    return dict(values_of(device, request, relayed.payload))


@every_device
def test_values_come_as_decimals_and_words(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        assert await read(ask, device, TEMPERATURE) == {"temperature": "21"}
        several = await read(ask, device, TEMPERATURE, UNITS, NAME, SLOT_16)
        assert several == {
            "temperature": "21",
            "units": "degrees-celsius",
            "name": f"simulated-{INSTANCE}",
            "slot-16": "null",
        }

    with_device(name, test)


@every_device
def test_one_unknown_property_among_several_is_an_error_of_its_own(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        (request,) = compose_read(device, (TEMPERATURE, UNKNOWN_PROPERTY, MISSING))
        relayed = await ask(request)
        assert relayed.result == Result.DONE
        assert values_of(device, request, relayed.payload) == (("temperature", "21"),)
        assert errors_of(request, relayed.payload) == (
            ("unknown", "property/unknown-property"),
            ("missing", "object/unknown-object"),
        )

    with_device(name, test)


@every_device
def test_a_write_at_a_priority_holds_until_it_is_released(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        assert (await ask(compose_write(device, SETPOINT, "19.5"))).result == Result.DONE
        assert await read(ask, device, SETPOINT, SLOT_16) == {"setpoint": "19.5", "slot-16": "19.5"}
        assert (await ask(compose_write(device, SETPOINT, "20.3", 10))).result == Result.DONE
        assert await read(ask, device, SETPOINT) == {"setpoint": "20.3"}
        assert (await ask(compose_write(device, SETPOINT, None, 10))).result == Result.DONE
        assert await read(ask, device, SETPOINT) == {"setpoint": "19.5"}

    with_device(name, test)


@every_device
@pytest.mark.parametrize(("commanded", "value"), [(SETPOINT, "20.5"), (OCCUPIED, "inactive")])
def test_one_priority_is_looked_at_in_the_words_in_which_it_is_written(name: str, commanded: Point, value: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        async def held(priority: int) -> str:
            look = compose_look(device, commanded, priority)
            relayed = await ask(look)
            assert relayed.result == Result.DONE
            return dict(values_of(device, look, relayed.payload))[commanded.id]

        assert await held(10) == "null"
        assert (await ask(compose_write(device, commanded, value, 10))).result == Result.DONE
        assert await held(10) == value
        assert await held(9) == "null"
        assert (await ask(compose_undo(device, commanded, None, 10))).result == Result.DONE
        assert await held(10) == "null"

    with_device(name, test)


@every_device
def test_a_binary_value_is_commanded_by_word_or_truth(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        for value, word in (("active", "active"), (False, "inactive"), ("true", "active")):
            relayed = await ask(compose_write(device, OCCUPIED, value, 9))
            assert (relayed.result, relayed.payload) == (Result.DONE, bytes((0x20, 15)))
            assert await read(ask, device, OCCUPIED) == {"occupied": word}

    with_device(name, test)


@every_device
def test_the_devices_refusals_keep_its_words(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        for request, code in (
            (compose_read(device, (MISSING,))[0], "object/unknown-object"),
            (compose_read(device, (UNKNOWN_PROPERTY,))[0], "property/unknown-property"),
            (compose_write(device, TEMPERATURE, "30"), "property/write-access-denied"),
        ):
            relayed = await ask(request)
            assert (relayed.result, relayed.code) == (Result.DEVICE_REFUSED, code)

    with_device(name, test)


@every_device
def test_priority_6_is_never_sent(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        reserved = await ask(compose_write(device, SETPOINT, "19.5", 6))
        assert (reserved.result, reserved.code) == (Result.NOT_SENT, Reason.PRIORITY_NOT_ALLOWED)
        at = reference_of(BacnetProperty("analog-value", 1, "priority-array", 6))
        slot = interpret(device, bytes((0x00, 15)) + encode_write_property(Write(at, bytes.fromhex("4441a00000"))))
        element = await ask(slot)
        assert (element.result, element.code) == (Result.NOT_SENT, Reason.PRIORITY_NOT_ALLOWED)
        assert await read(ask, device, TEMPERATURE) == {"temperature": "21"}

    with_device(name, test)


def read_often(points: int) -> Request:
    """One request that reads the device's name so many times."""
    operation = compose_read(DEVICE, (NAME, NAME))[0].operations[0]
    reference = reference_of(BacnetProperty("device", INSTANCE, "object-name"))
    payload = bytes((0x00, 14)) + encode_read_property_multiple([reference] * points)
    return Request((operation,) * points, payload, "")


@every_device
def test_what_does_not_fit_one_message_comes_and_goes_in_segments(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        assert len(read_often(800).payload) > 1476
        for points in (200, 800):
            request = read_often(points)
            relayed = await ask(request)
            assert (relayed.result, relayed.code) == (Result.DONE, "")
            assert len(relayed.payload) > points * 20
            assert values_of(device, request, relayed.payload) == ((NAME.id, f"simulated-{INSTANCE}"),) * points
        assert await read(ask, device, TEMPERATURE) == {"temperature": "21"}

    with_device(name, test)


@every_device
def test_a_request_that_a_device_does_not_take_is_not_sent(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        relayed = await ask(read_often(800))
        assert (relayed.result, relayed.code) == (Result.NOT_SENT, "request_too_long")
        assert await read(ask, device, TEMPERATURE) == {"temperature": "21"}

    with_device(name, test, segmentation=Segmentation.TRANSMIT)


@every_device
def test_callers_at_once_each_get_their_own_answer(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        points = (TEMPERATURE, UNITS, NAME) * 8
        answers = await asyncio.gather(*(read(ask, device, point) for point in points))
        assert [list(answer) for answer in answers] == [[point.id] for point in points]

    with_device(name, test)


def write_several(*writes: tuple[str, int, str]) -> Request:
    """One WritePropertyMultiple at priority 9 of present values: object type, instance, value."""
    operations, encoded = [], []
    for kind, instance, text in writes:
        at = BacnetProperty(kind, instance, "present-value")
        operations.append(Operation("bacnet", Action.ADJUST, "write-property-multiple", at, priority=9))
        encoded.append(Write(reference_of(at), encode_value(kind, "present-value", None, text), 9))
    return Request(tuple(operations), bytes((0x00, 16)) + encode_write_property_multiple(encoded), "")


@every_device
def test_several_writes_of_one_request_are_done(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        relayed = await ask(write_several(("analog-value", 1, "18.5"), ("binary-value", 1, "active")))
        assert (relayed.result, relayed.each) == (Result.DONE, ())
        assert await read(ask, device, SETPOINT, OCCUPIED) == {"setpoint": "18.5", "occupied": "active"}

    with_device(name, test)


def test_of_several_writes_of_which_one_fails_it_is_known_what_became_of_each() -> None:
    """Not with bacpypes3: a device made of it falls silent where it should say which write failed."""

    async def test(ask: Ask, device: Device) -> None:
        await ask(write_several(("binary-value", 1, "active")))
        failing = ("analog-value", 77, "1")
        relayed = await ask(write_several(("analog-value", 1, "19.5"), failing, ("binary-value", 1, "inactive")))
        assert (relayed.result, relayed.code) == (Result.DEVICE_REFUSED, "object/unknown-object")
        assert list(relayed.each) == [
            (Result.DONE, ""),
            (Result.DEVICE_REFUSED, "object/unknown-object"),
            (Result.UNATTEMPTED, ""),
        ]
        assert await read(ask, device, SETPOINT, OCCUPIED) == {"setpoint": "19.5", "occupied": "active"}

    with_device("rusty-bacnet", test)


Told = Callable[[CovNotification], bool]


def with_notifications(
    name: str, test: Callable[[Ask, Device, Callable[[Told | None], None]], Awaitable[None]]
) -> None:
    async def play() -> None:
        async with DEVICES[name]() as there:
            device = replace(DEVICE, way=there)
            async with upstreams(device, sc_identity=identity(field_pki())) as ways:
                lane = ways.upstream(device.key)
                await test(lambda request: asked(lane, request), device, lane.notifications)

    asyncio.run(play())


def subscribing(
    process: int, confirmed: bool, lifetime: int | None, place: tuple[str, int] = ("analog-value", 1)
) -> Request:
    at = BacnetProperty(*place, None)
    payload = encode_cov_subscription(process, at, confirmed=confirmed, lifetime_seconds=lifetime)
    return Request((Operation("bacnet", Action.VIEW, "subscribe-cov", at),), payload, "")


def present_value(notification: CovNotification) -> str:
    (item,) = [item for item in notification.items if item.property == "present-value"]
    return text_of_value(item.object_type, "present-value", None, item.value or ())


@every_device
@pytest.mark.parametrize("confirmed", [False, True])
def test_what_is_subscribed_is_told_until_it_is_cancelled(name: str, confirmed: bool) -> None:
    async def test(ask: Ask, device: Device, notifications: Callable[[Told | None], None]) -> None:
        told: asyncio.Queue[CovNotification] = asyncio.Queue()

        def tell(notification: CovNotification) -> bool:
            told.put_nowait(notification)
            return True

        notifications(tell)
        assert (await ask(compose_write(device, SETPOINT, "19.5", 9))).result == Result.DONE
        assert (await ask(subscribing(77, confirmed, 300))).result == Result.DONE
        heard = await asyncio.wait_for(told.get(), 10)
        assert (heard.process, heard.device_instance, heard.confirmed) == (77, INSTANCE, confirmed)
        assert (heard.object_type, heard.instance, present_value(heard)) == ("analog-value", 1, "19.5")
        assert 0 < heard.remaining_seconds <= 300
        assert (await ask(compose_write(device, SETPOINT, "23.5", 9))).result == Result.DONE
        assert present_value(await asyncio.wait_for(told.get(), 10)) == "23.5"
        assert (await ask(subscribing(77, confirmed, None))).result == Result.DONE
        assert (await ask(compose_write(device, SETPOINT, None, 9))).result == Result.DONE
        await read(ask, device, SETPOINT)
        assert told.empty()
        notifications(None)

    with_notifications(name, test)


def test_who_subscribed_to_each_object_of_the_simulator_is_told_without_reading_and_can_still_read() -> None:
    """What is measured follows the setpoint by itself, and a subscription to it is no burden to who reads."""

    async def test(ask: Ask, device: Device, notifications: Callable[[Told | None], None]) -> None:
        told: dict[tuple[str, int], asyncio.Queue[str]] = {}
        for place in (("analog-value", 1), ("binary-value", 1), ("analog-input", 1), ("analog-input", 2)):
            told[place] = asyncio.Queue()

        def tell(notification: CovNotification) -> bool:
            told[notification.object_type, notification.instance].put_nowait(present_value(notification))
            return True

        async def hear(*place: str | int) -> str:
            return await asyncio.wait_for(told[place].get(), 20)  # type: ignore[index]

        notifications(tell)
        for process, place in enumerate(told, 1):
            assert (await ask(subscribing(process, False, 300, place))).result == Result.DONE
        assert [await hear(*place) for place in told] == ["21", "active", "21", "120.5"]
        assert (await ask(compose_write(device, SETPOINT, "23.5", 9))).result == Result.DONE
        assert (await ask(compose_write(device, OCCUPIED, "inactive", 9))).result == Result.DONE
        assert (await hear("analog-value", 1), await hear("binary-value", 1)) == ("23.5", "inactive")
        assert 21 < float(await hear("analog-input", 1)) <= 23.5
        assert float((await read(ask, device, TEMPERATURE))["temperature"]) > 21
        assert await read(ask, device, SETPOINT, OCCUPIED) == {"setpoint": "23.5", "occupied": "inactive"}
        notifications(None)

    with_notifications("BacnetDeviceSimulator", test)
