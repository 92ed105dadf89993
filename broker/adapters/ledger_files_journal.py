"""The journal: what is written and fsynced before a relay. Tiles are made from it afterwards, then its segments go.

A segment is a header (magic, sequence number, index of its first record, CRC-32) and frames. A frame is what one
write(2) carried: payload length, CRC-32, index of its first record, number of records, and the records as in an entry
bundle. The CRC is seeded with the segment's, so a frame counts only in its place. A frame that is not whole was never
acknowledged.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from broker.adapters.ledger_files_disk import reserve, sync_folder
from broker.errors import IntegrityError
from broker.ledger.tiles import split_entries

MAGIC = b"OTBJRNL1"
HEADER = struct.Struct(">8sQQ")
FRAME = struct.Struct(">IIQI")
CRC = struct.Struct(">I")
HEADER_OCTETS = HEADER.size + CRC.size
FRAME_OCTETS = FRAME.size
LENGTH_OCTETS = 2
LARGEST_FRAME = 1 << 30
BLOCK_OCTETS = 256 * 1024


class Segment:
    """One journal file while it is written. `offset` belongs to the event loop, `allocated` to the commit thread."""

    __slots__ = ("allocated", "descriptor", "offset", "path", "seed", "sequence")

    def __init__(self, folder: Path, sequence: int) -> None:
        self.sequence = sequence
        self.path = folder / f"{sequence:08d}"
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        self.offset = 0
        self.allocated = 0
        self.seed = 0
        sync_folder(folder)

    def begin(self, first: int) -> bytes:
        """The segment's header, which goes in front of the first frame."""
        header = HEADER.pack(MAGIC, self.sequence, first)
        self.seed = crc32(header)
        return header + CRC.pack(self.seed)

    def frame(self, first: int, parts: Sequence[bytes]) -> bytes:
        """Records (each preceded by its length) as one frame."""
        payload = b"".join(parts)
        count = len(parts) // 2
        check = crc32(payload, crc32(FRAME.pack(len(payload), 0, first, count), self.seed))
        return FRAME.pack(len(payload), check, first, count) + payload

    def write(self, octets: bytes) -> None:
        """Hand everything to the kernel in one call. Raises OSError, also for a short write; it ends the segment."""
        written = os.write(self.descriptor, octets)
        self.offset += written
        if written != len(octets):
            raise OSError(f"short write: {written} of {len(octets)} octets")

    def grow(self, octets: int) -> bool:
        """Reserve that much more room; False if the file system has none."""
        if not reserve(self.descriptor, self.allocated, octets):
            return False
        self.allocated += octets
        return True

    def close(self) -> None:
        """Give the descriptor back; the file stays."""
        os.close(self.descriptor)


@dataclass(slots=True)
class StoredFrame:
    """Records [first, end) found in a segment; `octets` are the same as in an entry bundle."""

    first: int
    end: int
    records: list[bytes]
    octets: bytes

    def split(self, index: int) -> tuple["StoredFrame", "StoredFrame"]:
        """The records below that index and those from it on."""
        count = index - self.first
        head, tail = self.records[:count], self.records[count:]
        at = sum(map(len, head)) + LENGTH_OCTETS * count
        return StoredFrame(self.first, index, head, self.octets[:at]), StoredFrame(
            index, self.end, tail, self.octets[at:]
        )


class StoredSegment:
    """One journal file as it is read; it may still grow. `good_octets` is how far it was found to hold whole frames.

    It is read in blocks of many frames. What a block holds behind a frame may have been half written when it was read;
    therefore each call of `frames` begins with a new one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sequence = int(path.name)
        self.good_octets = 0
        self.first: int | None = None
        self._seed = 0
        self._expected = 0
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._block = b""
        self._at = 0
        self._read_header()

    def _read_header(self) -> None:
        header = os.pread(self._descriptor, HEADER_OCTETS, 0)
        if len(header) < HEADER_OCTETS or CRC.unpack(header[HEADER.size :])[0] != crc32(header[: HEADER.size]):
            return
        magic, sequence, first = HEADER.unpack(header[: HEADER.size])
        if magic == MAGIC and sequence == self.sequence:
            self.first = self._expected = first
            self._seed = crc32(header[: HEADER.size])
            self.good_octets = HEADER_OCTETS

    @property
    def torn_octets(self) -> int:
        """Octets behind the last whole frame, once all frames have been read."""
        return os.fstat(self._descriptor).st_size - self.good_octets

    def frames(self) -> Iterator[StoredFrame]:
        """Whole frames in order, up to the first that is not whole (yet)."""
        self._block, self._at = b"", 0
        while self.first is not None and (frame := self._next_frame()) is not None:
            yield frame

    def _next_frame(self) -> StoredFrame | None:
        if not self._hold(FRAME_OCTETS):
            return None
        length, check, first, count = FRAME.unpack_from(self._block, self._at)
        if not 0 < length <= LARGEST_FRAME or first != self._expected or not self._hold(FRAME_OCTETS + length):
            return None
        payload = self._block[self._at + FRAME_OCTETS : self._at + FRAME_OCTETS + length]
        if check != crc32(payload, crc32(FRAME.pack(length, 0, first, count), self._seed)):
            return None
        try:
            records, end = split_entries(payload, count)
        except IntegrityError:
            return None
        self.good_octets += FRAME_OCTETS + length
        self._at += FRAME_OCTETS + length
        self._expected = first + count
        return StoredFrame(first, first + count, records, payload[:end])

    def _hold(self, octets: int) -> bool:
        """Have that many octets of the next frame in the block; False if the file ends before."""
        if self._at + octets <= len(self._block):
            return True
        there = self.torn_octets
        if there < octets:
            return False
        self._block = os.pread(self._descriptor, min(there, max(octets, BLOCK_OCTETS)), self.good_octets)
        self._at = 0
        return octets <= len(self._block)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


class JournalCursor:
    """Reads records from an index on, through one segment after another, while the journal is being written."""

    def __init__(self, folder: Path, position: int) -> None:
        self._folder = folder
        self._position = position
        self._segment: StoredSegment | None = None
        self.passed: list[tuple[int, Path]] = []

    def read_to(self, target: int) -> Iterator[StoredFrame]:
        """Records up to `target` at least, which must be in the journal, frame by frame.

        Raises IntegrityError if they are not. Segments read to their end are added to `passed` with the index they end
        at.
        """
        while self._position < target:
            segment = self._segment or self._advance()
            for frame in segment.frames():
                if frame.end > self._position:
                    yield frame if frame.first == self._position else frame.split(self._position)[1]
                    self._position = frame.end
                if self._position >= target:
                    return
            self._advance()

    def _advance(self) -> StoredSegment:
        """Go to the next segment; at first, to the first. One without a header was never written to."""
        left = [] if self._segment is None else [self._segment.path]
        for path in stored_segments(self._folder):
            if self._segment is not None and int(path.name) <= self._segment.sequence:
                continue
            following = StoredSegment(path)
            if following.first is not None and following.first <= self._position:
                self.passed += [(following.first, done) for done in left]
                self.close()
                self._segment = following
                return following
            left.append(path)
            following.close()
        raise IntegrityError("journal_gap", "records are missing from the journal", f"record {self._position}")

    def close(self) -> None:
        """Give the file back."""
        if self._segment is not None:
            self._segment.close()


def stored_segments(folder: Path) -> list[Path]:
    """The journal's files in order."""
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
