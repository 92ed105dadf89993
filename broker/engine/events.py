"""What came of a request, in the past tense: the engine's last word, which a listener puts into its protocol's
words.
"""

from dataclasses import dataclass

from broker.model.decision import Decision
from broker.model.operation import Relayed


@dataclass(slots=True)
class Refused:
    """Nothing was sent. `reasons` are `Reason` words; `decisions` are those that were taken, denials among them."""

    reasons: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()


@dataclass(slots=True)
class Answered:
    """It was handed to the device, with this result; `recorded` is False if the outcome could not be recorded.

    A success whose outcome is not recorded must not reach the caller as a success.
    """

    relayed: Relayed
    decisions: tuple[Decision, ...]
    recorded: bool = True
    before: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()


Finding = Refused | Answered
