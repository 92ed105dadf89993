"""Many BACnet/IP devices on one port of our own: each is heard by where it is, and by nothing else."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from broker.adapters.bacnet_peers import UNASKED_OCTETS_AT_ONCE, UNASKED_OCTETS_PER_SECOND, Peer, Whereabouts
from broker.adapters.bacnet_port import BacnetIpPort, OwnPlace
from broker.adapters.clock import SystemClock
from broker.model.operation import UNCONFIRMED, Relayed, Request
from broker.model.place import BacnetAddress, Budget, Device, Point, Protocol
from broker.model.vocabulary import Action, Reason, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.apdu import ConfirmedRequest, decode_apdu, dressed, encode_apdu
from broker.wire.bacnet.bvlc import Function, decode_bvlc, encode_bvlc
from broker.wire.bacnet.cov import CovNotification, encode_cov_notification
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.meaning import compose_read, compose_write
from broker.wire.bacnet.npdu import Address, Message, Npdu, decode_npdu, encode_npdu, encode_reject
from broker.wire.bacnet.tags import Tag
from tests.integration.upstreams.asking import QUICK, asked, said, upstreams

POINT = Point("setpoint", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
READ = 12
Place = tuple[str, int]


def value(number: int) -> bytes:
    """What a ReadProperty of POINT brings: a whole number below 256 as an Unsigned."""
    return bytes.fromhex("0c0080000119553e21") + bytes((number,)) + b"\x3f"


def unicast(apdu: bytes, source: Address | None = None) -> bytes:
    return encode_bvlc(Function.ORIGINAL_UNICAST, encode_npdu(Npdu(apdu, source=source)))


def acknowledged(request: ConfirmedRequest, number: int) -> bytes:
    if request.service != READ:
        return bytes((0x20, request.invoke, request.service))
    return bytes((0x30, request.invoke, READ)) + value(number)


Answer = Callable[["Station", Npdu, ConfirmedRequest, Place], None]


class Station(asyncio.DatagramProtocol):
    """A device or router, that answers as `answer` says; it keeps where requests came from."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.callers: list[Place] = []
        self.invokes: list[int] = []
        self.arrived = asyncio.Event()
        self.said: list[bytes] = []
        self.told = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.port: int = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Place) -> None:
        npdu = decode_npdu(decode_bvlc(data).payload)
        request = decode_apdu(npdu.payload)
        if not isinstance(request, ConfirmedRequest):
            assert not npdu.expecting_reply
            self.said.append(npdu.payload)
            self.told.set()
            return
        assert npdu.expecting_reply
        self.callers.append(addr)
        self.invokes.append(request.invoke)
        self.arrived.set()
        self.answer(self, npdu, request, addr)

    def send(self, datagram: bytes, to: Place) -> None:
        self.transport.sendto(datagram, to)  # type: ignore[attr-defined]


def honest(number: int) -> Answer:
    return lambda station, npdu, request, caller: station.send(unicast(acknowledged(request, number)), caller)


