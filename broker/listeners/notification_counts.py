"""Puts on record how many COV notifications were passed on and withheld."""

import logging
from collections.abc import Iterable

from broker.engine.ports import Ledger
from broker.engine.subscription import Tally
from broker.errors import LedgerUnavailableError
from broker.ledger import records

log = logging.getLogger(__name__)


def record_counts(ledger: Ledger, now: float, tallies: Iterable[Tally]) -> None:
    """One record for each tally, while its session is open or ends just now; on disk soon."""
    try:
        for tally in tallies:
            at = tally.monitored
            ledger.append(
                records.cov_counted(
                    now,
                    session=tally.session,
                    decision=tally.decision if tally.decision >= 0 else None,
                    device=tally.device,
                    object=f"{at.object_type},{at.instance}",
                    property=at.property or "",
                    passed=tally.passed,
                    withheld=tally.withheld,
                    since=tally.since,
                    until=tally.until,
                )
            )
        ledger.settle(False, lambda _: None)
    except LedgerUnavailableError:
        log.error("counts of notifications were not recorded: the ledger is closed")
