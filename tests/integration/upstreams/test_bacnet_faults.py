"""The fault matrix of BACnet/IP: each row has one right result word, every deadline is ours, nothing is sent twice."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from broker.model.operation import Relayed
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.meaning import compose_read, compose_write, errors_of
from broker.wire.bacnet.transaction import VIEW_REPEATS
from tests.integration.upstreams.asking import QUICK, asked, said, upstreams

POINT = Point("setpoint", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
OTHER = Point("other", BacnetAddress("analog-value", 2))
READ, READ_MULTIPLE, WRITE = 12, 14, 15
VALUE = bytes.fromhex("0c0080000119553e4441ac00003f")
BOTH = bytes.fromhex("0c008000011e29554e4441ac00004f1f0c008000021e29554e4441a000004f1f")


def datagram(apdu: bytes, npdu: bytes = b"\x01\x00") -> bytes:
    return b"\x81\x0a" + (len(npdu + apdu) + 4).to_bytes(2, "big") + npdu + apdu


def complex_ack(invoke: int, service: int, parameters: bytes, flags: int = 0) -> bytes:
    return datagram(bytes((0x30 | flags, invoke, service)) + parameters)


def honest_reply(invoke: int, service: int) -> bytes:
    if service == WRITE:
        return datagram(bytes((0x20, invoke, WRITE)))
    return complex_ack(invoke, service, VALUE if service == READ else BOTH)


Reply = Callable[[int, int], bytes]


class ScriptedBacnetDevice(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.seen: list[tuple[int, int]] = []
        self.told: list[bytes] = []
        self.delays: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert data[:2] == b"\x81\x0a" and int.from_bytes(data[2:4], "big") == len(data)
        if data[6] & 0xF0:
            self.told.append(data[6:])
            return
        assert data[4:8] == bytes((1, 4, 2, 0x65)), "expects a reply, in one piece, takes 64 segments of 1476 octets"
        invoke, service = data[8], data[9]
        self.seen.append((invoke, service))
        answer = self.reply(invoke, service)
        send = self.transport.sendto  # type: ignore[attr-defined]
        if answer and self.delays:
            asyncio.get_running_loop().call_later(self.delays.pop(0), send, answer, addr)
        elif answer:
            send(answer, addr)


@asynccontextmanager
async def scripted(reply: Reply) -> AsyncIterator[tuple[ScriptedBacnetDevice, Device]]:
    transport, device = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: ScriptedBacnetDevice(reply), local_addr=("127.0.0.1", 0)
    )
    way = BacnetIpWay("127.0.0.1", transport.get_extra_info("sockname")[1], 1001)
    yield device, Device("plant", "vav-1", "hvac", Protocol.BACNET, way, budget=QUICK)
    transport.close()


DONE, SILENT, BAD, UNKNOWN = Result.DONE, Result.NO_REPLY, Result.BAD_REPLY, Result.UNKNOWN
INVALID = "reply_invalid"
Row = tuple[Reply, tuple[Result, str], tuple[Result, str]]


def same(reply: Reply, result: Result, code: str) -> Row:
    return reply, (result, code), (result, code)


def bad(reply: Reply) -> Row:
    return reply, (BAD, INVALID), (UNKNOWN, INVALID)


def ignored(reply: Reply) -> Row:
    return reply, (SILENT, "timeout"), (UNKNOWN, "timeout")


def cut(octets: int) -> Reply:
    def reply(invoke: int, service: int) -> bytes:
        whole = VALUE if service == READ else b"\x00"
        return complex_ack(invoke, service, whole[:-octets])

    return reply


MATRIX: dict[str, Row] = {
    "answers": same(honest_reply, DONE, ""),
    "says nothing": ignored(lambda invoke, service: b""),
    "answers another invoke id": ignored(lambda invoke, service: honest_reply(invoke ^ 1, service)),
    "sends something that is no BVLC": ignored(lambda invoke, service: b"\x00" * 20),
    "sends a BVLC length that lies": ignored(lambda invoke, service: honest_reply(invoke, service) + b"\x00"),
    "answers from another network": ignored(
        lambda invoke, service: datagram(bytes((0x20, invoke, service)), b"\x01\x08\x00\x05\x01\x07")
    ),
    "announces itself instead": ignored(
        lambda invoke, service: datagram(bytes.fromhex("1000c4020003e92205c4910021ff"))
    ),
    "answers another service": bad(lambda invoke, service: honest_reply(invoke, 27 - service)),
    "acknowledges a read simply, a write with data": bad(
        lambda invoke, service: (
            datagram(bytes((0x20, invoke, READ))) if service == READ else complex_ack(invoke, WRITE, VALUE)
        )
    ),
    "begins a long answer and falls silent": ignored(
        lambda invoke, service: datagram(bytes((0x3C, invoke, 0, 1, service)) + VALUE)
    ),
    "sends the second segment first": bad(
        lambda invoke, service: datagram(bytes((0x3C, invoke, 1, 1, service)) + VALUE)
    ),
    "sends segments in a window that cannot be": bad(
        lambda invoke, service: datagram(bytes((0x3C, invoke, 0, 0, service)) + VALUE)
    ),
    "leaves out the closing tag": bad(cut(1)),
    "cuts the value short": bad(cut(3)),
    "adds octets": bad(
        lambda invoke, service: (
            complex_ack(invoke, READ, VALUE + b"\x00")
            if service == READ
            else datagram(bytes((0x20, invoke, WRITE)) + b"\x00")
        )
    ),
    "answers about another object": bad(
        lambda invoke, service: complex_ack(invoke, service, VALUE.replace(b"\x80\x00\x01", b"\x80\x00\x02"))
    ),
    "refuses with an error": same(
        lambda invoke, service: datagram(bytes((0x50, invoke, service)) + bytes.fromhex("91029128")),
        Result.DEVICE_REFUSED,
        "property/write-access-denied",
    ),
    "refuses with an error that is none": bad(
        lambda invoke, service: datagram(bytes((0x50, invoke, service)) + bytes.fromhex("9102"))
    ),
    "rejects": same(
        lambda invoke, service: datagram(bytes((0x60, invoke, 9))), Result.DEVICE_REFUSED, "reject-unrecognized-service"
    ),
    "aborts": same(
        lambda invoke, service: datagram(bytes((0x71, invoke, 4))),
        Result.DEVICE_REFUSED,
        "abort-segmentation-not-supported",
    ),
}


@pytest.mark.parametrize("row", MATRIX)
@pytest.mark.parametrize("kind", ["view", "write"])
def test_each_fault_has_its_result_and_no_write_is_sent_twice(row: str, kind: str) -> None:
    reply, view, write = MATRIX[row]

    async def play() -> None:
        async with scripted(reply) as (script, device), upstreams(device) as ways:
            lane = ways.upstream(device.key)
            reading = compose_read(device, (POINT,))[0]
            started = asyncio.get_running_loop().time()
            relayed = await asked(lane, reading if kind == "view" else compose_write(device, POINT, "21.5"))
            assert (relayed.result, relayed.code) == (view if kind == "view" else write)
            assert asyncio.get_running_loop().time() - started < 1
            script.reply = honest_reply
            again = await asked(lane, reading)
            assert (again.result, said(reading, again)) == (Result.DONE, (("setpoint", "21.5"),))
            first, services = script.seen[0], [service for _, service in script.seen]
            if kind == "write":
                assert services == [WRITE, READ]
            else:  # repeated under the same invoke id, by which a device tells that it is
                assert set(script.seen[:-1]) == {first}
                assert len(script.seen) - 1 <= 1 + VIEW_REPEATS
                assert set(services) == {READ}

    asyncio.run(play())


def test_a_late_reply_is_not_taken_for_the_next_ones() -> None:
    async def play() -> None:
        async with scripted(honest_reply) as (script, device), upstreams(device) as ways:
            lane = ways.upstream(device.key)
            late = VALUE.replace(b"\x41\xac\x00\x00", b"\x41\xa0\x00\x00")
            script.reply = lambda invoke, service: complex_ack(
                invoke, READ, late if invoke == script.seen[0][0] else VALUE
            )
            script.delays = [0.4] * (1 + VIEW_REPEATS) + [0.2]
            request = compose_read(device, (POINT,))[0]
            first, second = await asked(lane, request), await asked(lane, request)
            assert first.result == Result.NO_REPLY
            assert said(request, second) == (("setpoint", "21.5"),)

    asyncio.run(play())


@pytest.mark.parametrize(
    "row", ["answers another service", "sends the second segment first", "refuses with an error that is none"]
)
def test_an_invoke_id_is_not_used_again_while_the_true_reply_may_still_come(row: str) -> None:
    async def play() -> None:
        async with scripted(MATRIX[row][0]) as (script, device), upstreams(device) as ways:
            lane = ways.upstream(device.key)
            assert (await asked(lane, compose_write(device, POINT, "21.5"))).code == INVALID
            script.reply = honest_reply
            for _ in range(256):
                assert (await asked(lane, compose_read(device, (POINT,))[0])).result == Result.DONE
            (doubtful, _), *others = script.seen
            assert len(others) == 256
            assert doubtful not in {invoke for invoke, _ in others}

    asyncio.run(play())


def test_several_properties_come_in_the_order_asked_or_not_at_all() -> None:
    async def play() -> None:
        async with scripted(honest_reply) as (script, device), upstreams(device) as ways:
            lane = ways.upstream(device.key)
            request = compose_read(device, (POINT, OTHER))[0]
            relayed = await asked(lane, request)
            assert said(request, relayed) == (("setpoint", "21.5"), ("other", "20"))
            turned = BOTH[len(BOTH) // 2 :] + BOTH[: len(BOTH) // 2]
            for parameters in (turned, BOTH[: len(BOTH) // 2], BOTH * 2, b""):
                script.reply = lambda invoke, service, p=parameters: complex_ack(invoke, service, p)
                assert (await asked(lane, compose_read(device, (POINT, OTHER))[0])).result == Result.BAD_REPLY

    asyncio.run(play())


def test_a_sensor_that_reports_no_number_does_not_hide_its_neighbours() -> None:
    async def play() -> None:
        async with scripted(honest_reply) as (script, device), upstreams(device) as ways:
            request = compose_read(device, (POINT, OTHER))[0]
            for value in (b"\x44\x7f\xc0\x00\x00", b"\x2e\x44\x41\xac\x00\x00\x2f"):
                parameters = BOTH.replace(b"\x44\x41\xac\x00\x00", value)
                script.reply = lambda invoke, service, p=parameters: complex_ack(invoke, service, p)
                relayed = await asked(ways.upstream(device.key), request)
                assert (relayed.result, said(request, relayed)) == (Result.DONE, (("other", "20"),))
                assert errors_of(request, relayed.payload) == (("setpoint", "value/unreadable"),)

    asyncio.run(play())


def test_a_port_where_nobody_listens_is_down_without_waiting_for_a_timeout() -> None:
    async def play() -> tuple[Relayed, Relayed, Relayed]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
            place.bind(("127.0.0.1", 0))
            way = BacnetIpWay("127.0.0.1", place.getsockname()[1], 1001)
        device = Device("plant", "vav-1", "hvac", Protocol.BACNET, way)
        async with upstreams(device) as ways:
            lane = ways.upstream(device.key)
            started = asyncio.get_running_loop().time()
            first = await asked(lane, compose_write(device, POINT, "20"))
            second = await asked(lane, compose_write(device, POINT, "20"))
            assert asyncio.get_running_loop().time() - started < 1
            await asyncio.sleep(0.6)
            return first, second, await asked(lane, compose_read(device, (POINT,))[0])

    first, second, third = asyncio.run(play())
    assert (first.result, first.code) == (Result.UNKNOWN, "device_down")
    assert (second.result, second.code) == (Result.NOT_SENT, Reason.DEVICE_DOWN)
    assert (third.result, third.code) == (Result.NO_REPLY, "device_down")


def test_one_confirmed_request_is_outstanding_at_a_time() -> None:
    async def play() -> None:
        async with scripted(honest_reply) as (script, device), upstreams(device) as ways:
            lane = ways.upstream(device.key)
            script.delays = [0.05] * 3
            answers = [asked(lane, compose_read(device, (POINT,))[0]) for _ in range(3)]
            await answers[0]
            assert len(script.seen) <= 2
            assert {(await answer).result for answer in answers} == {Result.DONE}
            invokes = [invoke for invoke, _ in script.seen]
            assert [(b - a) & 0xFF for a, b in pairwise(invokes)] == [1, 1]

    asyncio.run(play())


def test_the_payload_of_a_refusal_is_the_refusal() -> None:
    async def play() -> None:
        async with scripted(MATRIX["refuses with an error"][0]) as (_, device), upstreams(device) as ways:
            relayed = await asked(ways.upstream(device.key), compose_write(device, POINT, "20"))
            assert relayed.payload == bytes.fromhex("500f91029128")

    asyncio.run(play())
