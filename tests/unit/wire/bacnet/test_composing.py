"""The answer to ReadPropertyMultiple, put together of what was denied, told, made, and asked further."""

import pytest

from broker.errors import FrameError
from broker.model.operation import BacnetProperty
from broker.model.place import Device, Protocol
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.composing import Pieces, composed_reply, further_read, results_of
from broker.wire.bacnet.interpreter import interpret, narrowed
from broker.wire.bacnet.property_requests import encode_read_property, encode_read_property_multiple
from broker.wire.bacnet.references import Reference, reference_of, words_of
from broker.wire.bacnet.replies import (
    Reported,
    decode_read_property_multiple_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.standard import error_numbers, error_text
from broker.wire.bacnet.tags import ENUMERATED, Tag, decode_tags

DEVICE = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1001))
VALUE = decode_tags(bytes.fromhex("4441ac0000"))
READ_DENIED = "property/read-access-denied"
UNKNOWN = "property/unknown-property"
LIST, OURS, PRESENT = 371, 512, 85
LATER = 4194330  # the standard goes on there
LISTED = tuple(Tag("application", ENUMERATED, n.to_bytes(4, "big")) for n in (PRESENT, OURS, 105, 8, LIST, LATER))


def at(name: str, object_type: str = "analog-value", instance: int = 1) -> Reference:
    return reference_of(BacnetProperty(object_type, instance, name))


def several(*names: Reference) -> bytes:
    return bytes((0, 14)) + encode_read_property_multiple(names)


def answered(
    bare: bytes, denied: set[int], found: dict[str, str] | None = None, late: frozenset[int] = frozenset()
) -> list[tuple[str, str]]:
    """Names and errors of what the caller is told if a device has all properties but those in `found`."""
    request = interpret(DEVICE, bare)
    left = [place for place in range(len(request.operations)) if place not in denied]
    asked = interpret(DEVICE, narrowed(request, left).payload) if left else None
    results = []
    for operation in asked.operations if asked else ():
        assert isinstance(operation.address, BacnetProperty)
        error = (found or {}).get(str(operation.address.property))
        reference = reference_of(operation.address)
        results.append(Reported(reference, error=error_numbers(error)) if error else Reported(reference, VALUE))
    relayed = b"\x30\x0e" + encode_read_property_multiple_ack(results)
    reply = composed_reply(bare, DEVICE, Pieces(denied, relayed, late=late))
    assert reply[:2] == b"\x30\x0e"
    told = decode_read_property_multiple_ack(reply[2:])
    return [(str(words_of(each.reference)[2]), error_text(*each.error) if each.error else "") for each in told]


def test_what_was_denied_is_refused_in_its_place_and_the_rest_is_told() -> None:
    bare = several(at("present-value"), at("units"), at("object-name"))
    assert answered(bare, {1}) == [("present-value", ""), ("units", READ_DENIED), ("object-name", "")]
    assert answered(bare, {0, 2}, {"units": UNKNOWN}) == [
        ("present-value", READ_DENIED),
        ("units", UNKNOWN),
        ("object-name", READ_DENIED),
    ]


def test_what_a_wildcard_stands_for_is_told_only_where_it_is_there_and_allowed() -> None:
    bare = several(at("required"), at("present-value"))
    request = interpret(DEVICE, bare)
    names = [o.address.property for o in request.operations if isinstance(o.address, BacnetProperty)]
    denied = {names.index("out-of-service"), len(names) - 1}
    told = answered(bare, denied, {"units": UNKNOWN, "event-state": "property/value-not-initialized"})
    assert told[-1] == ("present-value", READ_DENIED)
    assert [name for name, _ in told[:-1]] == [n for n in names[:-1] if n not in ("out-of-service", "units")]
    assert ("event-state", "property/value-not-initialized") in told


