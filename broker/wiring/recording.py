"""Records that are on the disk before anything goes on."""

import asyncio

from broker.engine.ports import Ledger
from broker.errors import LedgerUnavailableError


async def record_durably(ledger: Ledger, record: bytes) -> int:
    """Append a record and wait until it is on the disk; its index. Raises LedgerUnavailableError."""
    index = ledger.append(record)
    await durable(ledger)
    return index


async def durable(ledger: Ledger) -> None:
    """Wait until all that was appended so far is on the disk. Raises LedgerUnavailableError."""
    settled: asyncio.Future[LedgerUnavailableError | None] = asyncio.get_running_loop().create_future()
    # Who waited may have been cancelled.
    if ledger.settle(True, lambda error: None if settled.done() else settled.set_result(error)):
        return
    error = await settled
    if error is not None:
        raise error
