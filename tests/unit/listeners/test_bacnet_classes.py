"""What policy authors say of BACnet services holds for every question, and priority 6 for no answer."""

from dataclasses import replace

import pytest

from broker.engine.sessions import Session
from broker.model.action_rule import ActionRule
from broker.model.decision import Decision
from broker.model.operation import BacnetProperty, Operation, Request, Touch
from broker.model.place import BacnetAddress, Point, Protocol
from broker.model.vocabulary import Action, Reason
from broker.model.way import BacnetIpWay
from broker.wire.bacnet.interpreter import interpret
from tests.unit.listeners.test_locked_decisions import AHU, ANA, NOW, Story

ZONE = Point("zone", BacnetAddress("analog-value", 1, priority_lowest=5, priority_highest=16), Action.ADJUST)
PLACE = BacnetProperty("analog-value", 1, "present-value")
VAV = replace(AHU, id="vav-1", protocol=Protocol.BACNET, way=BacnetIpWay("127.0.0.1", 47808, 1001), points=(ZONE,))
WRITE = Operation("bacnet", Action.ADJUST, "write-property", PLACE, (Touch(ZONE, True, "21"),), priority=12)


def ask(story: Story, operation: Operation, session: Session | None = None) -> Decision:
    session = session or Session("ses-1", ANA, VAV, "bacnet", "127.0.0.1:1", NOW)
    found: list[Decision] = []
    decided = story.desk.operation(session, Request((operation,), b"", "d" * 43), 0, found.append)
    return decided if isinstance(decided, Decision) else found[0]


def asked_action(story: Story) -> object:
    return story.records[-1]["input"]["operation"]["action"]


def test_rules_of_policy_authors_class_what_the_policy_is_asked() -> None:
    story = Story()
    story.desk.classify((ActionRule(Action.CONFIG, ("write-property",), priorities=(9, 16)),))
    assert ask(story, WRITE).allow
    assert asked_action(story) == "config"


def test_new_rules_end_every_lease() -> None:
    story, session = Story(), Session("ses-1", ANA, VAV, "bacnet", "127.0.0.1:1", NOW)
    ask(story, WRITE, session)
    ask(story, WRITE, session)
    assert (len(story.records), asked_action(story)) == (1, "adjust")
    story.desk.classify((ActionRule(Action.CONTROL, ("write-property",)),))
    ask(story, WRITE, session)
    assert (len(story.records), asked_action(story)) == (2, "control")


def test_a_native_write_without_priority_is_asked_about_at_16_and_classed_so() -> None:
    story = Story()
    story.desk.classify((ActionRule(Action.CONTROL, ("write-property",), priorities=(9, 16), points=("adjust",)),))
    request = interpret(VAV, bytes.fromhex("000f 0c00800001 1955 3e 4441a80000 3f".replace(" ", "")))
    assert ask(story, *request.operations).allow
    asked = story.records[-1]["input"]["operation"]
    assert (asked["action"], asked["priority"]) == ("control", 16)


@pytest.mark.parametrize(
    "operation",
    [
        replace(WRITE, action=Action.OVERRIDE, priority=6),
        replace(WRITE, action=Action.CONFIG, touches=(), described=False, priority=6),
        replace(WRITE, action=Action.OVERRIDE, address=BacnetProperty("analog-value", 1, "priority-array", 6)),
    ],
    ids=["a point", "an object that is not described", "its place in the array"],
)
def test_priority_6_is_denied_without_asking_and_that_is_recorded(operation: Operation) -> None:
    story = Story()
    story.desk.classify((ActionRule(Action.ADJUST, ("write-property",)),))
    decision = ask(story, operation)
    assert (decision.allow, decision.reasons) == (False, (Reason.PRIORITY_NOT_ALLOWED,))
    assert story.asked == []
    assert story.records[-1]["input"]["operation"]["service"] == "write-property"
