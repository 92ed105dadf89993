"""BVLC-SC: what is a message is understood to the last octet, everything else is refused with what a NAK must say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.wire.bacnet.sc import MAX_OPTIONS, decode_sc, encode_npdu_message, encode_sc, not_understood
from broker.wire.bacnet.sc_message import (
    BROADCAST,
    COMMUNICATION,
    SECURE_PATH,
    ErrorCode,
    Function,
    Nak,
    Option,
    ScFrameError,
    ScMessage,
)
from broker.wire.bacnet.sc_payloads import (
    Advertisement,
    Connect,
    Proprietary,
    ScResult,
    decode_advertisement,
    decode_connect,
    decode_proprietary,
    decode_result,
    decode_uris,
    encode_advertisement,
    encode_connect,
    encode_result,
)
from tests.unit.wire.bacnet.sc_messages import advertisements, connects, messages, results

VMAC = bytes.fromhex("020000000001")


def refusal(octets: bytes) -> ScFrameError:
    with pytest.raises(ScFrameError) as caught:
        decode_sc(octets)
    return caught.value


@given(messages())
def test_every_message_is_decoded_to_what_was_encoded(message: ScMessage) -> None:
    assert decode_sc(encode_sc(message)) == message


@given(st.binary(max_size=80))
def test_whatever_is_decoded_encodes_to_the_same_octets_and_nothing_else_is_raised(octets: bytes) -> None:
    try:
        message = decode_sc(octets)
    except ScFrameError as error:
        assert error.head is not None or len(octets) < 4
        return
    assert encode_sc(message) == octets


@given(messages(), st.data())
def test_a_message_with_an_octet_changed_is_another_message_or_refused(message: ScMessage, data: st.DataObject) -> None:
    octets = bytearray(encode_sc(message))
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] ^= data.draw(st.integers(1, 0xFF))
    try:
        changed = decode_sc(bytes(octets))
    except ScFrameError:
        return
    assert changed != message
    assert encode_sc(changed) == bytes(octets)


@given(messages(), st.data())
def test_a_message_cut_short_is_never_taken_for_the_whole_one(message: ScMessage, data: st.DataObject) -> None:
    octets = encode_sc(message)
    cut = octets[: data.draw(st.integers(0, len(octets) - 1))]
    try:
        assert decode_sc(cut) != message
    except ScFrameError as error:
        assert error.code == "malformed"


@given(connects, advertisements, results)
def test_payloads_are_decoded_to_what_was_encoded(
    connect: Connect, advertisement: Advertisement, result: ScResult
) -> None:
    assert decode_connect(encode_connect(connect)) == connect
    assert decode_advertisement(encode_advertisement(advertisement)) == advertisement
    assert decode_result(encode_result(result)) == result


def test_an_npdu_is_laid_out_as_annex_ab_has_it() -> None:
    octets = encode_npdu_message(0x1234, b"\x01\x00", destination=BROADCAST)
    assert octets == bytes.fromhex("01 04 1234 ffffffffffff 0100")


def test_a_refused_connect_request_is_laid_out_as_annex_ab_has_it() -> None:
    payload = encode_result(ScResult(Function.CONNECT_REQUEST, Nak(ErrorCode.NODE_DUPLICATE_VMAC)))
    assert encode_sc(ScMessage(Function.RESULT, 1, payload)) == bytes.fromhex("00 00 0001 06 01 00 0007 0097")


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        ("01 10 0001 0100", ErrorCode.HEADER_ENCODING_ERROR),  # a reserved control flag
        ("0d 00 0001", ErrorCode.BVLC_FUNCTION_UNKNOWN),
        ("01 08 0001 0200000000", ErrorCode.MESSAGE_INCOMPLETE),  # five octets of an address
        ("01 0c 0001 020000000001", ErrorCode.MESSAGE_INCOMPLETE),  # the second address is missing
        ("01 08 0001 ffffffffffff 0100", ErrorCode.HEADER_ENCODING_ERROR),  # nobody's origin
        ("01 00 0001", ErrorCode.PAYLOAD_EXPECTED),
        ("02 00 0001 00", ErrorCode.UNEXPECTED_DATA),
        ("0a 00 0001 00", ErrorCode.UNEXPECTED_DATA),
        ("0a 04 0001 020000000001", ErrorCode.HEADER_ENCODING_ERROR),  # a heartbeat is for the peer
        ("0a 01 0001 41", ErrorCode.INCONSISTENT_PARAMETERS),  # data options without data
        ("06 00 0001", ErrorCode.PAYLOAD_EXPECTED),
        ("06 00 0001" + "02" * 25, ErrorCode.MESSAGE_INCOMPLETE),
        ("06 00 0001" + "02" * 27, ErrorCode.UNEXPECTED_DATA),
        ("06 00 0001" + "ff" * 6 + "02" * 20, ErrorCode.PARAMETER_OUT_OF_RANGE),
        ("06 00 0001" + "02" * 6 + "00" * 16 + "06400640", ErrorCode.PARAMETER_OUT_OF_RANGE),
        ("04 00 0001 03 00 0640 05d9", ErrorCode.PARAMETER_OUT_OF_RANGE),
        ("0c 00 0001 0203", ErrorCode.MESSAGE_INCOMPLETE),
        ("00 00 0001 06 02", ErrorCode.PARAMETER_OUT_OF_RANGE),
        ("00 00 0001 06 01 00 0007", ErrorCode.MESSAGE_INCOMPLETE),
        ("00 00 0001 06 00 00", ErrorCode.UNEXPECTED_DATA),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_standard(octets: str, code: ErrorCode) -> None:
    error = refusal(bytes.fromhex(octets))
    assert (error.nak.code, error.nak.error_class) == (code, COMMUNICATION)
    assert error.head is not None
    assert (error.head.function, error.head.id) == (int(octets[:2], 16), 1)


def test_fewer_than_four_octets_leave_nothing_to_answer() -> None:
    assert refusal(b"\x01\x00\x00").head is None


def test_a_refusal_still_tells_who_sent_it_to_whom() -> None:
    head = refusal(bytes.fromhex("02 0c 0001") + VMAC + BROADCAST + b"\x00").head
    assert head is not None
    assert (head.origin, head.destination) == (VMAC, BROADCAST)


@pytest.mark.parametrize("more", ["c1", "a3 0001 00 a3 0001 00"])
def test_more_options_announced_than_there_are_is_never_read_past_the_end(more: str) -> None:
    assert refusal(bytes.fromhex("01 02 0001" + more)).nak.code == ErrorCode.MESSAGE_INCOMPLETE


def test_an_option_longer_than_the_message_is_refused_and_named() -> None:
    nak = refusal(bytes.fromhex("01 02 0001 3f ffff 0000 01")).nak
    assert (nak.code, nak.marker) == (ErrorCode.MESSAGE_INCOMPLETE, 0x3F)


@pytest.mark.parametrize("option", ["40", "61 0001 00", "1f", "3f 0002 0000"])
def test_options_that_the_standard_does_not_have_are_refused(option: str) -> None:
    nak = refusal(bytes.fromhex("01 02 0001" + option + "0100")).nak
    assert (nak.code, nak.marker) == (ErrorCode.HEADER_ENCODING_ERROR, int(option[:2], 16))


def test_neither_the_number_nor_the_octets_of_options_are_without_bound() -> None:
    many = ScMessage(Function.ENCAPSULATED_NPDU, 1, b"\x01", destination_options=(Option(9),) * MAX_OPTIONS)
    assert decode_sc(encode_sc(many)) == many
    more = many._replace(destination_options=(Option(9),) * (MAX_OPTIONS + 1))
    large = many._replace(destination_options=(Option(9, bytes(4_190)),))
    for message in (more, large):
        assert refusal(encode_sc(message)).nak.code == ErrorCode.HEADER_ENCODING_ERROR


def test_an_option_that_must_be_understood_is_found_wherever_it_stands() -> None:
    strange = Option(9, b"x", must_understand=True)
    plain = ScMessage(Function.ENCAPSULATED_NPDU, 1, b"\x01\x00", data_options=(SECURE_PATH, Option(9)))
    assert not_understood(plain) is None
    assert not_understood(plain._replace(data_options=(SECURE_PATH, strange))) == strange
    assert not_understood(plain._replace(destination_options=(Option(8), strange))) == strange
    assert not_understood(plain._replace(destination_options=(SECURE_PATH,))) == SECURE_PATH
    assert strange.marker == 0x69


def test_uris_are_parted_by_one_space() -> None:
    assert decode_uris(b"") == ()
    assert decode_uris(b"wss://a/ wss://b/") == ("wss://a/", "wss://b/")
    for odd in (b" ", b"wss://a/  wss://b/", b"\xff"):
        with pytest.raises(ScFrameError):
            decode_uris(odd)


def test_a_vendors_own_message_is_told_apart_by_vendor_and_function() -> None:
    assert decode_proprietary(bytes.fromhex("0203 04 0506")) == Proprietary(0x0203, 4, b"\x05\x06")
