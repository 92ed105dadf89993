"""What we encode bacpypes3 decodes to the same, and what it encodes are our octets, for thousands of messages."""

import pytest
from bacpypes3.apdu import APCI, APDU
from bacpypes3.ipv4 import bvll
from bacpypes3.npdu import NPDU, npdu_types
from bacpypes3.pdu import PDU, Address, GlobalBroadcast, IPv4Address, RemoteBroadcast, RemoteStation

from broker.wire.bacnet.apdu import (
    MAX_APDUS,
    Abort,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Kind,
    Reject,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    encode_apdu,
)
from broker.wire.bacnet.bvlc import Function, decode_bvlc, decode_register, decode_result
from broker.wire.bacnet.npdu import GLOBAL_NETWORK, Message, encode_npdu
from tests.integration.bacnet.drawn import Drawn, drawn
from tests.unit.wire.bacnet.messages import MAX_SEGMENTS

MESSAGES = drawn(4000)
NPDUS = [message.npdu for message in MESSAGES if message.npdu is not None]
APDUS = [message.apdu for message in MESSAGES if message.apdu is not None]


def apci_of(apdu) -> dict[str, object]:
    """The fields of a message as bacpypes3 names them."""
    match apdu:
        case ConfirmedRequest():
            fields = {
                "apduType": Kind.CONFIRMED_REQUEST >> 4,
                "apduSA": apdu.accepts_segments,
                "apduMaxSegs": MAX_SEGMENTS.index(apdu.max_segments),
                "apduMaxResp": MAX_APDUS.index(apdu.max_apdu),
            }
            return fields | _segment_of(apdu)
        case UnconfirmedRequest(service, _):
            return {"apduType": 1, "apduService": service}
        case SimpleAck(invoke, service):
            return {"apduType": 2, "apduInvokeID": invoke, "apduService": service}
        case ComplexAck():
            return {"apduType": 3} | _segment_of(apdu)
        case SegmentAck(invoke, sequence, window, negative, from_server):
            ack = {"apduType": 4, "apduInvokeID": invoke, "apduSeq": sequence, "apduWin": window}
            return ack | {"apduNak": negative, "apduSrv": from_server}
        case ErrorPdu(invoke, service, _):
            return {"apduType": 5, "apduInvokeID": invoke, "apduService": service}
        case Reject(invoke, reason):
            return {"apduType": 6, "apduInvokeID": invoke, "apduAbortRejectReason": reason}
        case Abort(invoke, reason, from_server):
            return {"apduType": 7, "apduSrv": from_server, "apduInvokeID": invoke, "apduAbortRejectReason": reason}
    raise AssertionError(apdu)


def _segment_of(apdu) -> dict[str, object]:
    fields = {"apduInvokeID": apdu.invoke, "apduService": apdu.service, "apduSeg": apdu.segmented, "apduMor": apdu.more}
    return fields | ({"apduSeq": apdu.sequence, "apduWin": apdu.window} if apdu.segmented else {})


def their_address(address) -> Address | None:
    if address is None:
        return None
    if address.mac:
        return RemoteStation(*address)
    return GlobalBroadcast() if address.network == GLOBAL_NETWORK else RemoteBroadcast(address.network)


def test_there_are_thousands_of_every_layer() -> None:
    assert len(MESSAGES) >= 4000 and len(NPDUS) > 2000 and len(APDUS) > 1500
    assert {message.bvlc.function for message in MESSAGES} == set(Function) - {Function.SECURE}
    assert {npdu.message for npdu in NPDUS} == {None, *Message}
    assert len({type(apdu) for apdu in APDUS}) == 8


def test_apdus_are_the_same_in_both_directions() -> None:
    for apdu in APDUS:
        octets, fields, parameters = encode_apdu(apdu), apci_of(apdu), getattr(apdu, "parameters", b"")
        pdu = PDU(octets)
        found = APCI.decode(pdu)
        assert {name: getattr(found, name) for name in fields} == fields
        assert bytes(pdu.pduData) == parameters
        theirs = APDU(parameters)
        for name, value in fields.items():
            setattr(theirs, name, value)
        assert bytes(APCI.encode(theirs).pduData) + parameters == octets


def test_npdus_are_the_same_in_both_directions() -> None:
    for npdu in NPDUS:
        octets = encode_npdu(npdu)
        found = NPDU.decode(PDU(octets))
        whither, whence = their_address(npdu.destination), their_address(npdu.source)
        assert (found.npduDADR, found.npduSADR, found.npduNetMessage) == (whither, whence, npdu.message)
        assert (found.pduExpectingReply, found.pduNetworkPriority) == (npdu.expecting_reply, npdu.priority)
        assert npdu.destination is None or found.npduHopCount == npdu.hop_count
        assert bytes(found.pduData) == npdu.payload
        theirs = NPDU(npdu.payload)
        theirs.npduDADR, theirs.npduSADR, theirs.npduHopCount = whither, whence, npdu.hop_count
        theirs.npduNetMessage = npdu.message
        theirs.pduExpectingReply, theirs.pduNetworkPriority = npdu.expecting_reply, npdu.priority
        assert bytes(theirs.encode().pduData) == octets


def test_contents_of_network_messages_are_read_and_written_alike() -> None:
    for npdu in NPDUS:
        if npdu.message is not None and (npdu.payload or npdu.message != Message.INIT_ROUTING_ACK):
            contents = npdu_types[npdu.message].decode(PDU(npdu.payload))
            assert bytes(contents.encode().pduData) == bytes((1, 0x80, npdu.message)) + npdu.payload


def their_link(message: Drawn):
    """The message as bacpypes3 would make it, where it can hold the contents."""
    function, payload, origin = message.bvlc
    match function:
        case Function.ORIGINAL_UNICAST:
            return bvll.OriginalUnicastNPDU(payload)
        case Function.ORIGINAL_BROADCAST:
            return bvll.OriginalBroadcastNPDU(payload)
        case Function.DISTRIBUTE_BROADCAST:
            return bvll.DistributeBroadcastToNetwork(payload)
        case Function.FORWARDED_NPDU:
            return bvll.ForwardedNPDU(IPv4Address(origin), payload)
        case Function.RESULT:
            return bvll.Result(decode_result(payload))
        case Function.REGISTER_FOREIGN_DEVICE:
            return bvll.RegisterForeignDevice(decode_register(payload))
        case Function.DELETE_FDT_ENTRY:
            return bvll.DeleteForeignDeviceTableEntry(IPv4Address(payload))
        case Function.READ_BDT:
            return bvll.ReadBroadcastDistributionTable()
        case Function.READ_FDT:
            return bvll.ReadForeignDeviceTable()
    link = bvll.LPDU(payload)  # the tables: random masks and times are none that its classes could hold
    link.bvlciType, link.bvlciFunction, link.bvlciLength = 0x81, function, 4 + len(payload)
    return link


def test_datagrams_are_the_same_in_both_directions() -> None:
    for message in MESSAGES:
        assert bytes(their_link(message).encode().pduData) == message.octets
        assert decode_bvlc(message.octets) == message.bvlc
        found = bvll.LPDU.decode(PDU(message.octets))
        assert found.bvlciFunction == message.bvlc.function
        assert bytes(found.pduData) == message.bvlc.origin + message.bvlc.payload


@pytest.mark.parametrize("origin", ["192.0.2.7:47808", "198.51.100.1:1", "255.255.255.255:65535"])
def test_addresses_are_written_alike(origin: str) -> None:
    from broker.wire.bacnet.bvlc import mac_of

    host, port = origin.split(":")
    assert mac_of(host, int(port)) == IPv4Address(origin).addrAddr
