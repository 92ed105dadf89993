"""The sealer's passes: the same ledger however records fall into them, and no tile written that is there."""

from itertools import pairwise
from pathlib import Path

import pytest

from broker.adapters import ledger_files_sealer
from broker.adapters.ledger_files_journal import Segment
from broker.adapters.ledger_files_sealer import CHECKPOINT_SECONDS, PASS_SECONDS, Sealer
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.adapters.ledger_files_writer import parts_of
from broker.ledger import records
from broker.ledger.checkpoint import decode_checkpoint, split_checkpoints
from broker.ledger.merkle import Tree, leaf_hash
from broker.ledger.notes import split_note
from broker.ledger.tiles import WIDTH
from tests.integration.ledger.running import KEY, ORIGIN, verify

SIZE = 1400
FRAME = 5
RECORDS = [records.evidence_viewed(1.0 + i, subject="cy", what="x" * (i % 90)) for i in range(SIZE)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sealer's clock, moved by the test."""
    now = [1000.0]
    monkeypatch.setattr(ledger_files_sealer, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger with nothing sealed, and all records in its journal."""
    (tmp_path / "journal").mkdir()
    segment = Segment(tmp_path / "journal", 1)
    for at in range(0, SIZE, FRAME):
        segment.write((b"" if at else segment.begin(0)) + segment.frame(at, parts_of(RECORDS[at : at + FRAME])))
    segment.close()
    return tmp_path


def sealer_of(folder: Path) -> tuple[Sealer, list[dict[str, object]]]:
    said: list[dict[str, object]] = []
    return Sealer(folder, KEY, ORIGIN, said.append), said


def pass_over(sealer: Sealer, size: int) -> None:
    """One pass with everything below `size` on disk."""
    sealer.synced(size)
    sealer._passed_at = ledger_files_sealer.monotonic()
    sealer._seal()


def roots(folder: Path) -> dict[int, bytes]:
    heads = [
        decode_checkpoint(split_note(note)[0])
        for note in split_checkpoints((folder / "checkpoints").read_text("utf-8"))
    ]
    assert len({head.size for head in heads}) == len(heads)
    return {head.size: head.root for head in heads}


@pytest.mark.parametrize("frames_a_pass", [3, 14, 200])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("tiles_a_pass", [1, 64])
def test_records_sealed_in_passes_of_any_size_make_the_same_tree(
    folder: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, frames_a_pass: int, late: bool, tiles_a_pass: int
) -> None:
    monkeypatch.setattr(ledger_files_sealer, "TILES_A_PASS", tiles_a_pass)
    sealer, _ = sealer_of(folder)
    for size in (*range(FRAME, SIZE, FRAME * frames_a_pass), SIZE):
        sealer.synced(size)
        clock[0] += 0.9 if late else 0.01
        if sealer._due() <= clock[0]:
            sealer._passed_at = clock[0]
            sealer._seal()
    sealer.stop(abandon=False)
    sealer.run()
    tree, expected = Tree(), {}
    for index, record in enumerate(RECORDS, start=1):
        tree.append(leaf_hash(record))
        expected[index] = tree.root()
    found = roots(folder)
    assert found.items() <= expected.items() and max(found) == SIZE
    assert set(range(WIDTH, SIZE, WIDTH)) <= set(found)
    assert max(b - a for a, b in pairwise([0, *found])) <= WIDTH
    assert list(PublishedFiles(folder).entries(0, SIZE, SIZE)) == RECORDS
    report = verify(folder)
    assert report.size == SIZE and report.checkpoints == len(found)
    assert sealer._things.size == SIZE


def test_records_behind_a_full_bundle_wait_for_the_next_pass_but_not_beyond_their_time(
    folder: Path, clock: list[float]
) -> None:
    sealer, said = sealer_of(folder)
    sealer.synced(255)
    assert sealer._due() == clock[0] + CHECKPOINT_SECONDS
    clock[0] += 0.3
    arrived = clock[0]
    pass_over(sealer, 300)
    assert sealer.size == 256 and not list(folder.glob("tile/0/*.p")) and not list(folder.glob("tile/entries/*.p"))
    assert sealer._due() == arrived + CHECKPOINT_SECONDS
    clock[0] += 0.6
    pass_over(sealer, 530)
    assert sealer.size == 512, "what is behind the bundle came just now"
    assert sealer._due() == clock[0] + CHECKPOINT_SECONDS
    clock[0] += 0.6
    sealer.synced(765)
    pass_over(sealer, 770)
    assert sealer.size == 768
    clock[0] += 0.1
    sealer.synced(1020)
    clock[0] += 0.6
    pass_over(sealer, 1030)
    assert sealer.size == 1024, "the oldest behind the bundle came now"
    clock[0] += 0.6
    pass_over(sealer, 1290)
    assert sealer.size == 1280
    sealer.synced(1300)
    clock[0] += 0.7
    pass_over(sealer, 1400)
    assert sealer.size == 1400, "no bundle is full"
    assert [entry["size"] for entry in said] == [256, 512, 768, 1024, 1280, 1400]


def test_what_could_not_wait_for_the_pass_after_is_published_with_the_bundle(folder: Path, clock: list[float]) -> None:
    sealer, _ = sealer_of(folder)
    sealer.synced(260)
    clock[0] += CHECKPOINT_SECONDS - PASS_SECONDS + 0.01
    pass_over(sealer, 300)
    assert sealer.size == 300


def test_a_tile_that_the_published_checkpoint_needs_is_not_written_again(
    folder: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write_files = PublishedFiles.write_files

    def noting(files: PublishedFiles, work: list[tuple[str, bytes]]) -> None:
        written.extend(path for path, _ in work)
        write_files(files, work)

    monkeypatch.setattr(PublishedFiles, "write_files", noting)
    for sizes in ((300, 305, 310), (320, 600)):
        sealer, _ = sealer_of(folder)
        for size in sizes:
            sealer.synced(size)
            clock[0] += CHECKPOINT_SECONDS
            pass_over(sealer, size)
            assert sealer.size == size
    assert "tile/1/000.p/1" in written and len(set(written)) == len(written)
    assert not (folder / "tile/0/001.p").exists() and not (folder / "tile/entries/001.p").exists()
