"""Diagnostics of the serial line and the server: functions 7, 8, 11, 12 and 17 (6.7 to 6.10, 6.13)."""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Self

from broker.wire.modbus.fields import (
    illegal_function,
    illegal_value,
    require_between,
    require_byte_count,
    require_echo,
    require_length,
    require_words,
)

RETURN_QUERY_DATA = 0
RESTART_COMMUNICATIONS = 1
RETURN_DIAGNOSTIC_REGISTER = 2
CHANGE_DELIMITER = 3
FORCE_LISTEN_ONLY = 4
COUNTERS = frozenset((RETURN_DIAGNOSTIC_REGISTER, *range(11, 19)))

_ALL_ZERO = COUNTERS | {FORCE_LISTEN_ONLY, 10, 20}
_SUB_FUNCTIONS = _ALL_ZERO | {RETURN_QUERY_DATA, RESTART_COMMUNICATIONS, CHANGE_DELIMITER}
_MOST_WORDS = 125
_SUB_FUNCTION = Struct(">BH")
_STATUS = Struct(">BHH")
_LOG = Struct(">BBHHH")
_MOST_EVENTS = 64
_BUSY = (0x0000, 0xFFFF)


@dataclass(frozen=True, slots=True)
class _Bare:
    """A request that is its function code and nothing else."""

    function: ClassVar[int]
    service: ClassVar[str]

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        require_length(pdu, 1)
        return cls()

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return bytes((self.function,))


@dataclass(frozen=True, slots=True)
class ReadExceptionStatusReply:
    """Reply of function 7: eight outputs whose meaning is the device's own."""

    outputs: int
    function: ClassVar[int] = 7

    def __post_init__(self) -> None:
        require_between("outputs", self.outputs, 0, 0xFF)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return bytes((self.function, self.outputs))


@dataclass(frozen=True, slots=True)
class ReadExceptionStatus(_Bare):
    """Function 7."""

    function: ClassVar[int] = 7
    service: ClassVar[str] = "read-exception-status"

    def decode_reply(self, pdu: bytes) -> ReadExceptionStatusReply:
        """The reply to this request. Raises FrameError."""
        require_length(pdu, 2)
        return ReadExceptionStatusReply(pdu[1])


@dataclass(frozen=True, slots=True)
class _Diagnostic:
    """A sub-function and its data, whole registers."""

    sub_function: int
    data: bytes
    function: ClassVar[int] = 8

    def __post_init__(self) -> None:
        if self.sub_function not in _SUB_FUNCTIONS:
            raise illegal_function(f"diagnostics sub-function {self.sub_function} is not known")  # 6.8.1
        require_words(self.data, _MOST_WORDS if self.sub_function == RETURN_QUERY_DATA else 1)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _SUB_FUNCTION.pack(self.function, self.sub_function) + self.data


@dataclass(frozen=True, slots=True)
class DiagnosticsReply(_Diagnostic):
    """Reply of function 8: the request repeated, or the counter or register asked for."""


@dataclass(frozen=True, slots=True)
class Diagnostics(_Diagnostic):
    """Function 8."""

    service: ClassVar[str] = "diagnostics"

    def __post_init__(self) -> None:
        # A slotted dataclass is a second class object, which the short form of super() does not know.
        _Diagnostic.__post_init__(self)
        if self.sub_function in _ALL_ZERO and self.data != b"\x00\x00":
            raise illegal_value(f"diagnostics sub-function {self.sub_function} takes 0x0000")  # 6.8.1: data field 00 00
        if self.sub_function == RESTART_COMMUNICATIONS and self.data not in (b"\x00\x00", b"\xff\x00"):
            raise illegal_value("restart communications takes 0x0000 or 0xFF00")  # 6.8.1, 01
        if self.sub_function == CHANGE_DELIMITER and self.data[1]:
            raise illegal_value("the delimiter is one character and a zero octet")  # 6.8.1, 03

    @classmethod
    def decode(cls, pdu: bytes) -> Self:
        """The request in a PDU. Raises FrameError."""
        if len(pdu) < _SUB_FUNCTION.size:
            raise illegal_value("function 8: cut short")
        return cls(_SUB_FUNCTION.unpack_from(pdu)[1], pdu[3:])

    def decode_reply(self, pdu: bytes) -> DiagnosticsReply:
        """The reply to this request. Raises FrameError."""
        if self.sub_function == FORCE_LISTEN_ONLY:
            raise illegal_value("force listen only has no reply")  # 6.8.1, 04
        if self.sub_function in COUNTERS:
            require_length(pdu, 5)
            require_echo(pdu[:3], self.encode()[:3])
        else:
            require_echo(pdu, self.encode())
        return DiagnosticsReply(self.sub_function, pdu[3:])


