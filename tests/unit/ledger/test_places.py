"""What an auditor's verification holds of requests of several operations: in a row, and nothing unattempted alone."""

import pytest

from broker.ledger import operation_records
from broker.ledger.verify import verify_ledger
from tests.unit.ledger.scenes import MemoryReader, Story, publish
from tests.unit.ledger.test_verify import VKEY


class Several(Story):
    """A history with one session, and requests of several operations in it."""

    def __init__(self) -> None:
        super().__init__()
        self.started().opened()
        self.decided = self.decision()

    def intents(self, *places: int | None, digest: str = "d") -> list[int]:
        return [self.one(place, digest) for place in places]

    def one(self, place: int | None, digest: str = "d") -> int:
        words = {"session": "s1", "decision": self.decided, "service": "write-property-multiple"}
        return self.add(operation_records.intent(self.time, **words, digest=digest * 43, place=place, values=("1",)))

    def outcomes(self, intents: list[int], *results: str) -> "Several":
        for intent, result in zip(intents, results, strict=True):
            self.outcome(intent, result)
        return self


def reason(story: Story) -> str:
    return verify_ledger(MemoryReader(publish(story.entries)), VKEY).reason


@pytest.mark.parametrize(
    "results",
    [
        ("done", "done", "done"),
        ("done", "device_refused", "unattempted"),
        ("device_refused", "unattempted", "unattempted"),
        ("unknown", "unknown", "unattempted"),
        ("unknown", "unknown", "unknown"),
    ],
)
def test_what_a_device_can_have_made_of_a_request_verifies(results: tuple[str, ...]) -> None:
    story = Several()
    assert reason(story.outcomes(story.intents(0, 1, 2), *results)) == ""


@pytest.mark.parametrize(
    "results",
    [("unattempted", "unattempted", "unattempted"), ("done", "unattempted", "unattempted")],
    ids=["nothing was refused", "what came before was done"],
)
def test_nothing_is_unattempted_without_cause(results: tuple[str, ...]) -> None:
    story = Several()
    assert reason(story.outcomes(story.intents(0, 1, 2), *results)) == "unattempted_without_cause"


def test_a_request_of_one_operation_cannot_be_unattempted() -> None:
    story = Several()
    story.outcomes(story.intents(None), "device_refused")
    assert reason(story.outcomes(story.intents(None), "unattempted")) == "unattempted_without_cause"


@pytest.mark.parametrize("places", [(1,), (0, 2), (0, 1, 1), (1, 0)])
def test_what_is_relayed_stands_in_a_row(places: tuple[int, ...]) -> None:
    story = Several()
    assert reason(story.outcomes(story.intents(*places), *["done"] * len(places))) == "operation_out_of_place"


def test_operations_of_two_requests_are_not_in_a_row() -> None:
    story = Several()
    intents = story.intents(0) + story.intents(1, digest="e")
    assert reason(story.outcomes(intents, "done", "done")) == "operation_out_of_place"


def test_a_part_that_was_denied_stands_where_it_was_asked() -> None:
    story = Several()
    for place in (1, 4):
        story.outcome(story.one(place), "denied")
    assert reason(story.outcomes(story.intents(0, 1, 2, digest="e"), "done", "done", "done")) == ""


@pytest.mark.parametrize("place", [-1, True, "1"])
def test_a_place_is_a_number(place: object) -> None:
    story = Several()
    story.one(place)  # type: ignore[arg-type]
    assert reason(story) == "place_malformed"
