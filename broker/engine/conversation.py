"""One Modbus/TCP stream, sans I/O: octets in, requests out in order, one at a time, replies for them."""

from collections.abc import Callable
from dataclasses import dataclass

from broker.errors import FrameError
from broker.model.operation import Request
from broker.wire.modbus.mbap import MbapDecoder, encode_mbap
from broker.wire.modbus.meaning import Interpreter, exception_reply

ILLEGAL_FUNCTION = 1
ILLEGAL_VALUE = 3


@dataclass(slots=True)
class Asked:
    """A well-formed request of the caller, with what a reply must carry."""

    transaction: int
    unit: int
    function: int
    request: Request


@dataclass(slots=True)
class Malformed:
    """A frame whose PDU is not acceptable: the reply is an exception, and nothing passes."""

    unit: int
    pdu: bytes
    code: str
    reply: bytes


@dataclass(slots=True)
class Misaddressed:
    """A frame for a unit that this connection does not lead to."""

    transaction: int
    unit: int
    function: int
    pdu: bytes


class Conversation:
    """Order and ids of one connection. `interpreter_for` gives the interpreter of a unit, None if there is none."""

    def __init__(self, interpreter_for: Callable[[int], Interpreter | None]) -> None:
        self._decoder = MbapDecoder()
        self._interpreter_for = interpreter_for

    @property
    def waiting(self) -> int:
        """Octets received and not yet returned in a request."""
        return self._decoder.pending

    def receive(self, data: bytes | memoryview) -> int:
        """Take octets; what they mean shows in `next_request`. How many are waiting."""
        self._decoder.feed(data)
        return self._decoder.pending

    def next_request(self) -> Asked | Malformed | Misaddressed | None:
        """The next thing asked, None if nothing is complete. Raises FrameError if the stream is out of step."""
        frame = self._decoder.next_frame()
        if frame is None:
            return None
        transaction, unit, pdu = frame
        interpreter = self._interpreter_for(unit)
        if interpreter is None:
            return Misaddressed(transaction, unit, pdu[0], pdu)
        try:
            return Asked(transaction, unit, pdu[0], interpreter.interpret(pdu))
        except FrameError as error:
            code = ILLEGAL_FUNCTION if error.code == "illegal_function" else ILLEGAL_VALUE
            reply = encode_mbap(transaction, unit, exception_reply(pdu[0], code))
            return Malformed(unit, pdu, error.code, reply)


def reply_octets(asked: Asked | Misaddressed, pdu: bytes) -> bytes:
    """A reply PDU in the caller's own transaction and unit."""
    return encode_mbap(asked.transaction, asked.unit, pdu)
