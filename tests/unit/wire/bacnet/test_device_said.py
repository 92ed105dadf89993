"""What devices say of themselves, how long it counts, how much of it is kept, and that the inventory comes first."""

from dataclasses import replace

import pytest
from bacpypes3.apdu import IAmRequest
from bacpypes3.primitivedata import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.model.place import BacnetAddress, BacnetFace, Device, Point, Protocol
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay, ModbusTcpWay, Segmentation
from broker.wire.bacnet.apdu import ConfirmedRequest, decode_apdu, dressed
from broker.wire.bacnet.device_said import LASTS_SECONDS, MOST_NAMES, DeviceSaid, LiveDevices
from broker.wire.bacnet.discovery import announcement, compose_question, decode_sought, fits, left_out
from broker.wire.bacnet.encoding import application, application_enumerated, application_object, application_unsigned
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.locating import decode_i_am
from broker.wire.bacnet.name_reads import compose_name_read, compose_self_reads
from broker.wire.bacnet.property_requests import encode_read_property
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.replies import Reported, encode_read_property_ack, encode_read_property_multiple_ack
from broker.wire.bacnet.standard import number_of
from broker.wire.bacnet.tags import ENUMERATED, OBJECT, TEXT, UNSIGNED, Tag
from tests.unit.wire.bacnet.test_discovery import _bacpypes, as_asked

SETPOINT = Point("setpoint", BacnetAddress("analog-value", 1))
WAY = BacnetIpWay("127.0.0.1", 47808, 1001)
VAV = Device("plant", "vav-1", "hvac", Protocol.BACNET, WAY, points=(SETPOINT,))
WHO_IS = decode_sought(b"\x10\x08")
ANALOG_VALUE, ANALOG_INPUT, DEVICE = 2, 0, 8
MAX_APDU, SEGMENTATION, VENDOR, OBJECT_NAME = 62, 107, 120, 77
assert WHO_IS is not None


def text(name: str) -> Tag:
    return Tag("application", TEXT, b"\x00" + name.encode())


