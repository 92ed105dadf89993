"""What commands on the host tell reaches the ledger, once or again, and nothing else does."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.adapters.host_journal import FOLDER, LARGEST_FILE, HostJournal, decode_host_command
from broker.errors import ConfigError


def told(journal: HostJournal) -> list[tuple[str, str]]:
    taken = journal.take()
    journal.drop()
    return [(command.command, command.outcome) for command in taken.commands] if taken else []


def test_a_command_is_told_before_it_acts_and_after(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path)
    with journal.telling("ledger erase", commitment="sha256-x"):
        assert told(journal) == [("ledger erase", "begun")]
    with pytest.raises(ConfigError), journal.telling("config apply"):
        raise ConfigError("revision_differs", "It is another one.")
    with pytest.raises(ZeroDivisionError), journal.telling("ca issue"):
        raise ZeroDivisionError
    outcomes = [("ledger erase", "done"), ("config apply", "begun"), ("config apply", "revision_differs")]
    assert told(journal) == [*outcomes, ("ca issue", "begun"), ("ca issue", "ZeroDivisionError")]
    assert told(journal) == []


def test_who_ran_it_is_told_as_the_host_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "bo")
    journal = HostJournal(tmp_path)
    with journal.telling("config apply", revision="r" * 1000):
        pass
    taken = journal.take()
    assert taken is not None
    assert taken.commands[0].claimed_by.items() >= {"uid": str(os.getuid()), "sudo_user": "bo"}.items()
    assert len(taken.commands[0].about["revision"]) == 300
    assert taken.commands[0].id == taken.commands[1].id


def test_what_was_taken_and_not_recorded_is_taken_again(tmp_path: Path) -> None:
    with HostJournal(tmp_path).telling("config apply"):
        pass
    first = HostJournal(tmp_path).take()
    with HostJournal(tmp_path).telling("config apply"):
        pass
    assert HostJournal(tmp_path).take() == first
    HostJournal(tmp_path).drop()
    after = HostJournal(tmp_path).take()
    assert after is not None and first is not None and after.commands[0].id != first.commands[0].id


def test_nothing_is_lost_while_many_tell_and_one_takes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from broker.adapters.host_journal import HostJournal\n"
        "for n in range(40):\n"
        "    with HostJournal(Path(sys.argv[1])).telling(f'{sys.argv[2]}-{n}'): pass\n"
    )
    HostJournal(tmp_path).make()
    found: list[tuple[str, str]] = []
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(subprocess.run, [sys.executable, "-c", program, str(tmp_path), str(who)], check=True)
            for who in range(3)
        ]
        while not all(run.done() for run in runs):
            found += told(HostJournal(tmp_path))
        for run in runs:
            run.result()
    found += told(HostJournal(tmp_path)) + told(HostJournal(tmp_path))
    everything = {(f"{who}-{n}", outcome) for who in range(3) for n in range(40) for outcome in ("begun", "done")}
    assert len(found) == len(everything)
    assert set(found) == everything


@pytest.mark.parametrize(
    "change",
    [
        {"at": "now"},
        {"at": -1.0},
        {"at": 1},
        {"outcome": ""},
        {"about": {"x": 1}},
        {"about": []},
        {"claimed_by": {"uid": "0" * 301}},
        {"about": {str(n): "" for n in range(17)}},
        {"more": "x"},
        {"command": "x" * 301},
        {"id": None},
    ],
)
def test_a_line_that_no_command_wrote_is_counted_and_not_believed(tmp_path: Path, change: dict[str, object]) -> None:
    journal = HostJournal(tmp_path)
    with journal.telling("config apply"):
        pass
    path = tmp_path / FOLDER / "pending.jsonl"
    good = path.read_bytes().split(b"\n")[1]
    assert decode_host_command(good) is not None
    with path.open("ab") as file:
        file.write(json.dumps(json.loads(good) | change).encode() + b"\n" + b"\xff not json\n" + good[:20])
    taken = journal.take()
    assert taken is not None
    assert (len(taken.commands), taken.unreadable) == (2, 3)


def test_a_journal_that_nobody_takes_is_bounded_and_the_command_does_not_act(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path)
    journal.make()
    (tmp_path / FOLDER / "pending.jsonl").write_bytes(b"x" * LARGEST_FILE)
    acted = []
    with pytest.raises(ConfigError, match="not begun"), journal.telling("ledger erase"):
        acted.append(1)
    assert not acted


def test_a_link_in_the_journals_place_is_not_followed(tmp_path: Path) -> None:
    journal, elsewhere = HostJournal(tmp_path / "state"), tmp_path / "elsewhere"
    journal.make()
    elsewhere.touch()
    (tmp_path / "state" / FOLDER / "pending.jsonl").symlink_to(elsewhere)
    with pytest.raises(ConfigError), journal.telling("config apply"):
        pass
    assert elsewhere.read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_what_root_tells_can_be_taken_by_whom_the_folder_belongs_to(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.mkdir()
    os.chown(place, 65534, 65534)
    with HostJournal(place).telling("config apply"):
        pass
    for path in (place / FOLDER, place / FOLDER / "pending.jsonl"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (65534, 0)
