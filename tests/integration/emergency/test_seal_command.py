"""`otbroker break-glass`: parts are shown once, written for their owner alone, and replace those from before."""

import json
import re
import stat
from pathlib import Path

import pytest

from broker.adapters import sealed_parts
from broker.adapters.break_glass_file import NAME, BreakGlassFile
from broker.adapters.host_journal import FOLDER, LARGEST_FILE, HostJournal
from broker.adapters.sealed_parts import opens
from broker.cli import break_glass_commands
from broker.cli.otbroker import main
from broker.model.parts import decode_part


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sealed_parts, "COST", 2**4)
    folder = tmp_path / "state"
    folder.mkdir()
    file = BreakGlassFile(folder)
    monkeypatch.setattr(break_glass_commands, "_file", lambda settings: file)
    return folder


def seal(*words: str) -> int:
    return main(["break-glass", "seal", *words])


def test_the_parts_printed_are_those_that_open(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seal("--parts", "3", "--needed", "2") == 0
    printed = re.findall(r"^    (\S+)$", capsys.readouterr().out, re.MULTILINE)
    assert len(printed) == 3
    kept = BreakGlassFile(state).read()
    assert kept.seal is not None
    assert opens(kept.seal, [decode_part(printed[0]), decode_part(printed[2])])
    assert not opens(kept.seal, [decode_part(printed[0])])
    assert stat.S_IMODE((state / NAME).stat().st_mode) == 0o600
    written = (state / NAME).read_text()
    assert not any(text in written or text.replace("-", "") in written for text in printed)


def test_parts_go_into_files_for_their_owner_alone_and_none_is_shown(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seal("--parts", "2", "--needed", "2", "--out", str(tmp_path / "parts")) == 0
    files = sorted((tmp_path / "parts").iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 2
    texts = [file.read_text().splitlines()[-1] for file in files]
    assert [decode_part(text).number for text in texts] == [1, 2]
    assert not any(text in capsys.readouterr().out for text in texts)
    assert seal("--parts", "2", "--needed", "2", "--out", str(tmp_path / "parts")) == 1, "never written over"


def test_sealing_anew_replaces_the_parts_and_keeps_the_emergencies(state: Path) -> None:
    seal("--parts", "2", "--needed", "2")
    first = json.loads((state / NAME).read_text())
    seal("--parts", "4", "--needed", "3")
    second = json.loads((state / NAME).read_text())
    assert first["seal"]["id"] != second["seal"]["id"]
    assert (len(second["seal"]["parts"]), second["seal"]["needed"]) == (4, 3)
    assert second["emergencies"] == first["emergencies"]


@pytest.mark.parametrize(("parts", "needed"), [(2, 1), (2, 3), (17, 2), (0, 0)])
def test_a_seal_that_one_person_or_nobody_could_open_is_not_made(state: Path, parts: int, needed: int) -> None:
    assert seal("--parts", str(parts), "--needed", str(needed)) == 1
    assert not (state / NAME).exists()


def test_the_status_says_what_is_left(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["break-glass", "status"]) == 1
    seal("--parts", "3", "--needed", "2")
    capsys.readouterr()
    assert main(["break-glass", "status"]) == 0
    assert "3 of 3 parts left, 2 needed" in capsys.readouterr().out


def test_sealing_is_told_before_it_counts_and_how_it_came_out_without_the_parts(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seal("--parts", "3", "--needed", "2") == 0
    printed = re.findall(r"^    (\S+)$", capsys.readouterr().out, re.MULTILINE)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "part-1").touch()
    assert seal("--parts", "3", "--needed", "2", "--out", str(tmp_path / "parts")) == 1
    told = (state / FOLDER / "pending.jsonl").read_text()
    assert not any(text in told or text.replace("-", "") in told for text in printed)
    taken, kept = HostJournal(state).take(), BreakGlassFile(state).read().seal
    assert taken is not None and kept is not None
    assert {command.command for command in taken.commands} == {"break-glass seal"}
    assert [command.outcome for command in taken.commands] == ["begun", "done", "begun", "folder_not_empty"]
    assert taken.commands[1].about == {"seal": kept.id, "parts": "3", "needed": "2"}


def test_what_cannot_be_told_is_not_sealed(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    HostJournal(state).make()
    (state / FOLDER / "pending.jsonl").write_bytes(b"x" * LARGEST_FILE)
    assert seal("--parts", "2", "--needed", "2", "--out", str(tmp_path / "parts")) == 1
    assert "not begun" in capsys.readouterr().err
    assert not (state / NAME).exists()
    assert not (tmp_path / "parts").exists()
