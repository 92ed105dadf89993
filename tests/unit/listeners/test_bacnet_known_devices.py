"""What a client that looks for devices and objects is told where the inventory is silent."""

import asyncio
from dataclasses import replace

import pytest

from broker.engine.commands import Decide, Relay
from broker.listeners import bacnet_device_reads
from broker.model.operation import BacnetProperty, Relayed
from broker.model.vocabulary import Result
from broker.wire.bacnet.apdu import UnconfirmedRequest
from broker.wire.bacnet.locating import decode_i_am
from broker.wire.bacnet.name_reads import compose_name_read
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.replies import Reported, encode_read_property_ack, encode_read_property_multiple_ack
from broker.wire.bacnet.tags import ENUMERATED, TEXT, UNSIGNED, Tag
from tests.unit.listeners.test_bacnet_stream import ONE, TWO, Stage, play


def asking(stage: Stage) -> Stage:
    """The inventory wants devices to be asked what it leaves out, and devices answer that."""
    stage.network = replace(stage.network, asks_devices=True)

    def reply(relay: Relay) -> Relayed:
        (said,) = (stage.floor.live.of(d) for d in (ONE, TWO) if d.key == relay.session.device_key)
        assert said is not None
        octets = encode_read_property_multiple_ack(
            Reported(Reference(8, said.way.instance, word, None), (Tag("application", kind, bytes((value,))),))
            for word, kind, value in ((62, UNSIGNED, 206), (107, ENUMERATED, 3), (120, UNSIGNED, 15))
        )
        said.learn(relay.request, b"\x30\x0e" + octets, asyncio.get_running_loop().time())
        return Relayed(Result.DONE, b"\x30\x0e" + octets)

    stage.reply = reply
    return stage


def announced(stage: Stage) -> list[tuple[int, int]]:
    """Instance and largest APDU of what says I-Am."""
    heard = [decode_i_am(npdu.payload) for _, npdu in stage.sent if npdu.payload[:2] == b"\x10\x00"]
    stage.sent.clear()
    return sorted((each.instance, each.max_apdu) for each in heard if each is not None)


def test_what_the_inventory_leaves_out_is_read_once_before_a_device_is_announced_where_that_is_wanted() -> None:
    def test(stage: Stage) -> None:
        asking(stage)
        for _ in range(2):
            stage.ask(UnconfirmedRequest(8, b""), None)
            assert announced(stage) == [(1001, 206), (1002, 206)]
        assert [key for key, _ in stage.asked] == ["plant/vav-1", "plant/vav-2"]

    play(test)


def test_who_may_not_read_a_device_teaches_nothing_and_is_told_what_is_known() -> None:
    def test(stage: Stage) -> None:
        asking(stage)
        stage.allow = lambda decide: decide.request.operations[0].service == "who-is"
        stage.ask(UnconfirmedRequest(8, b""), None)
        assert announced(stage) == [(1001, 1476), (1002, 1476)]
        assert stage.asked == []
        stage.allow = lambda decide: True
        stage.ask(UnconfirmedRequest(8, b""), None)
        assert announced(stage) == [(1001, 206), (1002, 206)]

    play(test)


def test_a_device_that_does_not_answer_is_announced_all_the_same_and_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bacnet_device_reads, "MOMENT_SECONDS", 0.01)

    async def story(stage: Stage) -> None:
        asking(stage)
        stage.reply = lambda relay: Relayed(Result.NO_REPLY)
        stage.hold_reads = True
        for _ in range(2):
            stage.ask(UnconfirmedRequest(8, b"\x0a\x03\xe9\x1a\x03\xe9"), None)
        assert announced(stage) == []
        while not stage.sent:
            await asyncio.sleep(0.005)
        assert announced(stage) == [(1001, 1476), (1001, 1476)]
        assert len(stage.held_back) == 1
        stage.held_back.pop()()
        assert announced(stage) == []
        stage.ask(UnconfirmedRequest(8, b"\x0a\x03\xe9\x1a\x03\xe9"), None)
        assert announced(stage) == [(1001, 1476)]

    play(story)


def test_an_object_is_found_by_the_name_its_device_gave_it_by_whoever_may_read_it_alone() -> None:
    def test(stage: Stage) -> None:
        said = stage.floor.live.of(ONE)
        assert said is not None
        name = Reported(Reference(0, 9, 77, None), (Tag("application", TEXT, b"\x00Zone 9"),))
        read = compose_name_read(ONE, ("analog-input", 9))
        said.learn(read, b"\x30\x0c" + encode_read_property_ack(name), asyncio.get_running_loop().time())
        who_has = UnconfirmedRequest(7, b"\x3d\x07\x00Zone 9")
        stage.ask(who_has, None)
        ((_, npdu),) = stage.sent
        assert npdu.payload[:2] == b"\x10\x01"
        assert npdu.payload.endswith(b"Zone 9")
        stage.sent.clear()
        stage.allow = lambda decide: (
            decide.request.operations[0].address != BacnetProperty("analog-input", 9, "object-name")
        )
        stage.ask(who_has, None)
        assert (stage.sent, stage.asked) == ([], [])

    play(test)


