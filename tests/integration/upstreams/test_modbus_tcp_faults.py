"""The fault matrix: whatever a Modbus/TCP device does, each row has one right result and no write is sent twice."""

import asyncio
import socket
from collections.abc import Callable
from itertools import pairwise

import pytest

from broker.model.operation import Relayed
from broker.model.vocabulary import Reason, Result
from tests.end_to_end.modbus_caller import frame
from tests.integration.upstreams.asking import VIEW, WRITE, asked, pdu, tcp_device, upstreams
from tests.integration.upstreams.scripted_device import Script, Seen, good_reply, honest, scripted

Reply = Callable[[asyncio.StreamWriter, Seen], None]


def at_once(reply: Reply) -> Script:
    async def script(writer: asyncio.StreamWriter, seen: Seen) -> None:
        reply(writer, seen)

    return script


def octets(make: Callable[[Seen], bytes]) -> Script:
    return at_once(lambda writer, seen: writer.write(make(seen)))


def then_close(make: Callable[[Seen], bytes]) -> Script:
    def reply(writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(make(seen))
        writer.close()

    return at_once(reply)


def dripping(seconds: float) -> Script:
    async def script(writer: asyncio.StreamWriter, seen: Seen) -> None:
        for octet in frame(good_reply(seen.pdu), seen.transaction, seen.unit):
            writer.write(bytes((octet,)))
            await asyncio.sleep(seconds)

    return script


def good(seen: Seen) -> bytes:
    return frame(good_reply(seen.pdu), seen.transaction, seen.unit)


def refusal(code: int) -> Script:
    return octets(lambda seen: frame(bytes((seen.pdu[0] | 0x80, code)), seen.transaction, seen.unit))


async def _nothing(writer: asyncio.StreamWriter, seen: Seen) -> None:
    return None


DONE, REFUSED = Result.DONE, Result.DEVICE_REFUSED
SILENT, BAD, UNKNOWN = Result.NO_REPLY, Result.BAD_REPLY, Result.UNKNOWN

MATRIX: dict[str, tuple[Script, tuple[Result, str], tuple[Result, str], bool]] = {
    # what the device does: (script, result of a view, result of a write, is the connection kept)
    "answers": (honest, (DONE, ""), (DONE, ""), True),
    "says nothing": (_nothing, (SILENT, "timeout"), (UNKNOWN, "timeout"), False),
    "echoes another transaction": (
        octets(lambda s: frame(good_reply(s.pdu), s.transaction ^ 1, s.unit)),
        (BAD, "reply_mismatch"),
        (UNKNOWN, "reply_mismatch"),
        False,
    ),
    "echoes another unit": (
        octets(lambda s: frame(good_reply(s.pdu), s.transaction, s.unit + 1)),
        (BAD, "reply_mismatch"),
        (UNKNOWN, "reply_mismatch"),
        False,
    ),
    "answers another function": (
        octets(lambda s: frame(b"\x04\x02\x00\x01", s.transaction, s.unit)),
        (BAD, "reply_invalid"),
        (UNKNOWN, "reply_invalid"),
        False,
    ),
    "refuses another function": (
        octets(lambda s: frame(b"\x8f\x02", s.transaction, s.unit)),
        (BAD, "reply_invalid"),
        (UNKNOWN, "reply_invalid"),
        False,
    ),
    "answers too much": (
        octets(lambda s: frame(good_reply(s.pdu) + b"\x00", s.transaction, s.unit)),
        (BAD, "reply_invalid"),
        (UNKNOWN, "reply_invalid"),
        False,
    ),
    "answers too little": (
        octets(lambda s: frame(good_reply(s.pdu)[:-1], s.transaction, s.unit)),
        (BAD, "reply_invalid"),
        (UNKNOWN, "reply_invalid"),
        False,
    ),
    "answers with another value or count": (
        octets(lambda s: frame(bytes((s.pdu[0], 4, 0, 1, 0)), s.transaction, s.unit)),
        (BAD, "reply_invalid"),
        (UNKNOWN, "reply_invalid"),
        False,
    ),
    "sends a length that cannot be": (
        octets(lambda s: frame(b"\x03", s.transaction, s.unit, length=300)),
        (BAD, "reply_invalid"),
        (UNKNOWN, "reply_invalid"),
        False,
    ),
    "speaks another protocol": (
        octets(lambda s: b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (BAD, "reply_invalid"),
        (UNKNOWN, "reply_invalid"),
        False,
    ),
    "closes without a word": (
        then_close(lambda s: b""),
        (SILENT, "connection_lost"),
        (UNKNOWN, "connection_lost"),
        False,
    ),
    "closes in the middle": (
        then_close(lambda s: good(s)[:9]),
        (BAD, "connection_lost"),
        (UNKNOWN, "connection_lost"),
        False,
    ),
    "stops in the middle": (
        octets(lambda s: good(s)[:9]),
        (SILENT, "timeout"),
        (UNKNOWN, "timeout"),
        False,
    ),
    "answers twice at once": (octets(lambda s: good(s) * 2), (DONE, ""), (DONE, ""), False),
    "drips, in time": (dripping(0.002), (DONE, ""), (DONE, ""), True),
    "drips, too late": (dripping(0.05), (SILENT, "timeout"), (UNKNOWN, "timeout"), False),
    "refuses with exception 2": (refusal(2), (REFUSED, "exception-2"), (REFUSED, "exception-2"), True),
    "refuses with exception 4": (refusal(4), (REFUSED, "exception-4"), (REFUSED, "exception-4"), True),
    "says it is still at it": (refusal(5), (REFUSED, "exception-5"), (UNKNOWN, "exception-5"), True),
    "heard nothing behind the gateway": (refusal(11), (REFUSED, "exception-11"), (UNKNOWN, "exception-11"), True),
    "refuses with a code that is none": (refusal(0x63), (BAD, "reply_invalid"), (UNKNOWN, "reply_invalid"), False),
}


@pytest.mark.parametrize("row", MATRIX)
@pytest.mark.parametrize("kind", ["view", "write"])
def test_each_fault_has_its_result_and_no_request_is_sent_twice(row: str, kind: str) -> None:
    script, view, write, kept = MATRIX[row]

    async def play() -> None:
        async with scripted(script) as device, upstreams(tcp_device(device.port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            relayed = await asked(lane, pdu(lane.device, VIEW if kind == "view" else WRITE))
            assert (relayed.result, relayed.code) == (view if kind == "view" else write)
            device.script = honest
            again = await asked(lane, pdu(lane.device, VIEW))
            assert again.result == Result.DONE
            assert again.payload == bytes.fromhex("03021234")
            assert device.connections == (1 if kept else 2)
            assert len(device.seen) == 2
            assert device.writes_seen == (1 if kind == "write" else 0)

    asyncio.run(play())


def test_a_dead_port_is_device_down_at_once_and_asked_again_only_after_the_back_off() -> None:
    async def play() -> None:
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            port = place.getsockname()[1]
            async with upstreams(tcp_device(port)) as ways:
                lane = ways.upstream("plant/ahu-1")
                for request in (VIEW, WRITE):
                    relayed = await asked(lane, pdu(lane.device, request))
                    assert (relayed.result, relayed.code) == (Result.NOT_SENT, Reason.DEVICE_DOWN)
                place.listen()
                assert (await asked(lane, pdu(lane.device, WRITE))).result == Result.NOT_SENT
                place.setblocking(False)
                with pytest.raises(BlockingIOError):
                    place.accept()
                assert ways.states()[0].down

    asyncio.run(play())


def test_a_device_that_comes_back_is_used_after_the_back_off() -> None:
    async def play() -> None:
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            port = place.getsockname()[1]
        async with upstreams(tcp_device(port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            assert (await asked(lane, pdu(lane.device, WRITE))).result == Result.NOT_SENT
            server = await asyncio.start_server(_serve_honestly, "127.0.0.1", port)
            deadline = asyncio.get_running_loop().time() + 5
            while (relayed := await asked(lane, pdu(lane.device, VIEW))).result != Result.DONE:
                assert relayed.code == Reason.DEVICE_DOWN
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.05)
            server.close()

    asyncio.run(play())


async def _serve_honestly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    seen = await reader.readexactly(12)
    await honest(writer, Seen(int.from_bytes(seen[:2], "big"), seen[6], seen[7:], 1, 0.0))


def test_a_place_that_takes_no_connection_is_down_within_the_connect_timeout() -> None:
    async def play() -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with upstreams(tcp_device(port)) as ways:
                lane = ways.upstream("plant/ahu-1")
                started = asyncio.get_running_loop().time()
                relayed = await asked(lane, pdu(lane.device, WRITE))
                assert (relayed.result, relayed.code) == (Result.NOT_SENT, Reason.DEVICE_DOWN)
                assert asyncio.get_running_loop().time() - started < 2
            for filler in fillers:
                filler.close()

    asyncio.run(play())


def say(writer: asyncio.StreamWriter, octets: bytes) -> None:
    if not writer.is_closing():
        writer.write(octets)


def test_a_reply_that_comes_after_the_timeout_is_not_taken_for_the_next_ones() -> None:
    async def play() -> None:
        async def script(writer: asyncio.StreamWriter, seen: Seen) -> None:
            loop = asyncio.get_running_loop()
            if len(device.seen) == 1:
                loop.call_later(0.4, say, writer, good(seen).replace(b"\x12\x34", b"\xde\xad"))
            else:
                loop.call_later(0.2, say, writer, good(seen))

        async with scripted(script) as device, upstreams(tcp_device(device.port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            first = await asked(lane, pdu(lane.device, VIEW))
            second = await asked(lane, pdu(lane.device, VIEW))
            assert first.result == Result.NO_REPLY
            assert (second.result, second.payload) == (Result.DONE, bytes.fromhex("03021234"))

    asyncio.run(play())


def test_octets_nobody_asked_for_end_the_connection_and_the_next_request_takes_a_new_one() -> None:
    async def play() -> None:
        async with scripted() as device, upstreams(tcp_device(device.port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            assert (await asked(lane, pdu(lane.device, VIEW))).result == Result.DONE
            device.writers[0].write(frame(bytes.fromhex("0302dead"), device.seen[0].transaction + 1, 1))
            await device.closed.wait()
            relayed = await asked(lane, pdu(lane.device, VIEW))
            assert (relayed.payload, device.connections) == (bytes.fromhex("03021234"), 2)
            assert ways.states()[0].faults == 1

    asyncio.run(play())


def test_a_connection_closed_while_idle_costs_no_write() -> None:
    async def play() -> None:
        async with scripted() as device, upstreams(tcp_device(device.port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            for _ in range(2):
                assert (await asked(lane, pdu(lane.device, WRITE))).result == Result.DONE
                device.writers[-1].close()
                await device.closed.wait()
                device.closed.clear()
            assert (await asked(lane, pdu(lane.device, WRITE))).result == Result.DONE
            assert (device.writes_seen, device.connections) == (3, 3)

    asyncio.run(play())


def test_a_connection_closed_while_idle_is_noticed_before_the_event_loop_says_so() -> None:
    async def play() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            async with upstreams(tcp_device(listener.getsockname()[1])) as ways:
                lane = ways.upstream("plant/ahu-1")
                first = asked(lane, pdu(lane.device, VIEW))
                connection, request = await asyncio.to_thread(_accept_and_read, listener)
                connection.sendall(frame(bytes.fromhex("03021234"), int.from_bytes(request[:2], "big"), 1))
                assert (await first).result == Result.DONE
                await asyncio.sleep(0.06)  # the link must have been idle for a moment to be looked at
                connection.close()
                write = asked(
                    lane, pdu(lane.device, WRITE)
                )  # in the same turn of the loop: it has not seen the end yet
                connection, request = await asyncio.to_thread(_accept_and_read, listener)
                connection.sendall(request)
                assert (await write).result == Result.DONE
                connection.close()

    asyncio.run(play())


def test_a_request_that_a_dead_connection_gave_back_is_not_sent_once_access_has_ended() -> None:
    async def play() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            async with upstreams(tcp_device(listener.getsockname()[1])) as ways:
                lane = ways.upstream("plant/ahu-1")
                first = asked(lane, pdu(lane.device, VIEW))
                connection, request = await asyncio.to_thread(_accept_and_read, listener)
                connection.sendall(frame(bytes.fromhex("03021234"), int.from_bytes(request[:2], "big"), 1))
                await first
                await asyncio.sleep(0.06)  # the link must have been idle for a moment to be looked at
                connection.close()
                ended = asyncio.get_running_loop().create_future()
                lane.relay(pdu(lane.device, WRITE), ended.set_result, lambda: Reason.ACCESS_CHANGED)
                assert await ended == Relayed(Result.NOT_SENT, code=Reason.ACCESS_CHANGED)

    asyncio.run(play())


def _accept_and_read(listener: socket.socket) -> tuple[socket.socket, bytes]:
    connection, _ = listener.accept()
    return connection, connection.recv(100)


def test_transaction_ids_are_our_own_start_anywhere_and_count_up() -> None:
    starts = set()

    async def play() -> None:
        async with scripted() as device, upstreams(tcp_device(device.port)) as ways:
            lane = ways.upstream("plant/ahu-1")
            for _ in range(3):
                await asked(lane, pdu(lane.device, VIEW))
            ids = [seen.transaction for seen in device.seen]
            assert [(b - a) & 0xFFFF for a, b in pairwise(ids)] == [1, 1]
            starts.add(ids[0])

    for _ in range(4):
        asyncio.run(play())
    assert len(starts) > 1


def test_the_unit_on_the_wire_is_the_devices_upstream_unit_whatever_the_request_says() -> None:
    async def play() -> None:
        async with scripted() as device, upstreams(tcp_device(device.port, unit=17)) as ways:
            lane = ways.upstream("plant/ahu-1")
            await asked(lane, pdu(lane.device, VIEW))
            assert device.seen[0].unit == 17

    asyncio.run(play())