def number(value: int, kind: int = UNSIGNED) -> Tag:
    return Tag("application", kind, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def told(said: DeviceSaid, at: Reference, *values: Tag, now: float = 0.0, device: Device = VAV) -> None:
    """The device answers a read of one property."""
    request = interpret(device, b"\x00\x0c" + encode_read_property(at))
    said.learn(request, b"\x30\x0c" + encode_read_property_ack(Reported(at, values)), now)


def named(said: DeviceSaid, object_type: int, instance: int, name: str, now: float = 0.0) -> None:
    told(said, Reference(object_type, instance, OBJECT_NAME, None), text(name), now=now)


def takes(said: DeviceSaid, max_apdu: int, segmentation: int, vendor: int, instance: int = 1001) -> None:
    for word, tag in (
        (MAX_APDU, number(max_apdu)),
        (SEGMENTATION, number(segmentation, ENUMERATED)),
        (VENDOR, number(vendor)),
    ):
        told(said, Reference(DEVICE, instance, word, None), tag)


def who_has(name: str = "", which: tuple[int, int] = (0, 0)) -> object:
    octets = (
        b"\x3d" + bytes((1 + len(name),)) + b"\x00" + name.encode()
        if name
        else b"\x2c" + (which[0] << 22 | which[1]).to_bytes(4, "big")
    )
    sought = decode_sought(b"\x10\x07" + octets)
    assert sought is not None
    return sought


def i_am(bare: bytes) -> tuple[int, str, int]:
    heard = IAmRequest.decode(_bacpypes(bare))
    return heard.maxAPDULengthAccepted, str(heard.segmentationSupported), heard.vendorID


def test_what_a_device_takes_is_told_to_clients_and_used_towards_it() -> None:
    said = DeviceSaid(WAY)
    assert i_am(announcement(WHO_IS, VAV, said, 0.0)) == (1476, "segmented-both", 0)
    assert said.lacks_any(0.0)
    takes(said, 480, 3, 260)
    assert not said.lacks_any(0.0)
    assert i_am(announcement(WHO_IS, VAV, said, 0.0)) == (480, "no-segmentation", 260)
    way = said.completed(0.0)
    assert (way.longest_apdu, way.takes_segments) == (480, False)


def test_the_inventory_comes_first() -> None:
    way = replace(WAY, max_apdu=1024, segmentation=Segmentation.RECEIVE)
    stated = replace(VAV, way=way, bacnet=BacnetFace(vendor_identifier=7, name="VAV 1"))
    said = DeviceSaid(way)
    takes(said, 480, 3, 260)
    named(said, DEVICE, 1001, "another")
    assert i_am(announcement(WHO_IS, stated, said, 0.0)) == (1024, "segmented-receive", 7)
    assert said.completed(0.0) == way
    assert not left_out(stated)
    assert left_out(VAV)
    assert b"VAV 1" in announcement(who_has(which=(DEVICE, 1001)), stated, said, 0.0)  # type: ignore[arg-type]


def test_what_a_device_says_of_another_device_or_cannot_be_is_not_taken() -> None:
    said = DeviceSaid(WAY)
    takes(said, 480, 3, 260, instance=1002)
    for word, tag in ((MAX_APDU, number(49)), (SEGMENTATION, number(4, ENUMERATED)), (VENDOR, number(65536))):
        told(said, Reference(DEVICE, 1001, word, None), tag)
    told(said, Reference(DEVICE, 1001, MAX_APDU, None), text("480"))
    told(said, Reference(DEVICE, 1001, MAX_APDU, None), number(480), number(480))
    assert said.completed(0.0) is WAY
    assert said.vendor_identifier(0.0) is None
    told(said, Reference(DEVICE, 1001, MAX_APDU, None), number(60_000))
    assert said.completed(0.0).longest_apdu == 1476


def test_it_counts_for_an_hour() -> None:
    said = DeviceSaid(WAY)
    takes(said, 480, 3, 260)
    named(said, ANALOG_INPUT, 9, "Zone 9")
    late = LASTS_SECONDS + 0.1
    assert fits(who_has("Zone 9"), VAV, said, LASTS_SECONDS - 0.1)  # type: ignore[arg-type]
    assert not fits(who_has("Zone 9"), VAV, said, late)  # type: ignore[arg-type]
    assert i_am(announcement(WHO_IS, VAV, said, late)) == (1476, "segmented-both", 0)
    assert said.lacks_any(late)


def test_an_object_is_found_by_the_name_that_the_device_gave_and_decided_as_a_read_of_it() -> None:
    said = DeviceSaid(WAY)
    assert not fits(who_has("Zone 9"), VAV, said, 0.0)  # type: ignore[arg-type]
    named(said, ANALOG_INPUT, 9, "Zone 9")
    sought = who_has("Zone 9")
    (operation,) = compose_question(sought, VAV, said, 0.0).operations  # type: ignore[arg-type]
    assert (operation.action, operation.touches, operation.described) == (Action.VIEW, (), False)
    assert (operation.address.object_type, operation.address.instance) == ("analog-input", 9)  # type: ignore[union-attr]
    assert announcement(sought, VAV, said, 0.0) == b"\x10\x01" + b"".join(  # type: ignore[arg-type]
        (application_object(8, 1001), application_object(0, 9), application(TEXT, b"\x00Zone 9"))
    )
    assert fits(who_has(which=(ANALOG_INPUT, 9)), VAV, said, 0.0)  # type: ignore[arg-type]


def test_a_point_is_found_by_its_own_name_and_still_decided_as_the_point_that_it_is() -> None:
    said = DeviceSaid(WAY)
    named(said, ANALOG_VALUE, 1, "Zone setpoint")
    (operation,) = compose_question(who_has("Zone setpoint"), VAV, said, 0.0).operations  # type: ignore[arg-type]
    assert [touch.point for touch in operation.touches] == [SETPOINT]
    assert b"Zone setpoint" in announcement(who_has(which=(ANALOG_VALUE, 1)), VAV, said, 0.0)  # type: ignore[arg-type]
    assert announcement(who_has("setpoint"), VAV, said, 0.0).endswith(b"\x00setpoint")  # type: ignore[arg-type]


def test_a_device_cannot_put_another_object_where_the_inventory_has_a_name() -> None:
    said = DeviceSaid(WAY)
    named(said, ANALOG_INPUT, 9, "setpoint")
    (operation,) = compose_question(who_has("setpoint"), VAV, said, 0.0).operations  # type: ignore[arg-type]
    assert [touch.point for touch in operation.touches] == [SETPOINT]


def test_a_name_that_moved_is_at_its_new_place_alone() -> None:
    said = DeviceSaid(WAY)
    named(said, ANALOG_INPUT, 1, "Zone")
    named(said, ANALOG_INPUT, 2, "Zone")
    named(said, ANALOG_INPUT, 1, "Other")
    assert said.object_named("Zone", 0.0) == ("analog-input", 2)
    named(said, ANALOG_INPUT, 2, "")
    assert said.object_named("Zone", 0.0) is None


def test_names_are_bounded_and_the_oldest_go_first() -> None:
    said = DeviceSaid(WAY)
    for each in range(MOST_NAMES + 10):
        named(said, ANALOG_INPUT, each, f"n{each}")
    assert [said.object_named(f"n{each}", 0.0) is not None for each in (9, 10, MOST_NAMES + 9)] == [False, True, True]
    assert len(said._objects) == len(said._names) == MOST_NAMES
    named(said, ANALOG_INPUT, 5, "x" * 256)
    assert said.name_of(("analog-input", 5), 0.0) == ""


def test_a_reply_of_several_teaches_what_it_brings_and_errors_teach_nothing() -> None:
    said = DeviceSaid(WAY)
    (request,) = compose_self_reads(VAV)
    at = [Reference(DEVICE, 1001, word, None) for word in (MAX_APDU, SEGMENTATION, VENDOR)]
    brought = (Reported(at[0], (number(1024),)), Reported(at[1], error=(2, 32)), Reported(at[2], (number(15),)))
    said.learn(request, b"\x30\x0e" + encode_read_property_multiple_ack(brought), 0.0)
    assert (said.completed(0.0).max_apdu, said.completed(0.0).segmentation) == (1024, None)
    assert said.vendor_identifier(0.0) == 15
    said.learn(request, b"\x50\x0e\x91\x02\x91\x20", 0.0)
    assert said.completed(0.0).max_apdu == 1024


def test_a_device_without_multiple_reads_is_asked_one_by_one_and_one_of_modbus_nothing() -> None:
    single = replace(VAV, labels=(("read-property-multiple", "no"),))
    asked = [request.operations[0].address.property for request in compose_self_reads(single)]  # type: ignore[union-attr]
    assert asked == ["max-apdu-length-accepted", "segmentation-supported", "vendor-identifier"]
    assert compose_self_reads(replace(VAV, way=ModbusTcpWay("127.0.0.1", 502))) == ()
    assert isinstance(decode_apdu_of(compose_name_read(VAV, ("analog-input", 9)).payload), ConfirmedRequest)


def decode_apdu_of(bare: bytes) -> object:
    from broker.wire.bacnet.apdu import encode_apdu

    return decode_apdu(encode_apdu(dressed(bare, 1)))


def test_an_i_am_teaches_of_the_device_itself_alone() -> None:
    said = DeviceSaid(WAY)
    heard = as_asked(
        IAmRequest(
            iAmDeviceIdentifier=ObjectIdentifier(("device", 1001)),
            maxAPDULengthAccepted=206,
            segmentationSupported="segmented-transmit",
            vendorID=999,
        )
    )
    assert said.learn_i_am(heard, 0.0)
    assert i_am(announcement(WHO_IS, VAV, said, 0.0)) == (206, "segmented-transmit", 999)
    assert not DeviceSaid(replace(WAY, instance=7)).learn_i_am(heard, 0.0)
    assert not said.learn_i_am(b"\x10\x08", 0.0)


def test_of_a_device_that_has_moved_or_is_gone_nothing_is_known() -> None:
    live = LiveDevices()
    said = live.of(VAV)
    assert said is not None
    named(said, ANALOG_INPUT, 9, "Zone 9")
    assert live.of(replace(VAV, points=())) is said
    moved = live.of(replace(VAV, way=replace(WAY, host="127.0.0.2")))
    assert moved is not None
    assert moved.object_named("Zone 9", 0.0) is None
    live.keep(())
    assert live.of(VAV) is not said
    assert live.of(replace(VAV, way=ModbusTcpWay("127.0.0.1", 502))) is None


@given(st.binary(max_size=40))
def test_any_octets_are_an_i_am_or_refused(tail: bytes) -> None:
    try:
        heard = decode_i_am(b"\x10\x00" + tail)
    except FrameError:
        return
    assert heard is not None
    again = (
        application_object(8, heard.instance),
        application_unsigned(heard.max_apdu),
        application_enumerated(heard.segmentation),
        application_unsigned(heard.vendor_identifier),
    )
    assert decode_i_am(b"\x10\x00" + b"".join(again)) == heard


@given(st.binary(max_size=60), st.sampled_from((12, 14)), st.sampled_from((0, 1)))
def test_no_reply_however_odd_breaks_what_is_known(tail: bytes, choice: int, which: int) -> None:
    said = DeviceSaid(WAY)
    request = (compose_self_reads(VAV)[0], compose_name_read(VAV, ("analog-input", 9)))[which]
    said.learn(request, bytes((0x30, choice)) + tail, 0.0)
    assert 50 <= said.completed(0.0).longest_apdu <= 1476


@pytest.mark.parametrize("kind", [0, 23, 127, 128, 1023])
def test_objects_of_every_type_can_be_looked_for_by_name(kind: int) -> None:
    said = DeviceSaid(WAY)
    named(said, kind, 3, "vendor thing")
    sought = who_has("vendor thing")
    (operation,) = compose_question(sought, VAV, said, 0.0).operations  # type: ignore[arg-type]
    assert number_of("object-type", operation.address.object_type) == kind  # type: ignore[union-attr]
    assert application(OBJECT, (kind << 22 | 3).to_bytes(4, "big")) in announcement(sought, VAV, said, 0.0)  # type: ignore[arg-type]
