"""Opening after an end that was not in order: torn tails, orphans, killed sessions, and what must be refused."""

import asyncio
import shutil
from pathlib import Path
from time import time

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_files import FileLedger, State
from broker.adapters.ledger_files_journal import FRAME_OCTETS, Segment, stored_segments
from broker.adapters.ledger_files_recovery import Recovered, recover
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.adapters.ledger_files_writer import parts_of
from broker.errors import IntegrityError, LedgerUnavailableError
from broker.ledger import records
from broker.ledger.notes import verifier_of
from tests.integration.ledger.running import (
    KEY,
    ORIGIN,
    SESSION,
    begin,
    end,
    intent,
    ledger_in,
    opened,
    operations,
    outcome,
    verify,
)


def recovered(folder: Path, now: float | None = None) -> Recovered:
    return recover(PublishedFiles(folder), folder / "journal", verifier_of(ORIGIN, KEY), now or time() + 1)


def closed_ledger(folder: Path, count: int = 8) -> None:
    """A ledger that was closed in order, after some operations."""

    async def scene() -> None:
        async with opened(folder) as ledger:
            await operations(ledger, begin(ledger), count)
            end(ledger)

    asyncio.run(scene())


def segment_with(folder: Path, frames: list[list[bytes]], first: int) -> Path:
    """A further journal segment with these frames, as a broker that was killed leaves it."""
    last = stored_segments(folder / "journal")[-1]
    segment = Segment(folder / "journal", int(last.name) + 1)
    head = segment.begin(first)
    for frame in frames:
        segment.write(head + segment.frame(first, parts_of(frame)))
        head, first = b"", first + len(frame)
    segment.close()
    return segment.path


def kinds(entries: list[bytes]) -> list[str]:
    return [orjson.loads(entry)["kind"] for entry in entries]


