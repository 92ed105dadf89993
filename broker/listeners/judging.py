"""From what a policy engine said to an answer and a decision of the broker."""

from typing import Any

from broker.authz import answer as answers
from broker.authz.clamp import clamp
from broker.errors import PolicyUnavailableError
from broker.model.decision import BY_PERSONS, Answer, Decision, EntryPoint
from broker.model.lock import Lock
from broker.model.vocabulary import Reason


def judged(
    raw: bytes | PolicyUnavailableError, now: float, ends: float, entry_point: EntryPoint, *, once: bool
) -> Answer:
    """What the policy said, as the broker takes it. Only operations can wait for persons."""
    if isinstance(raw, PolicyUnavailableError):
        return denial(_unavailable(raw))
    answer = answers.read_answer(raw)
    if entry_point is not EntryPoint.OPERATION and not BY_PERSONS.isdisjoint(answer.obligations):
        return denial(Reason.OBLIGATION_UNMET)
    return clamp(answer, now, ends, once=once)


def waits_for_persons(answer: Answer, question: dict[str, Any]) -> bool:
    """Whether nothing will come of it but a refusal, which counts as one: whoever repeats it fills no disk."""
    if not answer.obligations:
        return False
    armed = {arming["kind"] for arming in question.get("armed", ())}
    return not BY_PERSONS.difference(armed).isdisjoint(answer.obligations)


def denial(reason: Reason) -> Answer:
    """A denial of the broker's own."""
    return Answer(False, (reason,))


def refused_by(lock: Lock) -> Answer:
    """What a lock answers."""
    return Answer(False, (Reason.SITE_ISOLATED if lock.isolation else Reason.LOCKED,), rule=f"lock/{lock.id}")


def _unavailable(error: PolicyUnavailableError) -> Reason:
    return Reason.POLICY_LATE if error.code == Reason.POLICY_LATE else Reason.POLICY_UNAVAILABLE


def as_decision(decision_id: str, index: int, answer: Answer, question: dict[str, Any]) -> Decision:
    """An answer that has its place in the record."""
    upcoming = (question.get("windows") or {}).get("next")
    return Decision(
        decision_id,
        index,
        answer.allow,
        answer.reasons,
        answer.obligations,
        answer.valid_until,
        answer.rule,
        (upcoming["id"], upcoming["opens"], upcoming["closes"]) if upcoming else None,
    )
