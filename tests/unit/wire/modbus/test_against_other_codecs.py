"""What this codec makes is what other people's codecs make, octet for octet."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import bit_message as pb
from pymodbus.pdu import diag_message as pd
from pymodbus.pdu import file_message as pf
from pymodbus.pdu import mei_message as pm
from pymodbus.pdu import other_message as po
from pymodbus.pdu import register_message as pr
from pymodbus.pdu.decoders import DecodePDU
from pyModbusTCP.client import ModbusClient
from pyModbusTCP.server import DeviceIdentification, ModbusServer

from broker.wire.modbus import bits, diagnostics, files, identification, registers
from broker.wire.modbus.mbap import MbapDecoder, encode_mbap
from broker.wire.modbus.pdu import ExceptionReply, decode_reply, decode_request, encode_reply, encode_request
from tests.unit.wire.modbus.frames import exchanges, requests, requests_by_function

words = registers.words_of


def _bools(data, count):
    return [bit == 1 for bit in bits.bits_of(data, count)]


def _records(contents):
    return [pf.FileRecord(c.file, c.record, record_data=c.data) for c in contents]


DIAGNOSTIC_REQUESTS = {
    0: pd.ReturnQueryDataRequest,
    1: pd.RestartCommunicationsOptionRequest,
    2: pd.ReturnDiagnosticRegisterRequest,
    3: pd.ChangeAsciiInputDelimiterRequest,
    4: pd.ForceListenOnlyModeRequest,
    10: pd.ClearCountersRequest,
    11: pd.ReturnBusMessageCountRequest,
    12: pd.ReturnBusCommunicationErrorCountRequest,
    13: pd.ReturnBusExceptionErrorCountRequest,
    14: pd.ReturnDeviceMessageCountRequest,
    15: pd.ReturnDeviceNoResponseCountRequest,
    16: pd.ReturnDeviceNAKCountRequest,
    17: pd.ReturnDeviceBusyCountRequest,
    18: pd.ReturnDeviceBusCharacterOverrunCountRequest,
    20: pd.ClearOverrunCountRequest,
}


def theirs(request):
    """The same request, made by pymodbus."""
    match request:
        case bits.ReadCoils(start, count):
            return pb.ReadCoilsRequest(address=start, count=count)
        case bits.ReadDiscreteInputs(start, count):
            return pb.ReadDiscreteInputsRequest(address=start, count=count)
        case registers.ReadHoldingRegisters(start, count):
            return pr.ReadHoldingRegistersRequest(address=start, count=count)
        case registers.ReadInputRegisters(start, count):
            return pr.ReadInputRegistersRequest(address=start, count=count)
        case bits.WriteSingleCoil(start, on):
            return pb.WriteSingleCoilRequest(address=start, bits=[on])
        case registers.WriteSingleRegister(start, value):
            return pr.WriteSingleRegisterRequest(address=start, registers=[value])
        case bits.WriteMultipleCoils(start, count, data):
            return pb.WriteMultipleCoilsRequest(address=start, bits=_bools(data, count))
        case registers.WriteMultipleRegisters(start, data):
            return pr.WriteMultipleRegistersRequest(address=start, registers=list(words(data)))
        case registers.MaskWriteRegister(start, and_mask, or_mask):
            return pr.MaskWriteRegisterRequest(address=start, and_mask=and_mask, or_mask=or_mask)
        case registers.ReadWriteMultipleRegisters(read_start, read_count, write_start, data):
            return pr.ReadWriteMultipleRegistersRequest(
                read_address=read_start,
                read_count=read_count,
                write_address=write_start,
                write_registers=list(words(data)),
            )
        case registers.ReadFifoQueue(start):
            return pf.ReadFifoQueueRequest(address=start)
        case files.ReadFileRecord(ranges):
            return pf.ReadFileRecordRequest(
                records=[pf.FileRecord(r.file, r.record, record_length=2 * r.length) for r in ranges]
            )
        case files.WriteFileRecord(contents):
            return pf.WriteFileRecordRequest(records=_records(contents))
        case identification.ReadDeviceIdentification(code, object_id):
            return pm.ReadDeviceInformationRequest(read_code=code, object_id=object_id)
        case diagnostics.Diagnostics(sub_function, data):
            made = DIAGNOSTIC_REQUESTS[sub_function]()
            made.message = data
            return made
        case diagnostics.ReadExceptionStatus():
            return po.ReadExceptionStatusRequest()
        case diagnostics.GetCommEventCounter():
            return po.GetCommEventCounterRequest()
        case diagnostics.GetCommEventLog():
            return po.GetCommEventLogRequest()
        case diagnostics.ReportServerId():
            return po.ReportDeviceIdRequest()
    raise AssertionError(request)


def pdu_of(message):
    return bytes((message.function_code,)) + message.encode()


@given(requests)
def test_requests_are_encoded_as_pymodbus_encodes_them(request_):
    assert encode_request(request_) == pdu_of(theirs(request_))


@given(requests)
def test_what_pymodbus_encodes_is_accepted_as_the_same_request(request_):
    assert decode_request(pdu_of(theirs(request_))) == request_


# pymodbus 3.16 halves the record length when it decodes function 20.
@given(requests.filter(lambda request: request.function != 20))
def test_pymodbus_decodes_our_requests_to_what_it_would_encode(request_):
    pdu = encode_request(request_)
    decoded = DecodePDU(True).decode(pdu)
    assert decoded is not None
    assert pdu_of(decoded) == pdu


def their_reply(request, reply):
    """The same reply, made by pymodbus; None where it has no encoder that can say the same."""
    match reply:
        case bits.ReadCoilsReply(data):
            return pb.ReadCoilsResponse(bits=_bools(data, request.count))
        case bits.ReadDiscreteInputsReply(data):
            return pb.ReadDiscreteInputsResponse(bits=_bools(data, request.count))
        case registers.ReadHoldingRegistersReply(data):
            return pr.ReadHoldingRegistersResponse(registers=list(words(data)))
        case registers.ReadInputRegistersReply(data):
            return pr.ReadInputRegistersResponse(registers=list(words(data)))
        case registers.ReadWriteMultipleRegistersReply(data):
            return pr.ReadWriteMultipleRegistersResponse(registers=list(words(data)))
        case bits.WriteSingleCoilReply(start, on):
            return pb.WriteSingleCoilResponse(address=start, bits=[on])
        case registers.WriteSingleRegisterReply(start, value):
            return pr.WriteSingleRegisterResponse(address=start, registers=[value])
        case bits.WriteMultipleCoilsReply(start, count):
            return pb.WriteMultipleCoilsResponse(address=start, count=count)
        case registers.WriteMultipleRegistersReply(start, count):
            return pr.WriteMultipleRegistersResponse(address=start, count=count)
        case registers.MaskWriteRegisterReply(start, and_mask, or_mask):
            return pr.MaskWriteRegisterResponse(address=start, and_mask=and_mask, or_mask=or_mask)
        case registers.ReadFifoQueueReply(data):
            return pf.ReadFifoQueueResponse(values=list(words(data)))
        case files.ReadFileRecordReply(contents):
            return pf.ReadFileRecordResponse(records=[pf.FileRecord(record_data=data) for data in contents])
        case files.WriteFileRecordReply(contents):
            return pf.WriteFileRecordResponse(records=_records(contents))
        case diagnostics.ReadExceptionStatusReply(outputs):
            made = po.ReadExceptionStatusResponse()
            made.status = outputs
            return made
        case diagnostics.GetCommEventCounterReply(status, events):
            return po.GetCommEventCounterResponse(count=events, status=status == 0)
        case diagnostics.GetCommEventLogReply(status, events, messages, log):
            return po.GetCommEventLogResponse(status == 0, messages, events, list(log))
        case diagnostics.ReportServerIdReply(data) if data[-1] in (0x00, 0xFF):
            return po.ReportDeviceIdResponse(identifier=data[:-1], status=data[-1] == 0xFF)
        case identification.ReadDeviceIdentificationReply(code, conformity, False, 0, objects):
            if len({thing.id for thing in objects}) < len(objects):
                return None
            made = pm.ReadDeviceInformationResponse(code, {thing.id: thing.value for thing in objects})
            made.conformity = conformity
            return made
    return None


@given(exchanges)
def test_replies_are_encoded_as_pymodbus_encodes_them(exchange):
    request, reply = exchange
    message = their_reply(request, reply)
    if message is not None:
        pdu = pdu_of(message)
        assert encode_reply(reply) == pdu
        assert decode_reply(request, pdu) == reply


class CannedClient(ModbusClient):
    """pyModbusTCP's client with a memory instead of a socket: keeps the request, answers with one reply."""

    def __init__(self, reply):
        super().__init__(unit_id=1, auto_open=False)
        self._reply = reply
        self._incoming = b""
        self.asked = None

    def _send(self, frame):
        decoder = MbapDecoder()
        decoder.feed(frame)
        taken = decoder.next_frame()
        self.asked = decode_request(taken.pdu)
        self._incoming = encode_mbap(taken.transaction, taken.unit, encode_reply(self._reply))

    def _recv(self, size):
        octets, self._incoming = self._incoming[:size], self._incoming[size:]
        return octets


