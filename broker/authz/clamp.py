"""How long an answer may be reused, whatever the policy wished."""

from dataclasses import replace

from broker.model.decision import Answer

LONGEST_SECONDS = 60.0


def clamp(answer: Answer, now: float, ends: float, *, once: bool = False) -> Answer:
    """Cut `valid_until` to the earliest known end and a minute from now; none with obligations, in the past, or for
    what may be done only `once`.
    """
    if answer.valid_until is None:
        return answer
    until = min(answer.valid_until, now + LONGEST_SECONDS, ends)
    return replace(answer, valid_until=None if once or answer.obligations or until <= now else until)
