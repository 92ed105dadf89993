"""Valid messages to start from, drawn from a `Random`."""

from collections.abc import Iterable
from random import Random

from bacpypes3.apdu import ConfirmedRequestPDU

from broker.wire.bacnet.apdu import (
    Abort,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Kind,
    Reject,
    SegmentAck,
    SimpleAck,
    encode_apdu,
)
from broker.wire.bacnet.bvlc import Function, encode_bvlc, encode_forwarded, encode_register
from broker.wire.bacnet.encoding import encode_tags
from broker.wire.bacnet.name_reads import compose_name_read, compose_self_reads
from broker.wire.bacnet.npdu import Npdu, encode_npdu
from broker.wire.bacnet.references import reference_of
from broker.wire.bacnet.replies import Reported, encode_read_property_ack, encode_read_property_multiple_ack
from broker.wire.bacnet.segmentation import SegmentLimits, SegmentSender
from broker.wire.bacnet.tags import ENUMERATED, TEXT, UNSIGNED, Tag
from broker.wire.bacnet.tunnelled import encode_datagram
from broker.wire.modbus.mbap import encode_mbap
from tests.bacnet_replies import read_reply
from tests.integration.bacnet.test_services_replies import ACKS, ERRORS
from tests.integration.bacnet.test_services_requests import BY_HAND, MESSAGES
from tests.unit.engine.test_bacnet_conversation import TO_VAV
from tests.unit.wire.bacnet import messages
from tests.unit.wire.bacnet.test_bacnet_judging import READ, SEVERAL, failed_at, write, writes
from tests.unit.wire.bacnet.test_device_said import VAV

_KINDS = {True: Kind.CONFIRMED_REQUEST, False: Kind.UNCONFIRMED_REQUEST}
_LENGTHS = {0: (0,), 1: (1,), 2: (1, 2, 4), 3: (1, 2, 4), 4: (4,), 5: (8,), 6: (0, 3, 6), 8: (2, 3), 9: (1, 2)}
_LENGTHS |= {10: (4,), 11: (4,), 12: (4,)}
_REPLIES = (
    "000c0080000119553e4441ac00003f",
    "000c0080000119573e003f",
    "010c008000011e29554e4441ac00004f295539024e91014f1f",
    "010c008000011e29555e910291205f1f0c0080000c1e29554e91014f1f",
    "0591029128",
    "100e910291280f1e0c0080000119551f",
)
_SC = (  # one of each function
    "000000010a00",
    "0000000206014000070097414243",
    "010c000301020304050611121314151601040275040c0c02000001194d",
    "010c000401020304050611121314151601200408",
    "02040005010203040506",
    "0300000677733a2f2f61",
    "0400000701010640ef91",
    "05000008",
    "06000009010203040506000102030405060708090a0b0c0d0e0f0640ef91",
    "0700000a010203040506000102030405060708090a0b0c0d0e0f0640ef91",
    "0800000b",
    "0900000c",
    "0a00000d",
    "0b00000e",
    "0c00000f022a01ff",
)
_MODBUS = (
    "0100000003",
    "0300000002",
    "050001ff00",
    "0600010002",
    "0f0000000a02ff01",
    "10000100020400010002",
    "16000400f20025",
    "1700000001000a0001020005",
    "140706000100000002",
    "150b0600010000000200010002",
    "2b0e0100",
    "0800001234",
    "18000a",
)
SERVICES = [
    bytes((_KINDS[isinstance(message, ConfirmedRequestPDU)], message.service_choice)) + bytes(message.encode().pduData)
    for message, *_ in MESSAGES
] + [bytes((Kind.CONFIRMED_REQUEST, number)) + bytes.fromhex(octets) for number, octets, *_ in BY_HAND.values()]


def datagram(random: Random) -> bytes:
    """A BACnet/IP message of any kind."""
    message = messages.bvlc(random)
    if message.function == Function.FORWARDED_NPDU:
        return encode_forwarded(message.origin, message.payload)
    return encode_bvlc(message.function, message.payload)


def whole_datagram(random: Random) -> bytes:
    """A BACnet/IP message with an APDU in it."""
    layers = messages.npdu(random)._replace(payload=apdu(random), message=None)
    return encode_bvlc(Function.ORIGINAL_UNICAST, encode_npdu(layers))


def tunnelled(random: Random) -> bytes:
    """A message of a tunnel: some datagrams."""
    return b"".join(encode_datagram(random.randbytes(6), npdu(random)) for _ in range(random.randint(1, 4)))