@pytest.mark.parametrize(
    ("error", "expected"), [(None, READ_DENIED), (UNKNOWN, UNKNOWN), ("object/unknown-object", "object/unknown-object")]
)
def test_a_wildcard_that_brings_nothing_is_an_error_of_its_own(error: str | None, expected: str) -> None:
    bare = several(at("required"))
    request = interpret(DEVICE, bare)
    places = set(range(len(request.operations)))
    names = [str(o.address.property) for o in request.operations if isinstance(o.address, BacnetProperty)]
    found = dict.fromkeys(names, error) if error else {}
    assert answered(bare, set() if error else places, found) == [("required", expected)]


def test_the_device_is_told_by_its_own_instance() -> None:
    bare = several(Reference(8, 4194303, 77, None))
    relayed = b"\x30\x0e" + encode_read_property_multiple_ack([Reported(Reference(8, 1001, 77, None), VALUE)])
    told = composed_reply(bare, DEVICE, Pieces((), relayed))
    assert decode_read_property_multiple_ack(told[2:])[0].reference.instance == 1001


def test_a_reply_of_another_kind_goes_back_as_it_came() -> None:
    bare = several(at("present-value"), at("units"))
    for reply in ("500e91029120", "6004", "7001"):
        assert composed_reply(bare, DEVICE, Pieces({0}, bytes.fromhex(reply))) == bytes.fromhex(reply)
    single = bytes((0, 12)) + encode_read_property(at("units"))
    assert composed_reply(single, DEVICE, Pieces((), b"\x20\x0f")) == b"\x20\x0f"


def test_a_reply_with_fewer_results_than_were_asked_for_is_not_passed_on() -> None:
    with pytest.raises(FrameError):
        composed_reply(several(at("present-value"), at("units")), DEVICE, Pieces({0}, b"\x30\x0e"))


def test_what_the_device_itself_refuses_of_a_wildcard_is_told_and_what_is_denied_here_is_not() -> None:
    bare = several(at("required"))
    names = [
        str(o.address.property) for o in interpret(DEVICE, bare).operations if isinstance(o.address, BacnetProperty)
    ]
    told = answered(bare, {names.index("units")}, {"present-value": READ_DENIED})
    assert ("present-value", READ_DENIED) in told and "units" not in dict(told)


def test_what_was_decided_too_late_is_told_as_denied_and_seems_not_to_be_missing() -> None:
    bare = several(at("required"))
    names = [
        str(o.address.property) for o in interpret(DEVICE, bare).operations if isinstance(o.address, BacnetProperty)
    ]
    units, state = names.index("units"), names.index("event-state")
    told = dict(answered(bare, {units, state}, late=frozenset({state})))
    assert told["event-state"] == READ_DENIED
    assert "units" not in told


def told_of(reply: bytes) -> list[tuple[int, bool]]:
    """Number of each property that is told, and whether it has a value."""
    return [(each.reference.property, each.error is None) for each in decode_read_property_multiple_ack(reply[2:])]


def told_all(bare: bytes, listed: tuple[Tag, ...] = LISTED, error: str = "") -> bytes:
    """The reply of a device that has the present value alone of what the standard gives an object, and lists these."""
    results = []
    for operation in interpret(DEVICE, bare).operations:
        assert isinstance(operation.address, BacnetProperty)
        reference = reference_of(operation.address)
        held = {PRESENT: VALUE, LIST: listed}.get(reference.property)
        known = held is not None and not (error and reference.property == LIST)
        results.append(Reported(reference, held or ()) if known else Reported(reference, error=error_numbers(UNKNOWN)))
    return b"\x30\x0e" + encode_read_property_multiple_ack(results)


@pytest.mark.parametrize("wildcard", ["all", "optional"])
def test_what_the_device_says_an_object_has_beyond_the_standard_is_asked_and_told(wildcard: str) -> None:
    bare = several(at(wildcard), at("units"))
    first = Pieces(relayed=told_all(bare))
    further = further_read(bare, DEVICE, first)
    ours = [at("present-value")._replace(property=number) for number in (OURS, LATER)]
    assert further == several(*ours)
    assert further is not None
    brought = [Reported(ours[0], VALUE), Reported(ours[1], error=error_numbers(UNKNOWN))]
    relayed = b"\x30\x0e" + encode_read_property_multiple_ack(brought)
    results = results_of(further, DEVICE, Pieces(relayed=relayed))
    told = told_of(composed_reply(bare, DEVICE, first._replace(further=results)))
    present = [(PRESENT, True)] if wildcard == "all" else []
    assert told == [*present, (OURS, True), (117, False)]