def routed(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
    """A router behind which every device answers with the last octet of its address."""
    assert npdu.destination is not None
    station.send(unicast(acknowledged(request, npdu.destination.mac[-1]), npdu.destination), caller)


def silent(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
    return None


@asynccontextmanager
async def station(answer: Answer) -> AsyncIterator[Station]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Station(answer), local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


def device(port: int, id_: str = "vav-1", budget: Budget = QUICK, network: int | None = None, mac: int = 0) -> Device:
    way = BacnetIpWay("127.0.0.1", port, 1001, network, b"" if network is None else bytes((mac,)))
    return Device("plant", id_, "hvac", Protocol.BACNET, way, budget=budget)


def reading(of: Device) -> Request:
    return compose_read(of, (POINT,))[0]


def telling(of: Device, *, text: str = "") -> Request:
    """A TimeSynchronization, or a text message."""
    bare = bytes.fromhex("1006a47e0b1d07b40c000000")
    if text:
        octets = b"\0" + text.encode()
        bare = bytes.fromhex("10050c020003e729003dfe") + len(octets).to_bytes(2, "big") + octets
    return interpret(of, bare)


@pytest.mark.parametrize("network", [None, 20])
def test_what_has_no_reply_is_sent_once_and_nobody_knows_what_came_of_it(network: int | None) -> None:
    async def play() -> None:
        async with station(honest(1)) as one:
            vav = device(one.port, network=network, mac=5)
            async with upstreams(vav) as ways:
                relayed = await asked(ways.upstream(vav.key), telling(vav))
                assert relayed == Relayed(Result.UNKNOWN, code=UNCONFIRMED)
                if network is None:  # the way is free again
                    assert (await asked(ways.upstream(vav.key), reading(vav))).result == Result.DONE
                await asyncio.wait_for(one.told.wait(), 5)
                await asyncio.sleep(0.3)
                assert one.said == [telling(vav).payload]

    asyncio.run(play())


def test_what_has_no_reply_goes_in_one_piece_or_not_at_all() -> None:
    async def play() -> None:
        async with station(honest(1)) as one:
            vav = device(one.port)
            vav = replace(vav, way=replace(vav.way, max_apdu=480))
            async with upstreams(vav) as ways:
                relayed = await asked(ways.upstream(vav.key), telling(vav, text="x" * 600))
                assert relayed == Relayed(Result.NOT_SENT, code="request_too_long")
                assert (await asked(ways.upstream(vav.key), telling(vav, text="x" * 400))).code == UNCONFIRMED
                await asyncio.wait_for(one.told.wait(), 5)
                assert len(one.said) == 1

    asyncio.run(play())


def test_all_devices_are_asked_from_one_port_and_each_answer_is_its_own() -> None:
    async def play() -> None:
        async with station(honest(1)) as one, station(honest(2)) as two, station(honest(3)) as three:
            devices = [device(each.port, f"d{each.port}") for each in (one, two, three)]
            async with upstreams(*devices) as ways:
                futures = [asked(ways.upstream(d.key), reading(d)) for d in devices * 5]
                values = [dict(said(reading(devices[0]), each))["setpoint"] for each in await asyncio.gather(*futures)]
                assert values == ["1", "2", "3"] * 5
                assert len({*one.callers, *two.callers, *three.callers}) == 1

    asyncio.run(play())


def test_a_reply_from_anywhere_else_is_no_reply() -> None:
    async def play() -> None:
        async with station(honest(9)) as other:

            def through_another(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
                other.send(unicast(acknowledged(request, 66)), caller)
                for source in (Address(5, b"\x07"), Address(5, b"\x08")):
                    station.send(unicast(acknowledged(request, 67), source), caller)
                station.send(unicast(acknowledged(request, 1)), caller)

            async with station(through_another) as asked_one:
                mine, theirs = device(asked_one.port), device(other.port, "vav-2")
                async with upstreams(mine, theirs) as ways:
                    relayed = await asked(ways.upstream(mine.key), reading(mine))
                    assert said(reading(mine), relayed) == (("setpoint", "1"),)

    asyncio.run(play())


def test_devices_behind_a_router_are_told_apart_by_network_and_address() -> None:
    async def play() -> None:
        async with station(routed) as router:
            behind = [device(router.port, f"d{mac}", replace(QUICK, connections=4), 2001, mac) for mac in (4, 5, 6)]
            async with upstreams(*behind) as ways:
                futures = [asked(ways.upstream(d.key), reading(d)) for d in behind * 4]
                values = [dict(said(reading(behind[0]), each))["setpoint"] for each in await asyncio.gather(*futures)]
                assert values == ["4", "5", "6"] * 4
                assert len(ways.states()) == 1

    asyncio.run(play())


def test_a_reply_in_the_name_of_a_neighbour_behind_the_router_is_no_reply() -> None:
    def as_neighbour(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
        for source in (None, Address(2001, b"\x05"), Address(2002, b"\x04")):
            station.send(unicast(acknowledged(request, 66), source), caller)

    async def play() -> None:
        async with station(as_neighbour) as router:
            one, two = (device(router.port, f"d{mac}", network=2001, mac=mac) for mac in (4, 5))
            async with upstreams(one, two) as ways:
                relayed = await asked(ways.upstream(one.key), compose_write(one, POINT, "20"))
                assert (relayed.result, relayed.code) == (Result.UNKNOWN, "timeout")

    asyncio.run(play())


def rejecting(network: int) -> Answer:
    def answer(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
        rejection = Npdu(encode_reject(1, network), message=Message.REJECT)
        station.send(encode_bvlc(Function.ORIGINAL_UNICAST, encode_npdu(rejection)), caller)

    return answer


def test_what_the_router_cannot_pass_on_was_not_sent_and_what_it_says_of_another_network_is_not_about_it() -> None:
    async def play() -> None:
        async with station(rejecting(2001)) as router:
            far = device(router.port, network=2001, mac=4)
            async with upstreams(far) as ways:
                relayed = await asked(ways.upstream(far.key), compose_write(far, POINT, "20"))
                assert (relayed.result, relayed.code) == (Result.NOT_SENT, Reason.DEVICE_DOWN)
                router.answer = rejecting(2002)
                relayed = await asked(ways.upstream(far.key), compose_write(far, POINT, "20"))
                assert (relayed.result, relayed.code) == (Result.UNKNOWN, "timeout")

    asyncio.run(play())


def test_a_rejection_that_may_be_about_another_write_leaves_both_unknown() -> None:
    async def play() -> None:
        async with station(silent) as router:
            roomy = replace(QUICK, connections=2)
            one, two = (device(router.port, f"d{mac}", roomy, 2001, mac) for mac in (4, 5))

            def both_then_reject(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
                if len(station.invokes) == 2:
                    rejecting(2001)(station, npdu, request, caller)

            router.answer = both_then_reject
            async with upstreams(one, two) as ways:
                futures = [asked(ways.upstream(d.key), compose_write(d, POINT, "20")) for d in (one, two)]
                results = [(each.result, each.code) for each in await asyncio.gather(*futures)]
                assert results == [(Result.UNKNOWN, "device_down")] * 2

    asyncio.run(play())


def test_nobody_listening_at_one_place_ends_nothing_elsewhere() -> None:
    async def play() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            down = device(gone.getsockname()[1], "down", replace(QUICK, response_timeout_seconds=20))
        async with station(silent) as slow:
            up = device(slow.port, "up")
            async with upstreams(up, down) as ways:
                waiting = asked(ways.upstream(up.key), compose_write(up, POINT, "20"))
                await slow.arrived.wait()
                relayed = await asked(ways.upstream(down.key), compose_write(down, POINT, "20"))
                assert (relayed.result, relayed.code) == (Result.UNKNOWN, "device_down")
                assert not waiting.done()
                slow.answer = honest(1)
                assert (await waiting).code == "timeout"

    asyncio.run(play())


def test_what_the_network_reports_of_one_place_makes_nobody_deaf_for_others() -> None:
    """A loop may stop watching a socket about which there is an error, whoever takes that error first."""

    async def play() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            down = device(gone.getsockname()[1], "down")
        async with station(honest(7)) as good:
            up = device(good.port, "up")
            async with upstreams(up, down) as ways:
                for of, code in ((up, ""), (down, "device_down"), (up, "")):
                    assert (await asked(ways.upstream(of.key), reading(of))).code == code

    asyncio.run(play())


def test_each_device_has_no_more_outstanding_than_its_budget_allows() -> None:
    async def play() -> None:
        most: dict[int, int] = {}
        outstanding: dict[int, int] = {}

        def later(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
            outstanding[station.port] = outstanding.get(station.port, 0) + 1
            most[station.port] = max(most.get(station.port, 0), outstanding[station.port])
            asyncio.get_running_loop().call_later(0.005, answered, station, request, caller)

        def answered(station: Station, request: ConfirmedRequest, caller: Place) -> None:
            outstanding[station.port] -= 1
            station.send(unicast(acknowledged(request, 1)), caller)

        async with station(later) as narrow, station(later) as wide:
            devices = [device(narrow.port, "n"), device(wide.port, "w", replace(QUICK, connections=4))]
            async with upstreams(*devices) as ways:
                futures = [asked(ways.upstream(d.key), reading(d)) for d in devices * 12]
                assert {each.result for each in await asyncio.gather(*futures)} == {Result.DONE}
                assert most == {narrow.port: 1, wide.port: 4}

    asyncio.run(play())


def test_requests_leave_from_the_address_port_and_interface_that_were_given() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def play(own: OwnPlace) -> tuple[Result, str, list[Place]]:
        async with station(honest(1)) as script:
            mine = device(script.port)
            async with upstreams(mine, bacnet=own) as ways:
                relayed = await asked(ways.upstream(mine.key), reading(mine))
                return Result(relayed.result), relayed.code, script.callers

    result, _, callers = asyncio.run(play(OwnPlace("127.0.0.2", port, "lo")))
    assert (result, callers) == (Result.DONE, [("127.0.0.2", port)])
    for elsewhere in (OwnPlace("192.0.2.1"), OwnPlace(interface="none0")):
        assert asyncio.run(play(elsewhere)) == (Result.NOT_SENT, Reason.DEVICE_DOWN, [])


def test_each_segment_that_has_a_port_of_its_own_is_asked_from_there_and_all_others_from_one() -> None:
    async def play() -> None:
        async with station(honest(1)) as one, station(honest(2)) as two:
            hvac, lab, yard = (
                replace(device(script.port, name), segment=name)
                for script, name in ((one, "hvac"), (one, "lab"), (two, "yard"))
            )
            own = {"plant/lab": OwnPlace("127.0.0.3"), "annex/hvac": OwnPlace("192.0.2.1")}
            async with upstreams(hvac, lab, yard, bacnet=OwnPlace("127.0.0.2"), segments=own) as ways:
                for each in (hvac, lab, yard):
                    assert (await asked(ways.upstream(each.key), reading(each))).result == Result.DONE
                assert [host for host, _ in one.callers] == ["127.0.0.2", "127.0.0.3"]
                assert [host for host, _ in two.callers] == ["127.0.0.2"]
                assert ways.upstream(lab.key).own_mac()[:4] == socket.inet_aton("127.0.0.3")
                lane = ways.upstream(hvac.key)
                await ways.replace([replace(hvac, segment="lab"), replace(yard, segment="roof")])
                assert ways.upstream(hvac.key) is not lane
                assert (await asked(ways.upstream(hvac.key), reading(hvac))).result == Result.DONE
                assert [host for host, _ in one.callers] == ["127.0.0.2", "127.0.0.3", "127.0.0.3"]

    asyncio.run(play())


class Waiting:
    def heard(self, apdu: object) -> None: ...
    def misheard(self) -> None: ...
    def unreachable(self, proven: bool) -> None: ...


def test_an_invoke_id_is_not_used_again_while_it_is_outstanding_or_a_late_reply_may_come() -> None:
    peer, hearer = Peer(Whereabouts(("127.0.0.1", 47808))), Waiting()
    taken = [peer.take(hearer, 0.0) for _ in range(256)]
    assert sorted(taken) == list(range(256))  # type: ignore[type-var]
    assert peer.take(hearer, 0.0) is None
    late, answered = taken[3], taken[7]
    assert late is not None
    assert answered is not None
    peer.give_back(late, 1.0, answered=False)
    peer.give_back(answered, 1.0, answered=True)
    assert [peer.take(hearer, 2.0), peer.take(hearer, 2.0)] == [answered, None]
    assert peer.take(hearer, 62.0) == late


@pytest.mark.parametrize("forwarded", [False, True])
def test_what_claims_to_have_been_forwarded_or_is_addressed_elsewhere_is_passed_over(forwarded: bool) -> None:
    def odd(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
        apdu = acknowledged(request, 66)
        if forwarded:
            station.send(encode_bvlc(Function.FORWARDED_NPDU, bytes(6) + encode_npdu(Npdu(apdu))), caller)
        else:
            elsewhere = Npdu(apdu, destination=Address(7, b"\x01"))
            station.send(encode_bvlc(Function.ORIGINAL_UNICAST, encode_npdu(elsewhere)), caller)

    async def play() -> None:
        async with station(odd) as asked_one:
            mine = device(asked_one.port)
            async with upstreams(mine) as ways:
                relayed = await asked(ways.upstream(mine.key), reading(mine))
                assert (relayed.result, relayed.code) == (Result.NO_REPLY, "timeout")

    asyncio.run(play())


def notification(process: int, device_instance: int, invoke: int | None) -> bytes:
    told = CovNotification(process, device_instance, "analog-value", 1, 60, (CHANGED,), confirmed=invoke is not None)
    return encode_apdu(dressed(encode_cov_notification(told), invoke or 0))


CHANGED = Item("analog-value", 1, "present-value", value=(Tag("application", 4, bytes.fromhex("41ac0000")),))
ASKS = ConfirmedRequest(5, READ, value(1)[:5] + b"\x19\x55")


def test_a_device_is_answered_for_what_it_tells_and_refused_what_it_asks() -> None:
    """Each is told while a request is outstanding, under the invoke id of that request: directions are kept apart."""
    rows: list[tuple[bytes, list[int], str]] = [
        (notification(7, 1001, 3), [7], "200301"),
        (notification(8, 1001, 3), [8], "5003019105914f"),  # not wanted: unknown-subscription
        (notification(7, 1002, 3), [], "5003019105914f"),  # in the name of another device
        (notification(7, 1001, None), [7], ""),
        (notification(7, 1002, None), [], ""),
        (notification(7, 1001, 3)[:-1], [], "600309"),
        (encode_apdu(ASKS), [], "600509"),
        (bytes.fromhex("0c05030010010c"), [], "710304"),  # the first of several segments
        (bytes.fromhex("1008"), [], ""),
    ]

    async def play() -> None:
        async with station(silent) as script:
            mine = device(script.port)
            async with upstreams(mine) as ways:
                lane = ways.upstream(mine.key)
                heard: list[int] = []

                def told(told: CovNotification) -> bool:
                    heard.append(told.process)
                    return told.process == 7

                lane.notifications(told)
                for apdu, processes, answer in rows:
                    heard.clear()
                    script.said.clear()
                    script.answer = lambda station, npdu, request, caller, apdu=apdu: (
                        station.send(unicast(apdu), caller),
                        station.send(unicast(acknowledged(request, 1)), caller),
                    )
                    assert (await asked(lane, reading(mine))).result == Result.DONE
                    assert heard == processes
                    while answer and not script.said:
                        script.told.clear()
                        await script.told.wait()
                    assert [each.hex() for each in script.said] == ([answer] if answer else [])

    asyncio.run(play())


def test_notifications_are_heard_while_nothing_is_asked_and_not_once_nobody_listens() -> None:
    async def play() -> None:
        async with station(honest(1)) as script:
            mine = device(script.port, budget=replace(QUICK, idle_seconds=0.01))
            async with upstreams(mine) as ways:
                lane = ways.upstream(mine.key)
                told: asyncio.Queue[int] = asyncio.Queue()

                def tell(notification: CovNotification) -> bool:
                    told.put_nowait(notification.process)
                    return True

                lane.notifications(tell)
                await asked(lane, reading(mine))
                while ways.states()[0].connected:
                    await asyncio.sleep(0.01)
                script.send(unicast(notification(7, 1001, None)), script.callers[0])
                assert await asyncio.wait_for(told.get(), 10) == 7
                lane.notifications(None)
                await asked(lane, reading(mine))
                assert script.callers[1] != script.callers[0]

    asyncio.run(play())


class Troubled:
    """A socket that reports, when it is used next, what became of something sent earlier."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.sent: list[bytes] = []

    def sendto(self, datagram: bytes, place: Place) -> None:
        if self.errors:
            raise OSError(self.errors.pop(), "earlier")
        self.sent.append(datagram)

    def recvmsg(self, *_: int) -> None:
        raise BlockingIOError


@pytest.mark.parametrize(
    ("errors", "leaves"),
    [
        ((errno.EHOSTUNREACH,), True),
        ((errno.ECONNREFUSED,), True),
        ((errno.ENETUNREACH, errno.ENETUNREACH), False),
        ((errno.EAGAIN,), False),
    ],
)
def test_an_error_about_something_sent_earlier_keeps_nothing_back(errors: tuple[int, ...], leaves: bool) -> None:
    port, own = BacnetIpPort(SystemClock()), Troubled(*errors)
    port._socket = own  # type: ignore[assignment]
    peer = port.peer(Whereabouts(("127.0.0.1", 47808)))
    assert port.send(peer, b"\x00", expecting_reply=True) is leaves
    assert len(own.sent) == leaves


def test_a_device_that_tells_without_end_leaves_the_others_their_turn() -> None:
    """Each datagram takes a millisecond or two to look at, and there are many thousands."""
    told = unicast(b"\x10\x02" + b"\x10" * 1400)

    async def flooding(loud: Station) -> None:
        while True:
            for _ in range(100):
                loud.send(told, loud.callers[0])
            await asyncio.sleep(0.005)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with station(honest(1)) as loud, station(honest(2)) as quiet:
            devices = [
                device(each.port, f"d{each.port}", replace(QUICK, response_timeout_seconds=5)) for each in (loud, quiet)
            ]
            async with upstreams(*devices) as ways:
                first, second = (ways.upstream(each.key) for each in devices)
                await asked(first, reading(devices[0]))
                began, flood = loop.time(), loop.create_task(flooding(loud))
                while loop.time() < began + 1:
                    relayed = await asked(second, reading(devices[1]))
                    assert relayed.result == Result.DONE
                flood.cancel()
                assert first.notices is not None
                most = UNASKED_OCTETS_AT_ONCE + UNASKED_OCTETS_PER_SECOND * (loop.time() - began)
                assert 0 < first.notices.refused <= most / 1400

    asyncio.run(story())


def test_of_a_place_where_no_device_is_nothing_is_looked_at() -> None:
    async def story() -> None:
        async with station(silent) as known, station(silent) as stranger:
            port, heard = BacnetIpPort(SystemClock()), asyncio.Event()
            port.open()
            port.peer(Whereabouts(("127.0.0.1", known.port))).requests = lambda peer, apdu: heard.set()
            for each in (stranger, known):
                each.send(unicast(b"\x10\x08"), ("127.0.0.1", port.address[1]))
            await heard.wait()
            assert port.strangers == 1
            port.leave()

    asyncio.run(story())
