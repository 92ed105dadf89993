"""What counts more where only so many a second are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.wire.bacnet.apdu import ComplexAck, ConfirmedRequest, ErrorPdu, SimpleAck, UnconfirmedRequest, encode_apdu
from broker.wire.bacnet.npdu import Address, Message, Npdu, encode_npdu
from broker.wire.bacnet.sc import encode_sc
from broker.wire.bacnet.sc_message import SECURE_PATH, Function, Option, ScMessage
from broker.wire.bacnet.weight import WEIGHT_OF_QUESTIONS_TO_ALL, weight_of, weight_of_sc

ADDRESSES = st.none() | st.builds(Address, st.integers(1, 65534), st.binary(min_size=1, max_size=7))
LIGHT = [ConfirmedRequest(1, 12, b"x"), SimpleAck(1, 15), ComplexAck(1, 12, b"x"), ErrorPdu(1, 12, b"xx")]


@given(ADDRESSES, ADDRESSES, st.sampled_from(LIGHT))
def test_requests_that_want_a_reply_and_replies_count_one(destination, source, apdu):
    assert weight_of(encode_npdu(Npdu(encode_apdu(apdu), destination, source))) == 1.0


@given(ADDRESSES, ADDRESSES)
def test_what_nobody_replies_to_counts_more(destination, source):
    who_is = encode_npdu(Npdu(encode_apdu(UnconfirmedRequest(8, b"")), destination, source))
    router = encode_npdu(Npdu(b"", destination, source, message=Message.WHO_IS_ROUTER))
    assert weight_of(who_is) == weight_of(router) == WEIGHT_OF_QUESTIONS_TO_ALL


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\x01\x00", b"\x01\x20\xff\xff", b"\x01\x20\x00\x01\xff\x00"])
def test_what_is_cut_short_counts_more(octets):
    assert weight_of(octets) == WEIGHT_OF_QUESTIONS_TO_ALL


VMACS = st.just(b"") | st.binary(min_size=6, max_size=6)
OPTIONS = st.lists(st.sampled_from([SECURE_PATH, Option(9, b"data"), Option(31, bytes(3))]), max_size=4).map(tuple)


@given(st.sampled_from(LIGHT), VMACS, VMACS, OPTIONS, OPTIONS)
def test_a_message_of_bacnet_sc_counts_as_its_npdu_does(apdu, origin, destination, options, data_options):
    npdu = encode_npdu(Npdu(encode_apdu(apdu)))
    who_is = encode_npdu(Npdu(encode_apdu(UnconfirmedRequest(8, b""))))
    parts = (origin, destination, options, data_options)
    assert weight_of_sc(encode_sc(ScMessage(Function.ENCAPSULATED_NPDU, 1, npdu, *parts))) == 1.0
    assert weight_of_sc(encode_sc(ScMessage(Function.ENCAPSULATED_NPDU, 1, who_is, *parts))) == weight_of(who_is)


@pytest.mark.parametrize("function", [each for each in Function if each is not Function.ENCAPSULATED_NPDU])
def test_what_is_about_the_connection_counts_more(function):
    assert weight_of_sc(bytes((function, 0, 0, 1)) + b"\x01\x04\x00") == WEIGHT_OF_QUESTIONS_TO_ALL


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\x01\x0c\x00\x01", b"\x01\x02\x00\x01" + b"\x89" * 1500])
def test_a_message_that_is_cut_short_or_all_options_counts_more(octets):
    assert weight_of_sc(octets) == WEIGHT_OF_QUESTIONS_TO_ALL