def npdu(random: Random) -> bytes:
    """A network layer message of any kind."""
    return encode_npdu(messages.npdu(random))


def apdu(random: Random) -> bytes:
    """An application layer message of any kind."""
    return encode_apdu(messages.apdu(random))


def _primitive(random: Random) -> Tag:
    number = random.choice([*_LENGTHS, 7])
    if number == 7:
        text = random.choice(("", "zone", "Raum Süd", "x" * 300))
        return Tag("application", 7, b"\0" + text.encode())
    length = random.choice(_LENGTHS[number])
    if number == 1:
        return Tag("application", 1, bytes((random.randrange(2),)))
    content = random.randbytes(length)
    return Tag("application", number, bytes((random.randrange(8),)) + content[1:] if number == 8 else content)


def _some_tags(random: Random, deepest: int) -> list[Tag]:
    tags: list[Tag] = []
    for _ in range(random.randrange(5)):
        number = random.choice((0, 1, 2, 3, 14, 15, 254))
        if random.random() < 0.5:
            tags.append(_primitive(random))
        elif random.random() < 0.6 or not deepest:
            tags.append(Tag("context", number, random.randbytes(random.choice((0, 1, 3, 4, 5, 260)))))
        else:
            inside = _some_tags(random, deepest - 1)
            tags += [Tag("opening", number, b""), *inside, Tag("closing", number, b"")]
    return tags


def tags(random: Random) -> bytes:
    """Any tags, some within others."""
    return encode_tags(_some_tags(random, 4))


def reply(random: Random) -> bytes:
    """An acknowledgement or error of a property service behind an octet that says which."""
    return bytes.fromhex(random.choice(_REPLIES))


_REFUSED = (bytes.fromhex("00111900"), bytes.fromhex("000a0e09020f1e09552e4441ac00002f39091f"))
"""A DeviceCommunicationControl without its password; a new object that brings a priority along."""
_SUBSCRIBE_MULTIPLE = b"\x00\x1e"
"""It would subscribe to several properties in one operation."""


def service(random: Random) -> bytes:
    """A bare request of any service that is decoded."""
    return random.choice(SERVICES)


def interpreted(random: Random) -> bytes:
    """A bare request that may be relayed."""
    relayed = (octets for octets in SERVICES if octets not in _REFUSED and octets[:2] != _SUBSCRIBE_MULTIPLE)
    return random.choice(list(relayed))


ASKED = 7
"""The invoke id of what devices answer."""
SELF_READS = (compose_self_reads(VAV)[0], compose_name_read(VAV, ("analog-input", 9)))
_SAID = {
    "max-apdu-length-accepted": Tag("application", UNSIGNED, b"\x01\xe0"),
    "segmentation-supported": Tag("application", ENUMERATED, b"\x03"),
    "vendor-identifier": Tag("application", UNSIGNED, b"\x0f"),
    "object-name": Tag("application", TEXT, b"\0zone"),
}
ACKNOWLEDGED = [bytes.fromhex(request) for request, *_ in ACKS]


def acknowledgement(random: Random) -> bytes:
    """What a service brings, behind an octet that says which of ACKNOWLEDGED was asked."""
    place = random.randrange(len(ACKS))
    return bytes((place,)) + bytes(ACKS[place][1].encode().pduData)


def discovery(random: Random) -> bytes:
    """A bare Who-Is or Who-Has."""
    return random.choice([octets for octets in SERVICES if octets[:2] in (b"\x10\x07", b"\x10\x08")])


JUDGED = (READ, SEVERAL, write(), writes(1, 2, 3))
"""Requests that replies are about."""


def judged(random: Random) -> bytes:
    """A reply behind an octet that says to which request."""
    number = random.randrange(len(JUDGED))
    good = (
        read_reply(READ, "20"),
        read_reply(SEVERAL, "20", "21.5", "0"),
        b"\x20\x0f",
        random.choice((b"\x20\x10", failed_at(2))),
    )
    refusals = (bytes((0x50, JUDGED[number].payload[1])) + b"\x91\x02\x91\x28", b"\x60\x09", b"\x70\x04")
    return bytes((number,)) + random.choice((good[number], good[number], random.choice(refusals)))


def device_error(random: Random) -> bytes:
    """An error's parameters behind its service."""
    number, error, _ = random.choice(ERRORS)
    return bytes((number,)) + bytes(error.encode().pduData)


