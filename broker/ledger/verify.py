"""Offline verification: tree, chain of checkpoints, signatures and invariants, from files and public keys alone."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from broker.errors import IntegrityError
from broker.ledger.checkpoint import LONGEST_SIZE, Checkpoint, split_checkpoints, verify_checkpoint
from broker.ledger.invariants import Invariants
from broker.ledger.merkle import HASH_OCTETS, Tree, encode_hash, leaf_hash, subtree_hash
from broker.ledger.notes import Signature, Verifier, decode_vkey
from broker.ledger.tiles import WIDTH, bundle_path, tile_path, tiles_of

# A checkpoint is due after less than a second; what lies above is told, for a slow disk or host can be the cause.
LATE_SECONDS = 2.0
# What the writer chains before the head follows: mostly a note, at most those of 64 full bundles and of a part of one.
USUAL_LEAD = 2
LARGEST_LEAD = 65
CHAIN_CHUNK = 1 << 20
LARGEST_NOTE = 1 << 16
LARGEST_BUNDLE = WIDTH * (2 + 65535)


class FileReader(Protocol):
    """The files of a ledger, by their path inside its folder."""

    def read(self, path: str, offset: int = 0, length: int = LARGEST_BUNDLE) -> bytes | None:
        """At most `length` octets from `offset`; None if there is no such file."""


@dataclass(slots=True)
class Report:
    """What was verified. `ok` only if everything holds; else `reason` and, where there is one, `first_bad`, its index.

    `witnesses` names who else signed the head; if nobody did, `unwitnessed` is True: the log's own key is then the only
    thing between this history and another one. `counts` are records by kind. `saved_checkpoints` is how many saved
    ones the history agrees with, `saved_size` the size of the largest. `late_checkpoints` cover records of more than
    two seconds, at most `longest_stretch` seconds. `head_behind` is by how many notes the head trails the chain.
    """

    ok: bool = False
    reason: str = ""
    detail: str = ""
    first_bad: int | None = None
    origin: str = ""
    size: int = 0
    root: str = ""
    minimum: int = 0
    checkpoints: int = 0
    late_checkpoints: int = 0
    longest_stretch: float = 0.0
    head_behind: int = 0
    saved_size: int | None = None
    saved_checkpoints: int = 0
    witnesses: tuple[str, ...] = ()
    open_intents: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def unwitnessed(self) -> bool:
        """Nobody but the log has signed."""
        return not self.witnesses


class _BadRecordError(Exception):
    """Internal to this module: at which record verification stopped."""

    def __init__(self, index: int, cause: IntegrityError) -> None:
        super().__init__(str(cause))
        self.index = index
        self.cause = cause


def verify_ledger(
    reader: FileReader, vkey: str, saved_checkpoint: str | None = None, witnesses: Sequence[str] = ()
) -> Report:
    """Verify everything up to the ledger's last checkpoint; keys as vkey texts. A failure is reported, never raised.

    `saved_checkpoint` may hold several notes with empty lines between them; the history must agree with each.
    """
    report = Report()
    try:
        _Verification(reader, decode_vkey(vkey), [decode_vkey(w) for w in witnesses], report).run(saved_checkpoint)
        report.ok = True
    except _BadRecordError as bad:
        report.first_bad, report.reason, report.detail = bad.index, bad.cause.code, bad.cause.detail
    except IntegrityError as error:
        report.reason, report.detail = error.code, error.detail
    return report


class _Verification:
    """One pass over the files. Nothing is trusted before it has been hashed into the signed root."""

    def __init__(self, reader: FileReader, log: Verifier, witnesses: list[Verifier], report: Report) -> None:
        self._reader = reader
        self._log = log
        self._witnesses = witnesses
        self._report = report
        self._tree = Tree()
        self._rows: list[list[bytes]] = []
        self._good_size = 0

    def run(self, saved_checkpoint: str | None) -> None:
        head, signatures = self._head()
        self._describe(head, signatures)
        saved = self._saved(saved_checkpoint, head)
        minimum = self._minimum(head)
        invariants = Invariants(minimum, head.origin)
        self._report.counts, self._report.minimum = invariants.counts, minimum
        chain = self._chain()
        self._require_saved(saved.pop(0, ()))
        expected = next(chain, None)
        for index, leaf in self._leaves(head.size, invariants):
            self._tree.append(leaf)
            size = index + 1
            while expected is not None and expected.size < size:
                raise _BadRecordError(index, _wrong("chain_out_of_order", f"size {expected.size}"))
            self._require_saved(saved.pop(size, ()))
            if expected is not None and expected.size == size:
                self._require_root(expected, "root_mismatch")
                self._report.checkpoints += 1
                self._measure(invariants.end_stretch())
                expected = next(chain, None) if size < head.size else expected
        self._require_root(head, "root_mismatch")
        if head.size and (expected is None or expected.size != head.size):
            raise _wrong("chain_incomplete", f"no checkpoint of size {head.size} in the chain")
        self._check_upper_tiles(head.size)
        invariants.finish()
        self._report.open_intents = invariants.left_open

    def _head(self) -> tuple[Checkpoint, tuple[Signature, ...]]:
        """The newest checkpoint, which is in the chain alone for the moment before the head file follows.

        A writer may go on while the chain is read, so only what is ahead of the head as it is afterwards counts.
        """
        ahead = self._notes_after(self._published()[0].size)
        head, signatures = self._published()
        later = [checkpoint for checkpoint in map(self._chained, ahead) if checkpoint.size > head.size]
        if len(later) > USUAL_LEAD and not _is_one_pass(later):
            raise _wrong("head_behind_chain", f"the head is of {head.size} records, the chain goes to {later[-1].size}")
        self._report.head_behind = len(later)
        for checkpoint in reversed(later) if not signatures else ():
            if self._is_stored(checkpoint.size):
                return checkpoint, ()
        return head, signatures

    def _notes_after(self, size: int) -> Sequence[str]:
        """The notes at the chain's end that are of more records, more of them than can be in order at most."""
        return deque((note for note in _notes(self._reader) if _claimed_size(note) > size), LARGEST_LEAD + 1)

    def _is_stored(self, size: int) -> bool:
        """Whether the last records of that size are there: a copy may hold the chain as it was after the tiles."""
        number, width = (size - 1) // WIDTH, (size - 1) % WIDTH + 1
        return self._stored(bundle_path(number, width), bundle_path(number)) is not None

    def _published(self) -> tuple[Checkpoint, tuple[Signature, ...]]:
        raw = self._reader.read("checkpoint", 0, LARGEST_NOTE)
        if raw is None:
            raise _wrong("checkpoint_missing")
        return verify_checkpoint(_text(raw), self._log, self._witnesses)

    def _describe(self, head: Checkpoint, signatures: tuple[Signature, ...]) -> None:
        self._report.origin, self._report.size, self._report.root = head.origin, head.size, encode_hash(head.root)
        self._report.witnesses = tuple(signature.verifier.name for signature in signatures)

    def _saved(self, raw_saved: str | None, head: Checkpoint) -> dict[int, set[Checkpoint]]:
        """The saved checkpoints by their size."""
        saved: dict[int, set[Checkpoint]] = {}
        for number, note in enumerate(split_checkpoints(raw_saved) if raw_saved is not None else (), start=1):
            try:
                checkpoint, _ = verify_checkpoint(note, self._log, self._witnesses)
            except IntegrityError as error:
                raise _wrong("saved_checkpoint_refused", f"number {number}: {error}") from None
            saved.setdefault(checkpoint.size, set()).add(checkpoint)
            self._report.saved_checkpoints = number
        self._report.saved_size = max(saved, default=None)
        if saved and max(saved) > head.size:
            raise _wrong("history_cut", f"{head.size} records, {max(saved)} when the checkpoint was saved")
        return saved

    def _require_saved(self, saved: Iterable[Checkpoint]) -> None:
        for checkpoint in saved:
            self._require_root(checkpoint, "history_rewritten")

    def _measure(self, seconds: float) -> None:
        self._report.late_checkpoints += seconds > LATE_SECONDS
        self._report.longest_stretch = max(self._report.longest_stretch, round(seconds, 3))

    def _minimum(self, head: Checkpoint) -> int:
        raw = self._reader.read("minimum", 0, 32)
        if raw is None:
            return 0
        digits = _text(raw).strip()
        if not digits.isdigit() or int(digits) > head.size or int(digits) % WIDTH:
            raise _wrong("minimum_malformed", digits)
        return int(digits)

    def _chain(self) -> Iterator[Checkpoint]:
        """The checkpoints in order, one at every full bundle at least; an unfinished last one is not one yet.

        One that was left out between two full bundles leaves no gap in the sizes; the next one covers its records.
        """
        previous, first = 0, True
        for note in _notes(self._reader):
            checkpoint = self._chained(note)
            if not first and checkpoint.size <= previous:
                raise self._after_good("chain_out_of_order", f"{checkpoint.size} after {previous}")
            boundary = (previous // WIDTH + 1) * WIDTH
            if checkpoint.size > boundary:
                raise self._after_good("chain_incomplete", f"none of {boundary} records, the end of a bundle")
            previous, first = checkpoint.size, False
            if checkpoint.size:
                yield checkpoint

    def _chained(self, note: str) -> Checkpoint:
        try:
            return verify_checkpoint(note, self._log)[0]
        except IntegrityError as error:
            raise _BadRecordError(self._good_size, error) from None

    def _after_good(self, code: str, detail: str) -> Exception:
        return _BadRecordError(self._good_size, _wrong(code, detail))

    def _require_root(self, checkpoint: Checkpoint, code: str) -> None:
        """The tree as computed is the tree as signed; if not, the fault lies after the last size that was right."""
        if self._tree.size == checkpoint.size and self._tree.root() != checkpoint.root:
            raise _BadRecordError(self._good_size, _wrong(code, f"between {self._good_size} and {checkpoint.size}"))
        self._good_size = max(self._good_size, checkpoint.size)

    def _leaves(self, size: int, invariants: Invariants) -> Iterator[tuple[int, bytes]]:
        for number in range(-(-size // WIDTH)):
            start = number * WIDTH
            width = min(WIDTH, size - start)
            stored = self._tile(0, number, width)
            if start + width <= self._report.minimum:
                leaves: Iterator[bytes] = iter(stored)
            else:
                leaves = self._entries(number, width, stored, invariants)
            row: list[bytes] = []
            for offset, leaf in enumerate(leaves):
                row.append(leaf)
                yield start + offset, leaf
            self._climb(row)

    def _entries(self, number: int, width: int, stored: list[bytes], invariants: Invariants) -> Iterator[bytes]:
        start = number * WIDTH
        octets = self._stored(bundle_path(number, width), bundle_path(number))
        if octets is None:
            raise _BadRecordError(start, _wrong("bundle_missing", bundle_path(number, width)))
        at = 0
        for offset in range(width):
            end = at + 2 + int.from_bytes(octets[at : at + 2], "big")
            entry = octets[at + 2 : end]
            leaf = leaf_hash(entry)
            if end > len(octets) or leaf != stored[offset]:
                raise _BadRecordError(start + offset, _wrong("record_altered", "its hash is not the one in the tree"))
            try:
                invariants.check(start + offset, entry)
            except IntegrityError as error:
                raise _BadRecordError(start + offset, error) from None
            at = end
            yield leaf
        if width == WIDTH and at != len(octets):
            raise _BadRecordError(start + width - 1, _wrong("bundle_long", bundle_path(number)))

    def _tile(self, level: int, number: int, width: int) -> list[bytes]:
        octets = self._stored(tile_path(level, number, width), tile_path(level, number))
        first = number * WIDTH ** (level + 1)
        if octets is None:
            raise _BadRecordError(first, _wrong("tile_missing", tile_path(level, number, width)))
        if len(octets) not in (width * HASH_OCTETS, WIDTH * HASH_OCTETS):
            raise _BadRecordError(first, _wrong("tile_malformed", tile_path(level, number, width)))
        return [octets[i * HASH_OCTETS : (i + 1) * HASH_OCTETS] for i in range(width)]

    def _stored(self, path: str, full: str) -> bytes | None:
        """A partial file may have given way to the full one since the checkpoint was read."""
        octets = self._reader.read(path)
        return octets if octets is not None or path == full else self._reader.read(full)

    def _climb(self, row: list[bytes]) -> None:
        """Check the tiles above a full row as they become full."""
        level = 1
        while len(row) == WIDTH:
            if len(self._rows) < level:
                self._rows.append([])
            above = self._rows[level - 1]
            above.append(subtree_hash(row))
            if len(above) < WIDTH:
                return
            number = (self._tree.size >> (8 * (level + 1))) - 1
            self._compare_tile(level, number, above)
            row, self._rows[level - 1] = list(above), []
            level += 1

    def _check_upper_tiles(self, size: int) -> None:
        for level, row in enumerate(self._rows, start=1):
            full, partial = tiles_of(level, size)
            if partial:
                self._compare_tile(level, full, row)

    def _compare_tile(self, level: int, number: int, computed: list[bytes]) -> None:
        for offset, stored in enumerate(self._tile(level, number, len(computed))):
            if stored != computed[offset]:
                first = (number * WIDTH + offset) * WIDTH**level
                raise _BadRecordError(first, _wrong("tile_altered", tile_path(level, number)))


def _is_one_pass(checkpoints: Sequence[Checkpoint]) -> bool:
    """Whether the writer may have put them into the chain in one go: full bundles, and one part at the end."""
    return len(checkpoints) <= LARGEST_LEAD and not any(c.size % WIDTH for c in checkpoints[:-1])


def _claimed_size(note: str) -> int:
    """The size that a note names, proven by nothing; 0 if it names none."""
    digits = note.split("\n", 2)[1]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_SIZE else 0


def _notes(reader: FileReader) -> Iterator[str]:
    """The notes of the file `checkpoints`: each ends with a signature line and is followed by an empty line."""
    offset, rest = 0, b""
    while chunk := reader.read("checkpoints", offset, CHAIN_CHUNK):
        offset += len(chunk)
        rest, at = rest + chunk, 0
        while (end := _note_end(rest, at)) > 0:
            yield _text(rest[at:end])
            at = end + 1
        rest = rest[at:]
        if len(rest) > LARGEST_NOTE:
            raise _wrong("chain_malformed", "a note without end")


def _note_end(octets: bytes, at: int) -> int:
    """Where the note at `at` ends: after its signature part, at the second empty line; -1 if it is not all there."""
    separator = octets.find(b"\n\n", at)
    end = octets.find(b"\n\n", separator + 2) if separator >= 0 else -1
    return end + 1 if end >= 0 else -1


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _wrong("text_malformed", "not UTF-8") from None


def _wrong(code: str, detail: str = "") -> IntegrityError:
    return IntegrityError(code, code.replace("_", " "), detail)
