"""What a device has said that it takes is kept to, once it has said it and where the inventory is silent."""

import asyncio
from dataclasses import replace

from broker.adapters.upstreams import Upstreams
from broker.model.operation import Relayed, Request
from broker.model.place import BacnetAddress, Device, Point, Protocol
from broker.model.vocabulary import Action, Result
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.apdu import ConfirmedRequest
from broker.wire.bacnet.meaning import compose_read, compose_write
from broker.wire.bacnet.name_reads import compose_name_read, compose_self_reads
from broker.wire.bacnet.npdu import Npdu
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.replies import Reported, encode_read_property_ack, encode_read_property_multiple_ack
from broker.wire.bacnet.tags import ENUMERATED, TEXT, UNSIGNED, Tag
from tests.integration.upstreams.asking import QUICK, asked, upstreams
from tests.integration.upstreams.sc_network import i_am, play
from tests.integration.upstreams.test_bacnet_port import POINT, Place, Station, acknowledged, station, unicast

TEXT_POINT = Point("message", BacnetAddress("characterstring-value", 1), Action.CONTROL)
PATIENT = replace(QUICK, response_timeout_seconds=5.0)
DEVICE, MAX_APDU, SEGMENTATION, VENDOR, NAME = 8, 62, 107, 120, 77


def application(kind: int, octets: bytes) -> tuple[Tag]:
    return (Tag("application", kind, octets),)


def says(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
    """A small device: 206 octets at a time, and no segments."""
    if request.service == 14:
        told = encode_read_property_multiple_ack(
            (
                Reported(Reference(DEVICE, 1001, MAX_APDU, None), application(UNSIGNED, b"\xce")),
                Reported(Reference(DEVICE, 1001, SEGMENTATION, None), application(ENUMERATED, b"\x03")),
                Reported(Reference(DEVICE, 1001, VENDOR, None), application(UNSIGNED, b"\x0f")),
            )
        )
        station.send(unicast(bytes((0x30, request.invoke, 14)) + told), caller)
    elif request.parameters.endswith(bytes((0x19, NAME))):
        named = Reported(Reference(0, 9, NAME, None), application(TEXT, b"\x00Zone 9"))
        station.send(unicast(bytes((0x30, request.invoke, 12)) + encode_read_property_ack(named)), caller)
    else:
        station.send(unicast(acknowledged(request, 1)), caller)


def device(port: int, **stated: object) -> Device:
    way = BacnetIpWay("127.0.0.1", port, 1001, **stated)  # type: ignore[arg-type]
    return Device("plant", "vav-1", "hvac", Protocol.BACNET, way, points=(POINT, TEXT_POINT), budget=PATIENT)


def relayed(ways: Upstreams, of: Device, request: Request) -> "asyncio.Future[Relayed]":
    return asked(ways.upstream(of.key), request)


def long_write(of: Device) -> Request:
    return compose_write(of, TEXT_POINT, "x" * 300)


def test_a_request_that_a_device_has_said_it_cannot_take_is_not_sent_to_it() -> None:
    async def story() -> None:
        async with station(says) as small:
            mine = device(small.port)
            async with upstreams(mine) as ways:
                assert (await relayed(ways, mine, long_write(mine))).result == Result.DONE  # it has not said so yet
                await relayed(ways, mine, compose_self_reads(mine)[0])
                refused = await relayed(ways, mine, long_write(mine))
                assert (refused.result, refused.code) == (Result.NOT_SENT, "request_too_long")
                assert (await relayed(ways, mine, compose_read(mine, (POINT,))[0])).result == Result.DONE

    play(story)


def test_what_the_inventory_states_is_not_overruled_by_the_device() -> None:
    async def story() -> None:
        async with station(says) as small:
            mine = device(small.port, max_apdu=1024)
            async with upstreams(mine) as ways:
                await relayed(ways, mine, compose_self_reads(mine)[0])
                assert (await relayed(ways, mine, long_write(mine))).result == Result.DONE

    play(story)


def test_names_in_replies_and_what_an_i_am_says_are_learned_and_last_over_a_reload() -> None:
    def greeting(station: Station, npdu: Npdu, request: ConfirmedRequest, caller: Place) -> None:
        station.send(unicast(i_am(1002)), caller)  # in the name of another
        station.send(unicast(i_am(1001)), caller)
        says(station, npdu, request, caller)

    async def story() -> None:
        async with station(greeting) as small:
            mine = device(small.port)
            async with upstreams(mine) as ways:
                await relayed(ways, mine, compose_name_read(mine, ("analog-input", 9)))
                await ways.replace([replace(mine, description="now described")])
                said, now = ways.live.of(mine), asyncio.get_running_loop().time()
                assert said is not None
                assert said.object_named("Zone 9", now) == ("analog-input", 9)
                assert said.vendor_identifier(now) == 255
                await ways.replace([])
                assert ways.live.of(mine) is not said

    play(story)
