"""The reference pages say what the code says."""

import pytest

from broker.model.vocabulary import Action, EndReason, Reason, RecordKind, Result
from broker.model.words import ACTIONS, END_REASONS, REASONS, RECORD_KINDS, RESULTS
from tests import reference


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_each_reference_page_is_what_is_generated(name: str) -> None:
    assert name not in reference.differing(), "run `make docs`"


def test_there_is_no_reference_page_that_nothing_generates() -> None:
    assert {path.name for path in reference.FOLDER.iterdir()} == set(reference.pages())


def test_every_constant_word_is_explained() -> None:
    explained = (ACTIONS, REASONS, END_REASONS, RESULTS, RECORD_KINDS)
    assert [set(table) for table in explained] == [
        set(words) for words in (Action, Reason, EndReason, Result, RecordKind)
    ]


def test_a_page_that_differs_is_named(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert set(reference.differing()) == set(reference.pages())
