"""The published files of a ledger as their writer keeps them: tiles, entry bundles, checkpoints, what is open."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from broker.adapters.ledger_files_disk import make_folder, sync_folder, write_all, write_durable, write_new
from broker.errors import IntegrityError
from broker.ledger.tiles import WIDTH, bundle_path, decode_bundle, tile_path, width_at

CHECKPOINT = "checkpoint"
CHAIN = "checkpoints"
MINIMUM = "minimum"
OPEN_THINGS = "open.json"
AT_A_TIME = 4
CHAIN_TAIL = 64 * 1024
SIGNATURE_MARK = "\u2014 ".encode()


class PublishedFiles:
    """Reads and writes below one folder; every write is durable when the method returns. Methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain_octets = 0
        self._appended_octets = 0
        self._pool = ThreadPoolExecutor(AT_A_TIME, "ledger-files")

    def tile(self, level: int, number: int, width: int) -> bytes:
        """The octets of a tile. Raises IntegrityError if it is not there."""
        return self._partial_or_full(tile_path(level, number, width), tile_path(level, number))

    def entries(self, start: int, stop: int, size: int) -> Iterator[bytes]:
        """Records [start, stop) of a tree of that size. Raises IntegrityError."""
        while start < stop:
            number, offset = divmod(start, WIDTH)
            width = width_at(0, number, size)
            octets = self._partial_or_full(bundle_path(number, width), bundle_path(number))
            taken = decode_bundle(octets, width)[offset : offset + stop - start]
            yield from taken
            start += len(taken)

    def _partial_or_full(self, path: str, full: str) -> bytes:
        for candidate in dict.fromkeys((path, full)):
            with contextlib.suppress(FileNotFoundError):
                return (self.folder / candidate).read_bytes()
        raise IntegrityError("file_missing", "a file of the ledger is missing", path)

    def write_files(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Write files that no published checkpoint needs yet, then make their names durable.

        Several at a time, because a file system makes many of them durable in one go.
        """
        targets = [(self.folder / path, octets) for path, octets in files]
        folders = list(dict.fromkeys(target.parent for target, _ in targets))
        for folder in folders:
            make_folder(folder)
        shares = [targets[start::AT_A_TIME] for start in range(min(AT_A_TIME, len(targets)))]
        list(self._pool.map(_write_share, shares))
        for folder in folders:
            sync_folder(folder)

    def append_chain(self, notes: Sequence[str]) -> None:
        """Add checkpoints to the chain; they stay only if `publish` follows: what failed attempts left is cut first."""
        with open(self.folder / CHAIN, "ab", buffering=0) as file:
            file.truncate(self.chain_octets)
            octets = "".join(note + "\n" for note in notes).encode()
            write_all(file.fileno(), octets)
            os.fsync(file.fileno())
        self._appended_octets = len(octets)

    def publish(self, note: str) -> None:
        """Make a checkpoint the latest, and what was added to the chain a part of it for good."""
        write_durable(self.folder / CHECKPOINT, note.encode())
        sync_folder(self.folder)
        self.chain_octets += self._appended_octets
        self._appended_octets = 0

    def latest_notes(self) -> list[str]:
        """The last whole note of the chain and the published one, as far as they are there; finds the chain's end."""
        notes = [self._last_chained()]
        with contextlib.suppress(FileNotFoundError):
            notes.append((self.folder / CHECKPOINT).read_text(encoding="utf-8"))
        return [note for note in notes if note]

    def _last_chained(self) -> str:
        """An unfinished note at the end is not part of the chain: it was never published."""
        if not (self.folder / CHAIN).exists():
            return ""
        with open(self.folder / CHAIN, "rb") as file:
            octets = file.seek(0, os.SEEK_END)
            file.seek(max(0, octets - CHAIN_TAIL))
            parts = file.read().split(b"\n\n")
        unfinished = len(parts.pop())
        while parts and not parts[-1].startswith(SIGNATURE_MARK):
            unfinished += len(parts.pop()) + 2
        self.chain_octets = octets - unfinished
        return (parts[-2] + b"\n\n" + parts[-1] + b"\n").decode(errors="replace") if len(parts) > 1 else ""

    def drop_partials(self, paths: Sequence[str]) -> None:
        """Remove the partial forms of tiles that are full and published."""
        for path in paths:
            folder = f"{self.folder}/{path}.p"
            if os.path.isdir(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def read_minimum(self) -> int:
        """The index below which entry bundles may be gone."""
        with contextlib.suppress(FileNotFoundError):
            return int((self.folder / MINIMUM).read_text(encoding="ascii"))
        return 0

    def write_minimum(self, minimum: int) -> None:
        """Declare it."""
        write_durable(self.folder / MINIMUM, f"{minimum}\n".encode())
        sync_folder(self.folder)

    def drop_bundles(self, first: int, last: int) -> int:
        """Remove full entry bundles [first, last); how many were there. Their hash tiles stay."""
        dropped = 0
        for number in range(first, last):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / bundle_path(number)).unlink()
                dropped += 1
        return dropped

    def read_open_things(self) -> dict[str, object]:
        """The last note of what was open; {} if there is none that can be read."""
        try:
            document = orjson.loads((self.folder / OPEN_THINGS).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def write_open_things(self, document: dict[str, object]) -> None:
        """Note what is open, so that a start need not read everything."""
        write_durable(self.folder / OPEN_THINGS, orjson.dumps(document))


def _write_share(files: Sequence[tuple[Path, bytes]]) -> None:
    """One task for several files: handing over a task costs as much as writing a small file."""
    for file in files:
        write_new(file)
