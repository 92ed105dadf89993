import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import FrameError
from broker.wire.bacnet.npdu import (
    GLOBAL_NETWORK,
    Address,
    Message,
    NotRouted,
    Npdu,
    decode_network_number,
    decode_networks,
    decode_npdu,
    decode_reject,
    encode_network_number,
    encode_networks,
    encode_npdu,
    encode_reject,
)
from tests.unit.wire.bacnet import messages


@given(messages.randoms())
def test_every_message_comes_back_as_it_went(random) -> None:
    npdu = messages.npdu(random)
    assert decode_npdu(encode_npdu(npdu)) == npdu


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"\x01" + rest))
def test_arbitrary_octets_are_one_message_or_refused(octets: bytes) -> None:
    try:
        npdu = decode_npdu(octets)
    except FrameError:
        return
    assert encode_npdu(npdu) == octets


@given(messages.randoms(), st.data())
def test_a_message_cut_in_its_header_is_refused(random, data) -> None:
    npdu = messages.npdu(random)
    octets = encode_npdu(npdu)
    header = len(octets) - len(npdu.payload)
    with pytest.raises(FrameError):
        decode_npdu(octets[: data.draw(st.integers(0, header - (npdu.message is not None)))])


HOSTILE = [
    ("", "nothing"),
    ("01", "a version"),
    ("0100", "no APDU"),
    ("020010", "version 2"),
    ("000010", "version 0"),
    ("014010", "reserved bit 6"),
    ("011010", "reserved bit 4"),
    ("0120", "a destination cut short"),
    ("0120000a", "a destination without length"),
    ("01200000 00 ff 10", "destination network 0"),
    ("01200000 01 05 ff 10", "a station on network 0"),
    ("0120ffff 01 05 ff 10", "a station on all networks"),
    ("0120000a 06 0102", "an address longer than the message"),
    ("0120000a 08 0102030405060708 ff 10", "an address of eight octets"),
    ("0120000a ff 01020304 ff 10", "an address of 255 octets"),
    ("0120000a 00", "no hop count"),
    ("0120000a 00 ff", "no APDU behind the hop count"),
    ("01080000 01 05 10", "source network 0"),
    ("0108ffff 01 05 10", "a source on all networks"),
    ("0108000a 00 10", "a source without address"),
    ("0108000a 06 0102", "a source longer than the message"),
    ("0108000a 01 05", "no APDU behind the source"),
    ("0180", "no message type"),
    ("0180 00 00", "Who-Is-Router with half a network"),
    ("0180 00 0001 0002", "Who-Is-Router with two networks"),
    ("0180 00 0000", "Who-Is-Router for network 0"),
    ("0180 00 ffff", "Who-Is-Router for all networks"),
    ("0180 01", "I-Am-Router to nowhere"),
    ("0180 01 0000", "I-Am-Router to network 0"),
    ("0180 01 0001 ffff", "I-Am-Router to all networks"),
    ("0180 01 0001 00", "I-Am-Router with half a network"),
    ("0180 02 0001", "I-Could-Be-Router cut short"),
    ("0180 03 01 00", "a rejection cut short"),
    ("0180 03 01 0001 00", "a rejection with an octet behind"),
    ("0180 04 00", "Busy with half a network"),
    ("0180 05 00", "Available with half a network"),
    ("0180 06", "Initialize-Routing-Table without a count"),
    ("0180 06 01 0001 01", "a port cut short"),
    ("0180 06 01 0001 01 02 00", "port information cut short"),
    ("0180 06 01 0001 01 00 00", "an octet behind the ports"),
    ("0180 06 00 00", "an octet behind no ports"),
    ("0180 07 02 0001 01 00", "a port less than announced"),
    ("0180 08 0001", "Establish cut short"),
    ("0180 09 00", "Disconnect cut short"),
    ("0180 09 0001 00", "Disconnect with an octet behind"),
    ("0180 12 00", "What-Is-Network-Number with contents"),
    ("0180 13 0001", "Network-Number-Is cut short"),
    ("0180 13 0000 01", "Network-Number-Is 0"),
    ("0180 13 ffff 01", "Network-Number-Is 65535"),
    ("0180 13 0001 02", "neither learned nor configured"),
]


@pytest.mark.parametrize(("octets", "what"), HOSTILE, ids=[what for _, what in HOSTILE])
def test_a_hostile_message_is_refused(octets: str, what: str) -> None:
    with pytest.raises(FrameError) as refused:
        decode_npdu(bytes.fromhex(octets.replace(" ", "")))
    assert refused.value.code == "malformed"


@pytest.mark.parametrize("message", [0x0A, 0x0B, 0x11, 0x14, 0x7F, 0x80, 0xFF])
def test_a_network_message_nobody_knows_has_a_code_that_a_router_can_answer(message: int) -> None:
    with pytest.raises(FrameError) as refused:
        decode_npdu(bytes((1, 0x80, message, 0, 0, 0)))
    assert refused.value.code == "unknown_message"


def test_addresses_are_read_as_clause_6_has_them() -> None:
    octets = bytes.fromhex("012c 07d1 03 00000c 0005 01 2a fe 1008".replace(" ", ""))
    npdu = decode_npdu(octets)
    assert npdu == Npdu(b"\x10\x08", Address(2001, b"\0\0\x0c"), Address(5, b"*"), 254, expecting_reply=True)


def test_broadcasts_have_no_address() -> None:
    assert decode_npdu(bytes.fromhex("0120ffff00ff1008")).destination == Address(GLOBAL_NETWORK, b"")
    assert decode_npdu(bytes.fromhex("012007d100ff1008")).destination == Address(2001, b"")


def test_an_acknowledged_routing_table_may_be_empty() -> None:
    assert decode_npdu(bytes.fromhex("018007")).message == Message.INIT_ROUTING_ACK


@given(st.lists(st.integers(1, 65534)))
def test_networks_come_back_as_they_went(networks: list[int]) -> None:
    assert decode_networks(encode_networks(networks)) == tuple(networks)


@given(st.integers(0, 255), st.integers(0, 65535), st.booleans())
def test_contents_of_network_messages_come_back_as_they_went(reason: int, network: int, configured: bool) -> None:
    assert decode_reject(encode_reject(reason, network)) == (reason, network)
    if 0 < network < GLOBAL_NETWORK:
        assert decode_network_number(encode_network_number(network, configured)) == (network, configured)


def test_a_router_says_that_it_knows_no_way() -> None:
    octets = encode_npdu(Npdu(encode_reject(NotRouted.NO_SUCH_NETWORK, 2001), message=Message.REJECT))
    assert octets.hex() == "0180030107d1"
    with pytest.raises(FrameError):
        decode_reject(b"\x01\x07")
