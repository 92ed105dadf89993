"""Long requests and replies between our segmentation and stacks that nobody here wrote, in each of the four roles."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest
from bacpypes3.apdu import ReadPropertyMultipleRequest
from bacpypes3.basetypes import PropertyReference, ReadAccessSpecification, Segmentation
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.analog import AnalogInputObject
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import Address, IPv4Address
from bacpypes3.primitivedata import ObjectIdentifier

from broker.wire.bacnet.apdu import (
    Apdu,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Kind,
    SegmentAck,
    bare,
    decode_apdu,
    dressed,
    encode_apdu,
)
from broker.wire.bacnet.bvlc import Function, decode_bvlc, encode_bvlc
from broker.wire.bacnet.npdu import Npdu, decode_npdu, encode_npdu
from broker.wire.bacnet.replies import decode_read_property_multiple_ack
from broker.wire.bacnet.segmentation import USUAL_LIMITS, SegmentLimits, SegmentReceiver, SegmentSender, fits
from tests.end_to_end.peers import npm_package, program

INSTANCE, OBJECTS = 1001, 60
FOUR_AT_ONCE = SegmentLimits(proposed_window=4, window=4)
PRESENT_VALUE, OBJECT_NAME = 85, 77
READ_PROPERTY, READ_MULTIPLE = 12, 14


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def rpm_parameters(objects: int, *properties: int) -> bytes:
    """ReadPropertyMultiple of these properties of analog inputs 1 to `objects` (15.7)."""
    references = b"".join(bytes((0x09, number)) for number in properties)
    inputs = (b"\x0c" + instance.to_bytes(4, "big") for instance in range(1, objects + 1))
    return b"".join(place + b"\x1e" + references + b"\x1f" for place in inputs)


class End(asyncio.DatagramProtocol):
    """One end of one exchange at a time; `answer` makes it a device that replies so to every whole request."""

    def __init__(
        self,
        answer: Callable[[bytes], bytes] | None = None,
        max_apdu: int = 1476,
        limits: SegmentLimits = USUAL_LIMITS,
    ) -> None:
        self._answer, self._max_apdu, self._limits = answer, max_apdu, limits
        self._transport: asyncio.DatagramTransport
        self._sender: SegmentSender | None = None
        self._receiver: SegmentReceiver | None = None
        self.heard: asyncio.Future[Apdu] = asyncio.get_running_loop().create_future()
        self.place: tuple[str, int] | None = None
        self.segments_sent = self.segments_received = 0

    def connection_made(self, transport) -> None:
        self._transport = transport

    def send(self, apdus, place) -> None:
        for apdu in apdus:
            self.segments_sent += getattr(apdu, "segmented", False)
            npdu = Npdu(encode_apdu(apdu), expecting_reply=isinstance(apdu, ConfirmedRequest))
            self._transport.sendto(encode_bvlc(Function.ORIGINAL_UNICAST, encode_npdu(npdu)), place)

    def tell(self, message: ConfirmedRequest | ComplexAck, max_apdu: int, place) -> None:
        if fits(message, max_apdu):
            self.send((message,), place)
            return
        self._sender = SegmentSender(message, max_apdu, None, self._limits)
        self.send(self._sender.start(self._now()), place)
        self._wake(place)

    def _wake(self, place) -> None:
        if self._sender is not None and self._sender.wake_at is not None:
            self.send(self._sender.wake(self._now()), place)
        if self._sender is not None and self._sender.wake_at is not None:
            asyncio.get_running_loop().call_at(self._sender.wake_at, self._wake, place)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def datagram_received(self, data: bytes, addr) -> None:
        apdu = decode_apdu(decode_npdu(decode_bvlc(data).payload).payload)
        match apdu:
            case SegmentAck():
                assert self._sender is not None
                self.send(self._sender.acknowledged(apdu, self._now()), addr)
            case ConfirmedRequest(segmented=True) | ComplexAck(segmented=True):
                self.segments_received += 1
                self._receiver = self._receiver or SegmentReceiver(self._limits)
                self.send(self._receiver.received(apdu, self._now()), addr)
                if self._receiver.whole is not None:
                    self._hear(self._receiver.whole, addr)
            case _:
                self._hear(apdu, addr)

    def _hear(self, apdu: Apdu, place) -> None:
        if self.heard.done():
            return
        self.place = place
        self.heard.set_result(apdu)
        if self._answer is not None and isinstance(apdu, ConfirmedRequest):
            reply = dressed(self._answer(bare(apdu)), apdu.invoke)
            assert isinstance(reply, ComplexAck)
            self.tell(reply, min(apdu.max_apdu, self._max_apdu), place)


async def opened(end: End, port: int = 0) -> End:
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: end, local_addr=("127.0.0.1", port))
    return end


async def asked(
    port: int, request: ConfirmedRequest, max_apdu: int = 1476, limits: SegmentLimits = USUAL_LIMITS
) -> tuple[Apdu, End]:
    end = await opened(End(limits=limits))
    end.tell(request, max_apdu, ("127.0.0.1", port))
    return await asyncio.wait_for(end.heard, 30), end


async def bacpypes_application(port: int, objects: int) -> NormalApplication:
    device = DeviceObject(
        objectIdentifier=("device", INSTANCE),
        objectName="foreign",
        vendorIdentifier=999,
        maxApduLengthAccepted=1024,
        segmentationSupported=Segmentation.segmentedBoth,
        maxSegmentsAccepted=64,
    )
    application = NormalApplication(device, IPv4Address(f"127.0.0.1:{port}"))
    for number in range(1, objects + 1):
        described = AnalogInputObject(
            objectIdentifier=("analog-input", number), objectName=f"input-{number}", presentValue=float(number)
        )
        application.add_object(described)
    await asyncio.gather(*application.normal.server._transport_tasks)
    return application


async def with_bacpypes_device(test: Callable[[int], Awaitable[None]]) -> None:
    port = free_udp_port()
    application = await bacpypes_application(port, OBJECTS)
    try:
        await test(port)
    finally:
        application.close()


async def with_rusty_device(test: Callable[[int], Awaitable[None]]) -> None:
    rusty_bacnet = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")
    port = free_udp_port()
    both = rusty_bacnet.Segmentation.BOTH
    server = rusty_bacnet.BACnetServer(
        INSTANCE, "foreign", interface="127.0.0.1", port=port, segmentation_supported=both
    )
    for number in range(1, OBJECTS + 1):
        server.add_analog_input(number, f"input-{number}", present_value=float(number))
    await server.start()
    try:
        await test(port)
    finally:
        await server.stop()


every_device = pytest.mark.parametrize("with_device", [with_bacpypes_device, with_rusty_device])
every_window = pytest.mark.parametrize("limits", [USUAL_LIMITS, FOUR_AT_ONCE], ids=["usual", "four at once"])


@every_window
@every_device
def test_a_long_reply_of_a_foreign_device_is_the_same_in_segments_and_in_one_piece(with_device, limits) -> None:
    async def test(port: int) -> None:
        parameters = rpm_parameters(40, PRESENT_VALUE)
        request = ConfirmedRequest(1, READ_MULTIPLE, parameters, 1476, 64, True)
        whole, _ = await asked(port, request)
        segmented, end = await asked(port, request._replace(invoke=2, max_apdu=128), limits=limits)
        assert isinstance(whole, ComplexAck) and isinstance(segmented, ComplexAck)
        assert end.segments_received >= len(whole.parameters) // 128 > 3
        assert bare(segmented) == bare(whole)
        assert len(decode_read_property_multiple_ack(segmented.parameters)) == 40

    asyncio.run(with_device(test))


@every_device
def test_a_long_request_reaches_a_foreign_device_whole_and_its_long_reply_us(with_device) -> None:
    async def test(port: int) -> None:
        parameters = rpm_parameters(OBJECTS, PRESENT_VALUE, OBJECT_NAME)
        request = ConfirmedRequest(3, READ_MULTIPLE, parameters, 206, None, True)
        reply, end = await asked(port, request, 50)
        assert isinstance(reply, ComplexAck), reply
        assert end.segments_sent == -(-len(parameters) // 44) > 8
        assert end.segments_received >= 9
        found = decode_read_property_multiple_ack(reply.parameters)
        assert [one.reference.instance for one in found] == [number for number in range(1, OBJECTS + 1) for _ in "12"]
        assert all(one.error is None for one in found)

    asyncio.run(with_device(test))


def object_list_ack(count: int) -> bytes:
    """ReadProperty's acknowledgement of the device's object list: analog inputs 1 to `count` (15.5)."""
    device = (8 << 22 | INSTANCE).to_bytes(4, "big")
    inputs = b"".join(b"\xc4" + number.to_bytes(4, "big") for number in range(1, count + 1))
    return bytes((Kind.COMPLEX_ACK, READ_PROPERTY)) + b"\x0c" + device + b"\x19\x4c\x3e" + inputs + b"\x3f"


@every_window
@pytest.mark.parametrize("max_apdu", [50, 1024])
def test_bacpypes_hears_a_long_reply_of_ours(max_apdu: int, limits: SegmentLimits) -> None:
    async def test() -> None:
        port = free_udp_port()
        end = await opened(End(lambda request: object_list_ack(900), max_apdu, limits), port)
        application = await bacpypes_application(free_udp_port(), 0)
        try:
            place = Address(f"127.0.0.1:{port}")
            found = await application.read_property(place, ObjectIdentifier(("device", INSTANCE)), "object-list")
            assert [int(identifier[1]) for identifier in found] == list(range(1, 901))
            assert end.segments_sent >= 900 * 5 // max_apdu
        finally:
            application.close()

    asyncio.run(test())


def test_rusty_bacnet_hears_a_long_reply_of_ours() -> None:
    rusty_bacnet = pytest.importorskip("rusty_bacnet", reason="needs rusty-bacnet")

    async def test() -> None:
        port = free_udp_port()
        end = await opened(End(lambda request: object_list_ack(900)), port)
        async with rusty_bacnet.BACnetClient("127.0.0.1", free_udp_port()) as client:
            device = rusty_bacnet.ObjectIdentifier(rusty_bacnet.ObjectType.DEVICE, INSTANCE)
            found = await client.read_property(f"127.0.0.1:{port}", device, rusty_bacnet.PropertyIdentifier.OBJECT_LIST)
        assert len(found.value) == 900
        assert end.segments_sent >= 4

    asyncio.run(test())


@every_window
def test_a_client_in_javascript_hears_a_long_reply_of_ours(limits: SegmentLimits) -> None:
    folder = npm_package("@bacnet-js/client")

    async def test() -> None:
        port = free_udp_port()
        end = await opened(End(lambda request: object_list_ack(900), limits=limits), port)
        client = await asyncio.create_subprocess_exec(
            program("node"), folder / "bacnet_object_list.mjs", str(port), str(INSTANCE), stdout=asyncio.subprocess.PIPE
        )
        found, _ = await client.communicate()
        assert json.loads(found) == list(range(1, 901))
        assert end.segments_sent >= 4

    asyncio.run(test())


@every_window
def test_a_long_request_of_bacpypes_reaches_us_whole(limits: SegmentLimits) -> None:
    async def test() -> None:
        port = free_udp_port()
        refusal = bytes.fromhex("500e91029128")
        end = await opened(End(limits=limits), port)
        application = await bacpypes_application(free_udp_port(), 0)
        specifications = [
            ReadAccessSpecification(
                objectIdentifier=("analog-input", number),
                listOfPropertyReferences=[PropertyReference(propertyIdentifier="present-value")],
            )
            for number in range(1, 401)
        ]
        request = ReadPropertyMultipleRequest(
            listOfReadAccessSpecs=specifications, destination=Address(f"127.0.0.1:{port}")
        )
        asking = asyncio.ensure_future(_outcome(application.request(request)))
        try:
            heard = await asyncio.wait_for(end.heard, 30)
            assert isinstance(heard, ConfirmedRequest)
            assert heard.parameters == rpm_parameters(400, PRESENT_VALUE)
            assert end.segments_received > 3
            answer = dressed(refusal, heard.invoke)
            assert isinstance(answer, ErrorPdu)
            end.send((answer,), end.place)
            assert "write-access-denied" in str(await asyncio.wait_for(asking, 30))
        finally:
            application.close()

    asyncio.run(test())


async def _outcome(asking: Awaitable[object]) -> object:
    try:
        return await asking
    except BaseException as error:  # bacpypes3's refusals derive from it
        return error
