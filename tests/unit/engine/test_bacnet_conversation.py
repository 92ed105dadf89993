"""A client's BACnet network as the broker shows it: a router with one virtual network, and nothing behind it leaks."""

import pytest

from broker.engine.bacnet_conversation import (
    BROADCAST,
    LIMITS,
    MOST_OUTSTANDING_OF_STATION,
    Asked,
    BacnetConversation,
    Malformed,
    Told,
)
from broker.engine.in_force import VirtualNetwork
from broker.model.place import Device, Protocol
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.apdu import (
    Abort,
    AbortReason,
    Apdu,
    ComplexAck,
    ConfirmedRequest,
    SegmentAck,
    SimpleAck,
    UnconfirmedRequest,
    decode_apdu,
    encode_apdu,
)
from broker.wire.bacnet.npdu import Address, Message, NotRouted, Npdu, decode_npdu, encode_npdu, encode_reject
from broker.wire.bacnet.segmentation import SegmentReceiver, SegmentSender

SITE_NETWORK = 2001
CLIENT = bytes.fromhex("7f000001c001")
VAV_MAC = bytes.fromhex("0003e9")
VAV = Device("plant", "vav-1", "hvac", Protocol.BACNET, BacnetIpWay("127.0.0.1", 47808, 1001))
READ = bytes.fromhex("0c00800001 1955".replace(" ", ""))
TO_VAV = Address(SITE_NETWORK, VAV_MAC)
TO_ANOTHER = Address(SITE_NETWORK, b"\x09")


def conversation() -> BacnetConversation:
    return BacnetConversation(lambda: VirtualNetwork(SITE_NETWORK, {VAV_MAC: VAV}))


def request(invoke: int = 7, **fields: object) -> ConfirmedRequest:
    return ConfirmedRequest(invoke, 12, READ)._replace(**fields)


def sent(to: Address | None, apdu: Apdu, **fields: object) -> bytes:
    return encode_npdu(Npdu(encode_apdu(apdu), to)._replace(**fields))


def taken(talk: BacnetConversation) -> list[tuple[bytes, Npdu]]:
    outgoing = [(mac, decode_npdu(npdu)) for mac, npdu in talk.outgoing]
    talk.outgoing.clear()
    return outgoing


def asked_by(talk: BacnetConversation, apdu: ConfirmedRequest, mac: bytes = CLIENT, **fields: object) -> Asked:
    event = talk.receive(mac, sent(TO_VAV, apdu, **fields), 0.0)
    assert isinstance(event, Asked)
    return event


def test_a_request_is_for_the_device_of_its_virtual_address_and_its_reply_comes_from_there() -> None:
    talk = conversation()
    asked = asked_by(talk, request())
    assert (asked.device, asked.bare) == (VAV, b"\x00\x0c" + READ)
    talk.answer(asked, b"\x30\x0c" + READ, 0.0)
    ((mac, npdu),) = taken(talk)
    assert (mac, npdu.source, npdu.destination) == (CLIENT, TO_VAV, None)
    assert decode_apdu(npdu.payload) == ComplexAck(7, 12, READ)


def test_a_client_behind_its_own_router_is_answered_there() -> None:
    talk = conversation()
    beyond = Address(5, b"\x0c")
    talk.answer(asked_by(talk, request(), source=beyond), b"\x20\x0f", 0.0)
    ((mac, npdu),) = taken(talk)
    assert (mac, npdu.destination, npdu.source) == (CLIENT, beyond, TO_VAV)
    assert decode_apdu(npdu.payload) == SimpleAck(7, 15)


def test_the_same_invoke_id_of_two_stations_are_two_requests_with_their_own_replies() -> None:
    talk = conversation()
    first, second = asked_by(talk, request()), asked_by(talk, request(), b"\x01" * 6)
    talk.answer(second, b"\x20\x0f", 0.0)
    talk.answer(first, b"\x50\x0c\x91\x02\x91\x1b", 0.0)
    assert [mac for mac, _ in taken(talk)] == [b"\x01" * 6, CLIENT]


def test_a_request_that_is_repeated_while_it_is_under_way_is_not_asked_twice() -> None:
    talk = conversation()
    asked = asked_by(talk, request())
    assert talk.receive(CLIENT, sent(TO_VAV, request()), 1.0) is None
    talk.answer(asked, b"\x20\x0f", 0.0)
    assert len(taken(talk)) == 1
    assert isinstance(talk.receive(CLIENT, sent(TO_VAV, request()), 2.0), Asked)


