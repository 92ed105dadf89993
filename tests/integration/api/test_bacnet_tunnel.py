"""The tunnel to the BACnet network of a site: datagrams both ways, several devices, and its end."""

import asyncio
import json

import aiohttp
import pytest

from broker.engine.events import Refused
from broker.engine.rate import Rate
from broker.listeners import tunnel_loads
from broker.listeners.bacnet_notices import Failed
from broker.model.decision import Decision
from broker.model.vocabulary import EndReason, Reason, Result
from broker.wire.bacnet.tunnelled import ALL_CLIENTS, LONGEST_MESSAGE, decode_datagrams, encode_datagram
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.integration.api.test_tunnel import message, until
from tests.unit.api import gate_double
from tests.unit.api.gate_double import BO, VAV
from tests.unit.api.test_websocket import client_frame

PATH = "/v1/sites/plant/bacnet"
PROTOCOL = "otb.bacnet.v1"
MAC = bytes.fromhex("7f000001bac1")
NPDU = bytes.fromhex("0120ffff00ff1008")
DATAGRAM = encode_datagram(MAC, NPDU)
HANDSHAKE = (
    b"GET /v1/sites/plant/bacnet HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-ana\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: otb.bacnet.v1\r\n"
)


def connected(client, **options):
    return client.ws_connect(PATH, protocols=[PROTOCOL], **options)


