import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.bacnet.apdu import (
    MAX_APDUS,
    MORE_THAN_64,
    Abort,
    AbortReason,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Kind,
    Reject,
    RejectReason,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    bare,
    decode_apdu,
    dressed,
    encode_apdu,
)
from tests.unit.wire.bacnet import messages


@given(messages.randoms())
def test_every_message_comes_back_as_it_went(random) -> None:
    apdu = messages.apdu(random)
    assert decode_apdu(encode_apdu(apdu)) == apdu


@given(
    st.binary(max_size=12) | st.tuples(st.integers(0, 0x7F), st.binary(max_size=12)).map(lambda p: bytes(p[:1]) + p[1])
)
def test_arbitrary_octets_are_one_message_or_refused(octets: bytes) -> None:
    try:
        apdu = decode_apdu(octets)
    except FrameError:
        return
    assert encode_apdu(apdu) == octets


HOSTILE = [
    ("", "nothing"),
    ("00", "a confirmed request of one octet"),
    ("000501", "a confirmed request without service"),
    ("0105010c", "a reserved flag of a confirmed request"),
    ("0085010c", "a reserved bit beside max-segments"),
    ("0006010c", "a largest APDU of code 6"),
    ("000f010c", "a largest APDU of code 15"),
    ("0405010c", "more follows what is no segment"),
    ("0605010c0004", "more follows what is no segment"),
    ("0805010c", "a segment without window"),
    ("0805010004", "a segment without service"),
    ("10", "an unconfirmed request without service"),
    ("1108", "a flag of an unconfirmed request"),
    ("1808", "a flag of an unconfirmed request"),
    ("2001", "a simple acknowledgement cut short"),
    ("20010c00", "a simple acknowledgement with an octet behind"),
    ("28010c", "a segmented simple acknowledgement"),
    ("3001", "an acknowledgement cut short"),
    ("34010c", "more follows what is no segment"),
    ("32010c", "a reserved flag of an acknowledgement"),
    ("31010c", "a reserved flag of an acknowledgement"),
    ("38010004", "a segment without service"),
    ("400100", "a segment acknowledgement cut short"),
    ("4001000400", "a segment acknowledgement with an octet behind"),
    ("44010004", "a reserved flag of a segment acknowledgement"),
    ("5001", "an error without service"),
    ("51010c", "a flag of an error"),
    ("6001", "a reject without reason"),
    ("60010900", "a reject with an octet behind"),
    ("610109", "a flag of a reject"),
    ("7001", "an abort without reason"),
    ("70010400", "an abort with an octet behind"),
    ("720104", "a reserved flag of an abort"),
    ("80010c", "type 8"),
    ("f0010c", "type 15"),
]


@pytest.mark.parametrize(("octets", "what"), HOSTILE, ids=[f"{octets} {what}" for octets, what in HOSTILE])
def test_a_hostile_message_is_refused(octets: str, what: str) -> None:
    with pytest.raises(FrameError) as refused:
        decode_apdu(bytes.fromhex(octets))
    assert refused.value.code == "malformed"


KNOWN = [
    ("0275070c19", ConfirmedRequest(7, 12, b"\x19", 1476, MORE_THAN_64, True)),
    ("0003070c", ConfirmedRequest(7, 12, b"", 480)),
    ("0c05070310 0faa", ConfirmedRequest(7, 15, b"\xaa", 1476, None, False, True, True, 3, 16)),
    ("1008", UnconfirmedRequest(8, b"")),
    ("20070f", SimpleAck(7, 15)),
    ("30070c0c", ComplexAck(7, 12, b"\x0c")),
    ("380702040eff", ComplexAck(7, 14, b"\xff", True, False, 2, 4)),
    ("43070a10", SegmentAck(7, 10, 16, True, True)),
    ("40070a10", SegmentAck(7, 10, 16)),
    ("50070f91029128", ErrorPdu(7, 15, bytes.fromhex("91029128"))),
    ("600709", Reject(7, RejectReason.UNRECOGNIZED_SERVICE)),
    ("710704", Abort(7, AbortReason.SEGMENTATION_NOT_SUPPORTED, True)),
]


@pytest.mark.parametrize(("octets", "apdu"), KNOWN)
def test_messages_are_as_clause_20_has_them(octets: str, apdu) -> None:
    written = bytes.fromhex(octets)
    assert decode_apdu(written) == apdu
    assert encode_apdu(apdu) == written


@pytest.mark.parametrize("code", range(6))
@pytest.mark.parametrize("segments", range(8))
def test_what_a_client_accepts_is_read_as_20_1_2_has_it(code: int, segments: int) -> None:
    request = decode_apdu(bytes((0x02, segments << 4 | code, 1, 12)))
    assert isinstance(request, ConfirmedRequest)
    assert request.max_apdu == MAX_APDUS[code] == (50, 128, 206, 480, 1024, 1476)[code]
    assert request.max_segments == (None, 2, 4, 8, 16, 32, 64, MORE_THAN_64)[segments]


def _is_part(apdu) -> bool:
    return isinstance(apdu, SegmentAck) or getattr(apdu, "segmented", False)


@given(messages.randoms(), st.integers(0, 255))
def test_a_bare_message_is_the_same_under_every_invoke_id(random, invoke: int) -> None:
    apdu = messages.apdu(random)
    if _is_part(apdu):
        with pytest.raises(FrameError):
            bare(apdu)
        return
    again = dressed(bare(apdu), invoke)
    assert bare(again) == bare(apdu)
    assert type(again) is type(apdu)
    assert getattr(again, "invoke", invoke) == invoke


def test_a_bare_message_is_its_kind_the_choice_and_the_parameters() -> None:
    assert bare(ConfirmedRequest(7, 12, b"\x01\x02", 480, 4, True)).hex() == "000c0102"
    assert bare(Abort(7, 4, True)).hex() == "7004"
    request = dressed(bytes.fromhex("000c0102"), 9, max_apdu=480, max_segments=4, accepts_segments=True)
    assert request == ConfirmedRequest(9, 12, b"\x01\x02", 480, 4, True)
    assert dressed(b"\x70\x04", 9, from_server=False) == Abort(9, 4, False)


@given(st.binary(max_size=6))
def test_arbitrary_bare_octets_are_dressed_or_refused(octets: bytes) -> None:
    try:
        apdu = dressed(octets, 1)
    except FrameError:
        return
    assert bare(apdu) == octets
    assert decode_apdu(encode_apdu(apdu)) == apdu


@pytest.mark.parametrize("octets", ["", "00", "010c", "2001ff", "6009ff", "7004ff", "4000", "400001", "800c", "380c01"])
def test_a_bare_message_that_cannot_be_is_refused(octets: str) -> None:
    with pytest.raises(FrameError):
        dressed(bytes.fromhex(octets), 1)


def test_kinds_are_the_types_of_clause_20_shifted() -> None:
    assert [kind >> 4 for kind in Kind] == list(range(8))
