"""aiohttp's server, WebSockets included, runs on the TLS layer as on asyncio's own."""

import asyncio
import contextlib
import shutil

import aiohttp
import pytest
from aiohttp import web

from broker.listeners.tls_transport import TlsTransport, protocol_consumer
from tests.integration.tls.stage import Client, client_context, serving


async def hello(request):
    transport = request.transport
    connection = transport.get_extra_info("tls_connection")
    return web.json_response(
        {
            "scheme": request.scheme,
            "remote": request.remote,
            "peer": connection.peer,
            "leaf": len(connection.leaf or b""),
            "peercert": bool(transport.get_extra_info("peercert")),
            "cipher": transport.get_extra_info("ssl_object").cipher()[1],
        }
    )


async def measure(request):
    body = await request.read()
    return web.Response(body=body[::-1], headers={"X-Octets": str(len(body))})


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"x" * 50_000)
    await response.write_eof()
    return response


async def talk(request):
    socket = web.WebSocketResponse(protocols=("otb.modbus.v1",), compress=False, max_msg_size=4096)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.data == "end":
            await socket.close(code=4000, message=b"window closed")
        else:
            await socket.send_str(message.data)
    return socket


@contextlib.asynccontextmanager
async def site(pki, **options):
    app = web.Application(client_max_size=1 << 23)
    app.add_routes(
        [web.get("/", hello), web.post("/measure", measure), web.get("/stream", stream), web.get("/talk", talk)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()

    def established(connection):
        return protocol_consumer(connection, runner.server())

    try:
        async with serving(pki, established=established, **options) as stage:
            stage.server = runner.server
            yield stage
    finally:
        await runner.cleanup()


def session(pki, files):
    connector = aiohttp.TCPConnector(ssl=client_context(pki, files), force_close=False)
    return aiohttp.ClientSession(connector=connector)


def test_requests_and_their_facts_over_one_kept_connection(run, pki):
    async def story():
        async with site(pki) as stage, session(pki, pki.client) as http:
            url = f"https://127.0.0.1:{stage.port}"
            async with http.get(url) as answer:
                facts = await answer.json()
            assert facts["scheme"] == "https"
            assert facts["remote"] == "127.0.0.1"
            assert facts["peer"].startswith("127.0.0.1:")
            assert facts["leaf"] == len(pki.leaf.der)
            assert facts["peercert"]
            assert facts["cipher"] == "TLSv1.3"
            for size in (0, 1, 70_000, 3_000_000):
                body = bytes(range(250)) * (size // 250)
                async with http.post(f"{url}/measure", data=body) as answer:
                    assert await answer.read() == body[::-1]
                    assert answer.headers["X-Octets"] == str(len(body))
            assert stage.listener.accepted == 1

    run(story())


def test_a_streamed_answer_respects_the_readers_pace_and_arrives_complete(run, pki):
    async def story():
        async with site(pki, write_limit=400_000) as stage, session(pki, pki.client) as http:
            async with http.get(f"https://127.0.0.1:{stage.port}/stream") as answer:
                count = 0
                async for part in answer.content.iter_chunked(65536):
                    count += len(part)
                    if count < 300_000:
                        await asyncio.sleep(0.01)
            assert count == 5_000_000

    run(story())


def test_a_websocket_echoes_and_closes_with_its_reason(run, pki):
    async def story():
        async with site(pki) as stage, session(pki, pki.client) as http:
            url = f"https://127.0.0.1:{stage.port}/talk"
            async with http.ws_connect(url, protocols=("otb.modbus.v1",)) as socket:
                assert socket.protocol == "otb.modbus.v1"
                for number in range(200):
                    await socket.send_bytes(number.to_bytes(12, "big"))
                for number in range(200):
                    assert await socket.receive_bytes() == number.to_bytes(12, "big")
                await socket.send_str("words")
                assert await socket.receive_str() == "words"
                await socket.send_str("end")
                closing = await socket.receive()
                assert (closing.type, closing.data, closing.extra) == (aiohttp.WSMsgType.CLOSE, 4000, "window closed")
            await stage.until(lambda: stage.listener.connections == 0)

    run(story())


def test_a_websocket_message_above_its_limit_closes_the_socket(run, pki):
    async def story():
        async with site(pki) as stage, session(pki, pki.client) as http:
            socket = await http.ws_connect(f"https://127.0.0.1:{stage.port}/talk")
            await socket.send_bytes(bytes(5000))
            closing = await socket.receive()
            assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1009)
            await socket.close()

    run(story())


@pytest.mark.skipif(shutil.which("curl") is None, reason="the curl command is missing")
def test_curl_is_served(run, pki, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"abc" * 100_000)

    async def curl(stage, *options):
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--http1.1", "--cacert", str(pki.root_file)),
            *("--cert", str(pki.client.certificate), "--key", str(pki.client.key)),
            *options,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return process.returncode, output

    async def story():
        async with site(pki) as stage:
            url = f"https://127.0.0.1:{stage.port}"
            status, output = await curl(stage, url, url)
            assert status == 0
            assert output.count(b'"scheme": "https"') == 2
            assert stage.listener.accepted == 1
            status, output = await curl(stage, "--data-binary", f"@{body}", f"{url}/measure")
            assert (status, output) == (0, b"cba" * 100_000)

    run(story())


def test_a_client_that_leaves_cancels_its_websocket(run, pki):
    async def story():
        async with site(pki) as stage, session(pki, pki.client) as http:
            socket = await http.ws_connect(f"https://127.0.0.1:{stage.port}/talk")
            await socket.send_bytes(b"hello")
            await socket.receive_bytes()
            assert len(stage.server.connections) == 1
            socket._response.connection.transport.abort()
            await stage.until(lambda: not stage.server.connections)
            assert stage.listener.connections == 0

    run(story())


class Recording(asyncio.Protocol):
    def __init__(self):
        self.calls = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.calls.append(data)

    def eof_received(self):
        self.calls.append("eof")

    def connection_lost(self, error):
        self.calls.append(error)


def test_the_transport_behaves_as_asyncios(run, pki):
    protocols = []

    def established(connection):
        protocols.append(Recording())
        return protocol_consumer(connection, protocols[-1])

    async def story():
        async with serving(pki, established=established) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await stage.consumer()
            transport = protocols[0].transport
            assert isinstance(transport, TlsTransport)
            assert transport.get_protocol() is protocols[0]
            assert transport.get_extra_info("peername")[0] == "127.0.0.1"
            assert transport.get_extra_info("sslcontext") is stage.listener.context
            assert transport.get_extra_info("socket") is not None
            assert transport.get_extra_info("nothing", 7) == 7
            assert not transport.can_write_eof()
            transport.set_write_buffer_limits(high=1000, low=10)
            assert transport.get_write_buffer_limits() == (10, 1000)
            transport.write(bytearray(b"one "))
            transport.writelines([b"two ", memoryview(b"three")])
            assert transport.get_write_buffer_size() == 13
            assert await client.read(13) == b"one two three"
            transport.pause_reading()
            assert not transport.is_reading()
            await client.write(b"answer")
            transport.resume_reading()
            await stage.until(lambda: protocols[0].calls == [b"answer"])
            client.writer.write_eof()
            await stage.until(lambda: len(protocols[0].calls) == 3)
            assert protocols[0].calls[1:] == ["eof", None]
            assert transport.is_closing()
            assert transport.get_extra_info("ssl_object", "gone") == "gone"
            await client.close()

    run(story())