@dataclass(frozen=True, slots=True)
class GetCommEventCounterReply:
    """Reply of function 11; `status` is 0xFFFF while an earlier program command is being processed, else 0."""

    status: int
    events: int
    function: ClassVar[int] = 11

    def __post_init__(self) -> None:
        _require_status(self.status)
        require_between("event count", self.events, 0, 0xFFFF)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _STATUS.pack(self.function, self.status, self.events)


@dataclass(frozen=True, slots=True)
class GetCommEventCounter(_Bare):
    """Function 11."""

    function: ClassVar[int] = 11
    service: ClassVar[str] = "get-comm-event-counter"

    def decode_reply(self, pdu: bytes) -> GetCommEventCounterReply:
        """The reply to this request. Raises FrameError."""
        require_length(pdu, _STATUS.size)
        _, status, events = _STATUS.unpack(pdu)
        return GetCommEventCounterReply(status, events)


@dataclass(frozen=True, slots=True)
class GetCommEventLogReply:
    """Reply of function 12: status, two counts and up to 64 event octets, the latest first."""

    status: int
    events: int
    messages: int
    log: bytes
    function: ClassVar[int] = 12

    def __post_init__(self) -> None:
        _require_status(self.status)
        require_between("event count", self.events, 0, 0xFFFF)
        require_between("message count", self.messages, 0, 0xFFFF)
        require_between("length of the event log", len(self.log), 0, _MOST_EVENTS)  # 6.10: events 0 to 64

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return _LOG.pack(self.function, len(self.log) + 6, self.status, self.events, self.messages) + self.log


@dataclass(frozen=True, slots=True)
class GetCommEventLog(_Bare):
    """Function 12."""

    function: ClassVar[int] = 12
    service: ClassVar[str] = "get-comm-event-log"

    def decode_reply(self, pdu: bytes) -> GetCommEventLogReply:
        """The reply to this request. Raises FrameError."""
        if len(pdu) < _LOG.size:
            raise illegal_value("function 12: cut short")
        _, octets, status, events, messages = _LOG.unpack_from(pdu)
        require_byte_count(pdu, 1, octets)
        return GetCommEventLogReply(status, events, messages, pdu[_LOG.size :])


@dataclass(frozen=True, slots=True)
class ReportServerIdReply:
    """Reply of function 17: server id, run indicator and further data in a layout of the device's own (6.13)."""

    data: bytes
    function: ClassVar[int] = 17

    def __post_init__(self) -> None:
        require_between("length of the server id", len(self.data), 1, 251)

    def encode(self) -> bytes:
        """The octets of the PDU."""
        return bytes((self.function, len(self.data))) + self.data


@dataclass(frozen=True, slots=True)
class ReportServerId(_Bare):
    """Function 17."""

    function: ClassVar[int] = 17
    service: ClassVar[str] = "report-server-id"

    def decode_reply(self, pdu: bytes) -> ReportServerIdReply:
        """The reply to this request. Raises FrameError."""
        require_between("length of the PDU", len(pdu), 3, 253)
        require_byte_count(pdu, 1, pdu[1])
        return ReportServerIdReply(pdu[2:])


def _require_status(status: int) -> None:
    if status not in _BUSY:  # 6.9, 6.10: all zeros or all ones
        raise illegal_value(f"a status of 0x{status:04X} is neither 0x0000 nor 0xFFFF")
