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
from broker.ledger.tiles import decode_bundle

MAGIC = b"OTBJRNL1"
HEADER = struct.Struct(">8sQQ")
FRAME = struct.Struct(">IIQI")
CRC = struct.Struct(">I")
HEADER_OCTETS = HEADER.size + CRC.size
FRAME_OCTETS = FRAME.size
LARGEST_FRAME = 1 << 30


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
    """Records found in a segment."""

    first: int
    records: list[bytes]


class StoredSegment:
    """One journal file as found at start; `good_octets` is how far it holds whole frames, `octets` its size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sequence = int(path.name)
        self._content = path.read_bytes()
        self.octets = len(self._content)
        self.good_octets = 0
        self.first: int | None = None
        header = self._content[:HEADER_OCTETS]
        if len(header) == HEADER_OCTETS and CRC.unpack(header[HEADER.size :])[0] == crc32(header[: HEADER.size]):
            magic, sequence, first = HEADER.unpack(header[: HEADER.size])
            if magic == MAGIC and sequence == self.sequence:
                self.first, self.good_octets = first, HEADER_OCTETS

    @property
    def torn_octets(self) -> int:
        """Octets behind the last whole frame, once all frames have been read."""
        return self.octets - self.good_octets

    def frames(self) -> Iterator[StoredFrame]:
        """Whole frames in order, up to the first that is not whole."""
        if self.first is None:
            return
        seed, expected = crc32(self._content[: HEADER.size]), self.first
        while (frame := self._frame_at(self.good_octets, seed, expected)) is not None:
            stored, end = frame
            self.good_octets, expected = end, expected + len(stored.records)
            yield stored

    def _frame_at(self, at: int, seed: int, expected: int) -> tuple[StoredFrame, int] | None:
        head = self._content[at : at + FRAME_OCTETS]
        if len(head) < FRAME_OCTETS:
            return None
        length, check, first, count = FRAME.unpack(head)
        payload = self._content[at + FRAME_OCTETS : at + FRAME_OCTETS + length]
        if not 0 < length <= LARGEST_FRAME or len(payload) < length or first != expected:
            return None
        if check != crc32(payload, crc32(FRAME.pack(length, 0, first, count), seed)):
            return None
        try:
            records = decode_bundle(payload, count)
        except IntegrityError:
            return None
        return StoredFrame(first, records), at + FRAME_OCTETS + length


def stored_segments(folder: Path) -> list[Path]:
    """The journal's files in order."""
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
