"""Checkpoints leave the host by file, syslog and HTTP; a receiver that fails is tried again and holds nobody up."""

import asyncio
import base64
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker.adapters.ledger_export import (
    CheckpointExport,
    ExportState,
    FileDestination,
    HttpDestination,
    SyslogDestination,
)
from broker.errors import ConfigError
from broker.ledger.checkpoint import Checkpoint, sign_checkpoint
from broker.ledger.merkle import leaf_hash
from tests.integration.ledger.running import KEY, ORIGIN

NOTES = [sign_checkpoint(Checkpoint(ORIGIN, size, leaf_hash(b"%d" % size)), KEY) for size in range(1, 4)]


def now() -> str:
    return "2026-11-22T10:00:00.000000Z"


def noted(message: bytes) -> str:
    found = re.search(rb'note="([^"]+)"', message)
    assert found is not None
    return base64.b64decode(found[1]).decode()


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


def test_a_file_gets_every_checkpoint_offered_one_by_one(tmp_path: Path) -> None:
    async def scene() -> None:
        export = CheckpointExport([FileDestination(tmp_path / "saved")])
        export.start()
        for sent, note in enumerate(NOTES, start=1):
            export.offer(note)
            await until(lambda sent=sent: export.states[0].sent == sent)  # type: ignore[misc]
        await export.close()

    asyncio.run(scene())
    assert (tmp_path / "saved").read_text() == "".join(note + "\n" for note in NOTES)


@pytest.mark.parametrize("turns", range(5))
def test_it_ends_even_in_the_moment_in_which_a_checkpoint_has_been_sent(turns: int) -> None:
    class Held:
        name = "held"

        def __init__(self) -> None:
            self.let_go = asyncio.Event()

        async def send(self, note: str) -> None:
            await self.let_go.wait()

        async def close(self) -> None:
            """Nothing is kept open."""

    async def scene() -> None:
        held = Held()
        export = CheckpointExport([held])
        export.start()
        export.offer(NOTES[0])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        held.let_go.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await export.close()

    asyncio.run(scene())


def test_syslog_over_udp_is_one_datagram_with_the_note() -> None:
    async def scene() -> bytes:
        received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        class Receiver(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                received.set_result(data)

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Receiver, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        destination = SyslogDestination("127.0.0.1", port, "udp", now=now)
        await destination.send(NOTES[0])
        message = await asyncio.wait_for(received, 5)
        transport.close()
        return message

    message = asyncio.run(scene())
    assert message.startswith(b"<109>1 2026-11-22T10:00:00.000000Z ")
    assert re.search(rb' otbroker \d+ checkpoint \[otbroker@32473 origin="plant.example/ledger" size="1" ', message)
    assert noted(message) == NOTES[0]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_syslog_over_a_connection_counts_octets_and_connects_again(tmp_path: Path, transport: str) -> None:
    server_context, client_context = contexts(tmp_path) if transport == "tls" else (None, None)

    async def scene() -> list[bytes]:
        received: list[bytes] = []

        async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            length = int(await reader.readuntil(b" "))
            received.append(await reader.readexactly(length))
            writer.close()

        server = await asyncio.start_server(receive, "127.0.0.1", 0, ssl=server_context)
        port = server.sockets[0].getsockname()[1]
        destination = SyslogDestination("localhost", port, transport, context=client_context, now=now)
        export = CheckpointExport([destination], first_retry_seconds=0.01)
        export.start()
        for count, note in enumerate(NOTES, start=1):
            while len(received) < count:
                export.offer(note)
                await asyncio.sleep(0.02)
        await export.close()
        server.close()
        return received

    assert [noted(message) for message in asyncio.run(scene())][:1] == NOTES[:1]


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server with a fresh certificate for localhost, and a client that trusts just that."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "server.pem", folder / "server.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, private)
    return server, ssl.create_default_context(cafile=str(pem))


def test_http_pushes_are_tried_again_until_they_succeed_and_only_the_latest_counts(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token\n")

    async def scene() -> tuple[list[tuple[str, str]], list[str]]:
        bodies: list[tuple[str, str]] = []
        failures: list[str] = []

        async def receive(request: web.Request) -> web.Response:
            bodies.append((request.headers["Authorization"], await request.text()))
            return web.Response(status=503 if len(bodies) <= 2 else 200)

        application = web.Application()
        application.router.add_post("/checkpoints", receive)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        url = f"http://127.0.0.1:{port}/checkpoints"
        export = CheckpointExport(
            [HttpDestination(url, token_file=tmp_path / "token")],
            first_retry_seconds=0.01,
            on_failure=lambda state: failures.append(state.error),
        )
        export.start()
        export.offer(NOTES[0])
        await until(lambda: len(failures) == 1)
        export.offer(NOTES[1])
        export.offer(NOTES[2])
        await until(lambda: export.states[0].sent == 1)
        assert export.states[0] == ExportState(export.states[0].name, sent=1)
        await export.close()
        await runner.cleanup()
        return bodies, failures

    bodies, failures = asyncio.run(scene())
    assert bodies[-1] == ("Bearer secret-token", NOTES[2])
    assert failures == ["OSError: answered 503"] * 2


def test_a_receiver_that_is_not_there_never_holds_up_who_offers() -> None:
    async def scene() -> None:
        export = CheckpointExport([HttpDestination("http://127.0.0.1:9/x")], first_retry_seconds=0.01)
        export.start()
        started = asyncio.get_running_loop().time()
        for _ in range(10_000):
            export.offer(NOTES[0])
        assert asyncio.get_running_loop().time() - started < 1
        await until(lambda: export.states[0].failing >= 2)
        assert "secret" not in export.states[0].error
        await export.close()

    asyncio.run(scene())


def test_checkpoints_are_not_pushed_in_the_clear_to_other_hosts() -> None:
    for url in ("http://collector.example/", "ftp://127.0.0.1/", "collector"):
        with pytest.raises(ConfigError):
            HttpDestination(url)
    with pytest.raises(ConfigError):
        SyslogDestination("collector.example", 6514, "tls", now=now)
    with pytest.raises(ConfigError):
        SyslogDestination("collector.example", 6514, "carrier-pigeon", now=now)
