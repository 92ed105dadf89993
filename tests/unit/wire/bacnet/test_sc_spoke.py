"""A hub's side of a BACnet/SC connection: who is let in, what reaches the router; nothing reaches a neighbour."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.vocabulary import EndReason
from broker.wire.bacnet.sc import decode_sc, encode_npdu_message, encode_sc
from broker.wire.bacnet.sc_message import BROADCAST, ErrorCode, Function, Nak, Option, ScMessage
from broker.wire.bacnet.sc_payloads import (
    Advertisement,
    Connect,
    decode_advertisement,
    decode_connect,
    decode_result,
    decode_uris,
    encode_connect,
)
from broker.wire.bacnet.sc_spoke import (
    ACCESS_DENIED,
    MAX_BVLC,
    MAX_NPDU,
    MESSAGE_TOO_LONG,
    SECURITY,
    Arrived,
    Event,
    HangUp,
    Hub,
    Refused,
    Send,
    Spoke,
    Spokes,
    Wanted,
)
from tests.unit.wire.bacnet.sc_messages import messages

HUB = Hub(bytes.fromhex("020000000001"), b"h" * 16, connect_seconds=10, heartbeat_seconds=60, disconnect_seconds=1)
ANA = Connect(bytes.fromhex("0200000000a1"), b"a" * 16, 1_600, 1_497)
BEA = Connect(bytes.fromhex("0200000000b2"), b"b" * 16, 1_600, 1_497)
WHO_IS = bytes.fromhex("0120ffff00ff1008")


def message(function: int, payload: bytes = b"", identifier: int = 7, **fields: bytes) -> bytes:
    return encode_sc(ScMessage(function, identifier, payload, **fields))


def request(connect: Connect) -> bytes:
    return message(Function.CONNECT_REQUEST, encode_connect(connect))


def connected(connect: Connect = ANA, spokes: Spokes | None = None, subject: str = "ana", hub: Hub = HUB) -> Spoke:
    spoke = Spoke(hub, Spokes() if spokes is None else spokes, subject, 0.0)
    assert spoke.receive(request(connect), 0.0) == [Wanted(connect)]
    spoke.accept(0.0)
    assert spoke.is_connected
    return spoke


def sent(events: list[Event]) -> list[ScMessage]:
    return [decode_sc(event.octets) for event in events if isinstance(event, Send)]


def nak(events: list[Event]) -> Nak:
    (answer,) = sent(events)
    assert answer.function == Function.RESULT
    found = decode_result(answer.payload).nak
    assert found is not None
    return found


def codes(events: list[Event]) -> list[str]:
    return [event.code for event in events if isinstance(event, Refused)]


def test_a_spoke_is_accepted_with_the_hubs_own_vmac_and_limits() -> None:
    spoke = Spoke(HUB, Spokes(), "ana", 0.0)
    assert spoke.receive(request(ANA), 0.0) == [Wanted(ANA)]
    events, older = spoke.accept(0.0)
    (accept,) = sent(events)
    assert (accept.function, accept.id, accept.origin, accept.destination) == (Function.CONNECT_ACCEPT, 7, b"", b"")
    assert decode_connect(accept.payload) == Connect(HUB.vmac, HUB.uuid, MAX_BVLC, MAX_NPDU)
    assert older is None


def test_who_has_no_access_is_told_so_and_is_out() -> None:
    spokes = Spokes()
    spoke = Spoke(HUB, spokes, "ana", 0.0)
    spoke.receive(request(ANA), 0.0)
    events = spoke.refuse()
    assert (nak(events).error_class, nak(events).code) == (SECURITY, ACCESS_DENIED)
    assert events[-1] == HangUp(EndReason.DENIED)
    assert not len(spokes)


def test_nothing_passes_before_the_connection_is_there() -> None:
    spoke = Spoke(HUB, Spokes(), "ana", 0.0)
    assert spoke.receive(encode_npdu_message(1, WHO_IS, destination=BROADCAST), 0.0) == []
    assert spoke.receive(message(Function.HEARTBEAT_REQUEST), 0.0) == []
    spoke.receive(request(ANA), 0.0)
    assert spoke.receive(encode_npdu_message(1, WHO_IS, destination=BROADCAST), 0.0) == []
    assert spoke.send(WHO_IS) == []


def test_who_asks_for_no_connection_is_hung_up_on_in_time() -> None:
    spoke = Spoke(HUB, Spokes(), "ana", 100.0)
    spoke.receive(message(Function.HEARTBEAT_REQUEST), 109.0)
    assert spoke.tick(109.9) == []
    assert spoke.due == 110.0
    assert spoke.tick(110.0) == [HangUp(EndReason.IDLE)]


@pytest.mark.parametrize("vmac", [ANA.vmac, HUB.vmac])
def test_an_address_that_is_taken_is_refused_and_its_holder_stays(vmac: bytes) -> None:
    spokes = Spokes()
    holder = connected(ANA, spokes)
    late = Spoke(HUB, spokes, "bea", 0.0)
    events = late.receive(request(BEA._replace(vmac=vmac)), 0.0)
    assert nak(events) == Nak(ErrorCode.NODE_DUPLICATE_VMAC)
    assert codes(events) == ["duplicate_vmac"]
    assert events[-1] == HangUp(EndReason.DENIED)
    assert holder.is_connected
    assert len(spokes) == 1


def test_a_device_that_connects_again_takes_the_place_of_its_older_connection() -> None:
    spokes = Spokes()
    older = connected(ANA, spokes)
    newer = Spoke(HUB, spokes, "ana", 5.0)
    newer.receive(request(ANA), 5.0)
    events, displaced = newer.accept(5.0)
    assert displaced is older
    assert [one.function for one in sent(events)] == [Function.CONNECT_ACCEPT]
    assert [one.function for one in sent(older.disconnect(5.0))] == [Function.DISCONNECT_REQUEST]
    older.receive(message(Function.DISCONNECT_ACK), 5.1)
    assert len(spokes) == 1
    assert newer.is_connected


def test_a_device_of_another_subject_is_never_taken_over() -> None:
    spokes = Spokes()
    older = connected(ANA, spokes)
    thief = Spoke(HUB, spokes, "mallory", 5.0)
    events = thief.receive(request(ANA._replace(vmac=BEA.vmac)), 5.0)
    assert codes(events) == ["uuid_of_another"]
    assert nak(events).code == ErrorCode.NODE_DUPLICATE_VMAC
    assert older.is_connected


def test_an_address_that_was_taken_while_one_was_looked_at_is_refused_then() -> None:
    spokes = Spokes()
    slow = Spoke(HUB, spokes, "bea", 0.0)
    slow.receive(request(BEA._replace(vmac=ANA.vmac)), 0.0)
    connected(ANA, spokes)
    events, older = slow.accept(1.0)
    assert nak(events).code == ErrorCode.NODE_DUPLICATE_VMAC
    assert older is None
    assert not slow.is_connected


@pytest.mark.parametrize("destination", [b"", HUB.vmac, BROADCAST])
def test_an_npdu_for_the_hub_or_for_all_reaches_the_router_alone(destination: bytes) -> None:
    spokes = Spokes()
    connected(BEA, spokes, "bea")
    spoke = connected(ANA, spokes)
    assert spoke.receive(encode_npdu_message(1, WHO_IS, destination=destination), 1.0) == [Arrived(WHO_IS)]


def test_nothing_is_forwarded_from_one_spoke_to_another() -> None:
    spokes = Spokes()
    neighbour = connected(BEA, spokes, "bea")
    spoke = connected(ANA, spokes)
    for function, payload in ((Function.ENCAPSULATED_NPDU, WHO_IS), (Function.ADDRESS_RESOLUTION, b"")):
        events = spoke.receive(message(function, payload, destination=neighbour.peer.vmac), 1.0)
        assert codes(events) == ["sc_destination_foreign"]
        assert not sent(events)


def test_a_spoke_that_speaks_in_anothers_name_is_refused() -> None:
    spoke = connected()
    events = spoke.receive(encode_npdu_message(1, WHO_IS, origin=BEA.vmac, destination=HUB.vmac), 1.0)
    assert nak(events).code == ErrorCode.HEADER_ENCODING_ERROR
    assert codes(events) == ["sc_origin_foreign"]
    assert spoke.receive(encode_npdu_message(1, WHO_IS, origin=ANA.vmac, destination=HUB.vmac), 1.0) == [
        Arrived(WHO_IS)
    ]


def test_what_the_router_sends_bears_the_hubs_name() -> None:
    spoke = connected()
    (alone,), (all_,) = sent(spoke.send(WHO_IS)), sent(spoke.send(WHO_IS, broadcast=True))
    assert (alone.origin, alone.destination, alone.payload) == (HUB.vmac, b"", WHO_IS)
    assert (all_.origin, all_.destination) == (HUB.vmac, BROADCAST)
    assert alone.id != all_.id


def test_a_direct_connection_carries_no_addresses() -> None:
    spoke = Spoke(HUB, Spokes(), "ana", 0.0, direct=True)
    spoke.receive(request(ANA), 0.0)
    spoke.accept(0.0)
    (alone,) = sent(spoke.send(WHO_IS, broadcast=True))
    assert (alone.origin, alone.destination) == (b"", b"")
    assert spoke.receive(encode_npdu_message(1, WHO_IS), 0.0) == [Arrived(WHO_IS)]
    assert codes(spoke.receive(encode_npdu_message(1, WHO_IS, destination=HUB.vmac), 0.0)) == ["sc_origin_foreign"]


def test_what_the_spoke_cannot_take_is_not_sent() -> None:
    spoke = connected(ANA._replace(max_npdu=50, max_bvlc=60))
    assert len(spoke.send(bytes(50))) == 1
    assert spoke.send(bytes(51)) == []
    assert connected(ANA._replace(max_bvlc=30)).send(bytes(40)) == []


def test_an_npdu_that_is_too_long_is_refused() -> None:
    spoke = connected()
    assert spoke.receive(encode_npdu_message(1, bytes(MAX_NPDU), destination=HUB.vmac), 1.0) == [
        Arrived(bytes(MAX_NPDU))
    ]
    events = spoke.receive(encode_npdu_message(1, bytes(MAX_NPDU + 1), destination=HUB.vmac), 1.0)
    assert nak(events).code == MESSAGE_TOO_LONG
    assert codes(events) == ["sc_too_long"]


def test_an_option_that_must_be_understood_and_is_not_stops_the_message() -> None:
    spoke = connected()
    strange = Option(9, b"x", must_understand=True)
    octets = encode_sc(
        ScMessage(Function.ENCAPSULATED_NPDU, 3, WHO_IS, destination=HUB.vmac, destination_options=(strange,))
    )
    events = spoke.receive(octets, 1.0)
    (answer,) = sent(events)
    assert (answer.id, answer.origin) == (3, HUB.vmac)
    assert nak(events) == Nak(ErrorCode.HEADER_NOT_UNDERSTOOD, marker=strange.marker)
    to_all = octets.replace(HUB.vmac, BROADCAST)
    assert not sent(spoke.receive(to_all, 1.0))


def test_what_is_no_message_is_refused_unless_it_was_for_all_or_a_result() -> None:
    spoke = connected()
    events = spoke.receive(bytes.fromhex("0d000005"), 1.0)
    assert nak(events).code == ErrorCode.BVLC_FUNCTION_UNKNOWN
    assert codes(events) == ["sc_malformed"]
    for octets in ("0d040005" + "ff" * 6, "0d040005" + "0200000000b2", "00000005", "0100"):
        assert not sent(spoke.receive(bytes.fromhex(octets), 1.0))


def test_a_heartbeat_is_answered_and_a_silent_spoke_is_asked_and_then_left() -> None:
    spoke = connected()
    (answer,) = sent(spoke.receive(message(Function.HEARTBEAT_REQUEST, identifier=9), 30.0))
    assert (answer.function, answer.id) == (Function.HEARTBEAT_ACK, 9)
    assert spoke.tick(89.0) == []
    assert [one.function for one in sent(spoke.tick(90.0))] == [Function.HEARTBEAT_REQUEST]
    spoke.receive(message(Function.HEARTBEAT_ACK), 100.0)
    assert [one.function for one in sent(spoke.tick(160.0))] == [Function.HEARTBEAT_REQUEST]
    assert spoke.tick(219.0) == []
    assert spoke.tick(220.0) == [HangUp(EndReason.IDLE)]


def test_a_spoke_that_sends_only_rubbish_is_silent() -> None:
    spoke = connected()
    spoke.receive(b"\xff\xff\xff\xff", 59.0)
    assert sent(spoke.tick(60.0))


def test_a_spoke_that_disconnects_is_acknowledged_and_its_place_is_free() -> None:
    spokes = Spokes()
    events = connected(ANA, spokes).receive(message(Function.DISCONNECT_REQUEST, identifier=4), 1.0)
    assert [(one.function, one.id) for one in sent(events)] == [(Function.DISCONNECT_ACK, 4)]
    assert events[-1] == HangUp(EndReason.PEER_CLOSED)
    connected(BEA._replace(vmac=ANA.vmac), spokes, "bea")


def test_after_our_disconnect_nothing_passes_and_the_wait_for_its_answer_is_short() -> None:
    spoke = connected()
    spoke.disconnect(5.0)
    assert spoke.receive(encode_npdu_message(1, WHO_IS, destination=HUB.vmac), 5.5) == []
    assert spoke.send(WHO_IS) == []
    assert spoke.disconnect(5.5) == []
    assert spoke.tick(6.0) == [HangUp(EndReason.CONNECTION_CLOSED)]
    assert spoke.receive(encode_npdu_message(1, WHO_IS), 7.0) == []


def test_a_connection_that_is_lost_frees_its_place_and_an_older_one_does_not_free_the_newers() -> None:
    spokes = Spokes()
    older = connected(ANA, spokes)
    newer = Spoke(HUB, spokes, "ana", 1.0)
    newer.receive(request(ANA), 1.0)
    newer.accept(1.0)
    older.lost()
    assert len(spokes) == 1
    newer.lost()
    assert not len(spokes)


def test_what_the_hub_is_and_where_it_can_be_reached_is_told_to_who_asks() -> None:
    (told,) = sent(connected().receive(message(Function.ADVERTISEMENT_SOLICITATION, destination=HUB.vmac), 1.0))
    assert decode_advertisement(told.payload) == Advertisement(1, False, MAX_BVLC, MAX_NPDU)
    assert told.origin == HUB.vmac
    asked = message(Function.ADDRESS_RESOLUTION, destination=HUB.vmac)
    assert nak(connected().receive(asked, 1.0)).code == ErrorCode.OPTIONAL_FUNCTIONALITY_NOT_SUPPORTED
    direct = Hub(HUB.vmac, HUB.uuid, direct_uris=("wss://a.example/", "wss://b.example/"))
    (found,) = sent(connected(hub=direct).receive(asked, 1.0))
    assert decode_uris(found.payload) == direct.direct_uris


def test_a_vendors_own_message_is_refused() -> None:
    events = connected().receive(message(Function.PROPRIETARY, b"\x02\x03\x04", destination=HUB.vmac), 1.0)
    assert nak(events).code == ErrorCode.BVLC_PROPRIETARY_FUNCTION_UNKNOWN


@given(st.lists(st.one_of(messages().map(encode_sc), st.binary(max_size=40)), max_size=8))
def test_whatever_a_spoke_sends_each_message_brings_one_answer_at_most(octets: list[bytes]) -> None:
    spokes = Spokes()
    connected(BEA, spokes, "bea")
    spoke: Spoke = connected(ANA, spokes)
    receive: Callable[[bytes, float], list[Event]] = spoke.receive
    for one in octets:
        events = receive(one, 1.0)
        assert len(sent(events)) <= 1
        assert all(len(event.npdu) <= MAX_NPDU for event in events if isinstance(event, Arrived))
    assert spokes.refusal(Spoke(HUB, spokes, "bea", 0.0), BEA) == ""
