"""Hostile peers meet limits; the others go on."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.tls.conftest import LOOPS
from tests.integration.tls.stage import Client, Echo, client_context, s_client, serving

CHECKOUT = Path(__file__).parents[3]


async def raw(stage, data=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(data)
    return reader, writer


async def swallow(reader):
    """All that comes until the end; a reset is an end."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65536):
            data += part
    return data


def test_a_handshake_that_drips_is_cut_at_its_time_limit(run, pki):
    async def story():
        async with serving(pki, handshake_seconds=0.4) as stage:
            reader, writer = await raw(stage, b"\x16\x03\x01")
            silent, silent_writer = await raw(stage)
            started = asyncio.get_running_loop().time()
            writer.write(b"\x02")
            assert await swallow(reader) == await swallow(silent) == b""
            assert asyncio.get_running_loop().time() - started < 2
            assert stage.codes == ["handshake_late"] * 2
            assert stage.listener.handshakes == stage.listener.connections == 0
            writer.close()
            silent_writer.close()

    run(story())


def test_half_handshakes_are_limited_and_cannot_keep_others_out(run, pki):
    async def story():
        async with serving(pki, max_handshakes=5) as stage:
            halves = [await raw(stage, b"\x16") for _ in range(20)]
            await stage.until(lambda: len(stage.codes) == 15)
            assert stage.listener.handshakes == 5
            assert set(stage.codes) == {"too_many_handshakes"}
            client = await Client.connect(stage, client_context(pki, pki.client))
            assert await client.echo(b"hello") == b"hello"
            for _reader, writer in halves:
                writer.close()
            await client.close()

    run(story())


def test_connections_above_the_limit_are_closed_at_once_and_reported_together(run, pki):
    async def story():
        async with serving(pki, max_connections=2) as stage:
            kept = [await Client.connect(stage, client_context(pki, pki.client)) for _ in range(2)]
            for _ in range(30):
                reader, writer = await raw(stage)
                assert await swallow(reader) == b""
                writer.close()
            assert stage.listener.refusals["too_many_connections"] == 30
            await stage.until(lambda: stage.refusals)
            reported = [int(detail.split()[0]) for _peer, _code, detail in stage.refusals]
            assert {refusal[:2] for refusal in stage.refusals} == {("127.0.0.1", "too_many_connections")}
            assert len(reported) <= 3
            for client in kept:
                assert await client.echo(b"hello") == b"hello"
                await client.close()
            await stage.until(lambda: stage.listener.connections == 0)
            again = await Client.connect(stage, client_context(pki, pki.client))
            assert await again.echo(b"room again") == b"room again"
            await again.close()

    run(story())


def test_one_peer_cannot_take_all_connections(run, pki):
    async def story():
        async with serving(pki, max_connections_per_peer=3) as stage:
            kept = [await Client.connect(stage, client_context(pki, pki.client)) for _ in range(3)]
            reader, writer = await raw(stage)
            assert await swallow(reader) == b""
            assert stage.listener.refusals["too_many_connections_of_peer"] == 1
            writer.close()
            elsewhere = await asyncio.open_connection("127.0.0.1", stage.port, local_addr=("127.0.0.2", 0))
            client = Client(*elsewhere, client_context(pki, pki.client))
            await client.drive(client.tls.do_handshake)
            assert await client.echo(b"another peer") == b"another peer"
            for one in (*kept, client):
                await one.close()

    run(story())


def test_plain_http_is_told_apart_and_closed(run, pki):
    async def story():
        async with serving(pki) as stage:
            reader, writer = await raw(stage, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not (await swallow(reader)).startswith(b"HTTP")
            assert stage.codes == ["plain_text"]
            writer.close()

    run(story())


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x17\x03\x03\x00\x10" + bytes(16),
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x14\x03\x03\x00\x01\x01" * 40,
        b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16_380),
        b"\x00" * 5_000,
        bytes(range(256)) * 20,
    ],
)
def test_octets_that_are_no_handshake_end_the_connection(run, pki, octets):
    async def story():
        async with serving(pki, handshake_seconds=5) as stage:
            reader, writer = await raw(stage, octets)
            await asyncio.wait_for(swallow(reader), 3)
            await stage.until(lambda: stage.codes)
            assert len(stage.codes) == 1
            writer.close()

    run(story())


def test_a_record_that_is_forged_or_too_large_ends_an_open_connection(run, pki):
    async def story():
        async with serving(pki) as stage:
            for octets in (b"\x17\x03\x03\x00\x20" + bytes(32), b"\x17\x03\x03\xff\xff" + bytes(66_000)):
                client = await Client.connect(stage, client_context(pki, pki.client))
                await client.echo(b"hello")
                client.writer.write(octets)
                with pytest.raises(ssl.SSLError, match="ALERT"):
                    await client.read(1)
                await client.close()
                assert await stage.consumers[-1].gone == "tls_fault"
                assert bytes(stage.consumers[-1].data) == b"hello"

    run(story())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is missing")
def test_renegotiation_is_refused_and_harms_nobody(run, pki):
    async def story():
        async with serving(pki) as stage:
            output = await s_client(stage, pki, "-tls1_2", files=pki.client, said=b"R\n", until=b"RENEGOTIATING")
            assert "no renegotiation" in output.lower()
            assert await stage.consumers[0].gone
            client = await Client.connect(stage, client_context(pki, pki.client))
            assert await client.echo(b"hello") == b"hello"
            await client.close()

    run(story())


