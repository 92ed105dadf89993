"""BVLC-SC beside the codecs of others: bacpypes3's messages octet for octet, tshark's dissection field for field."""

import importlib.util
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from bacpypes3.pdu import PDU, VirtualAddress
from hypothesis import HealthCheck, given, settings

from broker.wire.bacnet.sc import decode_sc, encode_sc
from broker.wire.bacnet.sc_message import Function, Option, ScMessage
from broker.wire.bacnet.sc_payloads import (
    Proprietary,
    decode_advertisement,
    decode_connect,
    decode_proprietary,
    decode_result,
)
from tests.unit.wire.bacnet.sc_messages import messages

DLT_USER0 = 147


def _codec_of_bacpypes() -> Any:
    """Its messages without the package around them, which wants a WebSocket library that they do not."""
    spec = importlib.util.find_spec("bacpypes3.sc")
    assert spec is not None
    sys.modules["bacpypes3.sc"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module("bacpypes3.sc.bvll")
    finally:
        del sys.modules["bacpypes3.sc"]


bvll = _codec_of_bacpypes()
FIELDS = ("function", "control", "msgid", "orig_virtual_address", "dest_virtual_address", "header_type")


def their_option(option: Option) -> Any:
    if option.type == 1:
        return bvll.SecurePathHeaderOption()
    if option.type == 31:
        assert option.data is not None
        theirs = bvll.ProprietaryHeaderOption(
            option.data[3:],
            vendor_identifier=int.from_bytes(option.data[:2], "big"),
            proprietary_option_type=option.data[2],
        )
    else:
        theirs = bvll.HeaderOption(option.data or b"", option_type=option.type)
    theirs.must_understand = option.must_understand
    return theirs


def their_message(message: ScMessage) -> Any:
    payload = message.payload
    match message.function:
        case Function.RESULT:
            result = decode_result(payload)
            if result.nak is None:
                return bvll.Result(result.function, 0)
            nak = result.nak
            return bvll.Result(result.function, 1, nak.marker, nak.error_class, nak.code, nak.details)
        case Function.CONNECT_REQUEST | Function.CONNECT_ACCEPT:
            kind = bvll.ConnectRequest if message.function == Function.CONNECT_REQUEST else bvll.ConnectAccept
            connect = decode_connect(payload)
            vmac, uuid = VirtualAddress(connect.vmac), UUID(bytes=connect.uuid)
            return kind(vmac, uuid, connect.max_bvlc, connect.max_npdu)
        case Function.ADVERTISEMENT:
            return bvll.Advertisement(*decode_advertisement(payload))
        case Function.ADDRESS_RESOLUTION_ACK:
            return bvll.AddressResolutionACK(payload.decode())
        case Function.PROPRIETARY:
            return bvll.ProprietaryMessage(*_without_data(decode_proprietary(payload)))
    return bvll.pdu_types[message.function](payload)


def _without_data(proprietary: Proprietary) -> tuple[int, int, bytes]:
    return proprietary.vendor, proprietary.function, proprietary.data


def their_octets(message: ScMessage) -> bytes:
    theirs = their_message(message)
    theirs.bvlcMessageID = message.id
    if message.origin:
        theirs.bvlcOriginatingVirtualAddress = VirtualAddress(message.origin)
    if message.destination:
        theirs.bvlcDestinationVirtualAddress = VirtualAddress(message.destination)
    theirs.bvlcDestinationOptions = [their_option(option) for option in message.destination_options]
    theirs.bvlcDataOptions = [their_option(option) for option in message.data_options]
    return bytes(theirs.encode().pduData)


def _as_theirs_can(message: ScMessage) -> ScMessage:
    """An option with a data field of no octets cannot be said there; it proves vendors' markers only as optional."""

    def sayable(option: Option) -> Option:
        return option._replace(data=option.data or None) if option.type < 31 else option

    return message._replace(
        destination_options=tuple(map(sayable, message.destination_options)),
        data_options=tuple(map(sayable, message.data_options)),
    )


@settings(max_examples=200)
@given(messages().map(_as_theirs_can))
def test_bacpypes_encodes_every_message_to_the_same_octets(message: ScMessage) -> None:
    octets = their_octets(message)
    assert octets == encode_sc(message)
    assert decode_sc(octets) == message


@settings(max_examples=200)
@given(messages().map(_as_theirs_can))
def test_bacpypes_decodes_the_same_header(message: ScMessage) -> None:
    if bool(message.origin) != bool(message.data_options):
        message = message._replace(origin=b"", data_options=())  # it looks for data options by the bit of the origin
    theirs = bvll.LPCI.decode(PDU(encode_sc(message)))
    assert (theirs.bvlcFunction, theirs.bvlcMessageID) == (message.function, message.id)
    origin, destination = theirs.bvlcOriginatingVirtualAddress, theirs.bvlcDestinationVirtualAddress
    assert (origin.addrAddr if origin else b"") == message.origin
    assert (destination.addrAddr if destination else b"") == message.destination
    for ours, found in (
        (message.destination_options, theirs.bvlcDestinationOptions),
        (message.data_options, theirs.bvlcDataOptions),
    ):
        assert [(one.type, one.must_understand) for one in ours] == [
            (one.option_type, one.must_understand) for one in found
        ]


def _pcap(path: Path, frames: list[bytes]) -> Path:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, DLT_USER0)
    path.write_bytes(head + b"".join(struct.pack("<IIII", 0, 0, len(one), len(one)) + one for one in frames))
    return path


def _dissected(capture: Path) -> list[dict[str, str]]:
    columns = [word for field in FIELDS for word in ("-e", f"bscvlc.{field}")]
    layer = f'uat:user_dlts:"User 0 (DLT={DLT_USER0})","bscvlc","0","","0",""'
    command = ["tshark", "-r", capture, "-o", layer, "-T", "fields", "-E", "separator=|", *columns]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [dict(zip(FIELDS, line.split("|"), strict=True)) for line in run.stdout.splitlines()]


def _many_messages(count: int) -> list[ScMessage]:
    made: list[ScMessage] = []

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(messages())
    def make(message: ScMessage) -> None:
        made.append(message)

    make()
    return made


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_tshark_dissects_every_message_to_the_same_fields(tmp_path: Path) -> None:
    sent = _many_messages(400)
    found = _dissected(_pcap(tmp_path / "sc.pcap", [encode_sc(message) for message in sent]))
    assert len(found) == len(sent) > 100
    for message, fields in zip(sent, found, strict=True):
        functions = [int(word, 16) for word in fields["function"].split(",")]
        assert functions == [message.function, *message.payload[: not message.function]]  # a result names another
        assert int(fields["msgid"]) == message.id
        assert fields["orig_virtual_address"].replace(":", "") == message.origin.hex()
        assert fields["dest_virtual_address"].replace(":", "") == message.destination.hex()
        types = [int(word, 16) for word in fields["header_type"].split(",") if word]
        assert types == [option.type for option in (*message.destination_options, *message.data_options)]
