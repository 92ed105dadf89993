"""The ledger in files: order, durability, publishing, rotation, reading, one owner."""

import asyncio
import errno
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from time import time

import pytest
import uvloop

from broker.adapters import ledger_files_writer
from broker.adapters.ledger_files import State
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.errors import IntegrityError, LedgerUnavailableError
from broker.ledger import records
from broker.ledger.notes import decode_vkey
from broker.ledger.proof import verify_proof
from tests.integration.ledger.running import (
    VKEY,
    begin,
    end,
    intent,
    ledger_in,
    opened,
    operations,
    outcome,
    settled,
    verify,
)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_ledger_closed_in_order_verifies_and_goes_on_where_it_ended(tmp_path: Path, run: object) -> None:
    async def scene() -> None:
        for _ in range(2):
            async with opened(tmp_path) as ledger:
                assert ledger.state is State.OPEN
                await operations(ledger, begin(ledger), 304)
                end(ledger)
                size = ledger.size
            report = verify(tmp_path)
            assert report.ok and report.size == size and report.open_intents == 0

    run(scene())  # type: ignore[operator]
    assert verify(tmp_path).counts == {
        "broker_started": 2,
        "decision": 4,
        "session_opened": 1 + 1,
        "intent": 608,
        "outcome": 608,
        "session_closed": 2,
        "broker_stopped": 2,
    }


def test_indices_are_given_in_order_and_records_come_back_as_they_went(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            written = [records.evidence_viewed(time(), subject="cy", what=str(i)) for i in range(700)]
            assert [ledger.append(record) for record in written] == list(range(700))
            assert await settled(ledger) is None
            assert list(ledger.records(0, 700)) == written
            assert ledger.read(699) == written[699]
            with pytest.raises(IntegrityError):
                ledger.read(700)
            await published(ledger, 700)
            assert list(ledger.records(250, 520)) == written[250:520]
            proof = ledger.inclusion_proof(300)
            assert verify_proof(proof, written[300], decode_vkey(VKEY))[0] == 300
            ledger.append(written[0])
            with pytest.raises(IntegrityError):
                ledger.inclusion_proof(700)

    asyncio.run(scene())


async def published(ledger: object, size: int) -> None:
    """Wait until a checkpoint of that size is out."""
    while int(ledger.metrics()["sealed"]) < size:  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)


def test_a_checkpoint_comes_within_a_second_and_a_running_ledger_verifies_up_to_it(tmp_path: Path) -> None:
    async def scene() -> None:
        notes: list[str] = []
        async with opened(tmp_path, on_checkpoint=notes.append) as ledger:
            index = ledger.append(intent(begin(ledger)), intent=True)
            assert await settled(ledger) is None
            async with asyncio.timeout(3):
                await published(ledger, index + 1)
            assert notes[-1] == ledger.checkpoint() == (tmp_path / "checkpoint").read_text()
            report = verify(tmp_path, notes[-1])
            assert report.ok and report.open_intents == 1 and report.saved_size == index + 1
            ledger.append(outcome(index))
            end(ledger)

    asyncio.run(scene())


