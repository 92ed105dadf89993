"""What is known of earlier writes never makes a write mean anything but what it means when it is decoded whole."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.model.operation import Request
from broker.model.place import BacnetAddress, Confidential, Point
from broker.model.vocabulary import Action
from broker.wire.bacnet.encoding import application
from broker.wire.bacnet.interpreter import Interpreter, decode, interpret
from broker.wire.bacnet.places import places_of
from broker.wire.bacnet.property_requests import Write, encode_write_property
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.repeated_writes import RepeatedWrites
from broker.wire.bacnet.tags import BOOLEAN, DOUBLE, ENUMERATED, NULL, OCTETS, REAL, TEXT, UNSIGNED
from tests.unit.wire.bacnet.test_bacnet_interpreter import PLANT as DESCRIBED
from tests.unit.wire.bacnet.test_bacnet_interpreter import at, bare

SECRET = Point("secret", BacnetAddress("analog-value", 62), Action.ADJUST, confidential=Confidential.SECRET)
PLANT = replace(DESCRIBED, points=(*DESCRIBED.points, SECRET))
SETPOINT, FAN = at("analog-value", 1), at("binary-output", 3)
PLACES = (
    SETPOINT,
    FAN,
    at("analog-value", 62),  # 62 is also what opens a value
    at("analog-value", 1, "max-apdu-length-accepted"),  # and this property is 62
    at("analog-value", 1, "priority-array", 8),
    at("multi-state-value", 1, "state-text", 62),
    at("multi-state-value", 1, "512"),
    at("device", 4194303, "vendor-name"),
)
VALUES = st.one_of(
    st.builds(application, st.sampled_from((UNSIGNED, ENUMERATED, OCTETS)), st.binary(min_size=1, max_size=4)),
    st.builds(application, st.sampled_from((TEXT, OCTETS)), st.binary(min_size=1, max_size=9)),
    st.builds(application, st.just(REAL), st.binary(min_size=4, max_size=4)),
    st.builds(application, st.just(DOUBLE), st.binary(min_size=8, max_size=8)),
    st.sampled_from((application(NULL, b""), application(BOOLEAN, b"\1"), b"", b"\x3e\x3f", b"\x75\5\5\5\5\5\5")),
)
PRIORITIES = st.sampled_from((None, 0, 6, 8, 9, 16, 17, 0x3F, 256))
WRITES = st.builds(Write, st.sampled_from(PLACES), VALUES, PRIORITIES).map(encode_write_property)


def write(value: float, where: Reference = SETPOINT, priority: int | None = 10) -> bytes:
    return bare(15, encode_write_property(Write(where, application(REAL, struct.pack(">f", value)), priority)))


def learnt(writes: RepeatedWrites, octets: bytes) -> None:
    writes.learn(octets, decode(PLANT, octets), interpret(PLANT, octets))


def outcome(asked: Callable[[bytes], Request], octets: bytes) -> tuple[object, ...]:
    try:
        request = asked(octets)
        return request, request.conceals
    except FrameError as error:
        return type(error), *error.args, getattr(error, "reject", None)


def assert_mean_the_same(taught: Iterable[bytes], asked: Iterable[bytes]) -> None:
    """As an interpreter that has seen these says it, and what decodes each of them whole."""
    experienced = Interpreter(replace(PLANT), capacity=1)
    for octets in taught:
        outcome(experienced.interpret, octets)
    whole = partial(interpret, PLANT)
    for octets in asked:
        assert outcome(experienced.interpret, octets) == outcome(whole, octets), octets.hex()


@settings(max_examples=150, deadline=None)
@given(st.lists(WRITES, min_size=2, max_size=12))
def test_writes_mean_the_same_whatever_was_written_before(writes: list[bytes]) -> None:
    requests = [bare(15, octets) for octets in writes]
    assert_mean_the_same(requests, requests)


@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, min_size=2, max_size=6), st.sampled_from(PLACES), PRIORITIES)
def test_values_of_one_property_mean_the_same_whatever_it_held_before(
    values: list[bytes], where: Reference, priority: int | None
) -> None:
    requests = [bare(15, encode_write_property(Write(where, value, priority))) for value in values]
    assert_mean_the_same(requests, requests)


@pytest.mark.parametrize("priority", [None, 10])
def test_whatever_octet_is_another_one_or_missing_or_more(priority: int | None) -> None:
    known = write(21.5, priority=priority)
    places = range(2, len(known))
    changed = [known[:place] + bytes((octet,)) + known[place + 1 :] for place in places for octet in range(256)]
    cut = [known[:place] + known[place + 1 :] for place in places] + [known[:place] for place in range(len(known))]
    longer = [
        known[:place] + bytes((octet,)) + known[place:] for place in places for octet in (0, 10, 0x3E, 0x3F, 0x44)
    ]
    assert_mean_the_same([known], [*changed, *cut, *longer])


def test_only_the_value_of_what_is_known_is_looked_at() -> None:
    writes = RepeatedWrites(places_of(PLANT))
    assert writes.recognised(write(21.5)) is None
    learnt(writes, write(21.5))
    assert writes.recognised(write(22.25)) == interpret(PLANT, write(22.25))
    assert writes.recognised(write(22.25, priority=9)) is None
    assert writes.recognised(write(22.25, priority=None)) is None
    assert writes.recognised(write(22.25, FAN)) is None


@pytest.mark.parametrize(
    "octets",
    [
        "000f 0c00800001 1a0055 3e 44 41ac0000 3f 490a",  # a property in more octets than it needs
        "000f 0c00800001 1955 3e 44 41ac0000 3f 4a000a",  # a priority in more octets than it needs
        "000f 0c023fffff 1979 3e 44 41ac0000 3f",  # the device's own instance takes the place of the unknown one
    ],
)
def test_what_is_sent_otherwise_than_it_came_is_decoded_whole_each_time(octets: str) -> None:
    came = bytes.fromhex(octets)
    writes = RepeatedWrites(places_of(PLANT))
    learnt(writes, came)
    assert writes.recognised(came) is None
    assert interpret(PLANT, came).payload != came
    assert_mean_the_same([came, came.replace(b"\xac", b"\xad")], [came.replace(b"\xac", b"\xae")])


@pytest.mark.parametrize(
    "first, then",
    [
        ("65 05 0505050505", "65 05 0102030405"),  # content that looks like its own length
        ("65 05 0505050505", "65 06 010203040506"),
        ("09 05", "09 06"),  # a context tag is no primitive value
        ("21 01 21 02", "21 03 21 02"),  # nor are two
        ("11", "10"),  # a boolean is its header
        ("00", "00"),
    ],
)
def test_what_is_no_short_value_is_decoded_whole(first: str, then: str) -> None:
    for where in (SETPOINT, at("analog-value", 2), at("multi-state-value", 1, "512")):
        writes = (Write(where, bytes.fromhex(value), 10) for value in (first, then))
        taught, asked = (bare(15, encode_write_property(each)) for each in writes)
        assert_mean_the_same([taught], [asked])


def test_of_more_writes_than_are_kept_the_oldest_are_forgotten() -> None:
    writes = RepeatedWrites(places_of(PLANT))
    asked = [write(1.0, Reference(2, number, 85, None)) for number in range(1025)]
    for octets in asked:
        learnt(writes, octets)
    assert [writes.recognised(octets) is None for octets in asked[:2]] == [True, False]
