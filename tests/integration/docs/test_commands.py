"""The commands in README, tutorial and the page on certificates do what these pages say, with a real broker."""

import shutil
import socket
from pathlib import Path

import pytest

from tests.integration.docs.console import Shell, checkout_like, steps

ROOT = Path(__file__).resolve().parents[3]


def test_the_quick_tour_of_the_readme_does_what_it_says_and_leaves_the_checkout_clean(tmp_path: Path) -> None:
    checkout_like(tmp_path)
    with Shell(tmp_path, {}) as shell:
        for step in steps((ROOT / "README.md").read_text()):
            shell.run(step)
    assert {path.name for path in tmp_path.iterdir()} == {".venv", ".dev"}


def test_the_first_hour_does_what_it_says_and_leaves_nothing_behind(tmp_path: Path) -> None:
    if shutil.which("mbpoll") is None:
        pytest.skip("mbpoll is not installed")
    checkout_like(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with Shell(tmp_path, {"1502": port}) as shell:
        for step in steps((ROOT / "docs" / "tutorial" / "first-hour.md").read_text()):
            shell.run(step)
    assert {path.name for path in tmp_path.iterdir()} == {".venv"}


def test_the_page_on_certificates_does_what_it_says(tmp_path: Path) -> None:
    checkout_like(tmp_path)
    with Shell(tmp_path, {}) as shell:
        for step in steps((ROOT / "docs" / "how-to" / "certificates.md").read_text()):
            shell.run(step)


def test_a_command_that_fails_or_says_something_else_is_noticed(tmp_path: Path) -> None:
    wrong = "```console\n$ echo one two\none … three\n```\n"
    failing = "```console\n$ false\n```\n"
    for page in (wrong, failing):
        with Shell(tmp_path, {}) as shell, pytest.raises(AssertionError):
            for step in steps(page):
                shell.run(step)
