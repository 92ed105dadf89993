"""BACnet tags and acknowledgements: everything well-formed is understood, everything else is refused as FrameError."""

import struct
from decimal import Decimal

import pytest
from bacpypes3.apdu import ReadPropertyACK
from bacpypes3.basetypes import PropertyIdentifier
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.primitivedata import ObjectIdentifier, Real
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.bacnet.device_errors import decode_refusal
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.replies import (
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    encode_read_property_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.tags import MOST_TAGS, decode_tags
from broker.wire.bacnet.values import real_text, text_of

ACK = bytes.fromhex("0c0080000119553e4441ac00003f")


def refusal(octets: bytes) -> tuple[object, ...]:
    return decode_refusal(15, octets), decode_refusal(16, octets)


@given(st.binary(max_size=80))
def test_no_octets_make_the_decoders_fail_otherwise_than_as_a_frame_error(octets: bytes) -> None:
    for decode in (decode_tags, decode_read_property_ack, decode_read_property_multiple_ack, refusal):
        try:
            decode(octets)
        except FrameError:
            continue
    try:
        for tag in decode_tags(octets):
            if tag.kind == "application":
                text_of(tag)
    except FrameError:
        pass


@given(st.integers(0, len(ACK) - 1), st.integers(0, 255))
def test_a_changed_octet_is_refused_or_is_another_well_formed_reply(place: int, octet: int) -> None:
    changed = ACK[:place] + bytes((octet,)) + ACK[place + 1 :]
    try:
        reported = decode_read_property_ack(changed)
    except FrameError:
        return
    assert changed == ACK or reported != decode_read_property_ack(ACK)


@pytest.mark.parametrize("length", range(len(ACK)))
def test_a_reply_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(FrameError):
        decode_read_property_ack(ACK[:length])


@given(
    st.integers(0, 1023),
    st.integers(0, 0x3FFFFF),
    st.integers(0, 0x3FFFFF),
    st.none() | st.integers(0, 0xFFFFFFFF),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
def test_what_another_implementation_encodes_is_read_as_meant(
    object_type: int, instance: int, property_: int, index: int | None, number: float
) -> None:
    ack = ReadPropertyACK(
        objectIdentifier=ObjectIdentifier((object_type, instance)),
        propertyIdentifier=PropertyIdentifier(property_),
        propertyArrayIndex=index,
        propertyValue=AnyValue(Real(number)),
    )
    reported = decode_read_property_ack(bytes(ack.encode().pduData))
    assert reported.reference == Reference(object_type, instance, property_, index)
    assert encode_read_property_ack(reported) == bytes(ack.encode().pduData)
    (tag,) = reported.values
    assert struct.pack(">f", Decimal(text_of(tag))) == struct.pack(">f", number + 0.0)


def test_several_properties_are_encoded_as_they_were_decoded() -> None:
    octets = bytes.fromhex(
        "0c008000011e29554e4441ac00004f29244e91004f29575e910291205f1f0c008000021e2955390a4e2e44000000002f4f1f"
    )
    assert encode_read_property_multiple_ack(decode_read_property_multiple_ack(octets)) == octets


def test_a_refusal_of_several_writes_names_the_first_that_failed() -> None:
    octets = bytes.fromhex("0e910291280f1e0c00800001195529031f")
    refused = decode_refusal(16, octets)
    assert refused == ((2, 40), Reference(2, 1, 85, 3), octets)
    assert decode_refusal(16, bytes.fromhex("91029128")).first_failed is None
    for wrong in ("0e910291280f", "0e910291280f1e0c008000011f", octets.hex() + "00"):
        with pytest.raises(FrameError):
            decode_refusal(16, bytes.fromhex(wrong))
    with pytest.raises(FrameError):
        decode_refusal(15, octets)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_real_is_the_shortest_decimal_that_is_the_same_real(number: float) -> None:
    octets = struct.pack(">f", number)
    text = real_text(octets)
    assert struct.pack(">f", float(text)) == octets or (number == 0 and text == "0")
    assert "e" not in text
    digits = text.lstrip("-").replace(".", "").strip("0")
    assert len(digits) <= 9


def test_there_are_only_so_many_tags_and_fewer_in_a_request() -> None:
    assert len(decode_tags(bytes(MOST_TAGS))) == MOST_TAGS
    with pytest.raises(FrameError):
        decode_tags(bytes(MOST_TAGS + 1))
    with pytest.raises(FrameError, match="more than 4096 tags"):
        decode_confirmed(15, b"\x0c\x00\x80\x00\x01\x19\x55\x3e" + bytes(4096) + b"\x3f")


@pytest.mark.parametrize(
    "octets",
    [
        "3e44412400003e",  # opened twice
        "3f",  # closed without opening
        "3e4f",  # closed as another
        "12",  # a boolean of 2
        "4341ac00",  # a real of three octets
        "d100",  # application tag 13
        "46",  # an application tag that opens
        "25030102",  # an extended length that needs no extension
        "2502",  # cut short
        "75fe00050061626364",  # a length of two octets that needs one
        "2509010000000000000000",  # a number of nine octets
        "950500000001ff",  # an enumeration of five octets
        "25ff00000001ff",  # a length of four octets
        "f90e00",  # an extended tag number that needs no extension
        "70",  # text without a character set
        "7501",  # text cut short
    ],
)
def test_tags_that_cannot_be_are_refused(octets: str) -> None:
    with pytest.raises(FrameError):
        decode_tags(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("00", "null"),
        ("11", "true"),
        ("10", "false"),
        ("2207d0", "2000"),
        ("31fb", "-5"),
        ("4441ac0000", "21.5"),
        ("55083fb999999999999a", "0.1"),
        ("62beef", "beef"),
        ("740068c3a9", "hé"),
        ("730568e9", "hé"),
        ("7505040068 00e9".replace(" ", ""), "hé"),
        ("750903 00000068 000000e9".replace(" ", ""), "hé"),
        ("7403000068", None),
        ("730168e9", None),
        ("820540", "010"),
        ("8105", None),
        ("913e", "62"),
        ("a47e0b1cff", "2026-11-28"),
        ("a4ffff01ff", "*-*-01"),
        ("b4081e00ff", "08:30:00.*"),
        ("c4008003e9", "2,1001"),
        ("7300000a", None),
    ],
)
def test_primitive_values_have_one_text(octets: str, text: str | None) -> None:
    (tag,) = decode_tags(bytes.fromhex(octets))
    if text is None:
        with pytest.raises(FrameError):
            text_of(tag)
    else:
        assert text_of(tag) == text


def test_properties_beyond_the_proprietary_ones_are_the_standards_again() -> None:
    reported = decode_read_property_ack(bytes.fromhex("0c0e000001 1b400003 3e 2101 3f"))
    assert reported.reference == Reference(56, 1, 4194307, None)
