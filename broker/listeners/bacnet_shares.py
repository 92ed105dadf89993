"""What the BACnet streams of one subject may keep together, however many of them it opens."""

from broker.engine.bacnet_conversation import BacnetConversation
from broker.engine.rate import Rate, Rates
from broker.model.subject import Subject

MOST_IN_SEGMENTS_OF_SUBJECT = 64
"""Requests that are half-sent, each of as many octets at most as one may have."""

DATAGRAMS_PER_SECOND = 8000.0
"""As one tunnel or node may send; `wire/bacnet/weight` says what counts for more."""
DATAGRAMS_PER_SECOND_OF_SUBJECT = 2 * DATAGRAMS_PER_SECOND
"""As all of one subject may send together: one that floods leaves another of the same subject its own rate."""
MOST_RATES = 4096


class SubjectShares:
    """Who has how many requests in segments under way, and how fast each may send."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], Rate] = {}
        self._of: dict[tuple[str, str], set[BacnetConversation]] = {}

    def join(self, subject: Subject, conversation: BacnetConversation) -> None:
        """One more stream of the subject."""
        self._of.setdefault(_whose(subject), set()).add(conversation)

    def leave(self, subject: Subject, conversation: BacnetConversation) -> None:
        """One less: what it had is gone."""
        rest = self._of.get(_whose(subject), set())
        rest.discard(conversation)
        if not rest:
            self._of.pop(_whose(subject), None)

    def has_room(self, subject: Subject) -> bool:
        """Whether one more request of the subject may come in segments."""
        streams = self._of.get(_whose(subject), ())
        return sum(stream.in_segments for stream in streams) < MOST_IN_SEGMENTS_OF_SUBJECT

    def rate_of(self, subject: Subject) -> Rates:
        """For one more stream: its own rate, and what all streams of the subject may send together."""
        whose = _whose(subject)
        if whose not in self._rates and len(self._rates) >= MOST_RATES:
            del self._rates[next(iter(self._rates))]
        together = self._rates.setdefault(whose, Rate(DATAGRAMS_PER_SECOND_OF_SUBJECT))
        return Rates(Rate(DATAGRAMS_PER_SECOND), together)


def _whose(subject: Subject) -> tuple[str, str]:
    return subject.organisation, subject.id
