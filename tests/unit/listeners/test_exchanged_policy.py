"""A policy that is exchanged while it is asked: nobody is denied for that, and the record names who answered."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from broker.authz.question import SessionFacts
from broker.model.decision import Decision, EntryPoint
from tests.unit.listeners.test_locked_decisions import ANA, NOW, Story

YES = b'{"allow":true,"reasons":[],"obligations":[],"rule":"everybody"}'


@dataclass
class Engine:
    """Answers when it is told to; `exchanged` is how often it gets another revision before it answers."""

    exchanged: int
    revision: str = "r0"
    asked: int = 0

    def decide(self, entry_point: EntryPoint, question: bytes, answered: Callable[[bytes], None]) -> None:
        self.asked += 1
        if self.asked <= self.exchanged:
            self.revision = f"r{self.asked}"
        answered(YES)


def decided_by(engine: Engine) -> tuple[Decision, dict[str, object]]:
    story = Story()
    found: list[Decision] = []
    story.desk._policy = engine
    facts = SessionFacts(id="", listener="https", peer="127.0.0.1:1", started=NOW)
    story.desk.admin(ANA, "me.read", {"kind": "me"}, facts, found.append)
    return found[0], story.records[-1]


def test_a_policy_that_was_exchanged_once_is_asked_again() -> None:
    engine = Engine(exchanged=1)
    decision, record = decided_by(engine)
    assert decision.allow
    assert (engine.asked, record["revision"]) == (2, "r1")
    assert orjson.loads(YES)["rule"] == record["answer"]["rule"]


def test_a_policy_that_is_exchanged_again_and_again_is_a_denial() -> None:
    engine = Engine(exchanged=9)
    decision, _ = decided_by(engine)
    assert not decision.allow
    assert decision.reasons == ("policy_unavailable",)
    assert engine.asked == 2
