"""BVLC-SC messages of every kind, as hypothesis makes them."""

from hypothesis import strategies as st

from broker.wire.bacnet.sc_message import BROADCAST, NO_VMAC, SECURE_PATH, Function, Nak, Option, ScMessage
from broker.wire.bacnet.sc_payloads import (
    Advertisement,
    Connect,
    ScResult,
    encode_advertisement,
    encode_connect,
    encode_result,
)

octet = st.integers(0, 0xFF)
word = st.integers(0, 0xFFFF)
vmacs = st.binary(min_size=6, max_size=6).filter(lambda vmac: vmac not in (BROADCAST, NO_VMAC))
uuids = st.binary(min_size=16, max_size=16).filter(any)
connects = st.builds(Connect, vmacs, uuids, word, word)
advertisements = st.builds(Advertisement, st.integers(0, 2), st.booleans(), word, word)
naks = st.builds(Nak, word, word, octet, st.text(max_size=20))
results = st.builds(ScResult, st.integers(0, 12), st.none() | naks)
options = st.one_of(
    st.just(SECURE_PATH),
    st.builds(Option, st.integers(2, 30), st.none() | st.binary(max_size=12), st.booleans()),
    st.builds(Option, st.just(31), st.binary(min_size=3, max_size=12), st.booleans()),
)
chains = st.lists(options, max_size=5).map(tuple)
uris = st.lists(st.sampled_from(("wss://a.example/", "wss://192.0.2.7:4443/direct")), max_size=3)
PAYLOADS: dict[int, st.SearchStrategy[bytes]] = {
    Function.RESULT: results.map(encode_result),
    Function.ENCAPSULATED_NPDU: st.binary(min_size=1, max_size=60),
    Function.ADDRESS_RESOLUTION: st.just(b""),
    Function.ADDRESS_RESOLUTION_ACK: uris.map(lambda found: " ".join(found).encode()),
    Function.ADVERTISEMENT: advertisements.map(encode_advertisement),
    Function.ADVERTISEMENT_SOLICITATION: st.just(b""),
    Function.CONNECT_REQUEST: connects.map(encode_connect),
    Function.CONNECT_ACCEPT: connects.map(encode_connect),
    Function.DISCONNECT_REQUEST: st.just(b""),
    Function.DISCONNECT_ACK: st.just(b""),
    Function.HEARTBEAT_REQUEST: st.just(b""),
    Function.HEARTBEAT_ACK: st.just(b""),
    Function.PROPRIETARY: st.binary(min_size=3, max_size=20),
}


@st.composite
def messages(draw: st.DrawFn) -> ScMessage:
    function = draw(st.sampled_from(sorted(PAYLOADS)))
    between_peers = Function.CONNECT_REQUEST <= function <= Function.HEARTBEAT_ACK
    return ScMessage(
        int(function),
        draw(word),
        draw(PAYLOADS[function]),
        b"" if between_peers else draw(st.just(b"") | vmacs),
        b"" if between_peers else draw(st.just(b"") | st.just(BROADCAST) | vmacs),
        draw(chains),
        draw(chains) if function == Function.ENCAPSULATED_NPDU else (),
    )