def test_further_properties_that_may_not_be_read_are_left_out() -> None:
    bare = several(at("all"))
    first = Pieces(relayed=told_all(bare))
    further = further_read(bare, DEVICE, first)
    assert further is not None
    results = results_of(further, DEVICE, Pieces(denied={0, 1}))
    assert told_of(composed_reply(bare, DEVICE, first._replace(further=results))) == [(PRESENT, True)]
    results = results_of(further, DEVICE, Pieces(denied={0, 1}, late={1}))
    assert told_of(composed_reply(bare, DEVICE, first._replace(further=results))) == [(PRESENT, True), (LATER, False)]


@pytest.mark.parametrize("wildcard", ["all", "optional"])
def test_what_a_device_answers_for_and_does_not_list_is_left_out_unless_the_standard_requires_it(wildcard: str) -> None:
    bare = several(at(wildcard), at("description"))
    deadband, description, listing = 25, 28, (Tag("application", ENUMERATED, b"\x19"),)
    references = [reference_of(o.address) for o in interpret(DEVICE, bare).operations]  # type: ignore[arg-type]
    results = [Reported(each, listing if each.property == LIST else VALUE) for each in references]
    relayed = b"\x30\x0e" + encode_read_property_multiple_ack(results)
    told = [number for number, _ in told_of(composed_reply(bare, DEVICE, Pieces(relayed=relayed)))]
    assert [number for number in told if number in (PRESENT, deadband, description)] == (
        [PRESENT, deadband, description] if wildcard == "all" else [deadband, description]
    )
    assert len(told) == (10 if wildcard == "all" else 2)


@pytest.mark.parametrize("listed", [(), VALUE, (Tag("application", ENUMERATED, b"\x08"),)])
def test_a_list_that_names_nothing_that_can_be_asked_for_asks_for_nothing(listed: tuple[Tag, ...]) -> None:
    bare = several(at("all"))
    assert further_read(bare, DEVICE, Pieces(relayed=told_all(bare, listed))) is None


def test_nothing_further_is_asked_without_a_list_or_without_a_wildcard_for_it() -> None:
    bare = several(at("all"))
    assert further_read(bare, DEVICE, Pieces(relayed=told_all(bare, error=UNKNOWN))) is None
    for other in (several(at("required")), several(at("present-value"), at("property-list"))):
        assert further_read(other, DEVICE, Pieces(relayed=told_all(other))) is None
    denied = len(interpret(DEVICE, bare).operations) - 1
    left = narrowed(interpret(DEVICE, bare), range(denied)).payload
    assert further_read(bare, DEVICE, Pieces({denied}, told_all(left))) is None


def test_a_list_without_end_asks_for_no_more_than_one_request_may() -> None:
    endless = tuple(Tag("application", ENUMERATED, n.to_bytes(2, "big")) for n in range(1000, 3000))
    bare = several(at("all"))
    further = further_read(bare, DEVICE, Pieces(relayed=told_all(bare, endless)))
    assert further is not None and len(interpret(DEVICE, further).operations) == 400


def test_what_the_broker_made_itself_stands_in_its_place() -> None:
    bare = several(at("object-list", "device", 1001), at("present-value"), at("object-list", "device", 1001))
    made = Reported(at("object-list", "device", 1001), VALUE)
    relayed = b"\x30\x0e" + encode_read_property_multiple_ack([Reported(at("present-value"), VALUE)])
    reply = composed_reply(bare, DEVICE, Pieces((), relayed, {0: made, 2: made}))
    assert told_of(reply) == [(76, True), (PRESENT, True), (76, True)]
    reply = composed_reply(bare, DEVICE, Pieces({1}, made={0: made, 2: made}))
    assert told_of(reply) == [(76, True), (PRESENT, False), (76, True)]