PYMODBUSTCP = [
    ("read_coils", (7, 3), bits.ReadCoils(7, 3), bits.ReadCoilsReply(b"\x05"), [True, False, True]),
    ("read_discrete_inputs", (7, 1), bits.ReadDiscreteInputs(7, 1), bits.ReadDiscreteInputsReply(b"\1"), [True]),
    (
        "read_holding_registers",
        (7, 2),
        registers.ReadHoldingRegisters(7, 2),
        registers.ReadHoldingRegistersReply(struct.pack(">HH", 1, 65535)),
        [1, 65535],
    ),
    (
        "read_input_registers",
        (7, 1),
        registers.ReadInputRegisters(7, 1),
        registers.ReadInputRegistersReply(b"\x12\x34"),
        [0x1234],
    ),
    ("write_single_coil", (7, True), bits.WriteSingleCoil(7, True), bits.WriteSingleCoilReply(7, True), True),
    (
        "write_single_register",
        (7, 9),
        registers.WriteSingleRegister(7, 9),
        registers.WriteSingleRegisterReply(7, 9),
        True,
    ),
    (
        "write_multiple_coils",
        (7, [True, False, True]),
        bits.WriteMultipleCoils(7, 3, b"\x05"),
        bits.WriteMultipleCoilsReply(7, 3),
        True,
    ),
    (
        "write_multiple_registers",
        (7, [1, 2]),
        registers.WriteMultipleRegisters(7, bytes.fromhex("00010002")),
        registers.WriteMultipleRegistersReply(7, 2),
        True,
    ),
    (
        "write_read_multiple_registers",
        (7, [1], 8, 1),
        registers.ReadWriteMultipleRegisters(8, 1, 7, b"\0\1"),
        registers.ReadWriteMultipleRegistersReply(b"\0\2"),
        [2],
    ),
]