def test_an_id_that_is_used_for_something_else_is_not_answered_with_what_came_before() -> None:
    talk = conversation()
    asked = asked_by(talk, request())
    assert talk.receive(CLIENT, sent(TO_VAV, request(parameters=READ[:-1] + b"\x4d")), 1.0) is None
    talk.answer(asked, b"\x30\x0c" + READ, 1.0)
    assert taken(talk) == []
    assert isinstance(talk.receive(CLIENT, sent(TO_VAV, request(parameters=READ[:-1] + b"\x4d")), 2.0), Asked)


def test_whoever_aborts_its_request_gets_no_reply() -> None:
    talk = conversation()
    asked = asked_by(talk, request())
    talk.receive(CLIENT, sent(TO_VAV, Abort(7, AbortReason.OTHER)), 0.5)
    talk.answer(asked, b"\x20\x0f", 1.0)
    assert taken(talk) == []


def test_an_id_that_was_aborted_is_free_again_once_what_was_asked_is_over() -> None:
    talk = conversation()
    first = asked_by(talk, request())
    talk.receive(CLIENT, sent(TO_VAV, Abort(7, AbortReason.OTHER)), 0.5)
    assert talk.receive(CLIENT, sent(TO_VAV, request()), 0.6) is None
    talk.answer(first, b"\x20\x0f", 1.0)
    assert taken(talk) == []
    second = asked_by(talk, request())
    talk.answer(second, b"\x20\x0f", 2.0)
    assert len(taken(talk)) == 1


def test_aborting_does_not_let_a_client_have_more_under_way_than_the_limit() -> None:
    talk = conversation()
    for invoke in range(MOST_OUTSTANDING_OF_STATION):
        asked_by(talk, request(invoke))
        talk.receive(CLIENT, sent(TO_VAV, Abort(invoke, AbortReason.OTHER)), 0.0)
    assert talk.receive(CLIENT, sent(TO_ANOTHER, request(200)), 0.0) is None
    ((_, npdu),) = taken(talk)
    assert decode_apdu(npdu.payload) == Abort(200, AbortReason.OUT_OF_RESOURCES, from_server=True)


def test_after_the_end_of_a_device_nothing_of_it_goes_out_neither_replies_nor_their_rest() -> None:
    talk = conversation()
    waiting = asked_by(talk, request(1))
    long = asked_by(talk, request(2, accepts_segments=True, max_apdu=50))
    talk.answer(long, b"\x30\x0c" + bytes(500), 0.0)
    assert talk.notify(waiting.key.station, VAV, b"\x00\x01\x09\x01", 0.0)
    taken(talk)
    talk.end(VAV)
    ((_, npdu),) = taken(talk)
    assert decode_apdu(npdu.payload) == Abort(1, AbortReason.OTHER, from_server=True)
    talk.answer(waiting, b"\x20\x0f", 1.0)
    talk.receive(CLIENT, sent(TO_VAV, SegmentAck(2, 0, 16)), 1.0)
    assert taken(talk) == []
    assert talk.wake_at() is None


def test_a_reply_that_fits_no_apdu_of_a_client_without_segmentation_is_aborted() -> None:
    talk = conversation()
    asked = asked_by(talk, request(max_apdu=50))
    talk.answer(asked, b"\x30\x0c" + bytes(60), 0.0)
    ((_, npdu),) = taken(talk)
    assert decode_apdu(npdu.payload) == Abort(7, AbortReason.SEGMENTATION_NOT_SUPPORTED, from_server=True)


