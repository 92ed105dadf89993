"""A device that several nodes claim to be is on record, as an alarm, and nothing depends on the record being kept."""

import json
from collections.abc import Callable

from broker.errors import LedgerUnavailableError
from broker.ledger.notices import NOTICES, Severity
from broker.model.vocabulary import RecordKind
from broker.wiring.recording import record_dispute

NODES = (bytes.fromhex("0200000000d1"), bytes.fromhex("0200000000d2"))


class Clock:
    def now(self) -> float:
        return 1_795_000_000.0


class Ledger:
    def __init__(self, closed: bool = False) -> None:
        self.records: list[dict[str, object]] = []
        self.closed = closed

    def append(self, record: bytes) -> int:
        if self.closed:
            raise LedgerUnavailableError("ledger_closed", "closed")
        self.records.append(json.loads(record))
        return 0

    def settle(self, durable: bool, settled: Callable[[object], None]) -> bool:
        return True


def test_it_is_recorded_with_the_nodes_and_told_as_an_alarm() -> None:
    ledger = Ledger()
    record_dispute(Clock(), ledger, "plant/vav-1", NODES)  # type: ignore[arg-type]
    (record,) = ledger.records
    assert (record["kind"], record["device"]) == ("device_disputed", "plant/vav-1")
    assert record["nodes"] == ["02:00:00:00:00:d1", "02:00:00:00:00:d2"]
    told = NOTICES[RecordKind.DEVICE_DISPUTED]
    assert told is not None
    assert told[0] is Severity.ALARM


def test_without_a_ledger_nothing_else_is_lost() -> None:
    record_dispute(Clock(), Ledger(closed=True), "plant/vav-1", NODES)  # type: ignore[arg-type]
