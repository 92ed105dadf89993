"""Gives up records older than the settings keep; their hashes stay, and so does the proof of all that follows."""

import asyncio
import json
import logging
from datetime import datetime

from broker.adapters.ledger_disclosures import DisclosureWriter
from broker.adapters.ledger_files import FileLedger
from broker.engine.ports import Clock

log = logging.getLogger(__name__)
LOOK_SECONDS = 3600.0
DAY_SECONDS = 86400.0


async def retain(ledger: FileLedger, disclosures: DisclosureWriter, clock: Clock, days: int) -> None:
    """Once an hour until cancelled; 0 days keeps everything."""
    while days:
        try:
            await prune_older(ledger, clock.now() - days * DAY_SECONDS)
            await disclosures.prune(ledger.minimum)
        except Exception:
            log.exception("old records could not be given up")
        await asyncio.sleep(LOOK_SECONDS)


async def prune_older(ledger: FileLedger, before: float) -> int:
    """Give up the records from before that moment (epoch seconds); how many bundles of them went."""
    return await ledger.prune(await asyncio.to_thread(_first_since, ledger, before))


def _first_since(ledger: FileLedger, moment: float) -> int:
    """The index of the first record not older than that; record times only grow."""
    low, high = ledger.minimum, ledger.size
    while low < high:
        middle = (low + high) // 2
        stamp = json.loads(ledger.read(middle))["time"]
        if datetime.fromisoformat(stamp).timestamp() < moment:
            low = middle + 1
        else:
            high = middle
    return low