def notification(random: Random) -> bytes:
    """A bare COV notification."""
    return random.choice([octets for octets in SERVICES if octets[:2] in (b"\x00\x01", b"\x10\x02")])


def _series(parts: Iterable[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def conversation(random: Random) -> bytes:
    """NPDUs of a client to a device and the router: a request, maybe in segments, and what acknowledges a reply."""
    invoke, whole = random.randrange(4), service(random)
    request = ConfirmedRequest(invoke, whole[1], whole[2:], 50, random.choice((None, 2, 64)), accepts_segments=True)
    sender = SegmentSender(request, 20, None, SegmentLimits(proposed_window=127))
    pieces = [*sender.start(0.0), *sender.acknowledged(SegmentAck(invoke, 0, 127, from_server=True), 0.0)]
    acks = [SegmentAck(invoke, sequence, random.randint(1, 127)) for sequence in range(random.randrange(6))]
    apdus = [request] if random.random() < 0.5 else pieces
    sent = [encode_npdu(Npdu(encode_apdu(one), TO_VAV)) for one in (*apdus, *acks)]
    return _series([*sent, npdu(random)] if random.random() < 0.3 else sent)


def device_reply(random: Random) -> bytes:
    """What a device says of a request that is short, or (behind an octet 1) in segments: these acknowledged, then the
    reply, in segments or whole.
    """
    long = random.random() < 0.5
    acks = (
        [SegmentAck(ASKED, sequence, random.randint(1, 8), from_server=True) for sequence in range(12)] if long else []
    )
    kinds = (SimpleAck(ASKED, 16), ErrorPdu(ASKED, 16, b"\x91\x02\x91\x28"), Reject(ASKED, 9), Abort(ASKED, 1, True))
    if random.random() < 0.3:
        return bytes((long,)) + _series(map(encode_apdu, (*acks, random.choice(kinds))))
    sender = SegmentSender(ComplexAck(ASKED, 12, random.randbytes(120)), 50, 64, SegmentLimits(proposed_window=4))
    pieces = [*sender.start(0.0)]
    while not sender.all_sent:
        pieces += sender.acknowledged(SegmentAck(ASKED, pieces[-1].sequence, 4), 0.0)
    return bytes((long,)) + _series(map(encode_apdu, (*acks, *pieces)))


def hub(random: Random) -> bytes:
    """Messages of a hub of BACnet/SC and of nodes behind it."""
    return _series(map(bytes.fromhex, random.choices(_SC, k=4)))


def local(random: Random) -> bytes:
    """Datagrams of a client to the local port."""
    first = (encode_register(60), encode_bvlc(Function.DISTRIBUTE_BROADCAST, bytes.fromhex("0120ffff00ff1008")))
    return _series([*first[: random.randrange(3)], datagram(random), whole_datagram(random)])


def said(random: Random) -> bytes:
    """A device's answer to what it is asked of itself, behind an octet that says which question."""
    place = random.randrange(len(SELF_READS))
    reads = [
        Reported(reference_of(each.address), (_SAID[each.address.property],)) for each in SELF_READS[place].operations
    ]
    if len(reads) == 1:
        return bytes((place, 0x30, 12)) + encode_read_property_ack(reads[0])
    return bytes((place, 0x30, 14)) + encode_read_property_multiple_ack(reads)


def spoke(random: Random) -> bytes:
    """Messages of a node of BACnet/SC, first that it wants to be connected."""
    connect = "06000009010203040506000102030405060708090a0b0c0d0e0f0640ef91"
    return _series(map(bytes.fromhex, (connect, *random.choices(_SC, k=4))))


def websocket(random: Random) -> bytes:
    """Frames of a client."""
    frames = b""
    for opcode in random.choice(((0x82,), (0x82, 0x82), (0x02, 0x00, 0x89, 0x80), (0x81, 0x82, 0x88))):
        payload = random.randbytes(random.choice((5, 125)))
        frames += bytes((opcode, 0x80 | len(payload))) + random.randbytes(4) + payload
    return frames


def sc(random: Random) -> bytes:
    """A message of BACnet/SC."""
    return bytes.fromhex(random.choice(_SC))


def modbus_request(random: Random) -> bytes:
    """A request's PDU."""
    return bytes.fromhex(random.choice(_MODBUS))


def modbus_stream(random: Random) -> bytes:
    """A few frames of Modbus/TCP."""
    return b"".join(
        encode_mbap(random.randrange(65536), random.randrange(256), modbus_request(random))
        for _ in range(random.randint(1, 4))
    )
