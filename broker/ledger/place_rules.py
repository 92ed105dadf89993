"""What must hold of the operations of one request: their intents stand in a row, and what came of them goes together.

A request of several is recorded in one go, so the intent of each but the first stands right behind its neighbour's, and
so does its outcome.
"""

from broker.ledger.operation_rules import Record, broken
from broker.model.vocabulary import Result

_STOPPED = frozenset({Result.DEVICE_REFUSED.value, Result.UNATTEMPTED.value, Result.UNKNOWN.value})
"""Behind these a device may have stopped."""


class Places:
    """The last intent and the last outcome, as far as the next ones depend on them."""

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum
        self._intent: tuple[int, object, object, object] = (-1, None, None, None)
        self._outcome = (-1, "")

    def intended(self, index: int, record: Record) -> bool:
        """Whether an intent stands where it says that it does. Raises IntegrityError."""
        before, place = self._intent, record.get("place", 0)
        if type(place) is not int or place < 0:
            raise broken("place_malformed", f"record {index}")
        self._intent = (index, record["session"], record.get("digest"), place)
        known = index - 1 >= self._minimum
        return not place or not known or before == (index - 1, record["session"], record.get("digest"), place - 1)

    def came_out(self, intent: int, result: str) -> None:
        """An outcome. Raises IntegrityError."""
        before, self._outcome = self._outcome, (intent, result)
        if result != Result.UNATTEMPTED.value or intent - 1 < self._minimum:
            return
        if before[0] != intent - 1 or before[1] not in _STOPPED:
            raise broken("unattempted_without_cause", f"record {intent}")
