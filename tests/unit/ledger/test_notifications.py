"""What an auditor's verification holds of COV notifications: counted in an open session, under a decision of it."""

import pytest

from broker.ledger import records
from broker.ledger.verify import verify_ledger
from tests.unit.ledger.scenes import MemoryReader, Story, publish
from tests.unit.ledger.test_verify import VKEY


class Counting(Story):
    """A history with one session; what is counted in it lasted five seconds unless told otherwise."""

    def __init__(self, **decided: object) -> None:
        super().__init__()
        self.started().opened()
        self.decided = self.decision(**decided)  # type: ignore[arg-type]

    def counted(self, **changes: object) -> "Counting":
        told = {"session": "s1", "decision": self.decided, "passed": 4, "withheld": 1}
        span = {"since": self.time, "until": self.time + 5}
        self.time += 5
        place = {"device": "plant/vav-1", "object": "analog-value,1", "property": ""}
        self.add(records.cov_counted(self.time, **told | span | place | changes))  # type: ignore[arg-type]
        return self


def reason(story: Story) -> str:
    return verify_ledger(MemoryReader(publish(story.entries)), VKEY).reason


def test_counts_of_a_subscription_verify() -> None:
    assert reason(Counting().counted().counted(passed=0)) == ""


def test_what_is_counted_after_the_session_is_found() -> None:
    story = Counting()
    story.closed()
    assert reason(story.counted()) == "session_not_open"


@pytest.mark.parametrize(
    ("story", "changes", "found"),
    [
        (Counting(), {"decision": 99}, "decision_missing"),
        (Counting(), {"decision": 1}, "passed_on_without_decision"),
        (Counting(allow=False), {}, "passed_on_without_decision"),
        (Counting(allow=False), {"passed": 0}, ""),
        (Counting(), {"passed": 0, "decision": None}, ""),
        (Counting(), {"decision": None}, "decision_missing"),
        (Counting(), {"passed": -1}, "count_malformed"),
        (Counting(), {"withheld": "1"}, "count_malformed"),
        (Counting(), {"until": 2_000_000_000.0}, "counted_outside_its_time"),
        (Counting(), {"since": 2_000_000_000.0}, "counted_outside_its_time"),
    ],
)
def test_counts_that_cannot_be_are_found(story: Counting, changes: dict[str, object], found: str) -> None:
    assert reason(story.counted(**changes)) == found


def test_counts_under_a_decision_of_another_session_are_found() -> None:
    story = Counting()
    story.opened("s2")
    assert reason(story.counted(session="s2")) == "decision_of_another_session"
