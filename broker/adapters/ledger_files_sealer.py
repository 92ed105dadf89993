"""The sealer: turns fsynced records into tiles, signs checkpoints over them and publishes both.

It is a process of its own, so that hashing takes nothing from the event loop; it reads the journal's files. It is
started by `ledger_files_sealing`, which hands it the key through its standard input, then lines: how many records are
on disk, and `close` at the end. End of input without `close` means that the broker is gone: it stops at once. It
answers with lines of JSON. It holds the ledger's lock as long as it lives. A full disk makes it try again; any other
fault ends it.

It runs at the broker's own priority. It needs a few per cent of a core, but wakes many times in a pass: at a lower
priority each of these waits on a saturated machine is so long that checkpoints come more than a second apart.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_files_disk import NO_ROOM
from broker.adapters.ledger_files_journal import JournalCursor, StoredFrame
from broker.adapters.ledger_files_recovery import load_published
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.errors import IntegrityError
from broker.ledger.checkpoint import Checkpoint
from broker.ledger.merkle import leaf_hashes
from broker.ledger.notes import sign_note_as, verifier_of
from broker.ledger.tiles import WIDTH, Tile, bundle_path, encode_bundle

CHECKPOINT_SECONDS = 0.75
OPEN_THINGS_SECONDS = 5.0
RETRY_SECONDS = 0.25
GIVE_UP_SECONDS = 2.0
TILES_A_PASS = 64
# A pass fsyncs several files; more of them a second would only take the disk from those who wait for the journal.
PASS_SECONDS = 0.25
# Adds to the age of a record at its checkpoint; CHECKPOINT_SECONDS leaves room for it and for the pass.
GATHER_SECONDS = 0.05
STANDARD_INPUT = 0
CHUNK = 65536


@dataclass(slots=True)
class _Pass:
    """What one pass publishes: files, then checkpoints, then what they make superfluous."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    octets: int = 0


