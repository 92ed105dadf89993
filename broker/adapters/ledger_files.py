"""The ledger in files: the `Ledger` port over a journal, with tiles and checkpoints made from it behind.

The event loop assigns indices and writes; a commit thread fsyncs; a sealer process publishes. A short write, an I/O
error or a failed fsync closes the ledger until it is opened anew, which verifies what is there; an fsync is never tried
again. A disk that fills pauses intents while the outcomes of those in flight still have their room, and resumes by
itself.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.adapters.ledger_files_commit import Bell
from broker.adapters.ledger_files_disk import FolderLock, free_octets, make_folder
from broker.adapters.ledger_files_recovery import Recovered, recover
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.adapters.ledger_files_writer import CLOSED_IN_ORDER, LedgerWriter, State, closed_error, parts_of
from broker.errors import IntegrityError, LedgerUnavailableError
from broker.ledger import records
from broker.ledger.checkpoint import decode_checkpoint
from broker.ledger.merkle import inclusion_proof
from broker.ledger.notes import verifier_of
from broker.ledger.proof import encode_proof
from broker.ledger.tiles import WIDTH, node_reader

SEGMENT_OCTETS = 64 * 1024 * 1024
SECONDS_A_DAY = 86400

__all__ = ["FileLedger", "State"]


class FileLedger(LedgerWriter):
    """One broker's ledger in one folder.

    `origin` names the log in checkpoints (no blanks, no plus sign); `now` is the wall clock. `durability`: `writes`
    fsyncs what is asked durable at once and the rest within 50 ms, `strict` everything at once. Methods are called on
    the event loop's thread, but `read`, `records` and `inclusion_proof`, which read files and may be called on any.
    """

    def __init__(
        self,
        folder: Path,
        origin: str,
        key: Ed25519PrivateKey,
        now: Callable[[], float],
        *,
        durability: str = "writes",
        segment_octets: int = SEGMENT_OCTETS,
        on_state: Callable[[State, str], None] | None = None,
        on_checkpoint: Callable[[str], None] | None = None,
        on_record: Callable[[int, bytes], None] | None = None,
    ) -> None:
        """`on_state(state, detail)` and `on_checkpoint(note)` are called on the event loop, and so is
        `on_record(index, record)` after each record that is neither intent nor outcome was appended.
        """
        if durability not in ("writes", "strict"):
            raise ValueError("durability is `writes` or `strict`")
        self._verifier = verifier_of(origin, key)
        super().__init__(
            folder / "journal",
            strict=durability == "strict",
            segment_octets=segment_octets,
            on_state=on_state,
            on_record=on_record,
        )
        self._files = PublishedFiles(folder)
        self._origin = origin
        self._key = key
        self._now = now
        self._on_checkpoint = on_checkpoint
        self._note = ""
        self._opened_at = 0.0
        self._opened_size = 0
        self._lock: FolderLock | None = None

    async def open(self) -> None:
        """Take the folder, verify and heal what is there, and begin.

        Raises IntegrityError if the evidence does not hold, LedgerUnavailableError `ledger_locked`, `clock_behind` or
        `ledger_closed` (it cannot be written).
        """
        self._loop = asyncio.get_running_loop()
        recovered = await self._loop.run_in_executor(None, self._open_files)
        self._bell = Bell()
        self._loop.add_reader(self._bell.waiting, self._on_committed)
        self._sealer.listen(self._loop)
        self._begin(recovered)

    def _open_files(self) -> Recovered:
        journal = self._files.folder / "journal"
        try:
            make_folder(journal)
            self._lock = FolderLock(self._files.folder)
            try:
                recovered = recover(self._files, journal, self._verifier, self._now())
                self._heal(recovered)
                self._sealer.start(self._files.folder, self._key, self._origin, self._lock.descriptor)
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise closed_error(f"the ledger's folder cannot be used: {error}") from error
        return recovered

    def _heal(self, recovered: Recovered) -> None:
        """Write what heals the last run's end into a new segment, durably, before anything else happens."""
        segment = self._committer.current = self._segment = self._committer.open_segment(recovered.last_sequence + 1)
        size = recovered.published.edge.size + len(recovered.tail)
        if recovered.healing:
            segment.write(segment.begin(size) + segment.frame(size, parts_of(recovered.healing)))
            os.fdatasync(segment.descriptor)

    def _begin(self, recovered: Recovered) -> None:
        self._room = self._segment.allocated - self._segment.offset
        self._note = recovered.published.note
        self._sealed = recovered.published.edge.size
        replayed = recovered.tail + recovered.healing
        self._next = self._written = self._opened_size = self._sealed + len(replayed)
        self._committer.written = self._committer.synced = self._next
        if replayed:
            self._tail.append((self._sealed, parts_of(replayed)))
            self._sealer.synced(self._next)
        self._committer.start()
        self._opened_at = monotonic()
        self._set_state(State.OPEN, "")
        self._evaluate()

    async def close(self) -> None:
        """Fsync and seal everything, publish the last checkpoint and let the folder go."""
        if self._lock is None or self._bell is None:
            return
        self._flush()
        fault = self._state is State.CLOSED
        self._set_state(State.CLOSED, self._detail if fault else CLOSED_IN_ORDER)
        self._sealer.ignore(self._loop)
        said = await self._loop.run_in_executor(None, self._stop, fault)
        self._answer_durable()
        self._sealer.finish(said)
        self._loop.remove_reader(self._bell.waiting)
        self._bell.close()
        self._lock.release()
        self._bell = self._lock = None

    def _stop(self, fault: bool) -> bytes:
        self._committer.stop()
        said = self._sealer.stop(self._committer.synced, abandon=fault)
        self._committer.close()
        return said

    # Reading

    @property
    def vkey(self) -> str:
        """The public key, as `verify` wants it."""
        return self._verifier.vkey

    def checkpoint(self) -> str:
        """The latest published checkpoint, a signed note; empty before the first."""
        return self._note

    def _on_note(self, note: str) -> None:
        self._note = note
        if self._on_checkpoint is not None:
            self._on_checkpoint(note)

    def read(self, index: int) -> bytes:
        """One record. Raises IntegrityError if there is none, or if it has been pruned."""
        for record in self.records(index, index + 1):
            return record
        raise IntegrityError("index_outside_tree", "no such record", str(index))

    def records(self, start: int, stop: int) -> Iterator[bytes]:
        """Records [start, stop) as far as they are written; reads files. Raises IntegrityError for pruned ones."""
        stop = min(stop, self._written)
        while start < stop:
            sealed = self._sealed
            unsealed = list(self._tail) if start >= sealed else []
            found = 0
            for record in self._unsealed(unsealed, start, stop) if unsealed else ():
                found += 1
                yield record
            if not found:
                for record in self._files.entries(start, min(stop, self._sealed), self._sealed):
                    found += 1
                    yield record
            start += found

    @staticmethod
    def _unsealed(batches: list[tuple[int, list[bytes]]], start: int, stop: int) -> Iterator[bytes]:
        for first, parts in batches:
            if first + len(parts) // 2 > start and first < stop:
                yield from parts[2 * max(0, start - first) + 1 : 2 * (stop - first) : 2]

    def inclusion_proof(self, index: int) -> str:
        """A tlog-proof for a record under the latest checkpoint. Raises IntegrityError if it is not sealed yet."""
        note = self._note
        size = decode_checkpoint(note[: note.rfind("\n\n") + 1]).size if note else 0
        hashes = inclusion_proof(index, size, node_reader(size, self._files.tile))
        return encode_proof(index, hashes, note)

    # Keeping

    @property
    def minimum(self) -> int:
        """The first record that has not been given up."""
        return self._files.read_minimum()

    async def prune(self, minimum: int) -> int:
        """Give up the records below `minimum` (rounded down to a bundle); their hashes stay. How many bundles went.

        The declaration is recorded and fsynced before anything is removed. Raises LedgerUnavailableError.
        """
        minimum = min(minimum, self._sealed) // WIDTH * WIDTH
        previous = self._files.read_minimum()
        if minimum <= previous:
            return 0
        self.append(records.evidence_pruned(self._now(), minimum=minimum))
        told: asyncio.Future[LedgerUnavailableError | None] = self._loop.create_future()
        if not self.settle(True, told.set_result) and (error := await told) is not None:
            raise error
        return await self._loop.run_in_executor(None, self._prune_files, previous, minimum)

    def _prune_files(self, previous: int, minimum: int) -> int:
        self._files.write_minimum(minimum)
        return self._files.drop_bundles(previous // WIDTH, minimum // WIDTH)

    @property
    def days_of_disk(self) -> float:
        """For how long the disk lasts at the pace since opening; infinite if nothing was written."""
        elapsed = max(1.0, monotonic() - self._opened_at)
        a_day = self._sealed_octets / elapsed * SECONDS_A_DAY
        return free_octets(self._files.folder) / a_day if a_day else float("inf")

    def metrics(self) -> dict[str, float]:
        """Counters since opening, and gauges; names are stable."""
        return {
            "records": self._next - self._opened_size,
            "size": self._next,
            "sealed": self._sealed,
            "synced": self._committer.synced,
            "writes": self._writes,
            "fsyncs": self._committer.fsyncs,
            "fsync_seconds": self._committer.fsync_seconds,
            "checkpoints": self._checkpoints,
            "room_octets": self._room,
            "waiting": len(self._waiting) + len(self._durable),
            "open": float(self._state is State.OPEN),
            "days_of_disk": self.days_of_disk,
        }
