"""Opening a ledger: find the last published tree, replay the journal behind it, tell what was left undone."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from broker.adapters.ledger_files_journal import StoredSegment, stored_segments
from broker.adapters.ledger_files_open import OpenThings, time_of
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.errors import IntegrityError, LedgerUnavailableError
from broker.ledger import operation_records, records
from broker.ledger.checkpoint import Checkpoint, verify_checkpoint
from broker.ledger.merkle import EMPTY_ROOT
from broker.ledger.notes import Verifier
from broker.ledger.tiles import WIDTH, Edge
from broker.model.vocabulary import EndReason, Result

ORPHANED = EndReason.BROKER_KILLED.value


@dataclass(slots=True)
class Published:
    """The tree as last published: its edge, its signed note, what was open, and the records of its partial bundle."""

    edge: Edge
    note: str
    things: OpenThings
    bundle: list[bytes]


@dataclass(slots=True)
class Recovered:
    """The state to go on from.

    `tail` are the records in the journal behind the published tree, `healing` those to add, `last_sequence` the number
    of the last segment.
    """

    published: Published
    tail: list[bytes]
    healing: list[bytes]
    last_sequence: int


@dataclass(slots=True)
class _Journal:
    records: list[bytes] = field(default_factory=list)
    dropped_octets: int = 0


def load_published(files: PublishedFiles, log: Verifier) -> Published:
    """Read the last published tree. Raises IntegrityError if the files contradict its checkpoint."""
    head, note = _latest(files, log)
    edge = Edge.load(head.size, files.tile)
    if edge.root() != head.root:
        raise IntegrityError("root_mismatch", "the ledger does not match its last checkpoint", f"size {head.size}")
    bundle = list(files.entries(head.size // WIDTH * WIDTH, head.size, head.size))
    return Published(edge, note, _open_things(files, head.size), bundle)


def recover(files: PublishedFiles, journal: Path, log: Verifier, now: float) -> Recovered:
    """Read everything that is there, changing nothing.

    Raises IntegrityError if the files contradict the last checkpoint or each other, LedgerUnavailableError
    `clock_behind` if the clock is earlier than the last record.
    """
    published = load_published(files, log)
    size = published.edge.size
    paths = stored_segments(journal)
    found = _replay(paths, size)
    _require_clock(files, size, found.records, now)
    things = published.things.copy()
    things.follow(found.records)
    healing = _healing(things, found.dropped_octets, now)
    return Recovered(published, found.records, healing, int(paths[-1].name) if paths else 0)


def _latest(files: PublishedFiles, log: Verifier) -> tuple[Checkpoint, str]:
    best, best_note = Checkpoint(log.name, 0, EMPTY_ROOT), ""
    for note in files.latest_notes():
        checkpoint, _ = verify_checkpoint(note, log)
        if checkpoint.size >= best.size:
            best, best_note = checkpoint, note
    return best, best_note


def _replay(paths: list[Path], size: int) -> _Journal:
    """Records behind the tree of that size.

    A frame that is not whole is an unfinished write if nothing of it was fsynced; everything below `size` was.
    """
    found, expected = _Journal(), None
    for path in paths:
        segment = StoredSegment(path)
        with contextlib.closing(segment):
            if segment.first is not None:
                expected = _join(segment, expected, size)
            for frame in segment.frames():
                expected = frame.end
                found.records += frame.records[max(0, size - frame.first) :]
                found.dropped_octets = 0
            found.dropped_octets += segment.torn_octets
    if expected is not None and expected < size:
        raise IntegrityError("journal_damaged", "the journal is damaged where it was fsynced", f"record {expected}")
    return found


def _join(segment: StoredSegment, expected: int | None, size: int) -> int:
    assert segment.first is not None
    if segment.first > (size if expected is None else max(expected, size)):
        raise IntegrityError("journal_gap", "records are missing from the journal", f"before {segment.path.name}")
    if expected is not None and segment.first != expected:
        raise IntegrityError("journal_gap", "segments of the journal do not follow each other", segment.path.name)
    return segment.first


def _open_things(files: PublishedFiles, size: int) -> OpenThings:
    things = OpenThings.from_document(files.read_open_things(), size)
    if things is None or things.size < files.read_minimum():
        things = OpenThings()
        things.size = files.read_minimum()
    things.follow(files.entries(things.size, size, size))
    return things


def _require_clock(files: PublishedFiles, size: int, tail: list[bytes], now: float) -> None:
    last: Iterator[bytes] = iter(tail[-1:]) if tail else files.entries(max(0, size - 1), size, size)
    for record in last:
        if now < time_of(record):
            raise LedgerUnavailableError(
                "clock_behind", "the clock is earlier than the last record", f"the last record is of {time_of(record)}"
            )


def _healing(things: OpenThings, dropped_octets: int, now: float) -> list[bytes]:
    """Orphan intents become `unknown`, sessions end as `broker_killed`; that this was needed is recorded first."""
    if not (things.intents or things.sessions or dropped_octets):
        return []
    unknown = [operation_records.outcome(now, intent=i, result=Result.UNKNOWN, code=ORPHANED) for i in things.intents]
    closed = [
        records.session_closed(now, session=session, reason=ORPHANED, operations=0, refusals=0)
        for session in things.sessions
    ]
    return [records.tail_healed(now, dropped_octets=dropped_octets, orphans=len(things.intents)), *unknown, *closed]
