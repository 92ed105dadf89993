"""What the evidence must show of the broker's own sessions: nothing in them but what undoes a debt."""

from collections.abc import Callable
from typing import Any

import pytest

from broker.ledger import records
from broker.ledger.verify import Report
from tests.unit.ledger.scenes import START, Story, publish
from tests.unit.ledger.test_verify import verify

DEBT = {"point": "setpoint", "undo": "restore", "priority": None, "before": "18", "own": ["20"]}
RELEASE = {"point": "zone", "undo": "release", "priority": 9, "before": None, "own": ["20"]}


def question(debt: dict[str, Any] | None = None, value: str | None = None, **changes: Any) -> dict[str, Any]:
    """Of the broker itself: to open a session, to look (no value), or to write."""
    operation = None
    if debt is not None:
        values = {} if value is None else {debt["point"]: value}
        operation = {"writes": value is not None, "values": values, "priority": debt["priority"] if value else None}
    asked = {"leave": {"id": "lve-1", "debt": debt}, "operation": operation, "freezes": [], "now": int(START)}
    closed = {"windows": {"open": [], "next": None}, "grants": []}
    return asked | closed | changes


class LeaveStory(Story):
    """A story in which the broker has begun to undo something in session `s9`."""

    def __init__(self) -> None:
        super().__init__()
        self.started()
        self.opened("s9", self.asked(question()))

    def asked(self, asked: dict[str, Any], session: str = "s9", allow: bool = True) -> int:
        return self.decision(session, allow, "leave.decision", asked)

    def undone(self, debt: dict[str, Any], value: str, result: str = "done") -> None:
        self.outcome(self.intent(self.asked(question(debt)), "s9"))
        self.outcome(self.intent(self.asked(question(debt, value)), "s9"), result)

    def finished(self, debt: dict[str, Any], result: str = "undone", detail: str = "", session: str = "s9") -> None:
        point = {"point": debt["point"], "undo": debt["undo"], "priority": debt["priority"]}
        self.add(
            records.leave_finished(
                self.time,
                leave="lve-1",
                subject="ana",
                device="plant/ahu-1",
                why="window_closed",
                ended=START,
                points=[point | {"result": result, "detail": detail}],
                unsettled=int(result in ("failed", "unknown", "given_up")),
                session=session,
            )
        )


def told(story: Story) -> Report:
    return verify(publish(story.entries))


@pytest.mark.parametrize(("debt", "value"), [(DEBT, "18"), (RELEASE, "null")])
def test_a_debt_that_was_undone_verifies(debt: dict[str, Any], value: str) -> None:
    story = LeaveStory()
    story.undone(debt, value)
    story.finished(debt)
    story.closed("s9")
    assert told(story.stopped()).ok


@pytest.mark.parametrize(
    ("result", "detail"),
    [("undone", "was so already"), ("kept", "somebody has written since"), ("failed", "device_down"), ("unknown", "")],
)
def test_what_was_not_written_is_told_without_an_outcome(result: str, detail: str) -> None:
    story = LeaveStory()
    story.finished(DEBT, result, detail)
    assert told(story).ok


def cancelling(**changes: Any) -> dict[str, Any]:
    """To cancel a COV subscription at the device."""
    operation = {"writes": False, "values": {}, "priority": None, "facts": {"cancels": "true"}}
    return question() | {"operation": operation | changes}


def test_a_subscription_that_the_broker_cancelled_verifies_and_nothing_more_is_told_of_it() -> None:
    story = LeaveStory()
    story.outcome(story.intent(story.asked(cancelling()), "s9"))
    story.closed("s9")
    assert told(story.stopped()).ok


def _subscribed_without_a_debt(story: LeaveStory) -> None:
    story.asked(cancelling(facts={"lifetime": "300"}))


def _written_without_a_debt(story: LeaveStory) -> None:
    story.asked(cancelling(writes=True))


def _nothing_undone(story: LeaveStory) -> None:
    story.finished(DEBT)


def _undone_elsewhere(story: LeaveStory) -> None:
    story.undone(RELEASE, "null")
    story.finished(DEBT)


def _write_failed(story: LeaveStory) -> None:
    story.undone(DEBT, "18", "device_refused")
    story.finished(DEBT)


def _another_value(story: LeaveStory) -> None:
    story.asked(question(DEBT, "19"))


def _another_priority(story: LeaveStory) -> None:
    asked = question(RELEASE, "null")
    story.asked(asked | {"operation": asked["operation"] | {"priority": 8}})


def _in_a_freeze(story: LeaveStory) -> None:
    story.asked(question(DEBT, "18", freezes=[{"id": "holidays"}]))


def _somebody_elses_decision(story: LeaveStory) -> None:
    story.intent(story.decision("s9"), "s9")


def _in_somebody_elses_session(story: LeaveStory) -> None:
    story.opened("s1")
    story.intent(story.asked(question(DEBT, "18"), "s1"), "s1")


def _opened_by_a_step(story: LeaveStory) -> None:
    story.opened("s2", story.asked(question(DEBT), "s2"))


def _written_by_the_opening(story: LeaveStory) -> None:
    story.intent(story.asked(question()), "s9")


def _finished_in_no_session(story: LeaveStory) -> None:
    story.finished(DEBT, "kept", "why", session="s8")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_nothing_undone, "undone_without_outcome"),
        (_undone_elsewhere, "undone_without_outcome"),
        (_write_failed, "undone_without_outcome"),
        (_another_value, "undone_otherwise_than_owed"),
        (_another_priority, "undone_otherwise_than_owed"),
        (_subscribed_without_a_debt, "undone_otherwise_than_owed"),
        (_written_without_a_debt, "record_malformed"),
        (_in_a_freeze, "undone_in_a_freeze"),
        (_somebody_elses_decision, "decision_of_another_kind"),
        (_in_somebody_elses_session, "decision_of_another_kind"),
        (_opened_by_a_step, "session_not_allowed"),
        (_written_by_the_opening, "decision_of_another_kind"),
        (_finished_in_no_session, "session_not_open"),
    ],
)
def test_every_broken_rule_is_found_at_its_record(spoil: Callable[[LeaveStory], None], reason: str) -> None:
    story = LeaveStory()
    spoil(story)
    report = told(story)
    assert (report.ok, report.reason, report.first_bad) == (False, reason, len(story.entries) - 1)
