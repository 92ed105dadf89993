"""Rules between the records of operations that took a person: every way round them is found."""

import pytest

from broker.errors import IntegrityError
from broker.ledger import operation_records, records
from broker.ledger.invariants import Invariants
from tests.unit.ledger.scenes import OPEN_WINDOW, START, Story

UNTIL = START + 300


class Waiting(Story):
    """A running broker with ana's session s1, and one approval of it."""

    def __init__(self):
        super().__init__()
        self.started().opened()
        self.asked()

    def asked(self, approval="arm-1", digest="d1", decisions=(2,)):
        facts = {"session": "s1", "subject": "ana", "device": "plant/ahu-1", "digest": digest}
        needs = {"needs": ["second_person"], "decisions": list(decisions), "until": UNTIL}
        return self.add(records.approval_asked(self.time, approval=approval, **facts, **needs))

    def armed(self, by="bo", obligation="second_person", approval="arm-1"):
        facts = {"approval": approval, "session": "s1", "obligation": obligation, "by": by}
        return self.add(records.operation_armed(self.time, until=UNTIL, why="", **facts))

    def used(self, *decisions, approval="arm-1", session="s1"):
        return self.add(records.arming_used(self.time, approval=approval, session=session, decisions=decisions))

    def ended(self, approval="arm-1"):
        return self.add(records.approval_ended(self.time, approval=approval, session="s1", reason="expired"))

    def decided(self, *armings, obligations=(), session="s1"):
        """An allow that was told of these armings: pairs of approval and who armed it."""
        armed = [
            {"approval": approval, "kind": "second_person", "by": by, "at": int(START), "until": int(UNTIL)}
            for approval, by in armings
        ]
        answer = {"allow": True, "reasons": [], "obligations": list(obligations), "rule": "r"}
        return self.add(
            records.decision(
                self.time,
                id=f"d{len(self.entries)}",
                session=session,
                entry_point="operation.decision",
                input={**OPEN_WINDOW, "armed": armed},
                answer=answer,
                revision="p",
                allow=True,
                reasons=(),
            )
        )

    def done(self, decision, digest="d1", result="done", session="s1"):
        facts = {"session": session, "decision": decision, "service": "write-single-register", "digest": digest}
        intent = self.add(operation_records.intent(self.time, **facts))
        self.add(operation_records.outcome(self.time, intent=intent, result=result))

    def verified(self):
        invariants = Invariants()
        for index, entry in enumerate(self.entries):
            invariants.check(index, entry)


def broken(story):
    with pytest.raises(IntegrityError) as found:
        story.verified()
    return found.value.code


def test_asked_armed_used_and_done_once_holds():
    story = Waiting()
    story.done(story.decided(obligations=["second_person"]), result="denied")
    story.armed()
    decision = story.decided(("arm-1", "bo"))
    story.used(decision)
    story.done(decision)
    story.verified()


def test_several_operations_of_one_request_rest_on_one_use():
    story = Waiting()
    story.armed()
    decisions = [story.decided(("arm-1", "bo")), story.decided(("arm-1", "bo"))]
    story.used(*decisions)
    for decision in decisions:
        story.done(decision)
    story.verified()


@pytest.mark.parametrize("result", ["done", "unknown", "device_refused", "no_reply"])
def test_what_obliges_a_person_is_not_relayed_without(result):
    story = Waiting()
    story.done(story.decided(obligations=["second_person"]), result=result)
    assert broken(story) == "relayed_without_the_person"


def test_what_was_armed_is_used_up_before_it_is_relayed():
    story = Waiting()
    story.armed()
    story.done(story.decided(("arm-1", "bo")))
    assert broken(story) == "relayed_without_the_person"


def test_one_use_is_for_one_intent():
    story = Waiting()
    story.armed()
    decision = story.decided(("arm-1", "bo"))
    story.used(decision)
    story.done(decision)
    story.done(decision)
    assert broken(story) == "relayed_without_the_person"


def test_it_is_used_for_the_request_that_was_shown():
    story = Waiting()
    story.armed()
    decision = story.decided(("arm-1", "bo"))
    story.used(decision)
    story.done(decision, digest="another")
    assert broken(story) == "relayed_without_the_person"


def test_a_decision_taken_before_serves_nobody_after_the_use():
    story = Waiting()
    story.armed()
    first, second = story.decided(("arm-1", "bo")), story.decided(("arm-1", "bo"))
    story.used(first)
    story.done(second)
    assert broken(story) == "relayed_without_the_person"


@pytest.mark.parametrize("twice", ["used", "ended"])
def test_what_is_over_is_not_used(twice):
    story = Waiting()
    story.armed()
    decision = story.decided(("arm-1", "bo"))
    story.used(decision) if twice == "used" else story.ended()
    story.used(decision)
    assert broken(story) == "approval_not_open"


@pytest.mark.parametrize(("by", "obligation"), [("ana", "second_person"), ("bo", "step_up")])
def test_it_is_armed_by_the_right_person(by, obligation):
    story = Waiting()
    story.armed(by=by, obligation=obligation)
    assert broken(story) == "armed_by_the_wrong_person"


def test_a_policy_is_told_only_of_what_was_armed():
    story = Waiting()
    story.decided(("arm-1", "bo"))
    assert broken(story) == "armed_without_record"
    story = Waiting()
    story.armed()
    story.decided(("arm-1", "eve"))
    assert broken(story) == "armed_without_record"
    story = Waiting()
    story.decided(("arm-9", "bo"))
    assert broken(story) == "approval_not_open"


def test_it_is_used_in_time():
    story = Waiting()
    story.armed()
    decision = story.decided(("arm-1", "bo"))
    story.time = UNTIL + 2
    story.used(decision)
    assert broken(story) == "arming_had_expired"


def test_it_is_used_by_decisions_that_rest_on_it():
    story = Waiting()
    story.armed()
    story.used(story.decided())
    assert broken(story) == "decision_relies_on_nobody"
    story = Waiting()
    story.asked("arm-2", "d2")
    story.armed()
    story.armed(approval="arm-2")
    story.used(story.decided(("arm-2", "bo")))
    assert broken(story) == "armed_for_another"


def test_an_approval_does_not_outlive_the_broker():
    story = Waiting()
    story.armed()
    story.add(records.session_closed(story.time, session="s1", reason="broker_stopped", operations=0, refusals=0))
    story.stopped().started()
    story.opened("s2")
    story.decided(("arm-1", "bo"), session="s2")
    assert broken(story) == "approval_not_open"
