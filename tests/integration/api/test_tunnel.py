"""The WebSocket tunnel: octets both ways, words beside them, and its end."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from broker.engine.events import Refused
from broker.listeners import tunnel as tunnels
from broker.model.decision import Decision
from broker.model.vocabulary import EndReason, Reason
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told
from tests.unit.api.gate_double import NEXT_WINDOW
from tests.unit.api.test_websocket import client_frame

PATH = "/v1/devices/plant/ahu-1/tunnel"
PROTOCOL = "otb.modbus.v1"
FRAME = bytes.fromhex("000100000006010300000001")
HANDSHAKE = (
    b"GET /v1/devices/plant/ahu-1/tunnel HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-ana\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: otb.modbus.v1\r\n"
)


def connected(client, **options):
    return client.ws_connect(PATH, protocols=[PROTOCOL], **options)


async def message(socket):
    got = await asyncio.wait_for(socket.receive(), 5)
    assert got.type is aiohttp.WSMsgType.TEXT, got
    return json.loads(got.data)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def test_octets_pass_both_ways_and_the_session_ends_with_the_connection(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            async with connected(client) as socket:
                assert socket.protocol == PROTOCOL
                await socket.send_bytes(FRAME[:5])
                await socket.send_bytes(FRAME[5:])
                assert await socket.receive_bytes() + await socket.receive_bytes() == FRAME
                ((session, _),) = stage.gate.opened
                assert (session.listener, session.subject.id, session.device.key) == (
                    "tunnel",
                    "ana@acme.example",
                    "plant/ahu-1",
                )
                assert stage.https.connections == 0
            assert socket.close_code == 1000
            await until(lambda: stage.gate.closed)
            assert stage.gate.closed == [("tun-0", EndReason.PEER_CLOSED)]
            assert stage.gate.streams[0].was_lost
            assert stage.tunnels.tunnels == set()

    run(story())


def test_a_caller_who_leaves_while_the_session_opens_is_no_fault_and_leaves_nothing_open(pki, run, caplog):
    async def story():
        async with serving(pki) as stage:
            opening = stage.gate.open

            async def open_too_late(*given):
                for connection in stage.https._server.connections:
                    connection.transport.abort()
                return await opening(*given)

            stage.gate.open = open_too_late
            assert await stage.raw(HANDSHAKE + b"\r\n") == b""
            await until(lambda: "a caller left before the answer" in caplog.text)
            assert stage.gate.streams[0].was_lost
            assert stage.tunnels.tunnels == set()

    caplog.set_level("INFO", "broker.listeners.https")
    run(story())
    assert "Traceback" not in caplog.text


def test_octets_behind_the_handshake_are_not_lost(pki, run):
    async def story():
        async with serving(pki) as stage:
            said = await stage.raw(HANDSHAKE + b"\r\n" + client_frame(2, FRAME))
            head, _, frames = said.partition(b"\r\n\r\n")
            assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
            assert frames == b"\x82" + bytes((len(FRAME),)) + FRAME

    run(story())


@pytest.mark.parametrize(
    ("old", "new", "status", "code"),
    [
        (b"Upgrade: websocket", b"Upgrade: h2c", 426, "upgrade_required"),
        (b"Connection: Upgrade", b"Connection: keep-alive", 426, "upgrade_required"),
        (b"Version: 13", b"Version: 12", 400, "handshake_invalid"),
        (b"otb.modbus.v1", b"otb.modbus.v2", 400, "handshake_invalid"),
        (b"Sec-WebSocket-Protocol: otb.modbus.v1\r\n", b"", 400, "handshake_invalid"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400, "handshake_invalid"),
        (b"Host: x\r\n", b"Host: x\r\nOrigin: https://evil.example\r\n", 403, "origin_refused"),
        (b"ahu-1", b"vav-1", 400, "tunnel_needs_modbus"),
        (b"ahu-1", b"meter-1", 404, "device_unknown"),
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
            assert stage.gate.opened == []

    run(story())


def test_a_refused_session_is_a_problem_before_the_connection_changes(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            denied = Decision("dec-7", 7, False, (Reason.NO_GRANT,))
            stage.gate.admission = Refused(denied.reasons, (denied,))
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await connected(client)
            assert caught.value.status == 403
            await told(await client.get("/v1/me"))

    run(story())


def test_a_denial_is_told_in_words(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            denied = Decision("dec-7", 7, False, (Reason.WINDOW_CLOSED,), next_window=NEXT_WINDOW)
            stage.gate.streams[0].denied(Refused(denied.reasons, (denied,)))
            notice = await message(socket)
            assert (notice["type"], notice["decision_id"]) == ("denied", "dec-7")
            assert notice["reasons"][0] == {"code": "window_closed", "text": "No window is open for this device now."}
            assert notice["next_window"]["opens"] == "2026-11-28T08:00:00Z"

    run(story())


def test_a_cut_says_why_before_it_closes(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            ((_, cut),) = stage.gate.opened
            cut(EndReason.WINDOW_CLOSED)
            ending = await message(socket)
            assert (ending["type"], ending["reason"]) == ("ending", "window_closed")
            assert ending["text"]
            assert ending["at"].endswith("Z")
            closed = await asyncio.wait_for(socket.receive(), 5)
            assert (closed.type, closed.data, closed.extra) == (aiohttp.WSMsgType.CLOSE, 1008, "window_closed")
            assert stage.gate.streams[0].was_lost

    run(story())


def test_a_session_that_ended_while_it_opened_gives_no_tunnel(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            opening = stage.gate.open

            async def open_and_cut(*given):
                session = await opening(*given)
                given[-1](EndReason.WINDOW_CLOSED)
                session.ended = EndReason.WINDOW_CLOSED
                return session

            stage.gate.open = open_and_cut
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await connected(client)
            assert caught.value.status == 503
            assert stage.gate.streams == []

    run(story())


def test_tunnels_that_are_being_opened_count_and_a_place_that_came_to_nothing_is_free_again(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.tunnels._max_tunnels = 1
            opening, asked, decided = stage.gate.open, asyncio.Queue(), asyncio.Event()

            async def open_slowly(*given):
                asked.put_nowait(given)
                await decided.wait()
                return Refused((Reason.NO_GRANT,))

            stage.gate.open = open_slowly
            first = asyncio.ensure_future(client.ws_connect(PATH, protocols=[PROTOCOL]))
            await asked.get()
            for path, protocol in ((PATH, PROTOCOL), ("/v1/sites/plant/bacnet", "otb.bacnet.v1")):
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await client.ws_connect(path, protocols=[protocol])
            assert asked.empty()
            assert stage.gate.bacnet_streams == []
            decided.set()
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await first
            stage.gate.open = opening
            async with connected(client):
                assert len(stage.tunnels.tunnels) == 1

    run(story())


def test_a_fresh_token_of_the_same_subject_renews(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            await socket.send_json({"type": "renew", "token": "token-ana-fresh"})
            assert await message(socket) == {"type": "renewed"}
            assert stage.gate.renewed == [("tun-0", "ana@acme.example")]
            await socket.send_json({"type": "renew", "token": "token-ana"})
            assert await message(socket) == {"type": "renew_refused", "code": "too_often"}

    run(story())


def test_a_faulty_token_does_not_renew_and_is_counted(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            await socket.send_json({"type": "renew", "token": "forged"})
            refused = await message(socket)
            assert (refused["type"], refused["code"]) == ("renew_refused", "token_signature_invalid")
            assert stage.gate.renewed == []
            assert [(listener, code) for listener, _, code in stage.refusals] == [("tunnel", "token_signature_invalid")]
            await socket.send_bytes(FRAME)
            assert await socket.receive_bytes() == FRAME

    run(story())


def test_a_token_of_another_subject_ends_the_tunnel(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            await socket.send_json({"type": "renew", "token": "token-bo"})
            assert (await message(socket))["code"] == "subjects_differ"
            assert (await message(socket))["reason"] == "denied"
            assert (await asyncio.wait_for(socket.receive(), 5)).data == 1008
            assert stage.gate.closed == [("tun-0", EndReason.DENIED)]

    run(story())


@pytest.mark.parametrize(
    ("octets", "reason", "code"),
    [
        (b"\x82\x01a", EndReason.FRAME_REFUSED, 1002),
        (client_frame(1, b"not json"), EndReason.FRAME_REFUSED, 1002),
        (client_frame(1, b"{" * 16_385), EndReason.LIMIT_EXCEEDED, 1009),
        (b"\x82\xff" + b"\x7f" * 8, EndReason.LIMIT_EXCEEDED, 1009),
    ],
    ids=["not masked", "not JSON", "too large a text", "too large a frame"],
)
def test_frames_that_are_not_acceptable_end_the_tunnel(octets, reason, code, pki, run):
    async def story():
        async with serving(pki) as stage:
            said = await stage.raw(HANDSHAKE + b"\r\n" + octets)
            assert said.endswith(code.to_bytes(2, "big") + reason.value.encode())
            assert b'"reason":"' + reason.value.encode() in said
            assert stage.gate.closed == [("tun-0", reason)]

    run(story())


def test_an_unknown_control_message_is_refused_and_nothing_ends(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            for text in ('{"type":"dance"}', "[]", '{"type":"renew"}', '{"type":"renew","token":5}'):
                await socket.send_str(text)
                assert await message(socket) == {"type": "refused", "code": "message_unknown"}
            assert stage.gate.closed == []

    run(story())


def test_a_held_stream_is_not_read_on_and_goes_on_later(pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client, connected(client) as socket:
            stream = stage.gate.streams[0]
            stream.hold(True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        await socket.send_bytes(b"x" * 60_000)
            held = len(stream.octets)
            assert held < 1_000_000
            stream.hold(False)
            await until(lambda: len(stream.octets) > held)

    run(story())


def test_ping_is_answered_and_a_silent_caller_is_dropped(pki, run, monkeypatch):
    monkeypatch.setattr(tunnels, "HEARTBEAT_SECONDS", 0.2)

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            async with connected(client) as socket:
                await socket.ping(b"there?")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(socket.receive(), 1)
                assert stage.gate.closed == []
            async with connected(client, autoping=False) as silent:
                with contextlib.suppress(aiohttp.ClientError):
                    while (await asyncio.wait_for(silent.receive(), 5)).type is aiohttp.WSMsgType.PING:
                        continue
                await until(lambda: len(stage.gate.closed) == 2)

    run(story())


def test_a_tunnel_that_asks_nothing_for_too_long_ends(pki, run, monkeypatch):
    monkeypatch.setattr(tunnels, "HEARTBEAT_SECONDS", 0.1)

    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.tunnels.idle_seconds = 0.3
            async with connected(client) as socket:
                assert (await message(socket))["reason"] == "idle"
            assert stage.gate.closed == [("tun-0", EndReason.IDLE)]

    run(story())
