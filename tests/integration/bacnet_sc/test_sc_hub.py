"""The BACnet/SC hub over real TLS: who gets in and how far, with nodes by hand, hostile ones, and a foreign stack."""

import asyncio
import ssl
from dataclasses import replace

import pytest

from broker.engine.events import Refused
from broker.listeners.bacnet_sc import DIRECT_PROTOCOL
from broker.listeners.websocket import CloseCode, Opcode
from broker.model.vocabulary import EndReason, Reason
from broker.wire.bacnet.sc_message import BROADCAST, ErrorCode, Function
from broker.wire.bacnet.sc_payloads import decode_result
from tests.integration.bacnet_sc.hub_stage import HUB, Node, ana, bea, frame, request, serving_hub
from tests.integration.tls.stage import client_context

ANA, BEA = bytes.fromhex("0200000000a1"), bytes.fromhex("0200000000b2")
ANA_UUID, BEA_UUID = b"a" * 16, b"b" * 16
WHO_IS = bytes.fromhex("0120ffff00ff1008")


def test_a_node_connects_and_its_npdus_reach_its_own_stream_and_come_back(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            stage.echo = True
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            (stream,) = stage.streams
            assert (stream.subject.id, stream.site) == ("ana@plant.example", "localhost")
            node.send_npdu(WHO_IS, destination=BROADCAST)
            node.send_npdu(WHO_IS[:-1], destination=HUB.vmac)
            for expected in (WHO_IS, WHO_IS[:-1]):
                back = await node.message()
                assert (back.payload, back.origin, back.destination) == (expected, HUB.vmac, b"")
            assert stream.npdus == [(ANA, WHO_IS), (ANA, WHO_IS[:-1])]
            stream.write(BROADCAST, WHO_IS)
            assert (await node.message()).destination == BROADCAST
            node.send(Function.DISCONNECT_REQUEST)
            assert (await node.message()).function == Function.DISCONNECT_ACK
            assert await node.closed() == (CloseCode.NORMAL, "peer_closed")
            assert stream.ended is EndReason.PEER_CLOSED

    run(story())


def test_nothing_passes_between_two_nodes_of_one_hub(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            one = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            other = await Node.connected(stage, bea(pki), BEA, BEA_UUID)
            one.send_npdu(WHO_IS, destination=BEA)
            one.send_npdu(WHO_IS, destination=BROADCAST)
            one.send(Function.ADDRESS_RESOLUTION, destination=BEA)
            one.send(Function.HEARTBEAT_REQUEST, identifier=99)
            assert (await one.message()).id == 99
            other.send(Function.HEARTBEAT_REQUEST, identifier=98)
            assert (await other.message()).id == 98
            assert [len(stream.npdus) for stream in stage.streams] == [1, 0]
            assert stage.frames == ["sc_destination_foreign"] * 2
            stage.streams[0].write(BEA, WHO_IS)
            other.send(Function.HEARTBEAT_REQUEST, identifier=97)
            assert (await other.message()).id == 97
            await one.leave()
            await other.leave()

    run(story())


def test_what_was_meant_for_another_node_is_not_digested_since_a_password_may_be_in_it(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            node.send_npdu(bytes.fromhex("0104000407110905190129022d0900") + b"hunter22", destination=BEA)
            await stage.until(lambda: stage.frames)
            assert stage.frames == ["sc_destination_foreign"]
            assert not stage.digested
            await node.leave()

    run(story())


def test_who_has_no_access_gets_no_connection(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            stage.denied = Refused((Reason.NO_GRANT,))
            node = await Node.upgraded(stage, ana(pki))
            answer = await node.connect(ANA, ANA_UUID)
            nak = decode_result(answer.payload).nak
            assert nak is not None
            assert await node.closed() == (CloseCode.POLICY, "denied")

    run(story())


@pytest.mark.parametrize("reason", [EndReason.GRANT_ENDED, EndReason.LOCKED, EndReason.BROKER_STOPPED])
def test_when_access_ends_the_node_is_disconnected_and_told_why(run, pki, reason):
    async def story():
        async with serving_hub(pki, hub=replace(HUB, disconnect_seconds=0.1)) as stage:
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            stage.streams[0].close(reason)
            assert (await node.message()).function == Function.DISCONNECT_REQUEST
            node.send_npdu(WHO_IS, destination=HUB.vmac)
            code, told = await node.closed()
            assert told == reason.value
            assert code == (CloseCode.GOING_AWAY if reason is EndReason.BROKER_STOPPED else CloseCode.POLICY)
            assert stage.streams[0].ended is reason
            assert not stage.streams[0].npdus

    run(story())


def test_a_node_that_acknowledges_our_disconnect_is_gone_at_once(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            stage.streams[0].close(EndReason.WINDOW_CLOSED)
            await node.message()
            node.send(Function.DISCONNECT_ACK)
            assert await node.closed() == (CloseCode.POLICY, "window_closed")

    run(story())


def test_a_device_that_connects_again_takes_over_and_its_old_connection_is_closed(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            old = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            new = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            assert (await old.message()).function == Function.DISCONNECT_REQUEST
            old.send(Function.DISCONNECT_ACK)
            assert await old.closed() == (CloseCode.NORMAL, "taken_over")
            assert stage.streams[0].ended is EndReason.TAKEN_OVER
            new.send_npdu(WHO_IS, destination=HUB.vmac)
            await stage.until(lambda: stage.streams[1].npdus)
            await new.leave()

    run(story())


@pytest.mark.parametrize(
    ("vmac", "uuid", "code"),
    [(ANA, BEA_UUID, "duplicate_vmac"), (HUB.vmac, BEA_UUID, "duplicate_vmac"), (BEA, ANA_UUID, "uuid_of_another")],
)
def test_neither_address_nor_device_of_another_can_be_taken(run, pki, vmac, uuid, code):
    async def story():
        async with serving_hub(pki) as stage:
            holder = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            thief = await Node.upgraded(stage, bea(pki))
            nak = decode_result((await thief.connect(vmac, uuid)).payload).nak
            assert nak is not None
            assert nak.code == ErrorCode.NODE_DUPLICATE_VMAC
            await thief.closed()
            assert stage.frames == [code]
            holder.send(Function.HEARTBEAT_REQUEST)
            assert (await holder.message()).function == Function.HEARTBEAT_ACK
            await holder.leave()

    run(story())


def test_a_certificate_is_needed_and_must_be_ours(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            for files in (None, pki.foreign, pki.expired, pki.not_for_clients):
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await Node.upgraded(stage, client_context(pki, files))
            await stage.until(lambda: len(stage.refused) == 4)
            assert set(stage.refused) == {
                "certificate_missing",
                "certificate_untrusted",
                "certificate_expired",
                "certificate_not_for_clients",
            }
            stage.authenticator.refusing = "certificate_revoked"
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await Node.upgraded(stage, ana(pki))
            assert stage.refused[-1] == "certificate_revoked"
            assert not stage.streams

    run(story())


def test_nothing_older_than_tls_1_3_is_spoken(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await Node.open(stage, client_context(pki, pki.client, ssl.TLSVersion.TLSv1_2))
            await stage.until(lambda: stage.refused)

    run(story())


@pytest.mark.parametrize(
    "octets",
    [
        request("otb.modbus.v1"),
        request(DIRECT_PROTOCOL),
        request("hub.bsc.bacnet.org.example"),
        request(Sec_WebSocket_Protocol=None),
        request(Sec_WebSocket_Version="8"),
        request(Sec_WebSocket_Key="c2hvcnQ="),
        request(Upgrade="h2c"),
        request(Host=None),
        request(Content_Length="5"),
        request().replace(b"\r\n", b"\n") + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2_000,
    ],
)
def test_what_is_no_handshake_for_this_hub_is_refused_and_counted(run, pki, octets):
    async def story():
        async with serving_hub(pki) as stage:
            node = await Node.open(stage, ana(pki))
            node.writer.write(octets)
            assert (await node.end()).startswith(b"HTTP/1.1 400 ")
            assert stage.refused in (["upgrade_refused"], ["subprotocol_missing"])
            assert not stage.streams

    run(story())


def test_direct_connections_are_accepted_only_where_the_hub_says_so(run, pki):
    async def story():
        async with serving_hub(pki, hub=replace(HUB, direct_uris=("wss://localhost/",))) as stage:
            stage.echo = True
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID, protocol=DIRECT_PROTOCOL)
            node.send_npdu(WHO_IS)
            back = await node.message()
            assert (back.payload, back.origin, back.destination) == (WHO_IS, b"", b"")
            await node.leave()

    run(story())


def test_who_dawdles_over_handshake_or_connect_request_is_shut_out(run, pki):
    async def story():
        hub = replace(HUB, connect_seconds=0.2)
        async with serving_hub(pki, hub=hub, upgrade_seconds=0.2) as stage:
            slow = await Node.open(stage, ana(pki))
            slow.writer.write(request()[:20])
            assert (await slow.end()).startswith(b"HTTP/1.1 400 ")
            assert stage.refused == ["upgrade_late"]
            silent = await Node.upgraded(stage, ana(pki))
            assert await silent.closed() == (CloseCode.POLICY, "idle")

    run(story())


def test_a_silent_node_is_asked_and_then_left(run, pki):
    async def story():
        async with serving_hub(pki, hub=replace(HUB, heartbeat_seconds=0.2)) as stage:
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            asked = await node.message()
            assert asked.function == Function.HEARTBEAT_REQUEST
            node.send(Function.HEARTBEAT_ACK, identifier=asked.id)
            assert (await node.message()).function == Function.HEARTBEAT_REQUEST
            assert await node.closed() == (CloseCode.POLICY, "idle")
            assert stage.streams[0].ended is EndReason.IDLE

    run(story())


@pytest.mark.parametrize(
    ("octets", "ends"),
    [
        (frame(bytes(1_601)), (CloseCode.TOO_BIG, "limit_exceeded")),
        (
            frame(bytes(900), final=False) + frame(bytes(900), Opcode.CONTINUATION),
            (CloseCode.TOO_BIG, "limit_exceeded"),
        ),
        (frame(b"hello", Opcode.TEXT), (CloseCode.UNSUPPORTED, "frame_refused")),
        (bytes.fromhex("820401000000"), (CloseCode.PROTOCOL, "frame_refused")),
        (frame(b"", Opcode.CONTINUATION), (CloseCode.PROTOCOL, "frame_refused")),
        (b"\xc2" + frame(b"x")[1:], (CloseCode.PROTOCOL, "frame_refused")),
        (b"\x82\xff" + bytes.fromhex("7fffffffffffffff"), (CloseCode.TOO_BIG, "limit_exceeded")),
        (frame(b"\x03\xe8", Opcode.CLOSE), (CloseCode.NORMAL, "peer_closed")),
    ],
    ids=["too long", "too long in all", "text", "unmasked", "continues nothing", "reserved bit", "huge", "closing"],
)
def test_frames_that_are_not_acceptable_end_the_connection(run, pki, octets, ends):
    async def story():
        async with serving_hub(pki) as stage:
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            node.writer.write(octets)
            assert await node.closed() == ends
            assert len(stage.frames) == (ends[1] != "peer_closed")

    run(story())


def test_messages_arrive_whole_however_they_are_cut(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            message = bytes.fromhex("01040006") + HUB.vmac + WHO_IS
            octets = frame(message[:5], final=False) + frame(b"", Opcode.PING)
            octets += frame(message[5:], Opcode.CONTINUATION)
            for place in range(len(octets)):
                node.writer.write(octets[place : place + 1])
                await node.writer.drain()
            assert await node.frame() == (Opcode.PONG, b"")
            await stage.until(lambda: stage.streams[0].npdus)
            assert stage.streams[0].npdus == [(ANA, WHO_IS)]
            await node.leave()

    run(story())


def test_everything_may_come_in_one_piece(run, pki):
    async def story():
        async with serving_hub(pki) as stage:
            node = await Node.open(stage, ana(pki))
            connect = bytes.fromhex("06000001") + ANA + ANA_UUID + bytes.fromhex("064005d9")
            npdu = bytes.fromhex("01040006") + HUB.vmac + WHO_IS
            node.writer.write(request() + frame(connect) + frame(npdu))
            await node.reader.readuntil(b"\r\n\r\n")
            assert (await node.message()).function == Function.CONNECT_ACCEPT
            await stage.until(lambda: stage.streams and stage.streams[0].npdus)
            await node.leave()
            await stage.until(lambda: stage.streams[0].ended)

    run(story())


@pytest.mark.parametrize(
    "octets", ["0a000001", "05000001", "ff000001", ""], ids=["heartbeat", "solicit", "odd", "empty"]
)
def test_what_is_about_the_connection_may_not_come_without_end(run, pki, octets):
    async def story():
        async with serving_hub(pki) as stage:
            node = await Node.connected(stage, ana(pki), ANA, ANA_UUID)
            node.writer.write(frame(bytes.fromhex(octets)) * 50_000)
            node.writer.write(frame(b"", Opcode.PING))
            answers = 0
            while (await node.frame())[0] is Opcode.BINARY:
                answers += 1
            assert answers < 10_000
            await asyncio.sleep(0.1)
            node.send(Function.HEARTBEAT_REQUEST)
            assert (await node.message()).function == Function.HEARTBEAT_ACK
            assert len(stage.frames) < 10_000
            await node.leave()

    run(story())


def test_a_foreign_node_connects_asks_and_is_let_go(run, pki):
    rusty = pytest.importorskip("rusty_bacnet")

    async def story():
        async with serving_hub(pki) as stage:
            client = rusty.BACnetClient(
                transport="sc",
                sc_hub=f"wss://localhost:{stage.port}/",
                sc_vmac=ANA,
                sc_ca_cert=str(pki.root_file),
                sc_client_cert=str(pki.client.certificate),
                sc_client_key=str(pki.client.key),
                sc_device_uuid=ANA_UUID,
            )
            async with client:
                status = await client.connection_status()
                assert (status.state, status.hub_vmac) == ("connected", HUB.vmac)
                await client.who_is()
                await stage.until(lambda: stage.streams[0].npdus)
            assert stage.streams[0].npdus[0][0] == ANA
            await stage.until(lambda: stage.streams[0].ended)
            assert not stage.frames

    run(story())
