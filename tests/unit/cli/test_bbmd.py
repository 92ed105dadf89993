"""The local BACnet/IP port as a BBMD: who may have what passed on, whom it reaches, and how much it keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.people import bbmd
from broker.cli.people.bbmd import ALL_CLIENTS, Bbmd
from broker.wire.bacnet.bvlc import (
    Function,
    ResultCode,
    decode_bvlc,
    encode_bvlc,
    encode_forwarded,
    encode_register,
    encode_result,
    mac_of,
)
from broker.wire.bacnet.weight import WEIGHT_OF_QUESTIONS_TO_ALL

OWN = ("127.0.0.1", 47809)
ANA = ("127.0.0.1", 50_001)
BO = ("127.0.0.1", 50_002)
ELSEWHERE = ("192.0.2.7", 47808)
WHO_IS = bytes.fromhex("0120ffff00ff1008")
UNICAST = encode_bvlc(Function.ORIGINAL_UNICAST, WHO_IS)
QUESTION = encode_bvlc(Function.ORIGINAL_UNICAST, bytes.fromhex("010402450c0c0c000000011955"))
BROADCAST = encode_bvlc(Function.ORIGINAL_BROADCAST, WHO_IS)
DISTRIBUTE = encode_bvlc(Function.DISTRIBUTE_BROADCAST, WHO_IS)


def sent(port, mac=ALL_CLIENTS, now=0.0):
    return {place: decode_bvlc(datagram) for datagram, place in port.send(mac, WHO_IS, now)}


def registered(place=ANA, ttl=60, now=0.0):
    port = Bbmd(OWN)
    assert port.receive(encode_register(ttl), place, now).answer == encode_result(ResultCode.SUCCESS)
    return port


@pytest.mark.parametrize(
    "datagram",
    [UNICAST, encode_bvlc(Function.ORIGINAL_BROADCAST, WHO_IS), encode_forwarded(mac_of(*ELSEWHERE), WHO_IS)],
    ids=["unicast", "broadcast", "forwarded"],
)
def test_what_a_client_says_goes_into_the_tunnel_with_its_own_address(datagram):
    heard = Bbmd(OWN).receive(datagram, ANA, 0.0)
    assert (heard.mac, heard.npdu, heard.answer) == (mac_of(*ANA), WHO_IS, None)
    assert "127.0.0.1:50001" in heard.news


def test_a_registered_foreign_device_may_have_a_broadcast_distributed():
    heard = registered().receive(DISTRIBUTE, ANA, 1.0)
    assert (heard.mac, heard.npdu) == (mac_of(*ANA), WHO_IS)


@pytest.mark.parametrize("setting", ["never registered", "another port registered", "expired"])
def test_nobody_else_may_and_is_told_so(setting):
    port = {
        "never registered": Bbmd(OWN),
        "another port registered": registered(BO),
        "expired": registered(ANA, ttl=60),
    }[setting]
    heard = port.receive(DISTRIBUTE, ANA, 90.0)
    assert heard.npdu is None
    assert heard.answer == encode_result(0x0060)


def test_a_registration_lasts_for_its_time_and_half_a_minute_and_can_be_renewed():
    port = registered(ttl=60)
    assert port.receive(DISTRIBUTE, ANA, 89.9).npdu == WHO_IS
    port.receive(encode_register(60), ANA, 89.95)
    assert port.receive(DISTRIBUTE, ANA, 179.9).npdu == WHO_IS
    assert port.receive(DISTRIBUTE, ANA, 180.05).npdu is None


def test_a_client_can_sign_itself_off_and_is_refused_what_is_not_there():
    port = registered()
    delete = encode_bvlc(Function.DELETE_FDT_ENTRY, mac_of(*ANA))
    assert port.receive(delete, ANA, 1.0).answer == encode_result(0)
    assert port.receive(delete, ANA, 2.0).answer == encode_result(0x0050)
    assert port.receive(DISTRIBUTE, ANA, 3.0).npdu is None


def test_no_client_of_another_machine_signs_this_ones_off():
    port = registered()
    delete = encode_bvlc(Function.DELETE_FDT_ENTRY, mac_of(*ANA))
    assert port.receive(delete, ELSEWHERE, 1.0).answer == encode_result(0x0050)
    assert port.receive(DISTRIBUTE, ANA, 2.0).npdu == WHO_IS


def test_the_tables_can_be_read_and_not_written():
    port = registered(ttl=60)
    table = decode_bvlc(port.receive(encode_bvlc(Function.READ_FDT, b""), BO, 10.0).answer)
    assert table == (Function.READ_FDT_ACK, mac_of(*ANA) + bytes.fromhex("003c0050"), b"")
    entries = decode_bvlc(port.receive(encode_bvlc(Function.READ_BDT, b""), BO, 10.0).answer)
    assert entries == (Function.READ_BDT_ACK, mac_of(*OWN) + b"\xff\xff\xff\xff", b"")
    entry = mac_of(*ELSEWHERE) + b"\xff\xff\xff\xff"
    assert port.receive(encode_bvlc(Function.WRITE_BDT, entry), BO, 10.0).answer == encode_result(0x0010)
    assert set(sent(port, now=10.0)) == {ANA, BO}


def test_what_is_for_all_reaches_the_registered_forwarded_and_the_others_directly():
    port = registered(ANA)
    port.receive(UNICAST, BO, 1.0)
    reached = sent(port, now=2.0)
    assert reached[ANA] == (Function.FORWARDED_NPDU, WHO_IS, mac_of(*OWN))
    assert reached[BO] == (Function.ORIGINAL_UNICAST, WHO_IS, b"")


def test_what_is_for_one_reaches_only_that_one_if_it_was_heard():
    port = registered(ANA)
    port.receive(UNICAST, BO, 1.0)
    assert sent(port, mac_of(*ANA)) == {ANA: (Function.ORIGINAL_UNICAST, WHO_IS, b"")}
    assert sent(port, mac_of(*ELSEWHERE)) == {}


def test_who_was_not_heard_for_long_is_forgotten():
    port = Bbmd(OWN)
    port.receive(UNICAST, ANA, 0.0)
    assert set(sent(port, now=bbmd.HEARD_SECONDS - 1)) == {ANA}
    assert sent(port, now=bbmd.HEARD_SECONDS) == {}
    assert sent(port, mac_of(*ANA), bbmd.HEARD_SECONDS) == {}


@pytest.mark.parametrize(
    "datagram",
    [
        encode_result(0),
        encode_bvlc(Function.READ_BDT_ACK, b""),
        encode_bvlc(Function.SECURE, WHO_IS),
        b"",
        UNICAST + b"\x00",
        b"\x82" + UNICAST[1:],
    ],
    ids=["result", "table", "secure", "empty", "too long", "another type"],
)
def test_what_is_not_for_clients_to_send_is_dropped_without_an_answer(datagram):
    heard = Bbmd(OWN).receive(datagram, ANA, 0.0)
    assert (heard.npdu, heard.answer) == (None, None)
    assert heard.dropped


def test_there_are_only_so_many_clients_and_none_that_speaks_is_put_out_for_another():
    port = Bbmd(OWN)
    for number in range(bbmd.MOST_CLIENTS):
        port.receive(encode_register(600) if number else UNICAST, ("127.0.0.1", 40_000 + number), 0.0)
    assert port.receive(UNICAST, ANA, 1.0).dropped == "too_many_clients"
    refused = port.receive(encode_register(60), ANA, 1.0)
    assert refused.answer == encode_result(0x0030)
    assert len(port.clients) == bbmd.MOST_CLIENTS
    assert port.receive(UNICAST, ANA, bbmd.SILENT_SECONDS).npdu == WHO_IS
    assert len(port.clients) == bbmd.MOST_CLIENTS
    assert ("127.0.0.1", 40_000) not in port.clients


@pytest.mark.parametrize(
    ("datagram", "cost"),
    [(UNICAST, WEIGHT_OF_QUESTIONS_TO_ALL), (BROADCAST, WEIGHT_OF_QUESTIONS_TO_ALL), (QUESTION, 1)],
    ids=["unicast", "broadcast", "question"],
)
def test_a_flood_is_cut_and_what_waits_for_no_reply_sooner(datagram, cost):
    port = Bbmd(OWN)
    passed = sum(port.receive(datagram, ANA, 0.0).npdu is not None for _ in range(10_000))
    assert passed == bbmd.DATAGRAMS_PER_SECOND / cost


def test_a_flood_of_one_client_does_not_cost_another_anything():
    port = Bbmd(OWN)
    while not port.receive(UNICAST, ANA, 0.0).dropped:
        pass
    assert port.receive(UNICAST, ANA, 0.0).dropped == "too_fast"
    assert port.receive(UNICAST, BO, 0.0).npdu == WHO_IS
    assert port.receive(UNICAST, ANA, 0.1).npdu == WHO_IS


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 50), st.floats(0, 1000)), max_size=40))
def test_no_datagrams_do_more_than_the_limits_allow(datagrams):
    port, now = Bbmd(OWN), 0.0
    for octets, number, seconds in datagrams:
        now += seconds
        heard = port.receive(octets, ("127.0.0.1", 1000 + number), now)
        assert heard.answer is None or decode_bvlc(heard.answer)
        assert len(port.clients) <= bbmd.MOST_CLIENTS
