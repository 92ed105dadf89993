"""What an auditor's verification holds of emergencies: their sessions lie within them and are decided by the fixed
policy.
"""

from collections.abc import Callable

import pytest

from broker.ledger import emergency_records, records
from broker.ledger.verify import Report, verify_ledger
from tests.unit.ledger.scenes import MemoryReader, Story, publish
from tests.unit.ledger.test_verify import VKEY

EMERGENCY = "emg-1"
SHUT = {"windows": {"open": [], "next": None}, "grants": [{"id": EMERGENCY}], "now": 5}


class Alarm(Story):
    """A history with an emergency in it."""

    def __init__(self) -> None:
        super().__init__()
        self.until = self.time + 3600
        self.started()

    def broken(self, resumed: bool = False) -> "Alarm":
        told = {"id": EMERGENCY, "site": "plant", "until": self.until, "parts": (1, 2)}
        self.add(emergency_records.break_glass_opened(self.time, emergency=told, resumed=resumed))
        return self

    def ended(self) -> "Alarm":
        self.add(emergency_records.break_glass_ended(self.time, emergency=EMERGENCY))
        return self

    def fixed(self, operation: bool, session: str = "s1") -> int:
        question = SHUT | ({"operation": {"action": "view"}} if operation else {})
        return self.decision(session, entry_point="emergency.decision", question=question)

    def entered(self, session: str = "s1", decision: int | None = None, emergency: str = EMERGENCY) -> "Alarm":
        self.add(
            records.session_opened(
                self.time,
                session=session,
                subject={"id": "di", "kind": "person"},
                device="plant/ahu-1",
                listener="modbus_tls",
                peer="127.0.0.1:4711",
                proofs=[],
                decision=self.fixed(False, session) if decision is None else decision,
                emergency=emergency,
            )
        )
        return self


def verify(story: Story) -> Report:
    return verify_ledger(MemoryReader(publish(story.entries)), VKEY)


def test_an_emergency_with_its_sessions_verifies_without_a_window() -> None:
    story = Alarm().broken().entered()
    story.outcome(story.intent(story.fixed(True)))
    story.ended()
    story.outcome(story.intent(story.fixed(True)), "not_sent")
    story.closed()
    report = verify(story.stopped())
    assert report.ok, report
    assert report.counts["break_glass_opened"] == 1


def test_an_emergency_goes_on_after_a_restart_that_recorded_it_anew() -> None:
    story = Alarm().broken()
    story.stopped().started()
    story.broken(resumed=True).entered().closed()
    assert verify(story.stopped()).ok


def _nobody_opened(story: Alarm) -> None:
    story.entered()


def _entered_after_the_end(story: Alarm) -> None:
    story.broken().ended().entered()


def _entered_after_its_time(story: Alarm) -> None:
    story.broken()
    story.time = story.until + 2
    story.entered()


def _relayed_after_the_end(story: Alarm) -> None:
    story.broken().entered().ended()
    story.outcome(story.intent(story.fixed(True)))


def _relayed_after_its_time(story: Alarm) -> None:
    story.broken().entered()
    story.time = story.until + 2
    story.outcome(story.intent(story.fixed(True)))


def _entered_by_the_ordinary_policy(story: Alarm) -> None:
    story.broken().entered(decision=story.decision(entry_point="session.decision"))


def _operated_by_the_ordinary_policy(story: Alarm) -> None:
    story.broken().entered()
    story.outcome(story.intent(story.decision()))


def _an_ordinary_session_decided_by_the_fixed_policy(story: Alarm) -> None:
    story.broken().entered(emergency="")


def _opened_again_after_the_end(story: Alarm) -> None:
    story.broken().ended().broken(resumed=True)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_nobody_opened, "session_outside_emergency"),
        (_entered_after_the_end, "session_outside_emergency"),
        (_entered_after_its_time, "session_outside_emergency"),
        (_relayed_after_the_end, "relayed_after_emergency"),
        (_relayed_after_its_time, "relayed_after_emergency"),
        (_entered_by_the_ordinary_policy, "decided_by_wrong_policy"),
        (_operated_by_the_ordinary_policy, "decided_by_wrong_policy"),
        (_an_ordinary_session_decided_by_the_fixed_policy, "decided_by_wrong_policy"),
        (_opened_again_after_the_end, "emergency_opened_again"),
    ],
)
def test_every_broken_rule_of_emergencies_is_found(spoil: Callable[[Alarm], None], reason: str) -> None:
    story = Alarm()
    spoil(story)
    report = verify(story)
    assert (report.ok, report.reason) == (False, reason)