def test_a_long_request_in_segments_is_asked_whole_and_a_long_reply_goes_in_the_clients_segments() -> None:
    talk = conversation()
    client = SegmentSender(request(parameters=bytes(range(200)), accepts_segments=True, max_apdu=128), 50)
    asked = None
    to_broker = list(client.start(0.0))
    while to_broker:
        event = talk.receive(CLIENT, sent(TO_VAV, to_broker.pop(0)), 0.0)
        asked = asked or event
        for _, npdu in taken(talk):
            ack = decode_apdu(npdu.payload)
            assert isinstance(ack, SegmentAck)
            to_broker += client.acknowledged(ack, 0.0)
    assert client.done
    assert isinstance(asked, Asked)
    assert asked.bare == b"\x00\x0c" + bytes(range(200))

    collected = SegmentReceiver()
    reply = bytes(range(256)) * 4
    talk.answer(asked, b"\x30\x0c" + reply, 1.0)
    while collected.whole is None:
        for _, npdu in taken(talk):
            segment = decode_apdu(npdu.payload)
            assert isinstance(segment, ComplexAck)
            assert len(npdu.payload) <= 128
            for ack in collected.received(segment, 1.0):
                talk.receive(CLIENT, sent(TO_VAV, ack), 1.0)
    assert collected.whole.parameters == reply
    assert talk.wake_at() is None


def test_a_client_that_stops_amid_its_segments_is_given_up_and_its_id_is_free_again() -> None:
    talk = conversation()
    talk.receive(CLIENT, sent(TO_VAV, request(segmented=True, more=True, window=4)), 0.0)
    due = talk.wake_at()
    assert due is not None
    talk.tick(due)
    assert talk.wake_at() is None
    asked_by(talk, request())


def test_a_client_that_does_not_acknowledge_segments_gets_them_so_often_and_no_more() -> None:
    talk = conversation()
    asked = asked_by(talk, request(accepts_segments=True, max_apdu=50))
    talk.answer(asked, b"\x30\x0c" + bytes(500), 0.0)
    sent_segments = len(taken(talk))
    while (due := talk.wake_at()) is not None:
        talk.tick(due)
        sent_segments += len(taken(talk))
    assert sent_segments == 1 + LIMITS.retries


def test_one_station_cannot_have_more_requests_under_way_than_the_limit() -> None:
    talk = conversation()
    for invoke in range(MOST_OUTSTANDING_OF_STATION):
        asked_by(talk, request(invoke))
    assert talk.receive(CLIENT, sent(TO_ANOTHER, request(200)), 0.0) is None
    ((_, npdu),) = taken(talk)
    assert decode_apdu(npdu.payload) == Abort(200, AbortReason.OUT_OF_RESOURCES, from_server=True)
    asked_by(talk, request(200), b"\x01" * 6)


def test_an_address_that_no_device_has_leads_to_no_device() -> None:
    talk = conversation()
    event = talk.receive(CLIENT, sent(Address(SITE_NETWORK, b"\x09"), request()), 0.0)
    assert isinstance(event, Asked)
    assert event.device is None


def test_a_confirmed_request_to_all_is_refused() -> None:
    event = conversation().receive(CLIENT, sent(Address(SITE_NETWORK, b""), request()), 0.0)
    assert isinstance(event, Malformed)
    assert event.code == "confirmed_broadcast"


@pytest.mark.parametrize("to", [None, Address(SITE_NETWORK, b""), Address(0xFFFF, b"")])
def test_who_is_reaches_all_of_the_site_however_it_is_broadcast(to: Address | None) -> None:
    event = conversation().receive(CLIENT, sent(to, UnconfirmedRequest(8, b"")), 0.0)
    assert isinstance(event, Told)
    assert (event.to_all, event.bare) == (True, b"\x10\x08")


def test_another_network_is_not_reachable_through_this_router() -> None:
    talk = conversation()
    assert talk.receive(CLIENT, sent(Address(77, b"\x01"), request()), 0.0) is None
    ((mac, npdu),) = taken(talk)
    assert (mac, npdu.message, npdu.payload) == (
        CLIENT,
        Message.REJECT,
        encode_reject(NotRouted.NO_SUCH_NETWORK, 77),
    )


def test_what_has_no_hops_left_is_answered_too_since_nothing_is_routed_on() -> None:
    talk = conversation()
    assert isinstance(talk.receive(CLIENT, sent(TO_VAV, request(), hop_count=0), 0.0), Asked)
    assert taken(talk) == []


@pytest.mark.parametrize("contents", [b"", SITE_NETWORK.to_bytes(2, "big")])
def test_the_router_says_which_network_it_leads_to(contents: bytes) -> None:
    talk = conversation()
    talk.receive(CLIENT, encode_npdu(Npdu(contents, message=Message.WHO_IS_ROUTER)), 0.0)
    ((mac, npdu),) = taken(talk)
    assert (mac, npdu.message, npdu.payload) == (BROADCAST, Message.I_AM_ROUTER, SITE_NETWORK.to_bytes(2, "big"))


