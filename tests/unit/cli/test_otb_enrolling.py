"""Where the code of an invitation comes from."""

import argparse
from pathlib import Path

import pytest

from broker.cli.people.arguments import parser
from broker.cli.people.enrolling import _code
from broker.cli.people.exits import CommandError
from broker.identity.invitation_code import encode_code

CODE = encode_code(b"12345", b"0" * 16)


def given(*words: str) -> argparse.Namespace:
    return parser().parse_args(["enrol", *words])


def test_a_code_that_others_can_see_among_the_arguments_is_refused() -> None:
    with pytest.raises(CommandError, match="code_visible") as refused:
        _code(given(CODE))
    assert CODE not in str(refused.value)


def test_a_code_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "code").write_text(f"{CODE}\n")
    assert _code(given("--code-file", str(tmp_path / "code"))) == CODE
