"""What is fuzzed: a decoder, valid messages to start from, and what must hold of whatever it accepts.

Where it is about more than one message, each stands behind two octets of length.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple

from broker.cli.people.bbmd import Bbmd
from broker.engine.bacnet_conversation import Asked
from broker.errors import FrameError, PeerError
from broker.listeners.websocket import FrameDecoder
from broker.wire.bacnet.acknowledgements import acknowledged
from broker.wire.bacnet.apdu import ConfirmedRequest, bare, decode_apdu, dressed, encode_apdu
from broker.wire.bacnet.bvlc import Function, decode_bvlc, encode_bvlc, encode_forwarded
from broker.wire.bacnet.cov import decode_cov_notification, encode_cov_notification
from broker.wire.bacnet.device_errors import decode_refusal
from broker.wire.bacnet.device_said import DeviceSaid
from broker.wire.bacnet.discovery import decode_sought
from broker.wire.bacnet.encoding import encode_tags
from broker.wire.bacnet.interpreter import interpret
from broker.wire.bacnet.judging import judge
from broker.wire.bacnet.npdu import decode_npdu, encode_npdu
from broker.wire.bacnet.refusal import refused_reply
from broker.wire.bacnet.replies import (
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    encode_read_property_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.sc import decode_sc, encode_sc
from broker.wire.bacnet.sc_node import Send as NodeSend
from broker.wire.bacnet.sc_spoke import Hub, Send, Spoke, Spokes, Wanted
from broker.wire.bacnet.services import decode_confirmed, decode_unconfirmed
from broker.wire.bacnet.tags import decode_tags
from broker.wire.bacnet.transaction import Transaction
from broker.wire.bacnet.tunnelled import decode_datagrams, encode_datagram
from broker.wire.bacnet.values import text_of
from broker.wire.modbus.mbap import MbapDecoder, encode_mbap
from broker.wire.modbus.pdu import decode_request, encode_request
from tests.fuzz import corpus
from tests.unit.engine.test_bacnet_conversation import CLIENT, conversation
from tests.unit.wire.bacnet.test_bacnet_interpreter import PLANT
from tests.unit.wire.bacnet.test_bacnet_transaction import LONG, SHORT, WAY
from tests.unit.wire.bacnet.test_device_said import WAY as SAID_WAY
from tests.unit.wire.bacnet.test_sc_node import connected


class Target(NamedTuple):
    """`judge` raises PeerError to refuse; every other exception is a finding."""

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


def _tunnelled(octets: bytes) -> None:
    assert b"".join(encode_datagram(*datagram) for datagram in decode_datagrams(octets)) == octets


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


def _refusals(octets: bytes) -> None:
    """Every confirmed request, acceptable or not, can be refused in its own form."""
    if len(octets) > 1 and octets[0] == 0:
        assert refused_reply(octets)[0] in (0x30, 0x50, 0x60)


def _interpreter(octets: bytes) -> None:
    """What will be sent means what was decided."""
    request = interpret(PLANT, octets)
    again = _accepted(lambda: interpret(PLANT, request.payload))
    assert (again.operations, again.payload, again.digest) == (request.operations, request.payload, request.digest)


def _accepted(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except PeerError as error:
        raise AssertionError("what we wrote ourselves is refused") from error


def _judging(octets: bytes) -> None:
    request = corpus.JUDGED[octets[0] % len(corpus.JUDGED) if octets else 0]
    reply = octets[1:]
    if len(reply) >= 2:  # a bare APDU always has them
        relayed = judge(request, reply)
        assert _accepted(lambda: judge(request, relayed.payload or reply)) == relayed


def _device_error(octets: bytes) -> None:
    service = octets[0] if octets else 0
    found = decode_refusal(service, octets[1:])
    assert _accepted(lambda: decode_refusal(service, found.octets)) == found


def _notification(octets: bytes) -> None:
    found = decode_cov_notification(octets)
    if found is not None:
        again = encode_cov_notification(found)
        assert _accepted(lambda: decode_cov_notification(again)) == found


def _parts(octets: bytes) -> Iterator[bytes]:
    while len(octets) >= 2:
        end = 2 + int.from_bytes(octets[:2], "big")
        yield octets[2:end]
        octets = octets[end:]


def _conversation(octets: bytes) -> None:
    """Whatever a client sends, what it gets is BACnet, and nothing waits for ever."""
    talk, now = conversation(), 0.0
    for part in _parts(octets):
        now += 0.1
        event = talk.receive(CLIENT, part, now)
        if isinstance(event, Asked):
            talk.answer(event, b"\x30\x0c" + bytes(200), now)
    for _ in range(200):
        for _, npdu in talk.outgoing:
            message = _accepted(lambda npdu=npdu: decode_npdu(npdu))
            if message.message is None:
                _accepted(lambda message=message: decode_apdu(message.payload))
        talk.outgoing.clear()
        due = talk.wake_at()
        if due is None:
            return
        talk.tick(due)
    raise AssertionError("something waits for ever")


def _device_reply(octets: bytes) -> None:
    """Whatever a device says, what it is told is BACnet, and the request has a reply or none, in bounded time."""
    transaction, now = Transaction(2.0, repeats=1), 0.0
    sent = transaction.start(LONG if octets[:1] == b"\1" else SHORT, corpus.ASKED, WAY, now)
    for part in _parts(octets[1:]):
        for each in sent:
            _accepted(lambda each=each: decode_apdu(each))
        if transaction.failed or transaction.reply is not None:
            break
        apdu, now = decode_apdu(part), now + 0.1
        if getattr(apdu, "invoke", None) == corpus.ASKED and not isinstance(apdu, ConfirmedRequest):
            sent = transaction.heard(apdu, now)
    for _ in range(200):
        if transaction.failed or transaction.reply is not None:
            assert not (transaction.failed and transaction.reply)
            return
        transaction.wake(transaction.wake_at)
    raise AssertionError("a request waits for ever")


def _hub(octets: bytes) -> None:
    """Whatever a hub sends, each message brings one answer at most, which is BACnet/SC."""
    node = connected()
    for part in _parts(octets):
        sent = [event.octets for event in node.receive(part, 1.0) if isinstance(event, NodeSend)]
        assert len(sent) <= 1
        for each in sent:
            _accepted(lambda each=each: decode_sc(each))


def _local(octets: bytes) -> None:
    """Whatever a client sends to the local port, it is answered in BACnet/IP, and has no more told than it sent."""
    port, place = Bbmd(("127.0.0.1", 47809)), ("127.0.0.1", 50_001)
    for part in _parts(octets):
        heard = port.receive(part, place, 1.0)
        if heard.answer is not None:
            _accepted(lambda heard=heard: decode_bvlc(heard.answer))
        assert heard.npdu is None or part.endswith(heard.npdu)
        assert not (heard.npdu and heard.dropped)
    for datagram, to in port.send(b"\xff" * 6, b"\1\0\x10\x08", 2.0):
        assert to == place
        _accepted(lambda datagram=datagram: decode_bvlc(datagram))


def _said(octets: bytes) -> None:
    """Whatever a device says of itself, what is announced and used is within bounds."""
    known = DeviceSaid(SAID_WAY)
    request = corpus.SELF_READS[(octets[0] if octets else 0) % len(corpus.SELF_READS)]
    if len(octets) > 2:
        known.learn(request, octets[1:], 0.0)
    assert 50 <= known.completed(0.0).longest_apdu <= 1476


def _spoke(octets: bytes) -> None:
    """Whatever a node sends, what it gets is BACnet/SC."""
    spoke = Spoke(Hub(bytes(5) + b"\1", bytes(15) + b"\1"), Spokes(), "jane", 0.0)
    for now, part in enumerate(_parts(octets)):
        events = spoke.receive(part, float(now))
        if any(isinstance(event, Wanted) for event in events):
            events += spoke.accept(float(now))[0]
        for event in events:
            if isinstance(event, Send):
                _accepted(lambda event=event: decode_sc(event.octets))


def _websocket(octets: bytes) -> None:
    """However the octets are cut, the same messages are in them."""
    whole, cut = FrameDecoder(1503), FrameDecoder(1503)
    messages = whole.receive(octets)
    half = len(octets) // 2
    assert _accepted(lambda: cut.receive(octets[:half]) + cut.receive(octets[half:])) == messages


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
        assert decode_refusal(octets[0], refusal.octets) == refusal


def _acknowledgements(octets: bytes) -> None:
    request = corpus.ACKNOWLEDGED[(octets[0] if octets else 0) % len(corpus.ACKNOWLEDGED)]
    asked = decode_confirmed(request[1], request[2:])
    found = acknowledged(asked, octets[1:])
    assert acknowledged(asked, found) == found


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
    Target("tunnelled", corpus.tunnelled, _tunnelled),
    Target("tags", corpus.tags, _tags),
    Target("replies", corpus.reply, _replies),
    Target("services", corpus.service, _services),
    Target("acknowledgements", corpus.acknowledgement, _acknowledgements),
    Target("refusals", corpus.service, _refusals),
    Target("discovery", corpus.discovery, _discovery),
    Target("interpreter", corpus.interpreted, _interpreter),
    Target("judging", corpus.judged, _judging),
    Target("device-error", corpus.device_error, _device_error),
    Target("notification", corpus.notification, _notification),
    Target("conversation", corpus.conversation, _conversation),
    Target("device-reply", corpus.device_reply, _device_reply),
    Target("said", corpus.said, _said),
    Target("local-port", corpus.local, _local),
    Target("spoke", corpus.spoke, _spoke),
    Target("hub", corpus.hub, _hub),
    Target("websocket", corpus.websocket, _websocket),
    Target("sc", corpus.sc, _sc),
    Target("modbus-request", corpus.modbus_request, _modbus_request),
    Target("modbus-stream", corpus.modbus_stream, _modbus_stream),
)