def test_datagrams_pass_both_ways_and_the_stream_ends_with_the_connection(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            async with connected(client) as socket:
                assert socket.protocol == PROTOCOL
                (stream,) = stage.gate.bacnet_streams
                assert (stream.subject.id, stream.site, stream.listener) == ("ana@acme.example", "plant", "tunnel")
                await socket.send_bytes(DATAGRAM)
                assert await socket.receive_bytes() == DATAGRAM
                assert stream.npdus == [(MAC, NPDU)]
                stream.write(ALL_CLIENTS, NPDU)
                assert await socket.receive_bytes() == encode_datagram(b"\xff" * 6, NPDU)
                assert stage.https.connections == 0
            assert socket.close_code == 1000
            await until(lambda: stream.lost_for)
            assert stream.lost_for is EndReason.PEER_CLOSED
            assert stage.tunnels.tunnels == set()

    run(story())


def test_a_datagram_in_fragments_is_one(pki, run):
    async def story():
        async with serving(pki) as stage:
            octets = client_frame(2, DATAGRAM[:9], final=False) + client_frame(0, DATAGRAM[9:])
            said = await stage.raw(HANDSHAKE + b"\r\n" + octets)
            assert said.endswith(b"\x82" + bytes((len(DATAGRAM),)) + DATAGRAM)

    run(story())


@pytest.mark.parametrize(
    ("old", "new", "status", "code"),
    [
        (b"Upgrade: websocket", b"Upgrade: h2c", 426, "upgrade_required"),
        (b"Version: 13", b"Version: 12", 400, "handshake_invalid"),
        (b"otb.bacnet.v1", b"otb.modbus.v1", 400, "handshake_invalid"),
        (b"Host: x\r\n", b"Host: x\r\nOrigin: https://evil.example\r\n", 403, "origin_refused"),
        (b"sites/plant", b"sites/harbour", 404, "site_unknown"),
        (b"sites/plant", b"sites/..", 404, "route_unknown"),
        (b"token-ana", b"token-bo", 403, "subjects_differ"),
        (b"token-ana", b"forged", 401, "credentials_refused"),
    ],
)
def test_a_handshake_that_is_not_ours_is_a_problem_and_opens_nothing(old, new, status, code, pki, run):
    async def story():
        async with serving(pki) as stage:
            said = await stage.raw(HANDSHAKE.replace(old, new) + b"\r\n")
            assert said.startswith(f"HTTP/1.1 {status} ".encode())
            assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == code
            assert stage.gate.bacnet_streams == []

    run(story())


def test_a_site_that_may_not_be_seen_is_like_one_that_is_not_there(pki, run):
    async def story():
        async with serving(pki) as stage:
            assert not stage.gate.visible_devices(BO)
            async with stage.client("bo", "token-bo") as client:
                headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
                hidden = await (await client.get(PATH, headers=headers)).json()
                missing = await (await client.get(PATH.replace("plant", "nowhere"), headers=headers)).json()
            assert hidden == missing
            assert hidden["code"] == "site_unknown"

    run(story())


def test_a_site_without_a_bacnet_network_says_what_is_missing(pki, run):
    async def story():
        async with serving(pki) as stage:
            stage.gate.inventory = stage.gate.inventory_without_bacnet
            problem = json.loads((await stage.raw(HANDSHAKE + b"\r\n")).partition(b"\r\n\r\n")[2])
            assert problem["code"] == "site_has_no_bacnet"
            assert "inventory" in problem["what_to_do"]

    run(story())


def test_a_device_has_a_tunnel_of_its_own_with_or_without_a_network_of_its_site(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.inventory = stage.gate.inventory_without_bacnet
            async with client.ws_connect("/v1/devices/plant/vav-1/bacnet", protocols=[PROTOCOL]) as socket:
                (stream,) = stage.gate.bacnet_streams
                assert stream.site == "plant/vav-1"
                await socket.send_bytes(DATAGRAM)
                assert await socket.receive_bytes() == DATAGRAM

    run(story())


@pytest.mark.parametrize(
    ("device", "status", "code"), [("ahu-1", 400, "tunnel_needs_bacnet"), ("vav-9", 404, "device_unknown")]
)
def test_a_device_without_bacnet_is_refused_as_a_problem(device, status, code, pki, run):
    async def story():
        async with serving(pki) as stage:
            asked = HANDSHAKE.replace(b"sites/plant", f"devices/plant/{device}".encode())
            said = await stage.raw(asked + b"\r\n")
            assert said.startswith(f"HTTP/1.1 {status} ".encode())
            assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == code
            assert stage.gate.bacnet_streams == []

    run(story())


def test_who_gets_no_session_gets_no_tunnel_and_the_connection_goes_on(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            denied = Decision("dec-7", 7, False, (Reason.NO_GRANT,))
            stage.gate.admission = Refused(denied.reasons, (denied,))
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await connected(client)
            assert caught.value.status == 403
            assert stage.gate.bacnet_streams[0].lost_for is EndReason.DENIED
            await told(await client.get("/v1/me"))

    run(story())


def test_denials_warnings_and_ends_name_the_device_and_the_tunnel_stays(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            (stream,) = stage.gate.bacnet_streams
            denied = Decision("dec-7", 7, False, (Reason.WINDOW_CLOSED,))
            stream.denied(VAV, Refused(denied.reasons, (denied,)), "read-property analog-value,1 present-value")
            notice = await message(socket)
            assert (notice["type"], notice["device"], notice["decision_id"]) == ("denied", "plant/vav-1", "dec-7")
            assert notice["what"] == "read-property analog-value,1 present-value"
            stream.denied(None, Refused((Reason.DEVICE_UNKNOWN,)), "")
            assert {"device", "what"}.isdisjoint(await message(socket))
            stream.failed(
                VAV, Failed("write-property analog-value,1 present-value = 20 @12", Result.UNKNOWN, "timeout")
            )
            notice = await message(socket)
            assert (notice["type"], notice["device"], notice["result"]) == ("failed", "plant/vav-1", "unknown")
            assert (notice["what"], notice["code"]) == (
                "write-property analog-value,1 present-value = 20 @12",
                "timeout",
            )
            assert "read the point first" in notice["what_to_do"]
            stream.failed(None, Failed("time-synchronization", Result.DENIED, "unconfirmed_not_relayed"))
            notice = await message(socket)
            assert (notice["what"], notice["code"], "device" in notice) == (
                "time-synchronization",
                "unconfirmed_not_relayed",
                False,
            )
            assert "one device" in notice["what_to_do"]
            stream.warned(VAV, 1_795_852_800.0, EndReason.GRANT_ENDED)
            notice = await message(socket)
            assert (notice["type"], notice["device"]) == ("warning", "plant/vav-1")
            stream.ended(VAV, EndReason.GRANT_ENDED)
            notice = await message(socket)
            assert (notice["type"], notice["device"], notice["reason"]) == ("ending", "plant/vav-1", "grant_ended")
            await socket.send_bytes(DATAGRAM)
            assert await socket.receive_bytes() == DATAGRAM

    run(story())


def test_when_no_session_is_left_the_tunnel_is_cut_with_the_reason(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            (stream,) = stage.gate.bacnet_streams
            stream.close(EndReason.CERTIFICATE_REVOKED)
            ending = await message(socket)
            assert (ending["type"], ending["reason"]) == ("ending", "certificate_revoked")
            assert "device" not in ending
            closed = await asyncio.wait_for(socket.receive(), 5)
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1008)
            assert stream.lost_for is EndReason.CERTIFICATE_REVOKED

    run(story())


def test_a_tunnel_that_was_opened_in_an_emergency_passes_nothing_after_it(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.emergency = "emg-1"
            async with connected(client) as socket:
                await socket.send_bytes(DATAGRAM)
                assert await socket.receive_bytes() == DATAGRAM
                stage.gate.emergency = ""
                await socket.send_bytes(DATAGRAM)
                assert (await message(socket))["reason"] == "grant_ended"
            assert len(stage.gate.bacnet_streams[0].npdus) == 1

    run(story())


def test_fresh_proofs_are_for_every_session_and_those_of_another_end_it(pki, run, monkeypatch):
    monkeypatch.setattr("broker.listeners.tunnel.RENEWAL_GAP_SECONDS", 0.0)

    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            (stream,) = stage.gate.bacnet_streams
            before, stream.subject = stream.subject, None
            await socket.send_json({"type": "renew", "token": "token-ana-fresh"})
            assert await message(socket) == {"type": "renewed"}
            assert stream.subject.id == before.id
            await socket.send_json({"type": "renew", "token": "token-bo"})
            assert (await message(socket))["code"] == "subjects_differ"
            assert (await message(socket))["reason"] == "denied"
            assert stream.lost_for is EndReason.DENIED

    run(story())


@pytest.mark.parametrize(
    ("datagram", "reason", "code"),
    [
        (b"", EndReason.FRAME_REFUSED, 1002),
        (DATAGRAM[:-1], EndReason.FRAME_REFUSED, 1002),
        (DATAGRAM + MAC, EndReason.FRAME_REFUSED, 1002),
        (encode_datagram(MAC, b""), EndReason.FRAME_REFUSED, 1002),
        (DATAGRAM + encode_datagram(b"\xff" * 6, NPDU), EndReason.FRAME_REFUSED, 1002),
        (encode_datagram(MAC, bytes(1498)), EndReason.FRAME_REFUSED, 1002),
        (bytes(LONGEST_MESSAGE + 1), EndReason.LIMIT_EXCEEDED, 1009),
    ],
    ids=["none", "cut short", "cut short behind another", "without an NPDU", "from everybody", "long", "too long"],
)
def test_datagrams_that_are_none_end_the_tunnel(datagram, reason, code, pki, run):
    async def story():
        async with serving(pki) as stage:
            said = await stage.raw(HANDSHAKE + b"\r\n" + client_frame(2, datagram))
            assert said.endswith(code.to_bytes(2, "big") + reason.value.encode())
            assert stage.gate.bacnet_streams[0].lost_for is reason
            assert stage.gate.bacnet_streams[0].npdus == []

    run(story())


def test_the_longest_datagram_passes(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            longest = encode_datagram(MAC, bytes(1497))
            await socket.send_bytes(longest)
            assert await socket.receive_bytes() == longest

    run(story())


def test_several_datagrams_are_one_message_both_ways(pki, run):
    other = bytes.fromhex("7f000001bac2")

    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            await socket.send_bytes(DATAGRAM + encode_datagram(other, NPDU[:-1] + b"\x07"))
            assert await socket.receive_bytes() == DATAGRAM + encode_datagram(other, NPDU[:-1] + b"\x07")
            assert stage.gate.bacnet_streams[0].npdus == [(MAC, NPDU), (other, NPDU[:-1] + b"\x07")]

    run(story())


def test_more_than_a_message_takes_goes_in_several_in_order(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            (stream,) = stage.gate.bacnet_streams
            sent = [(MAC, bytes((number,)) * 1497) for number in range(1, 30)]
            for mac, npdu in sent:
                stream.write(mac, npdu)
            received = []
            while len(received) < len(sent):
                message = await socket.receive_bytes()
                assert len(message) <= LONGEST_MESSAGE
                received += decode_datagrams(message)
            assert received == sent

    run(story())


def test_a_message_full_of_datagrams_lets_the_others_of_the_loop_come_in_between(pki, run):
    clients = [bytes((10, 0, 0, 1, 0, number)) for number in range(100)]

    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            (stream,) = stage.gate.bacnet_streams
            turns, took = [], stream.received

            def received(mac, npdu):
                if not stream.npdus:
                    asyncio.get_running_loop().call_soon(lambda: turns.append(len(stream.npdus)))
                took(mac, npdu)

            stream.received = received
            await socket.send_bytes(b"".join(encode_datagram(mac, NPDU) for mac in clients))
            answered = []
            while len(answered) < len(clients):
                answered += [mac for mac, _ in decode_datagrams((await asyncio.wait_for(socket.receive(), 5)).data)]
            assert answered == [mac for mac, _ in stream.npdus] == clients
            assert 0 < turns[0] < len(clients) // 2

    run(story())


def test_what_comes_too_fast_is_dropped_and_said(pki, run, monkeypatch):
    monkeypatch.setattr(gate_double, "Rate", lambda per_second: FixedRoom(3))

    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            for _ in range(5):
                await socket.send_bytes(DATAGRAM)
            passed, notices = [], []
            while len(passed) < 3 or not notices:
                received = await asyncio.wait_for(socket.receive(), 5)
                if received.type is aiohttp.WSMsgType.BINARY:
                    passed += decode_datagrams(received.data)
                else:
                    notices.append(json.loads(received.data)["type"])
            assert passed == [(MAC, NPDU)] * 3
            assert set(notices) == {"dropped"}
            assert len(stage.gate.bacnet_streams[0].npdus) == 3

    run(story())


class FixedRoom:
    """Admits so many and no more."""

    def __init__(self, room):
        self.room = room

    def admits(self, now, weight):
        self.room -= 1
        return self.room >= 0


def test_a_rate_admits_as_many_as_it_says_in_a_second():
    rate = Rate(10.0)
    assert sum(rate.admits(100.0) for _ in range(30)) == 10
    assert sum(rate.admits(100.5) for _ in range(30)) == 5
    assert sum(rate.admits(200.0) for _ in range(30)) == 10


def test_a_caller_who_reads_nothing_costs_only_so_much(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client):
            (stream,) = stage.gate.bacnet_streams
            (tunnel,) = stage.tunnels.tunnels
            for _ in range(3000):
                stream.write(MAC, bytes(1497))
            assert tunnel.unread_octets() <= tunnel_loads.MAX_UNREAD_OCTETS + 2 * LONGEST_MESSAGE

    run(story())
