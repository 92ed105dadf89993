"""What a client and a device in Rust say to each other is understood in both directions, and written down alike."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from broker.wire.bacnet.acknowledgements import SIMPLE, acknowledged
from broker.wire.bacnet.apdu import ComplexAck, ConfirmedRequest, ErrorPdu, SimpleAck, UnconfirmedRequest, decode_apdu
from broker.wire.bacnet.bvlc import decode_bvlc
from broker.wire.bacnet.device_errors import decode_refusal
from broker.wire.bacnet.npdu import decode_npdu
from broker.wire.bacnet.replies import (
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    encode_read_property_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.services import decode_confirmed, decode_unconfirmed

INSTANCE = 1001
rusty = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
Heard = list[tuple[str, bytes]]


class Wire(asyncio.DatagramProtocol):
    """Passes datagrams between a client and a device, and keeps them."""

    def __init__(self, device: tuple[str, int], heard: Heard) -> None:
        self._device = device
        self._client: tuple[str, int] | None = None
        self._heard = heard

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        from_device = addr == self._device
        self._heard.append(("device" if from_device else "client", data))
        if not from_device:
            self._client = addr
        to = self._client if from_device else self._device
        if to is not None:
            self._transport.sendto(data, to)


async def conversation(talk: Callable[[Any, str], Awaitable[None]]) -> Heard:
    heard: Heard = []
    loop = asyncio.get_running_loop()
    server = rusty.BACnetServer(INSTANCE, "plant", interface="127.0.0.1", port=0)
    server.add_analog_value(1, "setpoint")
    server.add_analog_input(1, "temperature", present_value=21.0)
    server.add_binary_value(1, "occupied")
    server.add_file(1, "program", "config")
    server.add_notification_class(1, "alarms")
    server.add_trend_log(1, "trend")
    await server.start()
    host, port = str(await _address(server)).rsplit(":", 1)
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Wire((host, int(port)), heard), local_addr=("127.0.0.1", 0)
    )
    place = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
    try:
        async with rusty.BACnetClient("127.0.0.1", 0) as client:
            await talk(client, place)
    finally:
        transport.close()
        await server.stop()
    return heard


async def _address(server: Any) -> str:
    found = server.local_address()
    return await found if hasattr(found, "__await__") else found


async def ask_everything(client: Any, device: str) -> None:
    """One call of each service; what the device answers is not the point."""
    o, p, v = rusty.ObjectIdentifier, rusty.PropertyIdentifier, rusty.PropertyValue
    kind = rusty.ObjectType
    setpoint, plant = o(kind.ANALOG_VALUE, 1), o(kind.DEVICE, INSTANCE)
    present, units, array = p.PRESENT_VALUE, p.UNITS, p.PRIORITY_ARRAY
    stamp = rusty.BACnetTimeStamp.sequence_number(7)
    calls: list[Callable[[], Any]] = [
        lambda: client.read_property(device, setpoint, present),
        lambda: client.read_property(device, setpoint, array),
        lambda: client.read_property(device, setpoint, array, 8),
        lambda: client.read_property(device, plant, p.OBJECT_LIST),
        lambda: client.read_property(device, o(kind.ANALOG_VALUE, 9), present),
        lambda: client.read_property_multiple(
            device, [(setpoint, [(present, None), (units, None)]), (plant, [(p.ALL, None)])]
        ),
        lambda: client.write_property(device, setpoint, present, v.real(19.5), 8),
        lambda: client.write_property(device, setpoint, present, v.null(), 8),
        lambda: client.write_property(device, o(kind.ANALOG_INPUT, 1), present, v.real(19.5)),
        lambda: client.write_property_multiple(
            device,
            [
                (setpoint, [(present, v.real(20.5), 9, None)]),
                (o(kind.ANALOG_INPUT, 1), [(present, v.real(1.5), None, None)]),
            ],
        ),
        lambda: client.subscribe_cov(device, 18, setpoint, True, 60),
        lambda: client.unsubscribe_cov(device, 18, setpoint),
        lambda: client.subscribe_cov_property_multiple(
            device, 19, [(setpoint, [(present, None, 0.5, True)])], False, 5, 60
        ),
        lambda: client.subscribe_cov_property_multiple(device, 19, [], False),
        lambda: client.read_range(device, o(kind.TREND_LOG, 1), p.LOG_BUFFER),
        lambda: client.read_range(device, o(kind.TREND_LOG, 1), p.LOG_BUFFER, None, "position", 1, None, 10),
        lambda: client.get_alarm_summary(device),
        lambda: client.get_event_information(device),
        lambda: client.acknowledge_alarm_request(device, 1, setpoint, rusty.EventState.NORMAL, stamp, "jane", stamp),
        lambda: client.atomic_read_file(device, o(kind.FILE, 1), "stream", 0, 100),
        lambda: client.atomic_write_file(device, o(kind.FILE, 1), "stream", 0, b"abc"),
        lambda: client.create_object(device, kind.ANALOG_VALUE, [(present, v.real(1.5), None, None)]),
        lambda: client.delete_object(device, o(kind.ANALOG_VALUE, 77)),
        lambda: client.life_safety_operation(device, 1, "jane", rusty.LifeSafetyOperation.SILENCE),
        lambda: client.confirmed_text_message(device, plant, rusty.MessagePriority.NORMAL, "hello", "numeric", 3),
        lambda: client.confirmed_private_transfer(device, 999, 7),
        lambda: client.device_communication_control(device, rusty.EnableDisable.ENABLE, None, "s3cret!"),
        lambda: client.reinitialize_device(device, rusty.ReinitializedState.WARMSTART, "s3cret!"),
        lambda: client.time_synchronization(device, (2026, 11, 28, 6), (8, 30, 0, 0)),
        lambda: client.utc_time_synchronization(device, (2026, 11, 28, 6), (8, 30, 0, 0)),
        lambda: client.who_is_directed(device, 0, 4194303),
    ]
    for call in calls:
        with contextlib.suppress(rusty.BacnetError):
            await asyncio.wait_for(call(), 5)


def test_a_client_and_a_device_in_rust_are_understood_in_both_directions() -> None:
    heard = asyncio.run(conversation(ask_everything))
    asked: dict[int, tuple[int, bytes]] = {}
    met: set[tuple[str, int]] = set()
    for who, datagram in heard:
        npdu = decode_npdu(decode_bvlc(datagram).payload)
        apdu = decode_apdu(npdu.payload)
        if isinstance(apdu, ConfirmedRequest):
            asked[apdu.invoke] = (apdu.service, apdu.parameters)
            assert decode_confirmed(apdu.service, apdu.parameters).octets == apdu.parameters
            met.add(("request", apdu.service))
        elif isinstance(apdu, UnconfirmedRequest):
            assert decode_unconfirmed(apdu.service, apdu.parameters).octets == apdu.parameters
            met.add(("unconfirmed", apdu.service))
        elif isinstance(apdu, ComplexAck):
            assert (who, asked[apdu.invoke][0]) == ("device", apdu.service)
            assert brought(*asked[apdu.invoke], apdu.parameters) == apdu.parameters
            met.add(("ack", apdu.service))
        elif isinstance(apdu, ErrorPdu):
            assert decode_refusal(apdu.service, apdu.parameters).octets == apdu.parameters
            met.add(("error", apdu.service))
        elif isinstance(apdu, SimpleAck):
            assert apdu.service in SIMPLE
            met.add(("ack", apdu.service))
    services = {3, 5, 6, 7, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 26, 27, 29, 30, 0}
    assert {number for kind, number in met if kind == "request"} >= services
    assert {number for kind, number in met if kind == "unconfirmed"} >= {6, 8, 9}
    assert {number for kind, number in met if kind == "ack"} >= {3, 5, 6, 12, 14, 15, 26, 29}
    assert {number for kind, number in met if kind == "error"} >= {12, 15, 16}


def brought(service: int, asked: bytes, parameters: bytes) -> bytes:
    if service == 12:
        return encode_read_property_ack(decode_read_property_ack(parameters))
    if service == 14:
        return encode_read_property_multiple_ack(decode_read_property_multiple_ack(parameters))
    return acknowledged(decode_confirmed(service, asked), parameters)
