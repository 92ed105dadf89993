import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.bacnet.bvlc import (
    LONGEST_NPDU,
    Bvlc,
    Function,
    ResultCode,
    decode_bvlc,
    decode_register,
    decode_result,
    encode_bvlc,
    encode_forwarded,
    encode_register,
    encode_result,
    mac_of,
    place_of,
)
from tests.unit.wire.bacnet import messages


def encoded(message: Bvlc) -> bytes:
    if message.function == Function.FORWARDED_NPDU:
        return encode_forwarded(message.origin, message.payload)
    return encode_bvlc(message.function, message.payload)


@given(messages.randoms())
def test_every_message_comes_back_as_it_went(random) -> None:
    message = messages.bvlc(random)
    assert decode_bvlc(encoded(message)) == message


@given(st.binary(max_size=64) | st.binary(max_size=60).map(lambda rest: b"\x81" + rest))
def test_arbitrary_octets_are_a_message_or_refused(octets: bytes) -> None:
    try:
        message = decode_bvlc(octets)
    except FrameError:
        return
    assert encoded(message) == octets


@given(messages.randoms(), st.data())
def test_a_datagram_cut_anywhere_or_made_longer_is_refused(random, data) -> None:
    octets = encoded(messages.bvlc(random))
    with pytest.raises(FrameError):
        decode_bvlc(octets[: data.draw(st.integers(0, len(octets) - 1))])
    with pytest.raises(FrameError):
        decode_bvlc(octets + data.draw(st.binary(min_size=1, max_size=20)))


HOSTILE = [
    ("", "nothing"),
    ("81", "a type"),
    ("810a0004", "no NPDU"),
    ("810a000501", "an NPDU of one octet"),
    ("820a00060100", "BACnet/IPv6"),
    ("810a00070100", "a length field too high"),
    ("810a00050100", "a length field too low"),
    ("810a00000100", "a length field of zero"),
    ("810a00060100ff", "an octet behind"),
    ("810c00060100", "Secure-BVLL"),
    ("810d0004", "function 13"),
    ("81ff0004", "function 255"),
    ("81000004", "a result without code"),
    ("8100000700000a", "a result of three octets"),
    ("8104000a7f000001bac0", "forwarded nothing"),
    ("8104000b7f000001bac001", "forwarded an octet"),
    ("810400087f000001", "forwarded from half an address"),
    ("81050005ff", "a registration of one octet"),
    ("8105000700ff00", "a registration of three octets"),
    ("8102000500", "Read-BDT with contents"),
    ("8106000500", "Read-FDT with contents"),
    ("810800097f000001ba", "deletes half an entry"),
    ("8101000d7f000001bac0ffffff", "a table entry cut short"),
    ("8103000d7f000001bac0ffffff", "a table entry cut short"),
    ("8107000d7f000001bac000ff00", "a table entry cut short"),
]


@pytest.mark.parametrize(("octets", "what"), HOSTILE)
def test_a_hostile_datagram_is_refused(octets: str, what: str) -> None:
    with pytest.raises(FrameError) as refused:
        decode_bvlc(bytes.fromhex(octets))
    assert refused.value.code == "malformed"


def test_an_npdu_may_be_1497_octets_and_no_more() -> None:
    for function in (Function.ORIGINAL_UNICAST, Function.ORIGINAL_BROADCAST, Function.DISTRIBUTE_BROADCAST):
        assert len(decode_bvlc(encode_bvlc(function, b"\x01" * LONGEST_NPDU)).payload) == 1497
        with pytest.raises(FrameError):
            decode_bvlc(encode_bvlc(function, b"\x01" * 1498))
    assert len(decode_bvlc(encode_forwarded(b"\x00" * 6, b"\x01" * LONGEST_NPDU)).payload) == 1497
    with pytest.raises(FrameError):
        decode_bvlc(encode_forwarded(b"\x00" * 6, b"\x01" * 1498))


def test_a_forwarded_npdu_tells_whom_it_came_from() -> None:
    message = decode_bvlc(bytes.fromhex("8104000c c0000207bac0 0100".replace(" ", "")))
    assert message == Bvlc(Function.FORWARDED_NPDU, b"\x01\x00", mac_of("192.0.2.7", 47808))


@pytest.mark.parametrize("code", ResultCode)
def test_a_result_comes_back_as_it_went(code: ResultCode) -> None:
    message = decode_bvlc(encode_result(code))
    assert (message.function, decode_result(message.payload)) == (Function.RESULT, code)


@pytest.mark.parametrize("payload", ["", "00", "000000", "0001", "0070", "1000"])
def test_a_result_that_cannot_be_is_refused(payload: str) -> None:
    with pytest.raises(FrameError):
        decode_result(bytes.fromhex(payload))


@given(st.integers(0, 65535))
def test_a_registration_tells_its_seconds(seconds: int) -> None:
    assert decode_register(decode_bvlc(encode_register(seconds)).payload) == seconds


@given(st.binary(min_size=6, max_size=6))
def test_an_address_is_six_octets_both_ways(mac: bytes) -> None:
    assert mac_of(*place_of(mac)) == mac


def test_an_address_is_written_as_annex_j_has_it() -> None:
    assert mac_of("192.0.2.7", 47809).hex() == "c0000207bac1"
    assert place_of(bytes.fromhex("c0000207bac1")) == ("192.0.2.7", 47809)
    with pytest.raises(FrameError):
        place_of(b"\x00" * 3)
