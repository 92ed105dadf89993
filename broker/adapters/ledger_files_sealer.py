"""The sealer: a thread that turns fsynced records into tiles, signs checkpoints over them and publishes both.

It holds the interpreter only for small slices, so that the event loop is not kept waiting. A full disk makes it try
again; any other I/O error closes the ledger.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_files_disk import NO_ROOM
from broker.adapters.ledger_files_open import OpenThings
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.ledger.checkpoint import Checkpoint, sign_checkpoint
from broker.ledger.tiles import WIDTH, Edge, Tile, bundle_path, encode_bundle, tile_path

CHECKPOINT_SECONDS = 0.8
OPEN_THINGS_SECONDS = 5.0
RETRY_SECONDS = 0.25
GIVE_UP_SECONDS = 2.0
SLICE = 32
SLICE_PAUSE_SECONDS = 0.0001
TILES_A_PASS = 16

Batch = tuple[int, list[bytes]]


@dataclass(slots=True)
class _Pass:
    """What one pass publishes: files, then checkpoints, then what they make superfluous."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)


class Sealer:
    """Owns the published files while the ledger is open."""

    def __init__(
        self,
        files: PublishedFiles,
        key: Ed25519PrivateKey,
        origin: str,
        *,
        published: Callable[[str, int], None],
        blocked: Callable[[bool], None],
        failed: Callable[[OSError], None],
    ) -> None:
        """`published(note, size)`, `blocked(disk is full)` and `failed(error)` are called on this thread."""
        self._files = files
        self._key = key
        self._origin = origin
        self._published = published
        self._blocked = blocked
        self._failed = failed
        self._edge = Edge()
        self._things = OpenThings()
        self._bundle: list[bytes] = []
        self._queue: deque[Batch] = deque()
        self._synced = 0
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger-sealer", daemon=True)
        self._noted_at = 0.0
        self.size = 0
        self.checkpoints = 0
        self.octets = 0

    def begin(self, edge: Edge, things: OpenThings, bundle: list[bytes]) -> None:
        """Go on from a recovered tree; `bundle` are the records of its last partial bundle, `things` fit its size."""
        self._edge, self._things, self._bundle = edge, things, bundle
        self.size = self._synced = edge.size

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def hand_over(self, batch: Batch) -> None:
        """Records that have been written (on the event loop; not yet to be sealed)."""
        self._queue.append(batch)

    def synced(self, size: int) -> None:
        """Everything below `size` is on disk and may be sealed."""
        with self._wake:
            self._synced = size
            self._wake.notify()

    def stop(self) -> None:
        """Seal what is synced and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def halt(self) -> None:
        """End without sealing anything more: the ledger is closed for a fault."""
        with self._wake:
            self._stopping, self._synced = True, self.size
            self._wake.notify()

    def _run(self) -> None:
        try:
            while self._await_work():
                self.seal()
            self._note_open_things(always=True)
        except OSError as error:
            self._failed(error)

    def _await_work(self) -> bool:
        """Wait until a checkpoint is due; False when the ledger ends and nothing is left to do."""
        with self._wake:
            while not self._stopping and self._synced == self.size:
                self._wake.wait()
            due = monotonic() + CHECKPOINT_SECONDS
            while not self._stopping and self._synced - self.size < WIDTH and (left := due - monotonic()) > 0:
                self._wake.wait(left)
            return self._synced > self.size

    def seal(self) -> None:
        """One pass over what is synced. Raises OSError for all but a full disk."""
        target = min(self._synced, self.size + TILES_A_PASS * WIDTH)
        work = _Pass()
        while self._queue and self._edge.size < target:
            self._take(self._queue.popleft()[1], work)
        if self._edge.size % WIDTH and self._edge.size > self.size:
            self._checkpoint(work)
        if work.notes and self._publish(work):
            self._files.drop_partials(work.superseded)
            self._note_open_things(always=False)

    def _take(self, parts: list[bytes], work: _Pass) -> None:
        for at in range(1, len(parts), 2):
            record = parts[at]
            self._bundle.append(record)
            self._things.follow(record)
            completed = self._edge.append(sha256(b"\x00" + record).digest())
            if completed:
                self._complete(completed, work)
            elif not self._edge.size % SLICE:
                sleep(SLICE_PAUSE_SECONDS)

    def _complete(self, tiles: list[Tile], work: _Pass) -> None:
        number = self._edge.size // WIDTH - 1
        bundle = encode_bundle(self._bundle)
        self._bundle = []
        work.files.append((bundle_path(number), bundle))
        work.files += [(tile.path, tile.octets) for tile in tiles]
        work.superseded.append(bundle_path(number))
        work.superseded += [tile_path(tile.level, tile.number) for tile in tiles]
        self.octets += len(bundle) + sum(len(tile.octets) for tile in tiles)
        self._checkpoint(work)

    def _checkpoint(self, work: _Pass) -> None:
        """Checkpoints are never farther apart than a bundle, however fast records come."""
        partials = self._edge.partials()
        work.files += [(tile.path, tile.octets) for tile in partials]
        if self._bundle:
            work.files.append((bundle_path(self._edge.size // WIDTH, len(self._bundle)), encode_bundle(self._bundle)))
        head = Checkpoint(self._origin, self._edge.size, self._edge.root())
        work.notes.append(sign_checkpoint(head, self._key))

    def _publish(self, work: _Pass) -> bool:
        """Tiles before the chain, the chain before the checkpoint. False: the disk stayed full while stopping."""
        stuck_since = None
        while True:
            try:
                self._files.write_files(work.files)
                self._files.append_chain(work.notes)
                self._files.publish(work.notes[-1])
                break
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
            stuck_since = monotonic() if stuck_since is None else stuck_since
            self._blocked(True)
            if self._stopping and monotonic() - stuck_since > GIVE_UP_SECONDS:
                self._synced = self.size
                return False
            sleep(RETRY_SECONDS)
        if stuck_since is not None:
            self._blocked(False)
        self.size = self._edge.size
        self.checkpoints += len(work.notes)
        self.octets += sum(len(note) + 1 for note in work.notes)
        self._published(work.notes[-1], self.size)
        return True

    def _note_open_things(self, *, always: bool) -> None:
        """Losing this note costs time at the next start, nothing else; a full disk may therefore drop it."""
        if not always and monotonic() - self._noted_at < OPEN_THINGS_SECONDS:
            return
        self._noted_at = monotonic()
        try:
            self._files.write_open_things(self._things.document())
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise


def drop_segments(paths: list[Path]) -> None:
    """Remove journal segments, oldest first, so that those left still follow each other."""
    for path in paths:
        path.unlink(missing_ok=True)
