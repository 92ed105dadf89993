"""Changes in words, and how many of them a record holds."""

import orjson
import pytest

from broker.access.change_words import LONGEST_SENTENCE, MOST_SENTENCES, sentence, told
from broker.access.changes import Change
from broker.ledger import records
from broker.ledger.records import LARGEST_RECORD
from broker.model.vocabulary import Action, RecordKind


def change(gained: bool = True, **others: object) -> Change:
    given = {"who": "ana", "device": "plant/ahu-1", "action": Action.VIEW, "points": ()} | others
    return Change(gained=gained, **given)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (change(), "+ ana gains view on plant/ahu-1"),
        (change(False, points=("a", "b")), "- ana loses view on plant/ahu-1: a, b"),
        (
            change(windows=("w",), terms=("a: maximum 1 → 2",)),
            "+ ana gains view on plant/ahu-1 in w (a: maximum 1 → 2)",
        ),
        (
            change(who="organisation acme", note="trust anchor added"),
            "+ organisation acme gains access: trust anchor added",
        ),
    ],
)
def test_a_change_is_a_sentence(changed: Change, words: str) -> None:
    assert sentence(changed) == words


def test_gains_and_losses_and_what_waits_are_counted() -> None:
    words = told([change(), change(False), change(False)], [change(who="bo")])
    assert (words.gained, words.lost, words.gains_waiting) == (1, 2, 1)
    assert words.waiting == ("+ bo gains view on plant/ahu-1",)


def test_what_took_effect_comes_first_and_the_rest_is_only_counted() -> None:
    words = told([change()] * (MOST_SENTENCES - 1), [change()] * 7)
    assert (len(words.changes), len(words.waiting), words.gains_waiting) == (MOST_SENTENCES - 1, 1, 7)


def test_the_largest_change_fits_into_one_record_whole() -> None:
    words = told([change(who="\U0001f3ed" * 1000)] * 500, [change()] * 500)
    assert {len(text) for text in words.changes} == {LONGEST_SENTENCE}
    detail = {"lost": words.lost, "gained": words.gained, "changes": words.changes, "waiting": words.waiting}
    record = records.changed(RecordKind.ACCESS_CHANGED, 0.0, revision="b" * 43, previous="a" * 43, detail=detail)
    assert len(record) <= LARGEST_RECORD
    assert orjson.loads(record)["detail"]["gained"] == 500
    assert len(orjson.loads(record)["detail"]["changes"]) == MOST_SENTENCES
