"""Putting a question to a policy so that it is known which revision of it answered."""

from collections.abc import Callable

from broker.engine.ports import PolicyEngine
from broker.errors import PolicyUnavailableError
from broker.model.decision import EntryPoint
from broker.model.vocabulary import Reason

Answered = Callable[[bytes | PolicyUnavailableError, str], None]


def put_question(
    policy: PolicyEngine, entry_point: EntryPoint, question: bytes, answered: Answered, again: bool = False
) -> None:
    """Put a question to a policy; `answered` gets the answer and the revision that gave it.

    If the policy was exchanged meanwhile, it cannot be said which one answered, and a decision must be one that can be
    taken again: then the new one is asked, once.
    """
    revision = policy.revision

    def given(raw: bytes | PolicyUnavailableError) -> None:
        if policy.revision == revision:
            answered(raw, revision)
        elif again:
            word = Reason.POLICY_UNAVAILABLE
            answered(PolicyUnavailableError(word, "The policy was exchanged meanwhile, and once more."), revision)
        else:
            put_question(policy, entry_point, question, answered, again=True)

    policy.decide(entry_point, question, given)