def test_what_is_announced_is_the_object_that_was_decided_though_its_name_moves_meanwhile() -> None:
    def test(stage: Stage) -> None:
        said = stage.floor.live.of(ONE)
        assert said is not None

        def called(instance: int, name: bytes) -> None:
            told = Reported(Reference(0, instance, 77, None), (Tag("application", TEXT, b"\x00" + name),))
            read = compose_name_read(ONE, ("analog-input", instance))
            said.learn(read, b"\x30\x0c" + encode_read_property_ack(told), asyncio.get_running_loop().time())

        def move(decide: Decide) -> bool:
            called(8, b"Zone 9")
            decided.append(decide.request.operations[0].address)
            return True

        decided: list[object] = []
        called(9, b"Zone 9")
        stage.allow = move
        stage.ask(UnconfirmedRequest(7, b"\x3d\x07\x00Zone 9"), None)
        assert decided == [BacnetProperty("analog-input", 9, "object-name")]
        ((_, npdu),) = stage.sent
        assert npdu.payload[7:12] == b"\xc4" + (9).to_bytes(4, "big")

    play(test)


def test_a_device_whose_name_is_not_known_any_more_when_its_session_is_there_says_nothing() -> None:
    def test(stage: Stage) -> None:
        said = stage.floor.live.of(ONE)
        assert said is not None
        told = Reported(Reference(0, 9, 77, None), (Tag("application", TEXT, b"\x00Zone 9"),))
        read = compose_name_read(ONE, ("analog-input", 9))
        said.learn(read, b"\x30\x0c" + encode_read_property_ack(told), asyncio.get_running_loop().time())
        opening = stage.open

        def forget_and_open(*given: object) -> None:
            stage.floor.live.keep(())
            opening(*given)  # type: ignore[arg-type]

        stage.open = forget_and_open  # type: ignore[method-assign]
        stage.ask(UnconfirmedRequest(7, b"\x3d\x07\x00Zone 9"), None)
        assert (stage.sent, stage.asked) == ([], [])

    play(test)


def naming(stage: Stage, name: bytes) -> None:
    """Devices answer what their points are called, and the inventory wants them to be asked."""
    stage.network = replace(stage.network, asks_devices=True)

    def reply(relay: Relay) -> Relayed:
        said = stage.floor.live.of(relay.session.device)
        assert said is not None
        told = Reported(Reference(2, 1, 77, None), (Tag("application", TEXT, b"\x00" + name),))
        octets = b"\x30\x0e" + encode_read_property_multiple_ack((told,))
        said.learn(relay.request, octets, asyncio.get_running_loop().time())
        return Relayed(Result.DONE, octets)

    stage.reply = reply


def test_a_name_that_nobody_has_told_is_asked_for_once_where_that_is_wanted_and_then_found() -> None:
    def test(stage: Stage) -> None:
        naming(stage, b"Zone 1")
        who_has = UnconfirmedRequest(7, b"\x3d\x07\x00Zone 1")
        for _ in range(3):
            stage.ask(who_has, None)
            assert [npdu.payload[-6:] for _, npdu in stage.sent] == [b"Zone 1"] * 2
            stage.sent.clear()
            stage.ask(UnconfirmedRequest(7, b"\x3d\x06\x00Other"), None)
            assert stage.sent == []
        assert [key for key, _ in stage.asked] == ["plant/vav-1", "plant/vav-2"]

    play(test)


def test_names_are_not_asked_for_by_whoever_may_not_read_the_points_nor_outside_the_range_that_is_looked_in() -> None:
    def test(stage: Stage) -> None:
        naming(stage, b"Zone 1")
        stage.ask(UnconfirmedRequest(7, b"\x0a\x07\xd0\x1a\x07\xd1\x3d\x07\x00Zone 1"), None)
        assert stage.asked == []
        stage.allow = lambda decide: False
        stage.ask(UnconfirmedRequest(7, b"\x3d\x07\x00Zone 1"), None)
        assert (stage.asked, stage.sent) == ([], [])

    play(test)


def test_without_the_inventorys_wish_no_device_is_asked_for_anything() -> None:
    def test(stage: Stage) -> None:
        naming(stage, b"Zone 1")
        stage.network = replace(stage.network, asks_devices=False)
        stage.ask(UnconfirmedRequest(7, b"\x3d\x07\x00Zone 1"), None)
        stage.ask(UnconfirmedRequest(8, b""), None)
        assert stage.asked == []

    play(test)