def test_checkpoints_are_at_most_256_records_apart(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            for i in range(3000):
                ledger.append(records.evidence_viewed(time(), subject="cy", what=str(i)))
            assert await settled(ledger) is None

    asyncio.run(scene())
    chain = (tmp_path / "checkpoints").read_text().split("\n\n")[::2]
    sizes = [0, *[int(text.split("\n")[1]) for text in chain if text]]
    assert sizes[-1] == 3000 and max(b - a for a, b in pairwise(sizes)) <= 256
    assert verify(tmp_path).checkpoints == len(sizes) - 1


def test_a_checkpoint_whose_publishing_failed_is_not_in_the_chain_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = PublishedFiles(tmp_path)
    files.append_chain(["first\n\n\u2014 a AAAA\n"])
    files.publish("first")
    with monkeypatch.context() as full:
        full.setattr("broker.adapters.ledger_files_tiles.write_durable", _no_room)
        files.append_chain(["second\n\n\u2014 a AAAA\n"])
        with pytest.raises(OSError, match="No space"):
            files.publish("second")
    for name in ("second", "third"):
        files.append_chain([f"{name}\n\n\u2014 a AAAA\n"])
        files.publish(name)
    chain = (tmp_path / "checkpoints").read_text(encoding="utf-8")
    assert [part.split("\n")[0] for part in chain.split("\n\n")[::2]] == ["first", "second", "third", ""]
    assert len(chain.encode()) == files.chain_octets


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_few_views_are_settled_at_once_and_many_in_one_write(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            decided = begin(ledger)
            await settled(ledger)
            writes = ledger.metrics()["writes"]
            index = ledger.append(intent(decided), intent=True)
            assert ledger.settle(False, pytest.fail)
            assert ledger.metrics()["writes"] == writes + 1
            ledger.append(outcome(index))
            told: list[int] = []
            for i in range(50):
                index = ledger.append(intent(decided), intent=True)
                if ledger.settle(False, lambda error, i=i: told.append(i)):  # type: ignore[misc]
                    told.append(i)
                ledger.append(outcome(index))
            assert ledger.metrics()["writes"] <= writes + 25
            assert await settled(ledger) is None
            assert sorted(told) == list(range(50))
            end(ledger)

    asyncio.run(scene())
    assert verify(tmp_path).ok


def test_answers_come_in_order_and_never_before_the_call_returns(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            told: list[int] = []
            done = asyncio.get_running_loop().create_future()
            for i in range(200):
                ledger.append(records.evidence_viewed(time(), subject="cy", what=str(i)))
                before = len(told)
                ledger.settle(True, lambda error, i=i: told.append(i) or (i == 199 and done.set_result(error)))  # type: ignore[misc, func-returns-value]
                assert len(told) == before
            assert await done is None
            assert told == list(range(200))
            assert ledger.metrics()["fsyncs"] < 100

    asyncio.run(scene())


def test_one_waiters_fault_does_not_keep_the_news_from_others(tmp_path: Path) -> None:
    async def scene() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context["exception"]))
        async with opened(tmp_path) as ledger:
            ledger.append(records.broker_stopped(time(), reason="x"))
            ledger.settle(True, lambda error: 1 / 0)  # type: ignore[arg-type, return-value]
            assert await settled(ledger) is None
            assert isinstance(faults[0], ZeroDivisionError)

    asyncio.run(scene())


def test_views_are_on_disk_within_50_milliseconds_without_being_asked(tmp_path: Path) -> None:
    async def scene() -> float:
        async with opened(tmp_path) as ledger:
            waits = []
            for _ in range(5):
                index = ledger.append(records.evidence_viewed(time(), subject="cy", what="x"))
                ledger.settle(False, lambda error: None)
                started = asyncio.get_running_loop().time()
                while ledger.metrics()["synced"] <= index:
                    await asyncio.sleep(0.001)
                waits.append(asyncio.get_running_loop().time() - started)
            return sorted(waits)[2]

    assert asyncio.run(scene()) < 0.05


def test_records_that_nobody_settles_are_written_all_the_same(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            ledger.append(records.evidence_viewed(time(), subject="cy", what="x"))
            async with asyncio.timeout(2):
                while ledger.metrics()["synced"] < 1:
                    await asyncio.sleep(0.005)

    asyncio.run(scene())


def test_strict_durability_fsyncs_views_before_they_are_settled(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path, durability="strict") as ledger:
            ledger.append(records.evidence_viewed(time(), subject="cy", what="x"))
            assert await settled(ledger, durable=False) is None
            assert ledger.metrics()["synced"] == 1

    asyncio.run(scene())


def test_segments_rotate_and_go_once_they_are_published(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path, segment_octets=256 * 1024) as ledger:
            decided = begin(ledger)
            seen = set()
            for _ in range(12):
                await operations(ledger, decided, 400)
                seen |= set(os.listdir(tmp_path / "journal"))
            assert len(seen) >= 4
            await published(ledger, ledger.size)
            end(ledger)
        assert sum(path.stat().st_size for path in (tmp_path / "journal").iterdir()) < 2_000_000
        assert len(list((tmp_path / "journal").iterdir())) < len(seen)

    asyncio.run(scene())
    assert verify(tmp_path).ok


def test_pruning_is_recorded_and_leaves_a_ledger_that_verifies_and_opens(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            await operations(ledger, begin(ledger), 600)
            await published(ledger, ledger.size)
            assert await ledger.prune(600) == 2
            assert await ledger.prune(600) == 0
            with pytest.raises(IntegrityError):
                ledger.read(100)
            assert ledger.read(512)
            end(ledger)
        async with opened(tmp_path):
            pass

    asyncio.run(scene())
    assert not (tmp_path / "tile/entries/000").exists() and (tmp_path / "tile/0/000").exists()
    report = verify(tmp_path)
    assert report.ok and report.minimum == 512, report


def test_a_second_broker_is_refused_with_a_clear_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.adapters.ledger_files_disk.LOCK_SECONDS", 0.1)

    async def scene() -> None:
        async with opened(tmp_path):
            with pytest.raises(LedgerUnavailableError, match=r"ledger_locked.*another broker"):
                await ledger_in(tmp_path).open()

    asyncio.run(scene())


def test_a_ledger_that_is_closed_takes_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        ledger = ledger_in(tmp_path)
        with pytest.raises(LedgerUnavailableError, match="ledger_closed"):
            ledger.append(intent(0), intent=True)
        await ledger.open()
        await ledger.close()
        for record, is_intent in ((intent(0), True), (outcome(0), False)):
            with pytest.raises(LedgerUnavailableError, match="ledger_closed"):
                ledger.append(record, intent=is_intent)
        error = await settled(ledger)
        assert isinstance(error, LedgerUnavailableError) and error.code == "ledger_closed"

    asyncio.run(scene())


def test_too_long_and_empty_records_are_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            for record in (b"", b"x" * 65536):
                with pytest.raises(ValueError):
                    ledger.append(record)
            assert ledger.append(b"x" * 65535) == 0

    asyncio.run(scene())


def test_when_the_sealer_is_gone_the_ledger_closes(tmp_path: Path) -> None:
    async def scene() -> None:
        states: list[tuple[str, str]] = []
        async with opened(tmp_path, on_state=lambda state, detail: states.append((state, detail))) as ledger:
            process = ledger._sealer._process
            assert process is not None
            process.kill()
            async with asyncio.timeout(5):
                while ledger.state is not State.CLOSED:
                    await asyncio.sleep(0.01)
            assert "sealer" in states[-1][1]
            with pytest.raises(LedgerUnavailableError, match="ledger_closed"):
                ledger.append(intent(0), intent=True)
        async with opened(tmp_path) as ledger:
            assert ledger.state is State.OPEN

    asyncio.run(scene())


def test_intents_pause_while_the_sealer_is_too_far_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_files_writer, "MOST_UNSEALED", 100)

    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            for i in range(200):
                ledger.append(records.evidence_viewed(time(), subject="cy", what=str(i)))
            await settled(ledger)
            ledger._evaluate()
            assert ledger.state is State.PAUSED
            with pytest.raises(LedgerUnavailableError, match="ledger_paused"):
                ledger.append(intent(0), intent=True)
            async with asyncio.timeout(5):
                while ledger.state is not State.OPEN:
                    await asyncio.sleep(0.01)

    asyncio.run(scene())


def test_the_reader_imports_nothing_of_the_writer_and_nothing_that_windows_lacks() -> None:
    lacking = ("fcntl", "termios", "pwd", "grp", "resource", "uvloop", "asyncio")
    program = (
        "import sys\n"
        f"for name in {lacking!r}: sys.modules[name] = None\n"
        "import broker.adapters.ledger_reader\n"
        "print([name for name in sys.modules if 'ledger_files' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