def key_update(tls):
    """Let OpenSSL send a KeyUpdate, which Python's ssl cannot ask for."""
    try:
        update = ctypes.CDLL(ssl._ssl.__file__).SSL_key_update
    except (AttributeError, OSError):
        pytest.skip("OpenSSL's SSL_key_update cannot be reached from this Python")
    update.argtypes = (ctypes.c_void_p, ctypes.c_int)
    pointer_size = ctypes.sizeof(ctypes.c_void_p)
    pointer = ctypes.c_void_p.from_address(id(tls._sslobj) + object.__basicsize__ + pointer_size)
    assert update(pointer, 1) == 1
    tls.do_handshake()


def test_key_updates_are_followed_and_endless_ones_end_the_connection(run, pki):
    async def story():
        async with serving(pki) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client, ssl.TLSVersion.TLSv1_3))
            for _ in range(20):
                key_update(client.tls)
                assert await client.echo(b"hello") == b"hello"
            for _ in range(100):
                if (await stage.consumer()).gone.done():
                    break
                for _ in range(100):
                    key_update(client.tls)
                with contextlib.suppress(ConnectionError):
                    await client.send_pending()
                await asyncio.sleep(0)
            assert await asyncio.wait_for(stage.consumers[0].gone, 3) == "tls_barren"
            await client.close()

    run(story())


class Fountain(Echo):
    """Answers every octet with a thousand, and heeds nothing."""

    def received(self, data):
        self.data += data
        self.connection.write(b"x" * 1000 * len(data))


def test_a_peer_that_never_reads_is_cut_at_the_write_limit(run, pki):
    async def story():
        async with serving(pki, consumer=Fountain, write_high_water=50_000, write_limit=500_000) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            consumer = await stage.consumer()
            with contextlib.suppress(ConnectionError):
                for _ in range(2000):
                    await client.write(b"." * 100)
                    if consumer.gone.done():
                        break
                    await asyncio.sleep(0)
            assert await asyncio.wait_for(consumer.gone, 3) == "slow_reader"
            assert consumer.events == ["congested"]
            await client.close()

    run(story())


def test_a_peer_that_stops_reading_is_cut_after_a_while_below_the_limit_too(run, pki):
    class Heeding(Fountain):
        def congested(self):
            super().congested()
            self.connection.pause_reading()

    async def story():
        async with serving(pki, consumer=Heeding, stalled_seconds=0.5, write_limit=1 << 26) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await client.write(b"." * 10_000)
            assert await asyncio.wait_for((await stage.consumer()).gone, 6) == "slow_reader"
            await client.close()

    run(story())


def test_a_slow_peer_that_does_read_gets_everything(run, pki):
    class Spring(Fountain):
        def received(self, data):
            super().received(bytes(4 * len(data)))

    async def story():
        async with serving(pki, consumer=Spring) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            await client.write(b"." * 2_000)
            await stage.until(lambda: stage.consumers and "congested" in stage.consumers[0].events)
            assert len(await client.read(8_000_000)) == 8_000_000
            await stage.until(lambda: stage.consumers[0].events == ["congested", "writable"])
            await client.close()

    run(story())


def test_an_idle_connection_is_closed_in_order(run, pki):
    async def story():
        async with serving(pki, idle_seconds=0.3) as stage:
            client = await Client.connect(stage, client_context(pki, pki.client))
            assert await client.read(1) == b""
            await client.close()
            assert await stage.consumers[0].gone == "idle"

    run(story())


@pytest.mark.parametrize("kind", LOOPS)
def test_running_out_of_file_descriptors_passes(pki, tmp_path, kind):
    program = tmp_path / "scarce.py"
    program.write_text(
        "import asyncio, pathlib, resource, sys\n"
        "from broker.listeners.tls import TlsListener, server_context\n"
        "from tests.integration.tls.stage import Echo\n"
        "async def main():\n"
        "    asyncio.get_running_loop().set_exception_handler(lambda *_: None)\n"
        f"    paths = pathlib.Path({str(pki.server.certificate)!r}), pathlib.Path({str(pki.server.key)!r})\n"
        f"    anchors = [pathlib.Path({str(pki.root_file)!r}).read_text()]\n"
        "    context = server_context(*paths, client_anchors_pem=anchors, client_certificate='required')\n"
        "    listener = TlsListener(context, established=Echo, refused=lambda *_: None)\n"
        "    print((await listener.start('127.0.0.1', 0))[1], flush=True)\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "    await asyncio.Event().wait()\n"
        + ("import uvloop\nuvloop.run(main())\n" if kind == "uvloop" else "asyncio.run(main())\n")
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    server = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True, env=environment)

    async def connected_again(stage):
        """uvloop resets whoever it finds waiting until it has seen that the others went."""
        while True:
            with contextlib.suppress(ConnectionResetError):
                return await Client.connect(stage, client_context(pki, pki.client))

    async def story():
        stage = type("Address", (), {"port": int(server.stdout.readline())})
        first = await Client.connect(stage, client_context(pki, pki.client))
        flood = [await raw(stage) for _ in range(60)]
        assert await first.echo(b"still here") == b"still here"
        for _reader, writer in flood:
            writer.close()
        last = await asyncio.wait_for(connected_again(stage), 10)
        assert await last.echo(b"new again") == b"new again"
        await first.close()
        await last.close()

    try:
        asyncio.run(story())
        assert server.poll() is None
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
        server.stdout.close()
