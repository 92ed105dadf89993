"""Memory of an idle session: what the broker's private pages grow by, over many open sessions and tunnels."""

import asyncio
import ssl
import time
from pathlib import Path

import aiohttp

from tests.bench.plant import Plant

SESSIONS = 1000
TUNNELS = 200
SETTLE_SECONDS = 2.0
READ = bytes.fromhex("000100000006010300000001")


def private_kib(pid: int) -> int:
    """Private dirty memory of a process in KiB."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_Dirty"))


def sessions_kib(plant: Plant) -> float:
    """KiB per idle Modbus TLS session that asked once; on a broker that has served nothing else."""
    return round(asyncio.run(_sessions(plant)), 1)


def tunnels_kib(plant: Plant) -> float:
    """KiB per idle tunnel that asked once; on a broker that has served nothing else."""
    return round(asyncio.run(_tunnels(plant)), 1)


async def _sessions(plant: Plant) -> float:
    context = _context(plant)
    warm = [await _ask(plant, context) for _ in range(20)]
    before = private_kib(plant.broker_pid)
    writers = []
    for _ in range(SESSIONS):
        writers.append(await _ask(plant, context))
    time.sleep(SETTLE_SECONDS)
    grown = private_kib(plant.broker_pid) - before
    for writer in (*warm, *writers):
        writer.close()
    return grown / SESSIONS


async def _ask(plant: Plant, context: ssl.SSLContext) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", plant.broker_port, ssl=context, server_hostname=plant.sni
    )
    writer.write(READ)
    await reader.readexactly(11)
    return writer


async def _tunnels(plant: Plant) -> float:
    context = _context(plant)
    context.check_hostname = False
    headers = {"Authorization": f"Bearer {plant.token.read_text().strip()}"}
    url = f"{plant.api}/v1/devices/plant/ahu-1/tunnel"
    sessions = [aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) for _ in range(1)]
    open_tunnel = lambda: sessions[0].ws_connect(url, ssl=context, headers=headers, protocols=("otb.modbus.v1",))  # noqa: E731
    warm = [await open_tunnel() for _ in range(20)]
    before = private_kib(plant.broker_pid)
    tunnels = [await open_tunnel() for _ in range(TUNNELS)]
    for tunnel in tunnels:
        await tunnel.send_bytes(READ)
        await tunnel.receive_bytes()
    time.sleep(SETTLE_SECONDS)
    grown = private_kib(plant.broker_pid) - before
    for tunnel in (*warm, *tunnels):
        await tunnel.close()
    await sessions[0].close()
    return grown / TUNNELS


def _context(plant: Plant) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(plant.server_anchor))
    context.load_cert_chain(plant.client_certificate, plant.client_key)
    return context
