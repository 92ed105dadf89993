"""A reply is accepted without decoding only where decoding would give back the very same octets."""

from hypothesis import given
from hypothesis import strategies as st

from broker.adapters.modbus_line import judge_reply
from broker.adapters.modbus_serial import seconds_per_octet, silence_seconds
from broker.errors import FrameError
from broker.model.operation import Relayed, Request
from broker.model.place import Device, Protocol
from broker.model.vocabulary import Result
from broker.model.way import ModbusTcpWay, SerialWay
from broker.wire.modbus.meaning import interpret
from broker.wire.modbus.pdu import decode_reply, decode_request, encode_reply

DEVICE = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("127.0.0.1", 502))
REQUESTS = [
    interpret(DEVICE, bytes.fromhex(octets))
    for octets in (
        "0300000002",
        "040005007d",
        "050003ff00",
        "0500030000",
        "06000a00c8",
        "0100000009",
        "10000a0001020001",
        "170000000100010001020001",
        "2b0e0100",
        "080000abcd",
    )
]


def decoded(request: Request, pdu: bytes) -> bytes | None:
    try:
        return encode_reply(decode_reply(decode_request(request.payload), pdu))
    except FrameError:
        return None


def likely(request: Request) -> st.SearchStrategy[bytes]:
    """Octets that are nearly a reply to this request."""
    function = request.payload[0]
    return st.one_of(
        st.binary(min_size=1, max_size=40),
        st.binary(max_size=8).map(lambda rest: bytes((function,)) + rest),
        st.integers(0, 255).map(lambda code: bytes((function | 0x80, code))),
        st.binary(min_size=4, max_size=4).map(lambda data: bytes((function, 4)) + data),
        st.integers(0, 4).map(lambda place: request.payload[:place] + b"\x01" + request.payload[place + 1 :]),
        st.just(request.payload),
        st.just(request.payload[:5]),
    )


@given(st.data())
def test_the_short_way_agrees_with_strict_decoding_for_every_reply(data: st.DataObject) -> None:
    request = data.draw(st.sampled_from(REQUESTS))
    pdu = data.draw(likely(request))
    judged = judge_reply(request, pdu)
    expected = decoded(request, pdu)
    assert (judged is None) == (expected is None)
    if isinstance(judged, Relayed):
        assert judged.payload == expected == pdu
        assert (judged.result == Result.DONE) == (pdu[0] == request.payload[0])


def test_silence_is_three_and_a_half_characters_up_to_19200_baud_and_fixed_above() -> None:
    line = SerialWay("/dev/ttyS0", baud=9600, parity="E", stop_bits=1)
    assert seconds_per_octet(line) == 11 / 9600
    assert silence_seconds(line) == 3.5 * 11 / 9600
    assert silence_seconds(SerialWay("/dev/ttyS0", baud=19200)) == 3.5 * 10 / 19200
    assert silence_seconds(SerialWay("/dev/ttyS0", baud=115200)) == 0.00175
