"""A node's side of a connection to a BACnet/SC hub, against our own hub's side and against what hubs should not do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.wire.bacnet import sc_spoke
from broker.wire.bacnet.sc import decode_sc, encode_npdu_message, encode_sc
from broker.wire.bacnet.sc_message import BROADCAST, ErrorCode, Function, Nak, Option, ScMessage
from broker.wire.bacnet.sc_node import Accepted, Arrived, Event, HangUp, HubConnection, NodeTimes, Send
from broker.wire.bacnet.sc_payloads import Connect, ScResult, decode_result, encode_connect, encode_result
from tests.unit.wire.bacnet.sc_messages import messages

HUB = Connect(bytes.fromhex("020000000001"), b"h" * 16, 1_600, 1_497)
OWN = Connect(bytes.fromhex("0200000000a1"), b"a" * 16, 1_600, 1_497)
OTHER = bytes.fromhex("0200000000b2")
WHO_IS = bytes.fromhex("0120ffff00ff1008")


def sent(events: list[Event]) -> list[ScMessage]:
    return [decode_sc(event.octets) for event in events if isinstance(event, Send)]


def message(function: int, payload: bytes = b"", identifier: int = 7, **fields: bytes) -> bytes:
    return encode_sc(ScMessage(function, identifier, payload, **fields))


def connected(hub: Connect = HUB) -> HubConnection:
    connection = HubConnection(OWN, NodeTimes(10, 60))
    (request,) = sent(connection.begin(0.0))
    accepted = message(Function.CONNECT_ACCEPT, encode_connect(hub), request.id)
    assert connection.receive(accepted, 0.0) == [Accepted(hub)]
    return connection


def test_a_node_asks_to_be_let_in_with_its_own_vmac_and_uuid() -> None:
    (request,) = sent(HubConnection(OWN, NodeTimes()).begin(0.0))
    assert (request.function, request.payload) == (Function.CONNECT_REQUEST, encode_connect(OWN))
    assert (request.origin, request.destination) == (b"", b"")


def test_a_node_and_our_own_hub_understand_each_other() -> None:
    hub = sc_spoke.Hub(HUB.vmac, HUB.uuid)
    spoke = sc_spoke.Spoke(hub, sc_spoke.Spokes(), "ana", 0.0)
    node = HubConnection(OWN, NodeTimes())
    (request,) = node.begin(0.0)
    assert isinstance(request, Send)
    assert spoke.receive(request.octets, 0.0) == [sc_spoke.Wanted(OWN)]
    ((accept,), _) = spoke.accept(0.0)
    assert isinstance(accept, sc_spoke.Send)
    assert node.receive(accept.octets, 0.0) == [Accepted(hub.connect)]
    (npdu,) = node.send(HUB.vmac, WHO_IS)
    assert isinstance(npdu, Send)
    assert spoke.receive(npdu.octets, 1.0) == [sc_spoke.Arrived(WHO_IS)]
    (back,) = spoke.send(WHO_IS)
    assert isinstance(back, sc_spoke.Send)
    assert node.receive(back.octets, 1.0) == [Arrived(HUB.vmac, WHO_IS)]
    for event in node.disconnect():
        if isinstance(event, Send):
            assert isinstance(spoke.receive(event.octets, 2.0)[-1], sc_spoke.HangUp)
    assert not node.is_connected


def test_a_hub_that_refuses_says_why() -> None:
    connection = HubConnection(OWN, NodeTimes())
    connection.begin(0.0)
    nak = Nak(ErrorCode.NODE_DUPLICATE_VMAC)
    other = message(Function.RESULT, encode_result(ScResult(Function.HEARTBEAT_REQUEST, nak)))
    assert connection.receive(other, 0.0) == []
    refusal = message(Function.RESULT, encode_result(ScResult(Function.CONNECT_REQUEST, nak)))
    assert connection.receive(refusal, 0.0) == [HangUp("refused", nak)]
    assert connection.send(HUB.vmac, WHO_IS) == []


def test_an_acceptance_of_something_else_is_none() -> None:
    connection = HubConnection(OWN, NodeTimes(10))
    connection.begin(0.0)
    assert connection.receive(message(Function.CONNECT_ACCEPT, encode_connect(HUB), 999), 1.0) == []
    assert connection.receive(encode_npdu_message(1, WHO_IS, origin=OTHER), 1.0) == []
    assert connection.tick(9.9) == []
    assert connection.tick(10.0) == [HangUp("connect_timeout")]


def test_an_npdu_bears_the_name_of_who_sent_it() -> None:
    connection = connected()
    assert connection.receive(encode_npdu_message(1, WHO_IS, origin=OTHER), 1.0) == [Arrived(OTHER, WHO_IS)]
    to_all = encode_npdu_message(1, WHO_IS, origin=OTHER, destination=BROADCAST)
    assert connection.receive(to_all, 1.0) == [Arrived(OTHER, WHO_IS, broadcast=True)]
    (answer,) = sent(connection.receive(encode_npdu_message(1, WHO_IS), 1.0))
    nak = decode_result(answer.payload).nak
    assert nak is not None
    assert nak.code == ErrorCode.HEADER_ENCODING_ERROR
    assert connection.receive(encode_npdu_message(1, WHO_IS, origin=OTHER, destination=HUB.vmac), 1.0) == []


def test_what_the_hub_cannot_take_is_not_sent() -> None:
    assert connected(HUB._replace(max_npdu=20)).send(OTHER, bytes(21)) == []
    assert connected(HUB._replace(max_bvlc=40)).send(OTHER, bytes(31)) == []
    (told,) = sent(connected().send(OTHER, WHO_IS))
    assert (told.destination, told.origin, told.payload) == (OTHER, b"", WHO_IS)


def test_a_silent_hub_is_asked_and_then_left() -> None:
    connection = connected()
    (asked,) = sent(connection.tick(60.0))
    assert asked.function == Function.HEARTBEAT_REQUEST
    connection.receive(message(Function.HEARTBEAT_ACK, identifier=asked.id), 61.0)
    assert connection.tick(120.0) == []
    connection.tick(121.0)
    assert connection.tick(181.0) == [HangUp("hub_silent")]


def test_a_hub_that_leaves_is_acknowledged() -> None:
    events = connected().receive(message(Function.DISCONNECT_REQUEST, identifier=3), 1.0)
    assert [(one.function, one.id) for one in sent(events)] == [(Function.DISCONNECT_ACK, 3)]
    assert events[-1] == HangUp("hub_left")


@pytest.mark.parametrize(
    ("octets", "function"),
    [
        (message(Function.HEARTBEAT_REQUEST), Function.HEARTBEAT_ACK),
        (message(Function.ADVERTISEMENT_SOLICITATION, origin=OTHER), Function.ADVERTISEMENT),
        (message(Function.ADDRESS_RESOLUTION, origin=OTHER), Function.RESULT),
        (message(Function.PROPRIETARY, b"\0\0\0", origin=OTHER), Function.RESULT),
        (bytes.fromhex("0d0800010200000000b2"), Function.RESULT),
    ],
)
def test_what_others_ask_a_node_is_answered_to_them(octets: bytes, function: Function) -> None:
    (answer,) = sent(connected().receive(octets, 1.0))
    assert answer.function == function
    assert answer.destination == (b"" if function is Function.HEARTBEAT_ACK else OTHER)


@pytest.mark.parametrize("origin", ["ffffffffffff", "000000000000"])
def test_what_comes_from_an_address_that_nobody_has_is_not_answered_to_it(origin: str) -> None:
    """A hub would distribute what is for all of them to everybody."""
    assert connected().receive(bytes.fromhex(f"01080003{origin}0120ffff00ff1008"), 1.0) == []
    assert connected().receive(bytes.fromhex(f"0d080003{origin}"), 1.0) == []


def test_an_option_that_must_be_understood_and_is_not_stops_the_message() -> None:
    strange = Option(9, must_understand=True)
    octets = encode_sc(ScMessage(Function.ENCAPSULATED_NPDU, 3, WHO_IS, OTHER, data_options=(strange,)))
    (answer,) = sent(connected().receive(octets, 1.0))
    assert decode_result(answer.payload).nak == Nak(ErrorCode.HEADER_NOT_UNDERSTOOD, marker=strange.marker)


@given(st.lists(st.one_of(messages().map(encode_sc), st.binary(max_size=40)), max_size=8))
def test_whatever_a_hub_sends_each_message_brings_one_answer_at_most(octets: list[bytes]) -> None:
    connection = connected()
    for one in octets:
        events = connection.receive(one, 1.0)
        assert len(sent(events)) <= 1
        assert all(event.origin for event in events if isinstance(event, Arrived))