def test_the_router_says_nothing_about_networks_that_it_does_not_lead_to() -> None:
    talk = conversation()
    talk.receive(CLIENT, encode_npdu(Npdu(b"\x00\x4d", message=Message.WHO_IS_ROUTER)), 0.0)
    assert taken(talk) == []


def test_the_routing_table_can_be_read_and_not_written() -> None:
    talk = conversation()
    assert talk.receive(CLIENT, encode_npdu(Npdu(b"\x00", message=Message.INIT_ROUTING)), 0.0) is None
    ((_, npdu),) = taken(talk)
    assert (npdu.message, npdu.payload) == (Message.INIT_ROUTING_ACK, bytes.fromhex("01 07d1 01 00"))
    event = talk.receive(CLIENT, encode_npdu(Npdu(bytes.fromhex("01 004d 01 00"), message=Message.INIT_ROUTING)), 0.0)
    assert isinstance(event, Malformed)
    assert event.code == "routing_change_refused"
    assert taken(talk) == []


def test_an_unknown_network_message_is_rejected_and_recorded() -> None:
    talk = conversation()
    event = talk.receive(CLIENT, bytes.fromhex("01 80 7f"), 0.0)
    assert isinstance(event, Malformed)
    ((_, npdu),) = taken(talk)
    assert npdu.message == Message.REJECT


def test_octets_that_are_no_npdu_are_refused() -> None:
    event = conversation().receive(CLIENT, b"\x02\x00\x00", 0.0)
    assert isinstance(event, Malformed)


def alone() -> BacnetConversation:
    return BacnetConversation(lambda: VirtualNetwork(SITE_NETWORK, {VAV_MAC: VAV}, alone=VAV_MAC))


def test_a_device_that_is_shown_alone_is_asked_and_answers_without_any_network() -> None:
    talk = alone()
    asked = talk.receive(CLIENT, sent(None, request()), 0.0)
    assert isinstance(asked, Asked)
    assert (asked.device, asked.bare) == (VAV, b"\x00\x0c" + READ)
    talk.answer(asked, b"\x30\x0c" + READ, 0.0)
    ((mac, npdu),) = taken(talk)
    assert (mac, npdu.source, npdu.destination) == (CLIENT, None, None)
    assert decode_apdu(npdu.payload) == ComplexAck(7, 12, READ)


@pytest.mark.parametrize("to", [None, Address(0xFFFF, b"")])
def test_what_is_for_all_is_for_the_device_that_is_shown_alone(to: Address | None) -> None:
    told = alone().receive(CLIENT, sent(to, UnconfirmedRequest(8, b"")), 0.0)
    assert isinstance(told, Told)
    assert (told.device, told.to_all) == (VAV, False)


def test_a_device_that_is_shown_alone_is_no_router() -> None:
    talk = alone()
    who_is_router = encode_npdu(Npdu(b"", message=Message.WHO_IS_ROUTER))
    assert talk.receive(CLIENT, who_is_router, 0.0) is None
    assert taken(talk) == []
    assert talk.receive(CLIENT, sent(TO_VAV, request()), 0.0) is None
    ((_, npdu),) = taken(talk)
    assert (npdu.message, npdu.payload) == (Message.REJECT, encode_reject(NotRouted.NO_SUCH_NETWORK, SITE_NETWORK))
    assert isinstance(talk.receive(CLIENT, sent(Address(0xFFFF, b""), request()), 0.0), Malformed)


def test_a_device_that_is_shown_alone_notifies_and_is_acknowledged_without_any_network() -> None:
    talk = alone()
    told = talk.receive(CLIENT, sent(None, UnconfirmedRequest(8, b"")), 0.0)
    assert isinstance(told, Told)
    assert talk.notify(told.station, VAV, b"\x00\x01" + READ, 0.0)
    ((_, npdu),) = taken(talk)
    notification = decode_apdu(npdu.payload)
    assert npdu.source is None
    assert isinstance(notification, ConfirmedRequest)
    talk.receive(CLIENT, sent(None, SimpleAck(notification.invoke, 1)), 1.0)
    assert talk.wake_at() is None
