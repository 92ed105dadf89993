"""Ledgers on a real file system, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_files import FileLedger
from broker.adapters.ledger_reader import verify_directory
from broker.errors import LedgerUnavailableError
from broker.ledger import operation_records, records
from broker.ledger.notes import verifier_of
from broker.ledger.verify import Report

ORIGIN = "plant.example/ledger"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = verifier_of(ORIGIN, KEY).vkey
OPEN = {"windows": {"open": [{"id": "w", "opens": 0, "closes": 1 << 40}], "next": None}, "grants": [], "now": 1}
SESSION = "session-1"


def ledger_in(folder: Path, now: Callable[[], float] = time, **options: object) -> FileLedger:
    return FileLedger(folder, ORIGIN, KEY, now, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(folder: Path, **options: object) -> AsyncIterator[FileLedger]:
    ledger = ledger_in(folder, **options)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def verify(folder: Path, saved: str | None = None) -> Report:
    return verify_directory(folder, VKEY, saved)


async def settled(ledger: FileLedger, durable: bool = True) -> LedgerUnavailableError | None:
    """Wait until everything appended is in the file, or on disk."""
    told: asyncio.Future[LedgerUnavailableError | None] = asyncio.get_running_loop().create_future()
    return None if ledger.settle(durable, told.set_result) else await told


def begin(ledger: FileLedger, session: str = SESSION) -> int:
    """Start and a session; the index of the decision that intents may cite."""
    ledger.append(records.broker_started(time(), version="1", revisions={}))
    return open_session(ledger, session)


def open_session(ledger: FileLedger, session: str = SESSION) -> int:
    allowed = ledger.append(decision(session, "session.decision"))
    ledger.append(
        records.session_opened(
            time(),
            session=session,
            subject={"id": "ana"},
            device="plant/ahu-1",
            listener="modbus_tls",
            peer="127.0.0.1:4711",
            proofs=[],
            decision=allowed,
        )
    )
    return ledger.append(decision(session, "operation.decision"))


def end(ledger: FileLedger, session: str = SESSION) -> None:
    ledger.append(records.session_closed(time(), session=session, reason="peer_closed", operations=0, refusals=0))
    ledger.append(records.broker_stopped(time(), reason="sigterm"))


def decision(session: str, entry_point: str) -> bytes:
    return records.decision(
        time(),
        id="d",
        session=session,
        entry_point=entry_point,
        input=OPEN,
        answer={"allow": True, "reasons": [], "obligations": [], "rule": "grant/g"},
        revision="r",
        allow=True,
        reasons=(),
    )


def intent(decided: int, session: str = SESSION, digest: str = "d" * 43) -> bytes:
    return operation_records.intent(
        time(), session=session, decision=decided, service="write-single-register", digest=digest
    )


def outcome(index: int, result: str = "done") -> bytes:
    return operation_records.outcome(time(), intent=index, result=result)


async def operations(ledger: FileLedger, decided: int, count: int, session: str = SESSION) -> None:
    """Intents and their outcomes, each durable, eight at a time."""
    for _ in range(0, count, 8):
        indices = [ledger.append(intent(decided, session), intent=True) for _ in range(8)]
        assert await settled(ledger) is None
        for index in indices:
            ledger.append(outcome(index))
        assert await settled(ledger) is None
