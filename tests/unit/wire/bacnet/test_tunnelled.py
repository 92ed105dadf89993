"""Datagrams of a tunnel: what comes out is what went in, and nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.bacnet.tunnelled import decode_datagrams, encode_datagram

DATAGRAMS = st.lists(st.tuples(st.binary(min_size=6, max_size=6), st.binary(min_size=1, max_size=1497)), min_size=1)


@given(DATAGRAMS)
def test_datagrams_of_one_message_come_out_as_they_went_in(datagrams):
    assert decode_datagrams(b"".join(encode_datagram(mac, npdu) for mac, npdu in datagrams)) == datagrams


@given(st.binary(max_size=64))
def test_arbitrary_octets_are_datagrams_or_a_frame_error(octets):
    try:
        datagrams = decode_datagrams(octets)
    except FrameError:
        return
    assert b"".join(encode_datagram(mac, npdu) for mac, npdu in datagrams) == octets


@given(DATAGRAMS, st.data())
def test_a_message_that_is_cut_is_never_taken_for_more_than_its_whole_datagrams(datagrams, data):
    whole = b"".join(encode_datagram(mac, npdu) for mac, npdu in datagrams)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        taken = decode_datagrams(cut)
    except FrameError:
        return
    assert taken == datagrams[: len(taken)]
    assert len(taken) < len(datagrams)


@pytest.mark.parametrize("octets", [b"", b"\x7f\x00\x00\x01\xba\xc0\x00\x00", bytes(6) + b"\x05\xda" + bytes(1498)])
def test_no_datagram_no_npdu_and_one_that_is_too_long_are_refused(octets):
    with pytest.raises(FrameError):
        decode_datagrams(octets)
