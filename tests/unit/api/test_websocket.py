import base64
import contextlib
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError, LimitError
from broker.listeners.websocket import (
    MAX_BINARY_OCTETS,
    CloseCode,
    FrameDecoder,
    Message,
    Opcode,
    accept_key,
    encode_close,
    encode_frame,
)


def client_frame(opcode, payload, *, final=True, mask=None, first=None):
    """A frame as a client sends it; RFC 6455, 5.2."""
    mask = os.urandom(4) if mask is None else mask
    head = bytes(((0x80 if final else 0) | opcode if first is None else first,))
    length = len(payload)
    if length < 126:
        head += bytes((0x80 | length,))
    elif length < 65_536:
        head += bytes((0x80 | 126,)) + struct.pack(">H", length)
    else:
        head += bytes((0x80 | 127,)) + struct.pack(">Q", length)
    return head + mask + bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))


def test_the_example_of_the_standard():
    """RFC 6455, 1.3 and 5.7."""
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    decoder = FrameDecoder()
    assert decoder.receive(bytes.fromhex("818537fa213d7f9f4d5158")) == [Message(Opcode.TEXT, b"Hello")]
    assert encode_frame(Opcode.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")


@given(
    st.lists(
        st.tuples(st.sampled_from([Opcode.BINARY, Opcode.TEXT, Opcode.PING]), st.binary(max_size=120)), max_size=8
    ),
    st.lists(st.integers(1, 50), max_size=60),
)
def test_messages_do_not_depend_on_how_octets_are_cut(messages, cuts):
    octets = b"".join(client_frame(opcode, payload) for opcode, payload in messages)
    decoder, found, place = FrameDecoder(), [], 0
    for cut in cuts:
        found += decoder.receive(octets[place : place + cut])
        place += cut
    found += decoder.receive(octets[place:])
    assert found == [Message(opcode, payload) for opcode, payload in messages]


@given(st.binary(max_size=300))
def test_no_octets_do_anything_but_messages_or_refusal(octets):
    with contextlib.suppress(FrameError, LimitError):
        FrameDecoder().receive(octets)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_every_form_of_length(size):
    payload = os.urandom(size)
    assert FrameDecoder().receive(client_frame(Opcode.BINARY, payload)) == [Message(Opcode.BINARY, payload)]


def test_fragments_of_the_binary_stream_are_passed_on_at_once():
    decoder = FrameDecoder()
    assert decoder.receive(client_frame(Opcode.BINARY, b"ab", final=False)) == [Message(Opcode.BINARY, b"ab")]
    assert decoder.receive(client_frame(Opcode.PING, b"")) == [Message(Opcode.PING, b"")]
    assert decoder.receive(client_frame(Opcode.CONTINUATION, b"cd")) == [Message(Opcode.BINARY, b"cd")]


def test_nothing_is_taken_after_a_close_frame():
    """RFC 6455, 5.5.1 and 7.1.2: a write behind a goodbye must not be carried out."""
    decoder = FrameDecoder()
    octets = client_frame(Opcode.BINARY, b"a") + client_frame(Opcode.CLOSE, b"") + client_frame(Opcode.BINARY, b"b")
    assert decoder.receive(octets) == [Message(Opcode.BINARY, b"a"), Message(Opcode.CLOSE, b"")]
    assert decoder.receive(client_frame(Opcode.BINARY, b"c")) == []


def test_a_fragmented_text_is_one_message():
    decoder = FrameDecoder()
    assert decoder.receive(client_frame(Opcode.TEXT, b'{"a"', final=False)) == []
    assert decoder.receive(client_frame(Opcode.CONTINUATION, b":1}")) == [Message(Opcode.TEXT, b'{"a":1}')]


@pytest.mark.parametrize(
    "octets",
    [
        b"\x82\x01a",
        client_frame(Opcode.BINARY, b"a", first=0xC2),
        client_frame(3, b"a"),
        client_frame(Opcode.CONTINUATION, b"a"),
        client_frame(Opcode.PING, b"a", final=False),
        client_frame(Opcode.PING, b"a" * 126),
        client_frame(Opcode.TEXT, b"a", final=False) + client_frame(Opcode.BINARY, b"b"),
        bytes((0x82, 0x80 | 126)) + struct.pack(">H", 5) + b"mask" + b"x" * 5,
        bytes((0x82, 0x80 | 127)) + struct.pack(">Q", 200) + b"mask" + b"x" * 200,
    ],
    ids=range(9),
)
def test_frames_that_break_the_standard_are_refused(octets):
    with pytest.raises(FrameError):
        FrameDecoder().receive(octets)


@pytest.mark.parametrize(
    "octets",
    [
        bytes((0x82, 0xFF)) + struct.pack(">Q", 2**63),
        bytes((0x82, 0xFF)) + struct.pack(">Q", MAX_BINARY_OCTETS + 1),
        client_frame(Opcode.TEXT, b"a" * 16_385),
        client_frame(Opcode.TEXT, b"a" * 16_000, final=False) + client_frame(Opcode.CONTINUATION, b"a" * 385),
    ],
)
def test_too_much_is_refused_before_it_is_kept(octets):
    with pytest.raises(LimitError):
        FrameDecoder().receive(octets)


def test_a_close_frame_has_code_and_reason():
    assert encode_close(CloseCode.POLICY, "window_closed") == b"\x88\x0f\x03\xf0window_closed"
    assert len(encode_close(CloseCode.POLICY, "x" * 200)) == 127


def test_the_key_of_a_handshake_is_never_its_answer():
    key = base64.b64encode(os.urandom(16)).decode()
    assert accept_key(key) != key


def test_datagrams_are_handed_over_whole_however_they_were_fragmented():
    decoder = FrameDecoder(whole_octets=4)
    assert decoder.receive(client_frame(Opcode.BINARY, b"ab", final=False)) == []
    assert decoder.receive(client_frame(Opcode.PING, b"")) == [Message(Opcode.PING, b"")]
    assert decoder.receive(client_frame(Opcode.CONTINUATION, b"cd")) == [Message(Opcode.BINARY, b"abcd")]
    assert decoder.receive(client_frame(Opcode.TEXT, b"longer text")) == [Message(Opcode.TEXT, b"longer text")]
    assert decoder.receive(client_frame(Opcode.BINARY, b"wxyz")) == [Message(Opcode.BINARY, b"wxyz")]


@pytest.mark.parametrize("fragments", [[b"abcde"], [b"abc", b"de"]], ids=["at once", "in fragments"])
def test_a_datagram_that_is_too_long_is_refused(fragments):
    decoder = FrameDecoder(whole_octets=4)
    octets = b"".join(
        client_frame(Opcode.CONTINUATION if place else Opcode.BINARY, part, final=place == len(fragments) - 1)
        for place, part in enumerate(fragments)
    )
    with pytest.raises(LimitError):
        decoder.receive(octets)
