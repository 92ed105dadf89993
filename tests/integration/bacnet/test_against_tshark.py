"""tshark dissects thousands of our datagrams to the fields that we put in."""

import struct
import subprocess
from pathlib import Path

import pytest

from broker.wire.bacnet.apdu import (
    MAX_APDUS,
    Abort,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Reject,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    dressed,
    encode_apdu,
)
from broker.wire.bacnet.audit_reports import AuditReport, Target, encode_audit_notification, encode_report
from broker.wire.bacnet.bvlc import Function, encode_bvlc, place_of
from broker.wire.bacnet.cov import CovNotification, encode_cov_notification
from broker.wire.bacnet.items import Item
from broker.wire.bacnet.npdu import Npdu, encode_npdu
from broker.wire.bacnet.refusal import error_reply
from broker.wire.bacnet.tags import REAL, Tag
from tests.end_to_end.peers import program
from tests.integration.bacnet.drawn import Drawn, drawn
from tests.unit.wire.bacnet.messages import MAX_SEGMENTS

MESSAGES = drawn(4000, seed=61)
RAW_IP = 101
TWENTY = (Tag("application", REAL, bytes.fromhex("41a00000")),)
FIELDS = (
    *("bvlc.function", "bvlc.fwd_ip", "bvlc.fwd_port", "bvlc.result", "bvlc.reg_ttl"),
    *("bacnet.control", "bacnet.dnet", "bacnet.dlen", "bacnet.hopc", "bacnet.snet", "bacnet.slen", "bacnet.mesgtyp"),
    *("bacapp.type", "bacapp.segmented_request", "bacapp.more_segments", "bacapp.SA", "bacapp.max_adpu_size"),
    *("bacapp.response_segments", "bacapp.invoke_id", "bacapp.sequence_number", "bacapp.window_size"),
    *("bacapp.confirmed_service", "bacapp.unconfirmed_service", "bacapp.NAK", "bacapp.SRV"),
    *("bacapp.reject_reason", "bacapp.abort_reason"),
)


def capture(datagrams: list[bytes]) -> bytes:
    octets = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IP)
    for second, datagram in enumerate(datagrams):
        udp = struct.pack(">HHHH", 47808, 47808, 8 + len(datagram), 0) + datagram
        places = bytes((192, 0, 2, 1, 192, 0, 2, 2))
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + places + udp
        octets += struct.pack("<IIII", second, 0, len(packet), len(packet)) + packet
    return octets


@pytest.fixture(scope="module")
def dissected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    file: Path = tmp_path_factory.mktemp("capture") / "drawn.pcap"
    file.write_bytes(capture([message.octets for message in MESSAGES]))
    fields = [word for field in FIELDS for word in ("-e", field)]
    command = [program("tshark"), "-r", file, "-T", "fields", "-E", "separator=|", "-E", "occurrence=f", *fields]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    lines = [line.split("|") for line in found.stdout.splitlines()]
    return [{field: word for field, word in zip(FIELDS, line, strict=True) if word} for line in lines]


def expected(message: Drawn) -> dict[str, str]:
    function, payload, origin = message.bvlc
    fields: dict[str, object] = {"bvlc.function": f"0x{function:02x}"}
    if function == Function.FORWARDED_NPDU:
        fields["bvlc.fwd_ip"], fields["bvlc.fwd_port"] = place_of(origin)
    elif function == Function.RESULT:
        fields["bvlc.result"] = "0x" + payload.hex()
    elif function == Function.REGISTER_FOREIGN_DEVICE:
        fields["bvlc.reg_ttl"] = int.from_bytes(payload, "big")
    if message.npdu is not None:
        fields |= _of_npdu(message.npdu)
    if message.apdu is not None:
        fields |= _of_apdu(message.apdu)
    return {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in fields.items()}


def _of_npdu(npdu: Npdu) -> dict[str, object]:
    routed, sourced = npdu.destination is not None, npdu.source is not None
    control = npdu.priority | npdu.expecting_reply << 2 | sourced << 3 | routed << 5 | (npdu.message is not None) << 7
    fields: dict[str, object] = {"bacnet.control": f"0x{control:02x}"}
    if npdu.destination is not None:
        network, mac = npdu.destination
        fields |= {"bacnet.dnet": network, "bacnet.dlen": len(mac), "bacnet.hopc": npdu.hop_count}
    elif npdu.message is not None:  # the same name is used for networks in the contents
        networks = {1: npdu.payload, 6: npdu.payload[1:], 7: npdu.payload[1:], 3: npdu.payload[1:]}
        first = networks.get(npdu.message, npdu.payload)[:2]
        fields |= {"bacnet.dnet": int.from_bytes(first, "big")} if first else {}
    if npdu.source is not None:
        fields |= {"bacnet.snet": npdu.source.network, "bacnet.slen": len(npdu.source.mac)}
    return fields | ({} if npdu.message is None else {"bacnet.mesgtyp": f"0x{npdu.message:02x}"})


