"""What an auditor's verification holds of locks: none is lifted but by a recorded lift, no isolation alone."""

import pytest

from broker.ledger import record_forms, records
from broker.ledger.invariants import Invariants
from broker.ledger.verify import Report, verify_ledger
from broker.model.vocabulary import RecordKind
from tests.unit.ledger.scenes import ORIGIN, MemoryReader, Story, publish
from tests.unit.ledger.test_verify import VKEY

OTHER = "other.example/ledger"


class Locking(Story):
    """A history of a broker on which locks are set and lifted; record 0 is its start."""

    def __init__(self) -> None:
        super().__init__()
        self.started()

    def set(self, isolation: bool = True) -> "Locking":
        lock = {"id": "lck-1", "kind": "site", "target": "plant", "set_by": "bo", "isolation": isolation}
        self.add(records.lock_set(self.time, lock=lock))
        return self

    def signed(self, by: str = "cy", lock: str = "lck-1") -> "Locking":
        self.add(records.lift_signed(self.time, lock=lock, digest="d", by=by))
        return self

    def lifted(self, index: int, by: str = "cy", broker: str = ORIGIN) -> "Locking":
        self.add(records.lock_lifted(self.time, lock="lck-1", by=by, at=self.time, broker=broker, index=index))
        return self

    def lifted_as_of_old(self, by: str) -> "Locking":
        """As it was told before lifts were signed."""
        at = record_forms.stamp(self.time)
        self.add(record_forms.record(RecordKind.LOCK_LIFTED, self.time, {"lock": "lck-1", "by": by, "at": at}))
        return self


def verify(story: Story) -> Report:
    return verify_ledger(MemoryReader(publish(story.entries)), VKEY)


@pytest.mark.parametrize(
    "story",
    [
        Locking().set().signed().lifted(2),
        Locking().set().signed().lifted(2).lifted(2),
        Locking().set(isolation=False).signed("bo").lifted(2, "bo"),
        Locking().set().lifted(99, broker=OTHER),
        Locking().set().signed(),
        Locking().set().lifted_as_of_old("bo"),
    ],
    ids=["signed here", "not kept, lifted again", "no isolation", "signed elsewhere", "not stored", "of old"],
)
def test_lifts_that_were_recorded_verify(story: Locking) -> None:
    report = verify(story)
    assert report.ok, report


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        (Locking().set().lifted(2), "lift_not_recorded"),
        (Locking().set().signed("di").lifted(2), "lift_not_recorded"),
        (Locking().set().signed(lock="lck-2").lifted(2), "lift_not_recorded"),
        (Locking().set().signed().lifted(1), "lift_not_recorded"),
        (Locking().set().signed("bo"), "isolation_lifted_alone"),
        (Locking().set().lifted(9, "bo", OTHER), "isolation_lifted_alone"),
    ],
    ids=["none", "of another person", "of another lock", "another record", "alone", "alone elsewhere"],
)
def test_a_lift_that_nobody_recorded_does_not_verify(story: Locking, reason: str) -> None:
    report = verify(story)
    assert (report.ok, report.reason, report.first_bad) == (False, reason, len(story.entries) - 1)


def test_a_lift_whose_record_may_be_pruned_is_taken_as_it_stands() -> None:
    pruned = Invariants(minimum=100, origin=ORIGIN)
    pruned.check(100, Locking().lifted(99).entries[-1])
