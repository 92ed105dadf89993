"""What is fuzzed: a decoder, valid messages to start from, and what must hold of whatever it accepts."""

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import NamedTuple

from broker.errors import FrameError
from broker.wire.bacnet.apdu import bare, decode_apdu, dressed, encode_apdu
from broker.wire.bacnet.bvlc import Function, decode_bvlc, encode_bvlc, encode_forwarded
from broker.wire.bacnet.discovery import decode_sought
from broker.wire.bacnet.encoding import encode_tags
from broker.wire.bacnet.npdu import decode_npdu, encode_npdu
from broker.wire.bacnet.replies import (
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    decode_refusal,
    encode_read_property_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.sc import decode_sc, encode_sc
from broker.wire.bacnet.services import decode_confirmed, decode_unconfirmed
from broker.wire.bacnet.tags import decode_tags
from broker.wire.bacnet.values import text_of
from broker.wire.modbus.mbap import MbapDecoder, encode_mbap
from broker.wire.modbus.pdu import decode_request, encode_request
from tests.fuzz import corpus


class Target(NamedTuple):
    """`judge` raises FrameError to refuse; every other exception is a finding, and so is what it says of it."""

    name: str
    valid: Callable[[Random], bytes]
    judge: Callable[[bytes], None]


def _bvlc(octets: bytes) -> None:
    message = decode_bvlc(octets)
    if message.function == Function.FORWARDED_NPDU:
        assert encode_forwarded(message.origin, message.payload) == octets
    else:
        assert encode_bvlc(message.function, message.payload) == octets


def _npdu(octets: bytes) -> None:
    assert encode_npdu(decode_npdu(octets)) == octets


def _apdu(octets: bytes) -> None:
    apdu = decode_apdu(octets)
    assert encode_apdu(apdu) == octets
    with suppress(FrameError):  # a segment
        whole = bare(apdu)
        assert bare(dressed(whole, 1)) == whole


def _datagram(octets: bytes) -> None:
    _apdu(decode_npdu(decode_bvlc(octets).payload).payload)


def _tags(octets: bytes) -> None:
    tags = decode_tags(octets)
    assert encode_tags(tags) == octets
    for tag in tags:
        if tag.kind == "application":
            with suppress(FrameError):  # not every value has a text
                text_of(tag)


def _services(octets: bytes) -> None:
    """A bare request means the same once it was written down from what it means."""
    kind, service, parameters = octets[:1], octets[1:2], octets[2:]
    decode = decode_unconfirmed if kind == b"\x10" else decode_confirmed
    found = decode(service[0] if service else 255, parameters)
    assert decode(service[0], found.octets) == found
    assert len(found.shown) + len(found.secret) == len(found.octets)


def _discovery(octets: bytes) -> None:
    decode_sought(octets)


def _sc(octets: bytes) -> None:
    assert encode_sc(decode_sc(octets)) == octets


def _replies(octets: bytes) -> None:
    kind, parameters = octets[:1], octets[1:]
    if kind == b"\0":
        reported = decode_read_property_ack(parameters)
        assert decode_read_property_ack(encode_read_property_ack(reported)) == reported
    elif kind == b"\1":
        several = decode_read_property_multiple_ack(parameters)
        assert decode_read_property_multiple_ack(encode_read_property_multiple_ack(several)) == several
    else:
        refusal = decode_refusal(octets[0] if octets else 0, parameters)
        assert refusal.octets == parameters


def _modbus_request(octets: bytes) -> None:
    assert encode_request(decode_request(octets)) == octets


def _modbus_stream(octets: bytes) -> None:
    decoder, frames = MbapDecoder(), b""
    decoder.feed(octets)
    while (frame := decoder.next_frame()) is not None:
        frames += encode_mbap(*frame)
    assert octets.startswith(frames)
    assert len(frames) + decoder.pending == len(octets)


TARGETS = (
    Target("bvlc", corpus.datagram, _bvlc),
    Target("npdu", corpus.npdu, _npdu),
    Target("apdu", corpus.apdu, _apdu),
    Target("datagram", corpus.whole_datagram, _datagram),
    Target("tags", corpus.tags, _tags),
    Target("replies", corpus.reply, _replies),
    Target("services", corpus.service, _services),
    Target("discovery", corpus.discovery, _discovery),
    Target("sc", corpus.sc, _sc),
    Target("modbus-request", corpus.modbus_request, _modbus_request),
    Target("modbus-stream", corpus.modbus_stream, _modbus_stream),
)