def test_a_tail_torn_at_any_octet_is_cut_and_the_rest_is_kept(tmp_path: Path) -> None:
    closed_ledger(tmp_path)
    size = verify(tmp_path).size
    kept = [records.evidence_viewed(time(), subject="cy", what="kept")]
    last = [records.evidence_viewed(time(), subject="cy", what="lost")]
    path = segment_with(tmp_path, [kept, last], size)
    whole = path.read_bytes()
    start = len(whole) - FRAME_OCTETS - len(last[0]) - 2
    assert recovered(tmp_path).tail == kept + last
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        found = recovered(tmp_path)
        assert found.tail == kept
        assert kinds(found.healing) == (["tail_healed"] if cut > start else [])
        if found.healing:
            assert orjson.loads(found.healing[0])["dropped_octets"] == cut - start
    for at in range(start, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert recovered(tmp_path).tail == kept, "an octet that never reached the disk as it was written"
    path.write_bytes(whole[:start] + bytes(len(whole) - start))
    assert recovered(tmp_path).tail == kept, "blocks that read as zeros after a power loss"


def test_a_header_torn_at_any_octet_costs_nothing_but_itself(tmp_path: Path) -> None:
    closed_ledger(tmp_path)
    path = segment_with(tmp_path, [[b'{"kind":"x","time":"2026-01-01T00:00:00.000000Z"}']], verify(tmp_path).size)
    whole = path.read_bytes()
    for cut in range(28 + FRAME_OCTETS):
        path.write_bytes(whole[:cut])
        assert recovered(tmp_path).tail == []


def test_orphans_become_unknown_and_sessions_end_as_killed_before_open_returns(tmp_path: Path) -> None:
    async def killed() -> int:
        ledger = ledger_in(tmp_path)
        await ledger.open()
        decided = begin(ledger)
        await operations(ledger, decided, 300)
        orphan = ledger.append(intent(decided), intent=True)
        assert ledger._write()
        await abandon(ledger)
        return orphan

    async def reopened() -> list[bytes]:
        async with opened(tmp_path) as ledger:
            return list(ledger.records(orphan + 1, ledger.size))

    orphan = asyncio.run(killed())
    healing = [orjson.loads(entry) for entry in asyncio.run(reopened())]
    assert [record["kind"] for record in healing] == ["tail_healed", "outcome", "session_closed"]
    assert healing[0]["orphans"] == 1
    assert (healing[1]["intent"], healing[1]["result"], healing[1]["code"]) == (orphan, "unknown", "broker_killed")
    assert (healing[2]["session"], healing[2]["reason"]) == (SESSION, "broker_killed")
    report = verify(tmp_path)
    assert report.ok and report.open_intents == 0


async def abandon(ledger: FileLedger) -> None:
    """Let everything go as a killed process would: nothing more is written, fsynced or sealed."""
    ledger._sealer.ignore(asyncio.get_running_loop())
    ledger._committer.stop()
    await asyncio.get_running_loop().run_in_executor(None, lambda: ledger._sealer.stop(0, abandon=True))
    assert ledger._lock is not None
    ledger._lock.release()


def test_healing_twice_changes_nothing_more(tmp_path: Path) -> None:
    test_orphans_become_unknown_and_sessions_end_as_killed_before_open_returns(tmp_path)
    assert recovered(tmp_path).healing == []


def test_open_intents_far_behind_the_last_checkpoint_are_found_without_the_note_of_them(tmp_path: Path) -> None:
    async def killed() -> None:
        ledger = ledger_in(tmp_path)
        await ledger.open()
        decided = begin(ledger)
        ledger.append(intent(decided), intent=True)
        await operations(ledger, decided, 600)
        async with asyncio.timeout(5):
            while ledger.metrics()["sealed"] < ledger.size:
                await asyncio.sleep(0.02)
        await abandon(ledger)

    asyncio.run(killed())
    for spoil in (b"", b"{}", b'{"size":99999,"intents":[],"sessions":[]}'):
        (tmp_path / "open.json").write_bytes(spoil)
        assert list(recovered(tmp_path).published.things.intents) == [4]
    (tmp_path / "open.json").unlink()
    assert list(recovered(tmp_path).published.things.intents) == [4]
    assert kinds(recovered(tmp_path).healing) == ["tail_healed", "outcome", "session_closed"]


def test_a_clock_behind_the_last_record_opens_nothing(tmp_path: Path) -> None:
    closed_ledger(tmp_path)

    async def scene() -> None:
        with pytest.raises(LedgerUnavailableError, match="clock_behind"):
            await ledger_in(tmp_path, now=lambda: time() - 3600).open()
        async with opened(tmp_path) as ledger:
            assert ledger.state is State.OPEN

    asyncio.run(scene())


def test_a_changed_tile_or_checkpoint_opens_nothing(tmp_path: Path) -> None:
    closed_ledger(tmp_path, 304)
    good = tmp_path / "good"
    shutil.copytree(tmp_path, good)
    for path in ("checkpoint", "tile/0/002.p/102", "tile/1/000.p/2"):
        changed = tmp_path / "changed"
        shutil.copytree(good, changed)
        octets = bytearray((changed / path).read_bytes())
        octets[20] ^= 1
        (changed / path).write_bytes(octets)
        with pytest.raises(IntegrityError):
            recovered(changed)
        shutil.rmtree(changed)


def test_missing_journal_records_open_nothing(tmp_path: Path) -> None:
    closed_ledger(tmp_path)
    entry = b'{"kind":"x","time":"2026-01-01T00:00:00.000000Z"}'
    size = verify(tmp_path).size
    path = segment_with(tmp_path, [[entry]], size + 5)
    with pytest.raises(IntegrityError, match="journal_gap"):
        recovered(tmp_path)
    path.unlink()
    for other in stored_segments(tmp_path / "journal"):
        other.unlink()
    assert recovered(tmp_path).tail == []


def test_a_journal_damaged_where_it_was_fsynced_opens_nothing(tmp_path: Path) -> None:
    closed_ledger(tmp_path)
    path = stored_segments(tmp_path / "journal")[-1]
    octets = bytearray(path.read_bytes())
    octets[100] ^= 1
    path.write_bytes(octets)
    with pytest.raises(IntegrityError, match="journal_damaged"):
        recovered(tmp_path)


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    closed_ledger(tmp_path)

    async def scene() -> None:
        with pytest.raises(IntegrityError):
            await FileLedger(tmp_path, ORIGIN, Ed25519PrivateKey.generate(), time).open()

    asyncio.run(scene())


def test_an_unfinished_note_at_the_chains_end_is_overwritten(tmp_path: Path) -> None:
    closed_ledger(tmp_path)
    chain = (tmp_path / "checkpoints").read_bytes()
    note_end = len(chain)
    for cut in (5, note_end // 2, note_end - 1):
        (tmp_path / "checkpoints").write_bytes(chain + chain[:cut])

        async def scene() -> None:
            async with opened(tmp_path) as ledger:
                begin(ledger)
                end(ledger)

        asyncio.run(scene())
        assert verify(tmp_path).ok
        chain = (tmp_path / "checkpoints").read_bytes()


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"a file where the folder should be")

    async def scene() -> None:
        with pytest.raises(LedgerUnavailableError, match="ledger_closed"):
            await ledger_in(tmp_path).open()

    asyncio.run(scene())


def test_outcomes_after_recovery_belong_to_their_intents(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            index = ledger.append(intent(begin(ledger)), intent=True)
            ledger.append(outcome(index))
            end(ledger)

    asyncio.run(scene())
    asyncio.run(scene())
    assert verify(tmp_path).ok
