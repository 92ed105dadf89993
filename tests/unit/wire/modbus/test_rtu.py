"""RTU frames: the end of a reply is found without silence, and only the reply to the request passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from broker.errors import FrameError
from broker.wire.modbus.pdu import EXCEPTION_CODES, decode_reply, encode_reply, encode_request
from broker.wire.modbus.rtu import RtuReplyDecoder, crc16, decode_rtu_request, encode_rtu
from tests.unit.wire.modbus.frames import answerable, exchanges, requests


def test_the_checksum_of_the_standards_example():
    # MODBUS over Serial Line v1.02, 6.2.2: 02 07 gives 0x1241
    assert crc16(bytes.fromhex("0207")) == 0x1241
    assert encode_rtu(2, b"\x07") == bytes.fromhex("02074112")


@given(st.binary(max_size=256))
def test_the_checksum_is_the_one_pymodbus_computes(data):
    assert crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


@given(exchanges, st.integers(0, 255), st.integers(1, 64))
def test_a_reply_in_any_pieces_comes_out_whole(exchange, unit, step):
    request, reply = exchange
    frame = encode_rtu(unit, encode_reply(reply))
    decoder = RtuReplyDecoder(unit, encode_request(request))
    for place in range(0, len(frame), step):
        assert decoder.next() is None
        decoder.feed(memoryview(frame[place : place + step]))
    assert decode_reply(request, decoder.next()) == reply
    assert decoder.pending == 0


@given(answerable, st.integers(0, 255), st.sampled_from(sorted(EXCEPTION_CODES)))
def test_an_exception_ends_after_five_octets(request_, unit, code):
    decoder = RtuReplyDecoder(unit, encode_request(request_))
    pdu = bytes((request_.function | 0x80, code))
    decoder.feed(encode_rtu(unit, pdu))
    assert decoder.next() == pdu


@given(exchanges, st.data())
def test_one_flipped_bit_never_passes(exchange, data):
    request, reply = exchange
    frame = bytearray(encode_rtu(9, encode_reply(reply)))
    place = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[place // 8] ^= 1 << place % 8
    decoder = RtuReplyDecoder(9, encode_request(request))
    decoder.feed(bytes(frame))
    try:
        assert decoder.next() is None
    except FrameError as error:
        assert error.code == "framing"


@given(requests, st.lists(st.binary(max_size=200), max_size=4))
def test_arbitrary_octets_give_a_pdu_or_frame_error_and_nothing_else(request_, chunks):
    decoder = RtuReplyDecoder(1, encode_request(request_))
    for chunk in chunks:
        decoder.feed(chunk)
        try:
            if decoder.next() is not None:
                return
        except FrameError as error:
            assert error.code == "framing"
            return


READ = bytes.fromhex("0300000001")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (encode_rtu(2, bytes.fromhex("03020007")), "another unit"),
        (encode_rtu(1, bytes.fromhex("04020007")), "another function"),
        (encode_rtu(1, bytes.fromhex("8402")), "the exception of another function"),
        (encode_rtu(1, bytes.fromhex("03020007")) + b"\0", "an octet behind the end"),
        (encode_rtu(1, bytes.fromhex("03020007"))[:-1] + b"\0", "a wrong checksum"),
        (bytes.fromhex("0103ff") + bytes(260), "longer than any frame"),
    ],
)
def test_what_is_not_the_reply_is_refused(frame, reason):
    decoder = RtuReplyDecoder(1, READ)
    decoder.feed(frame)
    with pytest.raises(FrameError, match="framing"):
        decoder.next()


def test_an_impossible_byte_count_is_refused_before_its_octets_arrive():
    decoder = RtuReplyDecoder(1, READ)
    decoder.feed(bytes.fromhex("0103ff"))
    with pytest.raises(FrameError, match="framing"):
        decoder.next()


@given(requests.filter(lambda r: not (r.function == 8 and len(r.data) > 2)), st.integers(0, 255), st.data())
def test_a_server_finds_the_end_of_every_request(request_, unit, data):
    pdu = encode_request(request_)
    frame = encode_rtu(unit, pdu)
    assert decode_rtu_request(frame[: data.draw(st.integers(0, len(frame) - 1))]) is None
    assert decode_rtu_request(frame) == (unit, pdu)
    for wrong in (frame + b"\0", frame[:-1] + bytes((frame[-1] ^ 1,))):
        with pytest.raises(FrameError):
            decode_rtu_request(wrong)


def test_a_server_refuses_a_function_whose_length_it_does_not_know():
    with pytest.raises(FrameError, match="framing"):
        decode_rtu_request(b"\x01\x63")