class Sealer:
    """Owns the published files while the ledger is open; `synced` and `stop` are called by another thread."""

    def __init__(
        self, folder: Path, key: Ed25519PrivateKey, origin: str, tell: Callable[[dict[str, object]], None]
    ) -> None:
        """Load the published tree. Raises IntegrityError."""
        self._files = PublishedFiles(folder)
        self._key = key
        self._signer = verifier_of(origin, key)
        self._tell = tell
        published = load_published(self._files, self._signer)
        self._edge, self._things = published.edge, published.things
        self._bundle = [encode_bundle(published.bundle)]
        self._unhashed: list[bytes] = []
        self._partials = {tile.path for tile in self._edge.partials()}
        self.size = self._synced = self._aimed = self._edge.size
        self._cursor = JournalCursor(folder / "journal", self.size)
        self._wake = threading.Condition()
        self._stopping = False
        self._abandoned = False
        self._noted_at = 0.0
        self._passed_at = 0.0
        self._waiting_since = 0.0

    def synced(self, size: int) -> None:
        """Everything below `size` is on disk and may be sealed."""
        with self._wake:
            if size > self._synced:
                if self._synced <= self._aimed or size // WIDTH > self._synced // WIDTH:
                    self._waiting_since = monotonic()
                self._synced = size
                self._wake.notify()

    def stop(self, *, abandon: bool) -> None:
        """End after sealing what is synced, or without."""
        with self._wake:
            self._stopping, self._abandoned = True, abandon
            self._wake.notify()

    def run(self) -> None:
        """Seal until stopped. Raises OSError and IntegrityError."""
        while self._await_work() and not self._abandoned:
            self._seal()
        if not self._abandoned:
            self._note_open_things()

    def _await_work(self) -> bool:
        """Wait until a pass is due; False when the ledger ends and nothing is left to do."""
        with self._wake:
            while not self._stopping and self._synced == self.size:
                self._wake.wait()
            while not self._stopping and (left := self._due() - monotonic()) > 0:
                self._wake.wait(left)
            self._passed_at = monotonic()
            return self._synced > self.size

    def _due(self) -> float:
        """When to seal what is synced: a full bundle soon, records behind it in time, many at once."""
        if self._synced - self.size >= TILES_A_PASS * WIDTH:
            return 0.0
        soonest = self._passed_at + PASS_SECONDS
        if self._synced // WIDTH > self.size // WIDTH:
            return soonest
        return max(soonest, self._waiting_since + CHECKPOINT_SECONDS)

    def _aim(self) -> tuple[int, bool]:
        """Up to where to read, and whether what is behind the last full bundle is published now.

        Mostly it can wait for the next pass, which will have the bundle whole: partial tiles cost as much as full ones.
        """
        with self._wake:
            read = min(self._synced, (self.size // WIDTH + TILES_A_PASS) * WIDTH)
            full = read // WIDTH * WIDTH
            next_is_late = self._waiting_since + CHECKPOINT_SECONDS < self._passed_at + PASS_SECONDS
            ragged = read > full and (full <= self.size or next_is_late or self._stopping)
            self._aimed = read if ragged else full
            return read, ragged

    def _seal(self) -> None:
        """One pass over what is synced."""
        read, ragged = self._aim()
        work = _Pass()
        for frame in self._cursor.read_to(read):
            self._take(frame, work)
        if ragged and self._unhashed:
            self._hash()
            self._checkpoint(work)
        partials = self._add_partials(work)
        if not self._publish(work):
            return
        self._partials = partials
        self._files.drop_partials(work.superseded)
        self._drop_segments()
        if monotonic() - self._noted_at > OPEN_THINGS_SECONDS:
            self._note_open_things()

    def _take(self, frame: StoredFrame, work: _Pass) -> None:
        """Gather the records of a frame until their bundle is full."""
        while frame.end >= (full := (self._edge.size // WIDTH + 1) * WIDTH):
            head, frame = frame.split(full)
            self._gather(head)
            self._complete(self._hash(), work)
        self._gather(frame)

    def _gather(self, frame: StoredFrame) -> None:
        self._bundle.append(frame.octets)
        self._unhashed += frame.records

    def _hash(self) -> list[Tile]:
        """Bring what was gathered into the tree; the tiles that it completed. A checkpoint follows at once."""
        records, self._unhashed = self._unhashed, []
        self._things.follow(records)
        return self._edge.extend(leaf_hashes(records))

    def _complete(self, tiles: list[Tile], work: _Pass) -> None:
        bundle = bundle_path(self._edge.size // WIDTH - 1), b"".join(self._bundle)
        self._bundle = []
        files = [bundle, *((tile.path, tile.octets) for tile in tiles)]
        work.files += files
        work.superseded += [path for path, _ in files]
        work.octets += sum(len(octets) for _, octets in files)
        self._checkpoint(work)

    def _checkpoint(self, work: _Pass) -> None:
        """Checkpoints are never farther apart than a bundle, however fast records come."""
        head = Checkpoint(self._signer.name, self._edge.size, self._edge.root())
        note = sign_note_as(self._signer, head.text, self._key)
        work.notes.append(note)
        work.octets += len(note) + 1

    def _add_partials(self, work: _Pass) -> set[str]:
        """What the last checkpoint of the pass, the one that is published, needs besides full tiles; its tiles' paths.

        A tile that the one before needs as well is not written again: it has to be there whole when the power goes.
        """
        partials = {tile.path: tile.octets for tile in self._edge.partials()}
        work.files += [(path, octets) for path, octets in partials.items() if path not in self._partials]
        if rest := self._edge.size % WIDTH:
            work.files.append((bundle_path(self._edge.size // WIDTH, rest), b"".join(self._bundle)))
        return set(partials)

    def _publish(self, work: _Pass) -> bool:
        """Tiles before the chain, the chain before the checkpoint. False: the disk stayed full while stopping."""
        stuck_since = None
        while not self._try_publish(work):
            if stuck_since is None:
                stuck_since = monotonic()
                self._tell({"blocked": True})
            if self._stopping and (self._abandoned or monotonic() - stuck_since > GIVE_UP_SECONDS):
                self._abandoned = True
                return False
            with self._wake:
                self._wake.wait(RETRY_SECONDS)
        if stuck_since is not None:
            self._tell({"blocked": False})
        self.size = self._edge.size
        self._tell({"note": work.notes[-1], "size": self.size, "checkpoints": len(work.notes), "octets": work.octets})
        return True

    def _try_publish(self, work: _Pass) -> bool:
        try:
            self._files.write_files(work.files)
            self._files.append_chain(work.notes)
            self._files.publish(work.notes[-1])
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return False
        return True

    def _drop_segments(self) -> None:
        """Journal segments whose records are all published go, oldest first, so that those left follow each other."""
        passed = self._cursor.passed
        while passed and passed[0][0] <= self.size:
            passed.pop(0)[1].unlink(missing_ok=True)

    def _note_open_things(self) -> None:
        """Losing this note costs time at the next start, nothing else; a full disk may therefore drop it."""
        self._noted_at = monotonic()
        try:
            self._files.write_open_things(self._things.document())
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise


def _listen(sealer: Sealer) -> None:
    """Follow the lines from the broker until it closes the ledger, or is gone.

    There may be thousands a second and only the latest counts, so they are left to gather a moment. The end of the
    pipe, which follows `close`, is heard at once.
    """
    ended = select.poll()
    ended.register(STANDARD_INPUT, 0)
    line = b""
    while octets := os.read(STANDARD_INPUT, CHUNK):
        *lines, line = (line + octets).split(b"\n")
        closing = lines[-1:] == [b"close"]
        if sizes := lines[: -1 if closing else None]:
            sealer.synced(int(sizes[-1]))
        if closing:
            sealer.stop(abandon=False)
            return
        ended.poll(GATHER_SECONDS * 1000)
    sealer.stop(abandon=True)


def _tell(document: dict[str, object]) -> None:
    os.write(sys.stdout.fileno(), orjson.dumps(document) + b"\n")


def main() -> int:
    """Run as a process; the broker decides when it ends, so signals meant for the broker are left to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Unbuffered: what follows the first line is read by `_listen`.
    with open(STANDARD_INPUT, "rb", buffering=0, closefd=False) as first_line:
        start = orjson.loads(first_line.readline())
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(start.pop("key")))
    try:
        sealer = Sealer(Path(start["folder"]), key, start["origin"], _tell)
        threading.Thread(target=_listen, args=(sealer,), daemon=True).start()
        sealer.run()
    except BrokenPipeError:
        return 1
    except (OSError, IntegrityError) as error:
        _tell({"failed": str(error)})
        return 1
    return 0
