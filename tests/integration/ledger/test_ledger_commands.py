"""`otbroker ledger disclose` and `erase`, on the files of a ledger."""

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from broker.adapters.ledger_disclosures import FOLDER, DisclosureWriter
from broker.adapters.ledger_files_writer import State
from broker.cli.otbroker import main
from broker.ledger.disclosure import verify_disclosure

UNKNOWN = "sha256-" + "A" * 43


@pytest.fixture
def kept(tmp_path: Path) -> str:
    """A commitment of the ledger in `tmp_path`, to a value that a terminal would act upon."""
    (tmp_path / "journal").mkdir()
    writer = DisclosureWriter(tmp_path, SimpleNamespace(state=State.OPEN, detail="", size=0))
    commitment = writer.commit_to('{"values":["\x1b[2J4711"]}')
    asyncio.run(writer.close())
    return commitment


def test_a_value_is_shown_with_the_salt_that_proves_it(
    tmp_path: Path, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "disclose", str(tmp_path), kept]) == 0
    text = capsys.readouterr().out
    assert r'value  {"values":["\u001b[2J4711"]}' in text
    assert "\x1b" not in text
    assert main(["ledger", "disclose", str(tmp_path), kept, UNKNOWN, "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["missing"] == [UNKNOWN]
    (found,) = told["disclosures"]
    assert verify_disclosure(kept, found["value"], base64.b64decode(found["salt"])) == found["value"]


def test_what_is_erased_is_gone_and_what_was_not_there_is_told(
    tmp_path: Path, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "erase", str(tmp_path), kept, UNKNOWN]) == 1
    said = capsys.readouterr()
    assert said.out == f"{kept}: erased\n"
    assert said.err.startswith(f"{UNKNOWN}: not kept here")
    assert not any(b"4711" in path.read_bytes() for path in (tmp_path / FOLDER).iterdir())
    assert main(["ledger", "disclose", str(tmp_path), kept]) == 1


def test_a_value_that_was_exchanged_is_not_shown(tmp_path: Path, kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (tmp_path / FOLDER).iterdir()
    path.write_bytes(path.read_bytes().replace(b"4711", b"4712"))
    assert main(["ledger", "disclose", str(tmp_path), kept]) == 1
    said = capsys.readouterr()
    assert "4712" not in said.out
    assert "not the one that was recorded" in said.err


def test_files_that_cannot_be_used_are_explained(tmp_path: Path, kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (tmp_path / FOLDER).iterdir()
    path.unlink()
    path.symlink_to("/nowhere")
    assert main(["ledger", "erase", str(tmp_path), kept]) == 1
    assert "Only the user that the broker runs as, and root" in capsys.readouterr().err
