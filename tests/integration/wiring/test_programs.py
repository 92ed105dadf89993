"""The two programs as processes: what they say when they are ready, and how they end when nobody reads them."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from broker.adapters.ledger_files_disk import FolderLock
from broker.cli.otbroker import main, parser
from broker.cli.program import DEFAULT_SETTINGS
from broker.cli.walkthrough import StepFailedError, Story, counted, emptied, in_words
from broker.errors import UnavailableError
from tests.integration.wiring.reviewing import GAIN, INVENTORY

WINDOW = """\
windows:
  - id: always
    scope: {sites: [plant]}
    starts: 2026-01-01T00:00:00
    zone: UTC
    duration: PT24H
    recurrence: FREQ=DAILY
"""
MODULES = {"otb": "broker.cli.otb", "otbroker": "broker.cli.otbroker"}
LIMIT_SECONDS = 60


def program(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", MODULES[name], *arguments]


@pytest.mark.parametrize("name", MODULES)
def test_each_program_tells_its_version(name: str) -> None:
    done = subprocess.run(program(name, "--version"), capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert (done.stdout, done.stderr, done.returncode) == (f"{name} {version('otbroker')}\n", "", 0)


@pytest.mark.parametrize("name", MODULES)
def test_a_reader_who_leaves_ends_each_program_without_a_word(name: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            program(name, "completion", "bash"), stdout=writing, stderr=subprocess.PIPE, timeout=LIMIT_SECONDS
        )
    finally:
        os.close(writing)
    assert (done.stderr, done.returncode) == (b"", 1)


def test_every_command_looks_for_the_settings_in_one_place() -> None:
    assert DEFAULT_SETTINGS == "/etc/otbroker/broker.yaml"
    assert parser().parse_args(["serve"]).config == DEFAULT_SETTINGS
    for command in (["show"], ["diff"], ["apply"], ["check-certificate", "x"]):
        assert parser().parse_args(["config", *command]).settings == DEFAULT_SETTINGS


@pytest.fixture
def building(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A development broker with an inventory of its own, and nothing simulated."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "all.yaml").write_text(INVENTORY)
    (tmp_path / "inventory" / "windows.yaml").write_text(WINDOW)
    arguments = program("otbroker", "dev", "--dir", "dev", "--inventory", "inventory")
    process = subprocess.Popen(
        arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )
    guard = threading.Timer(LIMIT_SECONDS, process.kill)
    guard.start()
    yield tmp_path, process
    guard.cancel()
    process.kill()
    process.communicate()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def test_the_development_broker_says_where_it_is_and_what_to_try_and_what_comes_into_force(
    building: tuple[Path, subprocess.Popen[str]],
) -> None:
    folder, process = building
    assert process.stdout is not None
    assert process.stderr is not None
    said = [process.stdout.readline() for _ in range(6)]
    facts = json.loads((folder / "dev" / "dev.json").read_text())
    assert facts["api"] in said[1]
    assert facts["modbus_tls"] in said[1]
    assert all(persona in said[2] for persona in facts["personas"])
    assert said[3].endswith("otb --dev dev --as vendor-ana ls\n")
    assert said[4].startswith("  window always closes at 20")
    assert said[5] == "Ctrl-C ends it.\n"
    (folder / "inventory" / "all.yaml").write_text(INVENTORY + GAIN)
    line = process.stderr.readline()
    assert "info" in line
    assert "inventory_changed: revision " in line
    assert "access_changed: revision " in process.stderr.readline()
    assert "in force: + bo@plant.example gains view on plant/ahu-1" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_SECONDS) == 0


def test_the_walkthrough_comes_out_as_told_and_explains_in_words_whatever_the_tutorial_left(tmp_path: Path) -> None:
    site = tmp_path / "dev" / "policies" / "site"
    site.mkdir(parents=True)
    (site / "operation.rego").write_text('package site.operation\n\nreasons contains "service_not_allowed"\n')
    done = subprocess.run(
        program("otbroker", "dev", "--dir", str(tmp_path / "dev"), "--walkthrough"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 13 steps came out as told." in done.stdout
    assert "who           ana@acme.example, person of acme" in done.stdout
    assert ": broker started 1, decision " in done.stdout
    assert "{'" not in done.stdout


def test_a_step_that_fails_is_told_in_words_and_never_as_a_document(tmp_path: Path) -> None:
    problem = {"title": "Denied", "reasons": [{"text": "No window is open.", "code": "window_closed"}]}
    assert in_words(json.dumps(problem), "") == "Denied\n  - No window is open. (window_closed)"
    assert in_words("", "otb: no\n") == "otb: no\n"
    with pytest.raises(StepFailedError) as failed:
        Story(tmp_path, {}).expect(False, problem)
    assert "{" not in str(failed.value)


def test_the_walkthrough_removes_what_an_earlier_one_left_and_nothing_else(tmp_path: Path) -> None:
    folder = emptied(tmp_path / "dev" / "walkthrough")
    assert (tmp_path / "dev").stat().st_mode & 0o777 == 0o700
    (folder / "ledger").mkdir()
    (folder / "ledger" / "checkpoint").touch()
    held = FolderLock(folder)
    try:
        with pytest.raises(UnavailableError, match="end that with Ctrl-C first"):
            emptied(folder)
    finally:
        held.release()
    assert (folder / "ledger" / "checkpoint").exists()
    assert {path.name for path in emptied(folder).iterdir()} <= {"lock"}
    own = tmp_path / "own"
    own.mkdir()
    (own / "notes").touch()
    with pytest.raises(UnavailableError, match="holds something else"):
        emptied(own)
    assert (own / "notes").exists()


def test_the_walkthrough_tells_of_no_other_building(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dev", "--dir", str(tmp_path / "dev"), "--walkthrough", "--inventory", str(tmp_path)]) == 1
    assert "leave --inventory and --window-seconds out" in capsys.readouterr().err
    assert not (tmp_path / "dev").exists()


def test_counts_are_told_in_words() -> None:
    assert counted({"session_opened": 2, "decision": 1}) == "decision 1, session opened 2"
