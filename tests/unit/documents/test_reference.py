"""The reference pages say what the code says."""

import ast
from pathlib import Path

import pytest

import broker
from broker.model.frame_words import FRAME_REFUSALS
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


def _codes_raised(files: str) -> set[str]:
    """What these raise FrameError or LimitError with, where they say so in place."""
    called = [
        node
        for path in Path(broker.__file__).parent.glob(files)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("FrameError", "LimitError", "Malformed")
    ]
    firsts = [call.args[0] for call in called if call.args]
    return {first.value for first in firsts if isinstance(first, ast.Constant) and isinstance(first.value, str)}


@pytest.mark.parametrize("files", ["wire/**/*.py", "engine/**/*.py", "listeners/websocket.py"])
def test_every_code_by_which_the_wire_refuses_octets_is_explained(files: str) -> None:
    assert _codes_raised(files)
    assert _codes_raised(files) <= set(FRAME_REFUSALS)


def test_a_page_that_differs_is_named(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert set(reference.differing()) == set(reference.pages())