def _of_apdu(apdu) -> dict[str, object]:
    match apdu:
        case ConfirmedRequest():
            return {
                "bacapp.type": 0,
                "bacapp.SA": apdu.accepts_segments,
                "bacapp.max_adpu_size": MAX_APDUS.index(apdu.max_apdu),
                "bacapp.response_segments": MAX_SEGMENTS.index(apdu.max_segments),
                "bacapp.confirmed_service": apdu.service,
            } | _of_segment(apdu)
        case UnconfirmedRequest(service, _):
            return {"bacapp.type": 1, "bacapp.unconfirmed_service": service}
        case SimpleAck(invoke, service):
            return {"bacapp.type": 2, "bacapp.invoke_id": invoke, "bacapp.confirmed_service": service}
        case ComplexAck():
            return {"bacapp.type": 3, "bacapp.confirmed_service": apdu.service} | _of_segment(apdu)
        case SegmentAck(invoke, sequence, window, negative, from_server):
            ack = {"bacapp.type": 4, "bacapp.invoke_id": invoke, "bacapp.sequence_number": sequence}
            return ack | {"bacapp.window_size": window, "bacapp.NAK": negative, "bacapp.SRV": from_server}
        case ErrorPdu(invoke, service, _):
            return {"bacapp.type": 5, "bacapp.invoke_id": invoke, "bacapp.confirmed_service": service}
        case Reject(invoke, reason):
            return {"bacapp.type": 6, "bacapp.invoke_id": invoke, "bacapp.reject_reason": reason}
        case Abort(invoke, reason, from_server):
            abort = {"bacapp.type": 7, "bacapp.invoke_id": invoke, "bacapp.abort_reason": reason}
            return abort | {"bacapp.SRV": from_server}
    raise AssertionError(apdu)


def _of_segment(apdu) -> dict[str, object]:
    fields = {
        "bacapp.invoke_id": apdu.invoke,
        "bacapp.segmented_request": apdu.segmented,
        "bacapp.more_segments": apdu.more,
    }
    if apdu.segmented:
        fields |= {"bacapp.sequence_number": apdu.sequence, "bacapp.window_size": apdu.window}
    return fields


def _known_to_tshark(message: Drawn) -> bool:
    """It walks past addresses of seven octets (LonTalk's Neuron id) as if they were not there."""
    ends = (message.npdu.destination, message.npdu.source) if message.npdu else ()
    return all(end is None or len(end.mac) < 7 for end in ends)


def test_tshark_sees_in_every_datagram_what_we_put_there(dissected: list[dict[str, str]]) -> None:
    assert len(dissected) == len(MESSAGES)
    compared = 0
    for message, found in zip(MESSAGES, dissected, strict=True):
        if _known_to_tshark(message):
            wanted = expected(message)
            assert {name: found.get(name) for name in wanted} == wanted, (message, found)
            compared += 1
    assert compared > 3500


def test_tshark_reads_what_is_said_of_several_subscriptions_to_the_end(tmp_path: Path) -> None:
    value = Item("analog-value", 1, "present-value", None, TWENTY)
    told = CovNotification(7, 1001, "analog-value", 1, 60, (value,), confirmed=True, multiple=True)
    asked = bytes.fromhex("001e09011900293c39054e0c008000011e0e09550f29000e09750f29001f4f")
    said = (encode_cov_notification(told), error_reply(asked, (2, 32), 1))
    npdus = [encode_npdu(Npdu(encode_apdu(dressed(each, 5)))) for each in said]
    file = tmp_path / "several.pcap"
    file.write_bytes(capture([encode_bvlc(Function.ORIGINAL_UNICAST, npdu) for npdu in npdus]))
    command = [program("tshark"), "-r", file, "-V", "-O", "bacapp"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    for shown in ("Present Value (real): 20", "Property Identifier: units (117)", "Error Code: unknown-property (32)"):
        assert shown in found
    assert "alformed" not in found
    assert "Unknown" not in found


def test_an_audit_notification_is_dissected_to_who_did_what_to_what(tmp_path: Path) -> None:
    item = Item("analog-value", 1, "present-value", None, (Tag("application", 4, bytes.fromhex("41ac0000")),), 8)
    moment, source = (2026, 11, 28, 6, 21, 45, 7, 50), bytes((192, 0, 2, 9, 0xBA, 0xC0))
    comment, was = "ana@acme.example (acme), record 4711", bytes.fromhex("4441a00000")
    report = AuditReport(moment, source, comment, 1001, Target("write", item), was, "security/access-denied")
    request = dressed(encode_audit_notification([encode_report(report, 1476)]), 7)
    npdu = encode_npdu(Npdu(encode_apdu(request), expecting_reply=True))
    file = tmp_path / "audit.pcap"
    file.write_bytes(capture([encode_bvlc(Function.ORIGINAL_UNICAST, npdu)]))
    command = [program("tshark"), "-r", file, "-V"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout
    lines = {line.strip() for line in shown.splitlines()}
    assert lines > {
        "Service Choice: confirmedAuditNotification (32)",
        "Date: November 28, 2026, (Day of Week = Saturday)",
        "IPV4: 192.0.2.9",
        "operation:  write (1)",
        "source-comment: UTF-8 'ana@acme.example (acme), record 4711'",
        "DeviceIdentifier: device, 1001",
        "ObjectIdentifier: analog-value, 1",
        "Property Identifier: present-value (85)",
        "target-priority: (Unsigned) 8",
        "Present Value (real): 21.5",
        "Present Value (real): 20",
        "Error Class: security (4)",
        "Error Code: access-denied (85)",
    }
    assert "Malformed" not in shown
