"""The codec accepts what the standard allows, exactly, and encodes again what it accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.modbus.meaning import exception_reply
from broker.wire.modbus.pdu import (
    EXCEPTION_CODES,
    FUNCTIONS,
    ExceptionReply,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from tests.unit.wire.modbus.frames import exchanges, requests, requests_by_function

CODES = {"illegal_function", "illegal_value"}


def test_every_function_that_is_known_has_its_strategy():
    assert set(requests_by_function) == FUNCTIONS
    assert {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43} == FUNCTIONS


@given(requests)
def test_a_request_survives_encoding(request_):
    pdu = encode_request(request_)
    assert len(pdu) <= 253
    assert pdu[0] == request_.function
    assert decode_request(pdu) == request_


@given(exchanges)
def test_a_reply_survives_encoding(exchange):
    request, reply = exchange
    pdu = encode_reply(reply)
    assert len(pdu) <= 253
    assert decode_reply(request, pdu) == reply


@given(requests, st.sampled_from(sorted(EXCEPTION_CODES)))
def test_an_exception_of_the_standard_passes_and_keeps_its_octets(request_, code):
    reply = decode_reply(request_, bytes((request_.function | 0x80, code)))
    assert reply == ExceptionReply(request_.function, code)
    assert encode_reply(reply) == exception_reply(request_.function, code)


@given(requests, st.integers(0, 255).filter(lambda code: code not in EXCEPTION_CODES))
def test_an_exception_that_the_standard_does_not_know_is_refused(request_, code):
    with pytest.raises(FrameError):
        decode_reply(request_, bytes((request_.function | 0x80, code)))


@given(requests, st.binary(min_size=1, max_size=4))
def test_octets_behind_an_exception_are_refused(request_, more):
    with pytest.raises(FrameError):
        decode_reply(request_, bytes((request_.function | 0x80, 2)) + more)


functions_first = st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.binary(max_size=260)).map(
    lambda t: bytes((t[0],)) + t[1]
)


@given(st.binary(max_size=260) | functions_first)
def test_arbitrary_octets_are_a_request_that_encodes_to_them_or_are_refused(pdu):
    try:
        request = decode_request(pdu)
    except FrameError as error:
        assert error.code in CODES
    else:
        assert encode_request(request) == pdu
        assert len(pdu) <= 253


@given(requests, st.binary(max_size=260), st.booleans())
def test_arbitrary_octets_are_a_reply_that_encodes_to_them_or_are_refused(request_, octets, function_first):
    pdu = bytes((request_.function,)) + octets if function_first else octets
    try:
        reply = decode_reply(request_, pdu)
    except FrameError as error:
        assert error.code in CODES
    else:
        assert encode_reply(reply) == pdu


def mutants(data, pdu):
    """The PDU with an octet changed, dropped, added, or its end cut off."""
    place = data.draw(st.integers(0, len(pdu) - 1))
    octet = data.draw(st.binary(min_size=1, max_size=1))
    return [pdu[:place] + octet + pdu[place + 1 :], pdu[:place] + pdu[place + 1 :], pdu[:place], pdu + octet]


@given(requests, st.data())
def test_a_mutated_request_is_refused_or_is_exactly_what_it_says(request_, data):
    for mutant in mutants(data, encode_request(request_)):
        try:
            request = decode_request(mutant)
        except FrameError as error:
            assert error.code in CODES
        else:
            assert encode_request(request) == mutant


@given(exchanges, st.data())
def test_a_mutated_reply_is_refused_or_is_exactly_what_it_says(exchange, data):
    request, reply = exchange
    for mutant in mutants(data, encode_reply(reply)):
        try:
            decoded = decode_reply(request, mutant)
        except FrameError as error:
            assert error.code in CODES
        else:
            assert encode_reply(decoded) == mutant


@given(requests, st.binary(min_size=1, max_size=30))
def test_no_octet_may_follow_a_request(request_, more):
    pdu = encode_request(request_)
    if request_.function == 8 and request_.sub_function == 0 and len(more) % 2 == 0:
        return  # query data is as long as it is
    with pytest.raises(FrameError):
        decode_request(pdu + more)


@given(exchanges, exchanges)
def test_the_reply_of_another_function_is_refused(one, other):
    if one[0].function == other[0].function:
        return
    with pytest.raises(FrameError):
        decode_reply(one[0], encode_reply(other[1]))


@pytest.mark.parametrize("function", sorted(set(range(256)) - FUNCTIONS))
def test_a_function_that_is_not_known_is_an_illegal_function(function):
    with pytest.raises(FrameError) as refused:
        decode_request(bytes((function, 0, 0, 0, 1)))
    assert refused.value.code == "illegal_function"
