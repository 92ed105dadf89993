"""Valid messages of every kind, drawn by chance from a `Random`, so that one seed always draws the same."""

from random import Random

from hypothesis import strategies as st

from broker.wire.bacnet.apdu import (
    MAX_APDUS,
    MORE_THAN_64,
    Abort,
    Apdu,
    ComplexAck,
    ConfirmedRequest,
    ErrorPdu,
    Reject,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    encode_apdu,
)
from broker.wire.bacnet.bvlc import Bvlc, Function
from broker.wire.bacnet.npdu import (
    GLOBAL_NETWORK,
    Address,
    Message,
    Npdu,
    encode_network_number,
    encode_networks,
    encode_npdu,
    encode_reject,
)

MAX_SEGMENTS = (None, 2, 4, 8, 16, 32, 64, MORE_THAN_64)
MAC_LENGTHS = (1, 1, 2, 3, 3, 6, 6, 6, 7)  # table 6-2


def randoms() -> st.SearchStrategy[Random]:
    return st.randoms(use_true_random=False, note_method_calls=False)


def octet(random: Random) -> int:
    return random.randrange(256)


def parameters(random: Random) -> bytes:
    return random.randbytes(random.choice((0, 1, 2, 5, 12, 40, 200)))


def confirmed_request(random: Random) -> ConfirmedRequest:
    request = ConfirmedRequest(
        octet(random),
        octet(random),
        parameters(random),
        random.choice(MAX_APDUS),
        random.choice(MAX_SEGMENTS),
        random.random() < 0.5,
    )
    if random.random() < 0.5:
        return request
    return request._replace(
        segmented=True, more=random.random() < 0.5, sequence=octet(random), window=random.randint(1, 127)
    )


def complex_ack(random: Random) -> ComplexAck:
    ack = ComplexAck(octet(random), octet(random), parameters(random))
    if random.random() < 0.5:
        return ack
    return ack._replace(
        segmented=True, more=random.random() < 0.5, sequence=octet(random), window=random.randint(1, 127)
    )


def segment_ack(random: Random) -> SegmentAck:
    flags = random.random() < 0.5, random.random() < 0.5
    return SegmentAck(octet(random), octet(random), random.randint(1, 127), *flags)


APDUS = (
    confirmed_request,
    lambda random: UnconfirmedRequest(octet(random), parameters(random)),
    lambda random: SimpleAck(octet(random), octet(random)),
    complex_ack,
    segment_ack,
    lambda random: ErrorPdu(octet(random), octet(random), parameters(random)),
    lambda random: Reject(octet(random), octet(random)),
    lambda random: Abort(octet(random), octet(random), random.random() < 0.5),
)


def apdu(random: Random) -> Apdu:
    return random.choice(APDUS)(random)


def network(random: Random) -> int:
    return random.choice((1, 2, 2001, 65534, random.randint(1, 65534)))


def station(random: Random) -> Address:
    return Address(network(random), random.randbytes(random.choice(MAC_LENGTHS)))


def destination(random: Random) -> Address:
    somewhere = (station(random), station(random), Address(network(random), b""), Address(GLOBAL_NETWORK, b""))
    return random.choice(somewhere)


def _networks(random: Random, least: int, most: int) -> bytes:
    return encode_networks(network(random) for _ in range(random.randint(least, most)))


def _routing_table(random: Random) -> bytes:
    table = b""
    ports = random.randrange(4)
    for _ in range(ports):
        information = random.randbytes(random.randrange(5))
        table += encode_networks((network(random),)) + bytes((octet(random), len(information))) + information
    return bytes((ports,)) + table


CONTENTS = {
    Message.WHO_IS_ROUTER: lambda random: _networks(random, 0, 1),
    Message.I_AM_ROUTER: lambda random: _networks(random, 1, 6),
    Message.I_COULD_BE_ROUTER: lambda random: _networks(random, 1, 1) + bytes((octet(random),)),
    Message.REJECT: lambda random: encode_reject(random.randrange(7), network(random)),
    Message.BUSY: lambda random: _networks(random, 0, 6),
    Message.AVAILABLE: lambda random: _networks(random, 0, 6),
    Message.INIT_ROUTING: _routing_table,
    Message.INIT_ROUTING_ACK: _routing_table,
    Message.ESTABLISH: lambda random: _networks(random, 1, 1) + bytes((octet(random),)),
    Message.DISCONNECT: lambda random: _networks(random, 1, 1),
    Message.WHAT_IS_NETWORK_NUMBER: lambda random: b"",
    Message.NETWORK_NUMBER_IS: lambda random: encode_network_number(network(random), random.random() < 0.5),
}


def npdu(random: Random) -> Npdu:
    message = random.choice(list(Message)) if random.random() < 0.3 else None
    whither = destination(random) if random.random() < 0.4 else None
    return Npdu(
        encode_apdu(apdu(random)) if message is None else CONTENTS[message](random),
        whither,
        station(random) if random.random() < 0.4 else None,
        255 if whither is None else octet(random),
        random.random() < 0.5,
        random.randrange(4),
        message,
    )


def _table(random: Random) -> bytes:
    return random.randbytes(10 * random.randrange(5))


LINK_CONTENTS = {
    Function.RESULT: lambda random: bytes((0, 0x10 * random.randrange(7))),
    Function.WRITE_BDT: _table,
    Function.READ_BDT: lambda random: b"",
    Function.READ_BDT_ACK: _table,
    Function.REGISTER_FOREIGN_DEVICE: lambda random: random.randbytes(2),
    Function.READ_FDT: lambda random: b"",
    Function.READ_FDT_ACK: _table,
    Function.DELETE_FDT_ENTRY: lambda random: random.randbytes(6),
}
_NPDU_FUNCTIONS = (
    Function.ORIGINAL_UNICAST,
    Function.ORIGINAL_BROADCAST,
    Function.DISTRIBUTE_BROADCAST,
    Function.FORWARDED_NPDU,
)


def bvlc(random: Random) -> Bvlc:
    if random.random() < 0.3:
        function = random.choice(list(LINK_CONTENTS))
        return Bvlc(function, LINK_CONTENTS[function](random))
    function = random.choice(_NPDU_FUNCTIONS)
    origin = random.randbytes(6) if function == Function.FORWARDED_NPDU else b""
    return Bvlc(function, encode_npdu(npdu(random)), origin)
