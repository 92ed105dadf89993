"""Modbus/TCP frames come out of a stream whole, in order and independent of how the stream was cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.modbus.mbap import Frame, MbapDecoder, encode_mbap

frames = st.builds(Frame, st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=253))


def drain(decoder):
    out = []
    while (frame := decoder.next_frame()) is not None:
        out.append(frame)
    return out


def pieces(data, cuts):
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 3000), max_size=12), st.booleans(), st.booleans())
def test_a_stream_split_anywhere_gives_the_same_frames(sent, cuts, as_views, drain_between):
    decoder = MbapDecoder()
    received = []
    for piece in pieces(b"".join(encode_mbap(*frame) for frame in sent), cuts):
        buffer = bytearray(piece)
        decoder.feed(memoryview(buffer) if as_views else piece)
        buffer[:] = bytes(len(buffer))
        if drain_between:
            received += drain(decoder)
    received += drain(decoder)
    assert received == sent
    assert decoder.pending == 0


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_arbitrary_octets_give_frames_or_frame_error_and_nothing_else(chunks):
    decoder = MbapDecoder()
    taken = b""
    refused = False
    for chunk in chunks:
        decoder.feed(chunk)
        try:
            for frame in drain(decoder):
                assert 1 <= len(frame.pdu) <= 253
                taken += encode_mbap(*frame)
            assert not refused
            assert decoder.pending < 260
        except FrameError as error:
            assert error.code == "framing"
            refused = True
    assert b"".join(chunks).startswith(taken)


@given(st.lists(frames, max_size=3), st.binary(max_size=60), st.lists(st.integers(0, 900), max_size=8))
def test_where_a_hostile_stream_is_cut_changes_neither_its_frames_nor_its_end(sent, tail, cuts):
    data = b"".join(encode_mbap(*frame) for frame in sent) + tail

    def outcome(parts):
        decoder, out = MbapDecoder(), []
        for part in parts:
            decoder.feed(part)
            try:
                while (frame := decoder.next_frame()) is not None:
                    out.append(frame)
            except FrameError as error:
                return out, error.public
        return out, decoder.pending

    assert outcome(pieces(data, cuts)) == outcome([data])


@pytest.mark.parametrize(
    "header",
    [
        "0001 0001 0006 01 030000000a",  # protocol id 1
        "0001 ff00 0006 01 030000000a",
        "0001 0000 0000 01 03",  # no unit, no PDU
        "0001 0000 0001 01 03",  # no PDU
        "0001 0000 00ff 01 03",  # longer than 254
        "0001 0000 ffff 01 03",
    ],
)
def test_an_impossible_header_is_refused_at_once_and_for_good(header):
    data = bytes.fromhex(header.replace(" ", ""))
    for fed in range(6, len(data) + 1):
        decoder = MbapDecoder()
        decoder.feed(data[:fed])
        for _ in range(3):
            with pytest.raises(FrameError, match="framing"):
                decoder.next_frame()
        decoder.feed(encode_mbap(1, 1, b"\x07"))
        assert decoder.pending == 0
        with pytest.raises(FrameError, match="framing"):
            decoder.next_frame()


def test_a_wrong_protocol_id_is_refused_before_the_length_arrives():
    decoder = MbapDecoder()
    decoder.feed(b"GET ")
    with pytest.raises(FrameError, match="framing"):
        decoder.next_frame()


def test_the_longest_and_the_shortest_frame_pass():
    decoder = MbapDecoder()
    decoder.feed(encode_mbap(65535, 255, bytes(253)) + encode_mbap(0, 0, b"\x07"))
    assert drain(decoder) == [Frame(65535, 255, bytes(253)), Frame(0, 0, b"\x07")]


def test_a_pipelined_write_is_a_frame_of_its_own():
    read, write = bytes.fromhex("0300000001"), bytes.fromhex("060000ffff")
    decoder = MbapDecoder()
    decoder.feed(encode_mbap(1, 1, read) + encode_mbap(2, 1, write))
    assert drain(decoder) == [Frame(1, 1, read), Frame(2, 1, write)]


def test_pending_counts_what_is_not_yet_returned():
    decoder = MbapDecoder()
    frame = encode_mbap(1, 1, b"\x07")
    decoder.feed(frame + frame[:3])
    assert decoder.pending == len(frame) + 3
    assert decoder.next_frame() is not None
    assert decoder.pending == 3
    assert decoder.next_frame() is None
    assert decoder.pending == 3
