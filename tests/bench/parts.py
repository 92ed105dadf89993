"""Decisions without a lease, and durable records, in a process with nothing else to do."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_files import FileLedger
from broker.adapters.opa import OpaPolicyEngine
from broker.adapters.opa_connection import OpaServer
from broker.adapters.policy_files import read_policies
from broker.adapters.rego_embedded import EmbeddedPolicyEngine
from broker.cli.policies import shipped_policies
from broker.ledger import operation_records
from broker.model.decision import EntryPoint
from tests.bench.inspection import inspection_us
from tests.bench.opa_server import opa_server

DECISIONS = 6000
AT_ONCE = 32
RECORDS = 200_000
WAITERS = 64


async def decisions_per_second(engine: Any, question: bytes) -> float:
    """Questions answered a second, a bounded number at a time."""
    files = read_policies(shipped_policies())
    await engine.publish(files.modules, files.data, files.revision)
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(AT_ONCE)
    allowed = 0

    def answered(raw: Any) -> None:
        nonlocal allowed
        allowed += isinstance(raw, bytes) and b'"allow":true' in raw.replace(b" ", b"")
        room.release()

    began = loop.time()
    for _ in range(DECISIONS):
        await room.acquire()
        engine.decide(EntryPoint.OPERATION, question, answered)
    for _ in range(AT_ONCE):
        await room.acquire()
    seconds = loop.time() - began
    await engine.close()
    if allowed != DECISIONS:
        raise SystemExit(f"{DECISIONS - allowed} of {DECISIONS} decisions were not allows")
    return DECISIONS / seconds


async def durable_records_per_second() -> float:
    """Records a second with every one fsynced before it counts, many waiting at a time (group commit)."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        ledger = FileLedger(Path(folder), "bench.example/ledger", Ed25519PrivateKey.generate(), time.time)
        await ledger.open()
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(WAITERS)
        record = operation_records.intent(
            time.time(), session="ses-abcdefghijklmnop", decision=1, service="write-single-register", digest="x" * 43
        )
        began = loop.time()
        for number in range(RECORDS):
            await room.acquire()
            ledger.append(record)
            if ledger.settle(True, lambda error: room.release()):
                room.release()
            if number % 1000 == 0:
                await asyncio.sleep(0)
        for _ in range(WAITERS):
            await room.acquire()
        seconds = loop.time() - began
        await ledger.close()
    return RECORDS / seconds


def measure(question: bytes) -> dict[str, Any]:
    """All figures of this module."""
    found: dict[str, Any] = {
        "embedded_decisions_per_s": round(asyncio.run(decisions_per_second(EmbeddedPolicyEngine(), question))),
        "durable_records_per_s": round(asyncio.run(durable_records_per_second())),
        **inspection_us(),
    }
    with opa_server() as url:
        if url:
            engine = OpaPolicyEngine(OpaServer(url))
            found["opa_decisions_per_s"] = round(asyncio.run(decisions_per_second(engine, question)))
        else:
            print("SKIPPED opa: not installed")
    return found
