"""Faults from outside: processes killed, fsync failing, disks that fill, power lost: nothing acknowledged is lost."""

import asyncio
import errno
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time

import orjson
import pytest

from broker.adapters.ledger_files import FileLedger, State
from broker.errors import LedgerUnavailableError
from broker.ledger import operation_records, records
from tests.integration.ledger.running import begin, end, intent, opened, settled, verify

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-m", "tests.integration.ledger.writer_program"]
KILLS = 6
SOAK_KILLS = 60

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


def start(folder: Path, seconds: float, *prefix: str) -> subprocess.Popen[bytes]:
    command = [*prefix, *PROGRAM, str(folder), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(folder: Path, seconds: float, *prefix: str) -> str:
    process = start(folder, seconds, *prefix)
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints.decode()
    return said.decode()


def reopen(folder: Path) -> list[dict[str, object]]:
    """Open, as the next broker would, and read everything back."""

    async def scene() -> list[dict[str, object]]:
        async with opened(folder) as ledger:
            assert ledger.state is State.OPEN
            return [orjson.loads(record) for record in ledger.records(0, ledger.size)]

    return asyncio.run(scene())


def require_acknowledged(said: str, entries: list[dict[str, object]]) -> int:
    """Everything that was acknowledged is in the ledger, at its place; how much that was."""
    outcomes = {entry["intent"] for entry in entries if entry["kind"] == "outcome" and entry["result"] == "done"}
    count = 0
    for line in said.splitlines(keepends=True):
        word, *rest = line.split()
        if not line.endswith("\n"):
            continue
        if word == "intent":
            assert entries[int(rest[0])]["digest"] == rest[1], line
            count += 1
        elif word == "outcome":
            assert int(rest[0]) in outcomes, line
            count += 1
    return count


def kill_and_reopen(folder: Path, times: int, seed: int) -> None:
    """Kill a loaded writer again and again at chance moments, each time on top of what the last one left."""
    chance, acknowledged = random.Random(seed), ""
    for _ in range(times):
        process = start(folder, 60)
        assert process.stdout is not None
        first = process.stdout.readline()
        said = first + process.stdout.readline()
        delay = chance.uniform(0, 0.25)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
        said += process.stdout.read()
        process.communicate()
        acknowledged += said.decode()
        entries = reopen(folder)
        assert require_acknowledged(acknowledged, entries) > 0
        report = verify(folder)
        assert report.ok and report.open_intents == 0 and report.size == len(entries), report
        assert report.counts["intent"] == report.counts["outcome"]


def test_a_writer_killed_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    kill_and_reopen(tmp_path, KILLS, seed=1)


@pytest.mark.soak
def test_a_writer_killed_under_load_many_times_loses_nothing_acknowledged(tmp_path: Path) -> None:
    kill_and_reopen(tmp_path, SOAK_KILLS, seed=2)


@needs_strace
@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_failed_fsync_closes_the_ledger_and_is_never_tried_again(tmp_path: Path, call: str) -> None:
    trace = tmp_path / "trace"
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    run(ledger, 0.05)
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when=12")
    said = run(ledger, 20, "strace", "-f", "-qq", "-o", str(trace), *inject)
    states = [line for line in said.splitlines() if line.startswith("state")]
    assert states[-1].startswith("state closed the ledger cannot be written"), states
    if call == "fdatasync":
        calls = trace.read_text().splitlines()
        failed = next(number for number, line in enumerate(calls) if "EIO" in line)
        thread = calls[failed].split()[0]
        assert not [line for line in calls[failed + 1 :] if line.split()[0] == thread and "fdatasync" in line]
        assert "failed ledger_closed" in said
        after = said[said.index("state closed") :]
        assert "\nintent" not in after and "\noutcome" not in after
    assert require_acknowledged(said, reopen(ledger)) > 0
    assert verify(ledger).ok


@needs_strace
def test_a_short_or_failing_write_closes_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    journal = ledger / "journal" / "00000001"
    inject = ("-P", str(journal), "-e", "trace=write", "-e", "inject=write:error=EIO:when=20")
    said = run(ledger, 20, "strace", "-f", "-qq", "-o", str(tmp_path / "trace"), *inject)
    assert "state closed the ledger cannot be written" in said
    assert require_acknowledged(said, reopen(ledger)) > 0
    assert verify(ledger).ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@needs_root
def test_a_disk_that_fills_pauses_intents_and_resumes_by_itself(small_disk: Path) -> None:
    folder = small_disk / "ledger"

    async def scene() -> None:
        states: list[State] = []
        async with opened(folder, on_state=lambda state, detail: states.append(state)) as ledger:
            decided = begin(ledger)
            assert await settled(ledger) is None
            take_room(small_disk)
            open_intents = await fill(ledger, decided)
            assert ledger.state is State.PAUSED
            for index in open_intents:
                ledger.append(operation_records.outcome(time(), intent=index, result="done"))
            assert await settled(ledger) is None, "outcomes of operations in flight have their room"
            (small_disk / "filler").unlink()
            async with asyncio.timeout(10):
                while ledger.state is not State.OPEN:
                    await asyncio.sleep(0.02)
            index = ledger.append(intent(decided), intent=True)
            ledger.append(operation_records.outcome(time(), intent=index, result="done"))
            assert await settled(ledger) is None
            ledger.append(records.session_closed(time(), session="session-1", reason="idle", operations=1, refusals=0))
            ledger.append(records.broker_stopped(time(), reason="sigterm"))
        assert State.PAUSED in states and states.count(State.CLOSED) == 1

    asyncio.run(scene())
    report = verify(folder)
    assert report.ok and report.counts["intent"] == report.counts["outcome"] and report.open_intents == 0, report


def take_room(disk: Path) -> None:
    """Fill the disk but for a few blocks; the ledger may take some of what is free at the same time."""
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)) == 4096:
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
        filler.truncate(max(0, filler.tell() - 3 * 4096))


