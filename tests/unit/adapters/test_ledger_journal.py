"""Reading the journal back: whole frames and nothing else, however the file is cut into blocks and calls."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.adapters import ledger_files_journal
from broker.adapters.ledger_files_journal import FRAME_OCTETS, HEADER_OCTETS, JournalCursor, Segment, StoredSegment
from broker.adapters.ledger_files_writer import parts_of
from broker.errors import IntegrityError
from broker.ledger.tiles import encode_bundle

FRAMES = st.lists(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=[1, 64, 256 * 1024], autouse=True)
def block(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blocks smaller than a header, of about a frame, and as in service; nothing here has to survive a power loss."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_files_journal, "sync_folder", lambda folder: None)
        patch.setattr(ledger_files_journal, "BLOCK_OCTETS", request.param)
        yield


def written(folder: Path, frames: list[list[bytes]], first: int = 0, sequence: int = 1) -> tuple[Path, list[int]]:
    """A segment of these frames, and where each ends."""
    segment = Segment(folder, sequence)
    head, ends = segment.begin(first), []
    for frame in frames:
        segment.write(head + segment.frame(first, parts_of(frame)))
        head, first = b"", first + len(frame)
        ends.append(segment.offset)
    segment.close()
    return segment.path, ends


def read(path: Path) -> tuple[list[list[bytes]], int]:
    """The records of every whole frame, and what is left behind them."""
    segment = StoredSegment(path)
    found = []
    for frame in segment.frames():
        assert frame.octets == encode_bundle(frame.records) and frame.end == frame.first + len(frame.records)
        found.append(frame.records)
    torn = segment.torn_octets
    segment.close()
    return found, torn


@given(FRAMES, st.data())
@settings(max_examples=30)
def test_a_segment_cut_or_changed_anywhere_ends_at_the_frame_in_question(
    frames: list[list[bytes]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path, ends = written(Path(folder), frames)
        assert read(path) == (frames, 0)
        whole = path.read_bytes()
        at = data.draw(st.integers(HEADER_OCTETS, len(whole) - 1))
        good = sum(end <= at for end in ends)
        kept = [HEADER_OCTETS, *ends][good]
        path.write_bytes(whole[:at])
        assert read(path) == (frames[:good], at - kept)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
        assert read(path) == (frames[:good], len(whole) - kept)
        path.write_bytes(whole[:kept] + bytes(len(whole) - kept))
        assert read(path) == (frames[:good], len(whole) - kept)


@given(FRAMES, st.data())
@settings(max_examples=30)
def test_a_cursor_follows_a_growing_journal_through_half_written_frames(
    frames: list[list[bytes]], data: st.DataObject
) -> None:
    entries = [entry for frame in frames for entry in frame]
    counts = [0, *(sum(map(len, frames[: i + 1])) for i in range(len(frames)))]
    start = data.draw(st.integers(0, len(entries)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        path, ends = written(folder, frames)
        whole = path.read_bytes()
        cursor = JournalCursor(folder, start)
        found: list[bytes] = []
        for done, (end, following) in enumerate(pairwise([*ends, len(whole)]), start=1):
            cut = data.draw(st.integers(end, following))
            path.write_bytes(whole[:cut])
            with path.open("ab") as file:
                file.truncate(data.draw(st.integers(cut, following)))
            for frame in cursor.read_to(counts[done]):
                assert frame.octets == encode_bundle(frame.records)
                found += frame.records
            assert found == entries[start : counts[done]]
        with pytest.raises(IntegrityError, match="journal_gap"):
            list(cursor.read_to(len(entries) + 1))
        cursor.close()


def test_a_cursor_goes_from_segment_to_segment_and_says_which_are_read(tmp_path: Path) -> None:
    first, _ = written(tmp_path, [[b"a"], [b"b", b"c"]])
    written(tmp_path, [[b"d"]], first=3, sequence=2)
    cursor = JournalCursor(tmp_path, 1)
    assert [frame.records for frame in cursor.read_to(3)] == [[b"b", b"c"]] and cursor.passed == []
    assert [frame.records for frame in cursor.read_to(4)] == [[b"d"]] and cursor.passed == [(3, first)]
    cursor.close()


@settings(max_examples=20)
@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9), st.data())
def test_a_frame_is_split_between_records(entries: list[bytes], data: st.DataObject) -> None:
    index = 7 + data.draw(st.integers(0, len(entries)))
    with TemporaryDirectory() as folder:
        path, _ = written(Path(folder), [entries], first=7)
        segment = StoredSegment(path)
        head, tail = next(segment.frames()).split(index)
        segment.close()
    assert (head.first, head.end, tail.first, tail.end) == (7, index, index, 7 + len(entries))
    assert head.records + tail.records == entries
    assert head.octets == encode_bundle(head.records) and tail.octets == encode_bundle(tail.records)


def test_a_length_that_no_file_has_room_for_costs_no_memory(tmp_path: Path) -> None:
    path, _ = written(tmp_path, [[b"a"]])
    whole = path.read_bytes()
    path.write_bytes(whole[:HEADER_OCTETS] + (1 << 30).to_bytes(4, "big") + whole[HEADER_OCTETS + 4 :])
    assert read(path) == ([], FRAME_OCTETS + 3)
