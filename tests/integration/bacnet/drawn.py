"""The same thousands of datagrams for every foreign codec."""

from random import Random
from typing import NamedTuple

from broker.wire.bacnet.apdu import Apdu, decode_apdu
from broker.wire.bacnet.bvlc import Bvlc, Function, encode_bvlc, encode_forwarded
from broker.wire.bacnet.npdu import Npdu, decode_npdu
from tests.unit.wire.bacnet import messages

NPDU_FUNCTIONS = frozenset(
    (
        Function.ORIGINAL_UNICAST,
        Function.ORIGINAL_BROADCAST,
        Function.DISTRIBUTE_BROADCAST,
        Function.FORWARDED_NPDU,
    )
)


class Drawn(NamedTuple):
    octets: bytes
    bvlc: Bvlc
    npdu: Npdu | None
    apdu: Apdu | None


def encoded(bvlc: Bvlc) -> bytes:
    if bvlc.function == Function.FORWARDED_NPDU:
        return encode_forwarded(bvlc.origin, bvlc.payload)
    return encode_bvlc(bvlc.function, bvlc.payload)


def drawn(count: int, seed: int = 135) -> list[Drawn]:
    random = Random(seed)
    return [_with_layers(messages.bvlc(random)) for _ in range(count)]


def _with_layers(bvlc: Bvlc) -> Drawn:
    npdu = decode_npdu(bvlc.payload) if bvlc.function in NPDU_FUNCTIONS else None
    apdu = decode_apdu(npdu.payload) if npdu is not None and npdu.message is None else None
    return Drawn(encoded(bvlc), bvlc, npdu, apdu)