async def fill(ledger: FileLedger, decided: int) -> list[int]:
    """Record intents until one is refused."""
    indices: list[int] = []
    while True:
        try:
            indices.append(ledger.append(intent(decided), intent=True))
        except LedgerUnavailableError as error:
            assert error.code == "ledger_paused"
            return indices
        assert await settled(ledger) is None


@needs_root
def test_while_paused_others_cannot_use_up_the_room_for_outcomes(small_disk: Path) -> None:
    async def scene() -> None:
        async with opened(small_disk / "ledger") as ledger:
            decided = begin(ledger)
            await settled(ledger)
            take_room(small_disk)
            indices = await fill(ledger, decided)
            with pytest.raises(LedgerUnavailableError, match="ledger_paused"):
                for _ in range(2000):
                    ledger.append(
                        records.identity_refused(time(), source="s", code="c", count=1, first=1, last=1, listener="l")
                    )
                    await settled(ledger, durable=False)
            for index in indices:
                ledger.append(operation_records.outcome(time(), intent=index, result="unknown"))
            ledger.append(records.session_closed(time(), session="session-1", reason="idle", operations=1, refusals=0))
            assert await settled(ledger) is None
            (small_disk / "filler").unlink()
            async with asyncio.timeout(10):
                while not ledger.checkpoint():
                    await asyncio.sleep(0.02)
            ledger.append(records.broker_stopped(time(), reason="sigterm"))

    asyncio.run(scene())
    assert verify(small_disk / "ledger").ok


def synced_octets(trace: str) -> dict[str, int]:
    """How much of each journal file a finished fsync had covered: what was written before that fsync began."""
    written: dict[str, int] = {}
    synced: dict[str, int] = {}
    pending: dict[tuple[str, str], tuple[str, int]] = {}
    for line in trace.splitlines():
        thread = line.split()[0]
        if begun := re.search(r" (write|fdatasync)\(\d+<([^>]*/journal/\d+)>", line):
            pending[thread, begun[1]] = (begun[2], written.get(begun[2], 0))
        ended = re.search(r" (?:<\.\.\. )?(write|fdatasync)(?: resumed>|\().* = (\d+)$", line)
        if ended and (thread, ended[1]) in pending:
            path, before = pending.pop((thread, ended[1]))
            if ended[1] == "write":
                written[path] = written.get(path, 0) + int(ended[2])
            else:
                synced[path] = max(before, synced.get(path, 0))
    return synced


@needs_strace
def test_after_power_loss_what_was_acknowledged_is_in_what_was_fsynced(tmp_path: Path) -> None:
    ledger, trace = tmp_path / "ledger", tmp_path / "trace"
    ledger.mkdir()
    process = start(ledger, 60, "strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=write,fdatasync")
    assert process.stdout is not None
    said = b"".join(process.stdout.readline() for _ in range(150))
    traced = int(subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, check=True).stdout.split()[0])
    os.kill(traced, 9)
    said += process.stdout.read()
    process.communicate()
    synced = synced_octets(trace.read_text())
    assert synced
    for path in (ledger / "journal").iterdir():
        os.truncate(path, min(synced.get(str(path), 0), path.stat().st_size))
    assert require_acknowledged(said.decode(), reopen(ledger)) > 50
    assert verify(ledger).ok


def test_a_broker_that_is_killed_frees_its_ledger_for_the_next(tmp_path: Path) -> None:
    process = start(tmp_path, 60)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"state open")
    process.kill()
    process.communicate()

    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            begin(ledger)
            end(ledger)

    asyncio.run(scene())
    assert verify(tmp_path).ok