@pytest.mark.parametrize(("method", "arguments", "asked", "reply", "result"), PYMODBUSTCP, ids=lambda v: str(v)[:24])
def test_pymodbustcp_asks_what_we_read_and_reads_what_we_answer(method, arguments, asked, reply, result):
    client = CannedClient(reply)
    assert getattr(client, method)(*arguments) == result
    assert client.asked == asked


PYMODBUSTCP_SERVER = ModbusServer(device_id=DeviceIdentification(b"Acme", b"X1", b"1.0", b"https://x.example", b"X"))
SERVED = (1, 2, 3, 4, 5, 6, 15, 16, 23, 43)
KNOWN_OBJECTS = 3


# Asked for one object that it does not have, pyModbusTCP answers with none; the standard wants exception 02 (6.21).
@given(
    st.sampled_from(SERVED)
    .flatmap(requests_by_function.__getitem__)
    .filter(lambda request: request.function != 43 or request.code != 4 or request.object_id < KNOWN_OBJECTS)
)
def test_what_pymodbustcps_server_answers_is_accepted(request_):
    session = ModbusServer.SessionData()
    session.request.pdu.raw = encode_request(request_)
    PYMODBUSTCP_SERVER._engine(session)
    answered = session.response.pdu.raw
    reply = decode_reply(request_, answered)
    assert encode_reply(reply) == answered
    if request_.function not in (23, 43):  # it reads at most 123 registers with function 23, the standard 125 (6.17)
        assert not isinstance(reply, ExceptionReply)


@given(st.integers(0, 0xFFFF), st.integers(0, 255), requests)
def test_the_header_is_the_one_pymodbus_makes(transaction, unit, request_):
    pdu = encode_request(request_)
    assert encode_mbap(transaction, unit, pdu) == FramerSocket(DecodePDU(True)).encode(pdu, unit, transaction)
