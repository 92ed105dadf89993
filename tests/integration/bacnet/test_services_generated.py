"""Thousands of property requests and replies that we write are read by tshark and bacpypes3 as meant, and by us."""

import struct
import subprocess
from itertools import groupby
from pathlib import Path
from random import Random
from typing import NamedTuple

from bacpypes3.apdu import APDU, APCISequence
from bacpypes3.pdu import PDU

from broker.wire.bacnet.apdu import dressed, encode_apdu
from broker.wire.bacnet.bvlc import Function, encode_bvlc
from broker.wire.bacnet.encoding import application
from broker.wire.bacnet.npdu import Npdu, encode_npdu
from broker.wire.bacnet.property_requests import (
    Write,
    encode_read_property,
    encode_read_property_multiple,
    encode_write_property,
    encode_write_property_multiple,
)
from broker.wire.bacnet.references import Reference, words_of
from broker.wire.bacnet.replies import (
    Reported,
    decode_read_property_ack,
    decode_read_property_multiple_ack,
    encode_read_property_ack,
    encode_read_property_multiple_ack,
)
from broker.wire.bacnet.services import decode_confirmed
from broker.wire.bacnet.tags import BOOLEAN, ENUMERATED, NULL, REAL, TEXT, UNSIGNED, Tag
from tests.end_to_end.peers import program
from tests.integration.bacnet.test_against_tshark import capture

COUNT = 2000
READ, READ_MULTIPLE, WRITE, WRITE_MULTIPLE = 12, 14, 15, 16
REQUEST, ACK = 0x00, 0x30


class Spoken(NamedTuple):
    """A bare message, what it is about in order, and the error codes and values in it."""

    bare: bytes
    about: tuple[Reference, ...]
    writes: tuple[Write, ...] = ()
    reported: tuple[Reported, ...] = ()


def reference(random: Random) -> Reference:
    object_type = random.choice((0, 2, 5, 8, 13, 56, 128, 1023))
    name = random.choice((85, 103, 512, 600, 4194303))
    index = random.choice((None, None, 0, 8, 300, 70000))
    return Reference(object_type, random.choice((0, 1, 255, 65536, 4194302)), name, index)


def value(random: Random) -> Tag:
    return random.choice(
        (
            Tag("application", NULL, b""),
            Tag("application", BOOLEAN, bytes((random.randrange(2),))),
            Tag("application", UNSIGNED, random.choice((b"\x00", b"\xff", b"\x01\x00", b"\x7f\xff\xff\xff"))),
            Tag("application", REAL, struct.pack(">f", random.choice((21.5, -0.25, 1e6, 0.0)))),
            Tag("application", ENUMERATED, random.choice((b"\x00", b"\x3e", b"\x03\xe8"))),
            Tag("application", TEXT, b"\x00" + "é".join("x" * random.randrange(40)).encode()),
        )
    )


def octets(tag: Tag) -> bytes:
    return application(tag.number, tag.content)


def spoken(random: Random) -> Spoken:
    several = tuple(reference(random) for _ in range(random.randint(1, 8)))
    one = several[:1]
    writes = tuple(Write(at, octets(value(random)), random.choice((None, 1, 8, 16))) for at in several)
    reported = tuple(
        Reported(at, error=(2, 32)) if random.random() < 0.3 else Reported(at, (value(random),)) for at in several
    )
    single = Reported(one[0], (value(random),))
    return random.choice(
        (
            Spoken(bytes((REQUEST, READ)) + encode_read_property(one[0]), one),
            Spoken(bytes((REQUEST, READ_MULTIPLE)) + encode_read_property_multiple(several), several),
            Spoken(bytes((REQUEST, WRITE)) + encode_write_property(writes[0]), one, writes[:1]),
            Spoken(bytes((REQUEST, WRITE_MULTIPLE)) + encode_write_property_multiple(writes), several, writes),
            Spoken(bytes((ACK, READ)) + encode_read_property_ack(single), one, (), (single,)),
            Spoken(bytes((ACK, READ_MULTIPLE)) + encode_read_property_multiple_ack(reported), several, (), reported),
        )
    )


def generated() -> list[Spoken]:
    random = Random(27)
    return [spoken(random) for _ in range(COUNT)]


def test_we_read_what_we_write() -> None:
    for message in generated():
        kind, service, parameters = message.bare[0], message.bare[1], message.bare[2:]
        if kind == REQUEST:
            found = decode_confirmed(service, parameters)
            assert found.octets == parameters
            assert [item[:4] for item in found.items] == [words_of(at) for at in message.about]
            if message.writes:
                assert [item.priority for item in found.items] == [write.priority for write in message.writes]
        elif service == READ:
            assert decode_read_property_ack(parameters) == message.reported[0]
        else:
            assert decode_read_property_multiple_ack(parameters) == message.reported


def test_tshark_sees_the_objects_properties_and_errors_that_we_put_there(tmp_path: Path) -> None:
    messages = [message for message in generated() if len(message.bare) < 1400]
    datagrams = [
        encode_bvlc(
            Function.ORIGINAL_UNICAST,
            encode_npdu(Npdu(encode_apdu(dressed(message.bare, number % 256)), expecting_reply=message.bare[0] == 0)),
        )
        for number, message in enumerate(messages)
    ]
    file = tmp_path / "spoken.pcap"
    file.write_bytes(capture(datagrams))
    names = ("bacapp.objectType", "bacapp.instance_number", "bacapp.property_identifier", "bacapp.error_code")
    names = (*names, "_ws.malformed")
    fields = [word for name in names for word in ("-e", name)]
    command = [program("tshark"), "-r", str(file), "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", *fields]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout.splitlines()
    assert len(found) == len(messages)
    for message, line in zip(messages, found, strict=True):
        types, instances, properties, errors, malformed = line.split("|")
        objects = [key for key, _ in groupby(message.about, key=lambda at: at[:2])]
        assert types.split(",") == [str(object_type) for object_type, _ in objects]
        assert instances.split(",") == [str(instance) for _, instance in objects]
        assert properties.split(",") == [str(at.property) for at in message.about]
        assert [e for e in errors.split(",") if e] == [str(each.error[1]) for each in message.reported if each.error]
        assert not malformed


def test_another_implementation_reads_and_writes_the_same() -> None:
    for message in generated()[:500]:
        apdu = APDU.decode(PDU(encode_apdu(dressed(message.bare, 1))))
        theirs = APCISequence.decode(apdu)
        assert bytes(theirs.encode().pduData) == message.bare[2:]
