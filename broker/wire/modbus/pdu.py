"""The codec as one: which function code is which request, and what may answer it.

Encoding cannot fail: the dataclasses refuse impossible contents when they are made.
"""

from collections.abc import Callable
from dataclasses import dataclass

from broker.wire.modbus.bits import (
    ReadCoils,
    ReadCoilsReply,
    ReadDiscreteInputs,
    ReadDiscreteInputsReply,
    WriteMultipleCoils,
    WriteMultipleCoilsReply,
    WriteSingleCoil,
    WriteSingleCoilReply,
)
from broker.wire.modbus.diagnostics import (
    Diagnostics,
    DiagnosticsReply,
    GetCommEventCounter,
    GetCommEventCounterReply,
    GetCommEventLog,
    GetCommEventLogReply,
    ReadExceptionStatus,
    ReadExceptionStatusReply,
    ReportServerId,
    ReportServerIdReply,
)
from broker.wire.modbus.fields import illegal_function, illegal_value, require_between, require_length
from broker.wire.modbus.files import ReadFileRecord, ReadFileRecordReply, WriteFileRecord, WriteFileRecordReply
from broker.wire.modbus.identification import ReadDeviceIdentification, ReadDeviceIdentificationReply
from broker.wire.modbus.registers import (
    MaskWriteRegister,
    MaskWriteRegisterReply,
    ReadFifoQueue,
    ReadFifoQueueReply,
    ReadHoldingRegisters,
    ReadHoldingRegistersReply,
    ReadInputRegisters,
    ReadInputRegistersReply,
    ReadWriteMultipleRegisters,
    ReadWriteMultipleRegistersReply,
    WriteMultipleRegisters,
    WriteMultipleRegistersReply,
    WriteSingleRegister,
    WriteSingleRegisterReply,
)

EXCEPTION_CODES = frozenset((1, 2, 3, 4, 5, 6, 8, 10, 11))  # 7
_EXCEPTION = 0x80  # 4.1: the function code with its most significant bit set


@dataclass(frozen=True, slots=True)
class ExceptionReply:
    """A refusal by the device; `refused` is the function of the request."""

    refused: int
    code: int

    def __post_init__(self) -> None:
        require_between("function", self.refused, 1, _EXCEPTION - 1)
        if self.code not in EXCEPTION_CODES:
            raise illegal_value(f"exception code {self.code} is not known")

    @property
    def function(self) -> int:
        """The function code on the wire."""
        return self.refused | _EXCEPTION

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return bytes((self.function, self.code))


RequestPdu = (
    ReadCoils
    | ReadDiscreteInputs
    | ReadHoldingRegisters
    | ReadInputRegisters
    | WriteSingleCoil
    | WriteSingleRegister
    | ReadExceptionStatus
    | Diagnostics
    | GetCommEventCounter
    | GetCommEventLog
    | WriteMultipleCoils
    | WriteMultipleRegisters
    | ReportServerId
    | ReadFileRecord
    | WriteFileRecord
    | MaskWriteRegister
    | ReadWriteMultipleRegisters
    | ReadFifoQueue
    | ReadDeviceIdentification
)

ReplyPdu = (
    ReadCoilsReply
    | ReadDiscreteInputsReply
    | ReadHoldingRegistersReply
    | ReadInputRegistersReply
    | WriteSingleCoilReply
    | WriteSingleRegisterReply
    | ReadExceptionStatusReply
    | DiagnosticsReply
    | GetCommEventCounterReply
    | GetCommEventLogReply
    | WriteMultipleCoilsReply
    | WriteMultipleRegistersReply
    | ReportServerIdReply
    | ReadFileRecordReply
    | WriteFileRecordReply
    | MaskWriteRegisterReply
    | ReadWriteMultipleRegistersReply
    | ReadFifoQueueReply
    | ReadDeviceIdentificationReply
    | ExceptionReply
)

_DECODERS: dict[int, Callable[[bytes], RequestPdu]] = {
    1: ReadCoils.decode,
    2: ReadDiscreteInputs.decode,
    3: ReadHoldingRegisters.decode,
    4: ReadInputRegisters.decode,
    5: WriteSingleCoil.decode,
    6: WriteSingleRegister.decode,
    7: ReadExceptionStatus.decode,
    8: Diagnostics.decode,
    11: GetCommEventCounter.decode,
    12: GetCommEventLog.decode,
    15: WriteMultipleCoils.decode,
    16: WriteMultipleRegisters.decode,
    17: ReportServerId.decode,
    20: ReadFileRecord.decode,
    21: WriteFileRecord.decode,
    22: MaskWriteRegister.decode,
    23: ReadWriteMultipleRegisters.decode,
    24: ReadFifoQueue.decode,
    43: ReadDeviceIdentification.decode,
}
FUNCTIONS = frozenset(_DECODERS)


def decode_request(pdu: bytes) -> RequestPdu:
    """The request in these octets.

    Raises FrameError `illegal_function` (function or sub-function not known) or `illegal_value` (anything malformed).
    """
    if not pdu:
        raise illegal_value("an empty PDU")
    decoder = _DECODERS.get(pdu[0])
    if decoder is None:
        raise illegal_function(f"function {pdu[0]} is not known")
    return decoder(pdu)


def encode_request(request: RequestPdu) -> bytes:
    """The octets of the PDU."""
    return request.encode()


def decode_reply(request: RequestPdu, pdu: bytes) -> ReplyPdu:
    """The reply in these octets, which must answer this request.

    Raises FrameError `illegal_function` (another function) or `illegal_value` (anything else that does not match).
    """
    if not pdu:
        raise illegal_value("an empty PDU")
    if pdu[0] == request.function:
        return request.decode_reply(pdu)
    if pdu[0] == request.function | _EXCEPTION:
        require_length(pdu, 2)
        return ExceptionReply(request.function, pdu[1])
    raise illegal_function(f"a reply of function {pdu[0]} to function {request.function}")


def encode_reply(reply: ReplyPdu) -> bytes:
    """The octets of the PDU."""
    return reply.encode()
