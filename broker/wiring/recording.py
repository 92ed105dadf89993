"""Records that are on the disk before anything goes on."""

import asyncio
import contextlib

from broker.engine.ports import Clock, Ledger
from broker.errors import LedgerUnavailableError
from broker.ledger import records


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


def record_dispute(clock: Clock, ledger: Ledger, device: str, nodes: tuple[bytes, ...]) -> None:
    """Several nodes, here by their VMACs, say that they are a device; without a ledger it is not asked either."""
    with contextlib.suppress(LedgerUnavailableError):
        ledger.append(records.device_disputed(clock.now(), device=device, nodes=[node.hex(":") for node in nodes]))
        ledger.settle(False, lambda _: None)
