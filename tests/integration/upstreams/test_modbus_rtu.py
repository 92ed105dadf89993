"""RTU, on a line and in a TCP stream: no transaction ids, so silence alone keeps a late reply from the next request."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from broker.adapters.simulators.pseudo_line import PseudoLine
from broker.model.vocabulary import Reason, Result
from broker.model.way import RtuOverTcpWay, SerialWay, Way
from broker.wire.modbus.rtu import decode_rtu_request, encode_rtu
from tests.integration.upstreams.asking import QUICK, VIEW, WRITE, asked, modbus_device, pdu, upstreams
from tests.integration.upstreams.scripted_device import good_reply

Say = Callable[[bytes], None]
Script = Callable[[Say, int, bytes], None]


def honest(say: Say, unit: int, request: bytes) -> None:
    say(encode_rtu(unit, good_reply(request)))


@dataclass
class RtuDevice:
    """A scripted device at the end of a line or stream."""

    script: Script = honest
    way: Way | None = None
    seen: list[tuple[float, bytes]] = field(default_factory=list)
    say: Say | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _octets: bytes = b""

    @property
    def writes_seen(self) -> int:
        return sum(request[0] == 6 for _, request in self.seen)

    def heard(self, octets: bytes) -> None:
        self._octets += octets
        found = decode_rtu_request(self._octets)
        if found is None:
            return
        self._octets = b""
        unit, request = found
        self.seen.append((time.monotonic(), request))
        self.arrived.set()
        assert self.say is not None
        self.script(self.say, unit, request)


@asynccontextmanager
async def on_a_line(script: Script) -> AsyncIterator[RtuDevice]:
    line = PseudoLine()
    end = os.open(line.device_path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    device = RtuDevice(script, SerialWay(line.path))
    device.say = lambda octets: (os.write(end, octets), None)[1]
    asyncio.get_running_loop().add_reader(end, lambda: device.heard(os.read(end, 1000)))
    try:
        yield device
    finally:
        asyncio.get_running_loop().remove_reader(end)
        os.close(end)
        line.close()


@asynccontextmanager
async def in_a_stream(script: Script) -> AsyncIterator[RtuDevice]:
    device = RtuDevice(script)
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        device.say = writer.write
        while octets := await reader.read(1000):
            device.heard(octets)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    device.way = RtuOverTcpWay("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield device
    finally:
        server.close()
        for writer in writers:
            writer.close()


both = pytest.mark.parametrize("place", [on_a_line, in_a_stream])


def damaged(octets: bytes) -> bytes:
    return octets[:-1] + bytes((octets[-1] ^ 1,))


ROWS: dict[str, tuple[Script, tuple[Result, str], tuple[Result, str]]] = {
    "answers": (honest, (Result.DONE, ""), (Result.DONE, "")),
    "says nothing": (lambda say, unit, request: None, (Result.NO_REPLY, "timeout"), (Result.UNKNOWN, "timeout")),
    "answers with a wrong checksum": (
        lambda say, unit, request: say(damaged(encode_rtu(unit, good_reply(request)))),
        (Result.BAD_REPLY, "reply_invalid"),
        (Result.UNKNOWN, "reply_invalid"),
    ),
    "answers as another unit": (
        lambda say, unit, request: say(encode_rtu(unit + 1, good_reply(request))),
        (Result.BAD_REPLY, "reply_invalid"),
        (Result.UNKNOWN, "reply_invalid"),
    ),
    "answers another function": (
        lambda say, unit, request: say(encode_rtu(unit, b"\x04\x02\x00\x00")),
        (Result.BAD_REPLY, "reply_invalid"),
        (Result.UNKNOWN, "reply_invalid"),
    ),
    "answers with another value or count": (
        lambda say, unit, request: say(encode_rtu(unit, bytes((request[0], 4, 1, 2, 3)) + b"\x04" * (request[0] == 3))),
        (Result.BAD_REPLY, "reply_invalid"),
        (Result.UNKNOWN, "reply_invalid"),
    ),
    "stops in the middle": (
        lambda say, unit, request: say(encode_rtu(unit, good_reply(request))[:4]),
        (Result.NO_REPLY, "timeout"),
        (Result.UNKNOWN, "timeout"),
    ),
    "makes noise": (
        lambda say, unit, request: say(b"\xff" * 40),
        (Result.BAD_REPLY, "reply_invalid"),
        (Result.UNKNOWN, "reply_invalid"),
    ),
    "refuses": (
        lambda say, unit, request: say(encode_rtu(unit, bytes((request[0] | 0x80, 2)))),
        (Result.DEVICE_REFUSED, "exception-2"),
        (Result.DEVICE_REFUSED, "exception-2"),
    ),
}


@both
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kind", ["view", "write"])
def test_each_fault_has_its_result_and_no_request_is_sent_twice(place, row: str, kind: str) -> None:
    script, view, write = ROWS[row]

    async def play() -> None:
        async with place(script) as device:
            assert device.way is not None
            target = modbus_device(device.way)
            async with upstreams(target) as ways:
                lane = ways.upstream(target.key)
                relayed = await asked(lane, pdu(target, VIEW if kind == "view" else WRITE))
                assert (relayed.result, relayed.code) == (view if kind == "view" else write)
                device.script = honest
                again = await asked(lane, pdu(target, VIEW))
                assert (again.result, again.payload) == (Result.DONE, bytes.fromhex("03021234"))
                assert (len(device.seen), device.writes_seen) == (2, int(kind == "write"))

    asyncio.run(play())


@pytest.mark.parametrize(("place", "late_seconds"), [(on_a_line, 0.55), (in_a_stream, 0.45)])
def test_a_late_reply_is_not_taken_for_the_next_ones_though_it_would_fit(place, late_seconds: float) -> None:
    async def play() -> None:
        def script(say: Say, unit: int, request: bytes) -> None:
            late = encode_rtu(unit, b"\x03\x02\xde\xad")
            if len(device.seen) == 1:
                asyncio.get_running_loop().call_later(late_seconds, say, late)
            else:
                honest(say, unit, request)

        async with place(script) as device:
            assert device.way is not None
            target = modbus_device(device.way)
            async with upstreams(target) as ways:
                lane = ways.upstream(target.key)
                first, second = asked(lane, pdu(target, VIEW)), asked(lane, pdu(target, VIEW))
                assert (await first).result == Result.NO_REPLY
                assert (await second).payload == bytes.fromhex("03021234")
                assert len(device.seen) == 2

    asyncio.run(play())


@both
def test_octets_on_an_idle_line_do_not_get_into_the_next_reply(place) -> None:
    async def play() -> None:
        async with place(honest) as device:
            assert device.way is not None
            target = modbus_device(device.way)
            async with upstreams(target) as ways:
                lane = ways.upstream(target.key)
                await asked(lane, pdu(target, VIEW))
                assert device.say is not None
                device.say(encode_rtu(1, b"\x03\x02\xde\xad"))
                while not ways.states()[0].faults:
                    await asyncio.sleep(0.001)
                assert (await asked(lane, pdu(target, VIEW))).payload == bytes.fromhex("03021234")

    asyncio.run(play())


def test_a_line_that_is_not_there_is_device_down() -> None:
    async def play() -> None:
        target = modbus_device(SerialWay("/dev/no-such-line"))
        async with upstreams(target) as ways:
            relayed = await asked(ways.upstream(target.key), pdu(target, WRITE))
            assert (relayed.result, relayed.code) == (Result.NOT_SENT, Reason.DEVICE_DOWN)

    asyncio.run(play())


def test_two_units_on_one_line_take_turns_with_silence_between_their_frames() -> None:
    async def play() -> None:
        async with on_a_line(honest) as device:
            assert isinstance(device.way, SerialWay)
            way = replace(device.way, baud=1200)
            device.way = way
            targets = [modbus_device(way, f"d{n}", unit=n, budget=replace(QUICK, queue=9)) for n in (1, 2)]
            async with upstreams(*targets) as ways:
                futures = [asked(ways.upstream(t.key), pdu(t, VIEW)) for t in targets for _ in range(3)]
                assert {relayed.result for relayed in await asyncio.gather(*futures)} == {Result.DONE}
                times = [at for at, _ in device.seen]
                assert min(b - a for a, b in pairwise(times)) > 3.5 * 10 / 1200

    asyncio.run(play())
