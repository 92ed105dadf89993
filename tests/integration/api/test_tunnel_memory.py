"""What an idle tunnel costs, TLS, HTTP and WebSocket together."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.api.stage import Pki
from tests.integration.api.test_tunnel import HANDSHAKE

ROOT = Path(__file__).parents[3]
TUNNELS = 300
WARM = 50
MOST_OCTETS = 60 * 1024


async def opened(port, context):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(HANDSHAKE + b"\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return writer


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_an_idle_tunnel_costs_at_most_60_kib(tmp_path):
    command = [sys.executable, "-m", "tests.integration.api.idle_tunnels", str(tmp_path)]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def asked():
        server.stdin.write("?\n")
        server.stdin.flush()
        return tuple(map(int, server.stdout.readline().split()))

    async def story():
        port = int(server.stdout.readline())
        pki = Pki(tmp_path)
        context = pki.client_context(pki.ana)
        writers = [await opened(port, context) for _ in range(WARM)]
        before, _ = await asyncio.to_thread(asked)
        writers += [await opened(port, context) for _ in range(TUNNELS)]
        after, tunnels = await asyncio.to_thread(asked)
        for writer in writers:
            writer.transport.abort()
        return (after - before) / TUNNELS, tunnels

    try:
        each, tunnels = asyncio.run(story())
    finally:
        server.kill()
        server.communicate()
    print(f"an idle tunnel takes {each / 1024:.1f} KiB")
    assert tunnels == WARM + TUNNELS
    assert each <= MOST_OCTETS
