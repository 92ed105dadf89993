"""Opening a ledger: find the last published tree, replay the journal behind it, tell what was left undone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from broker.adapters.ledger_files_journal import StoredSegment, stored_segments
from broker.adapters.ledger_files_open import OpenThings, time_of
from broker.adapters.ledger_files_tiles import PublishedFiles
from broker.errors import IntegrityError, LedgerUnavailableError
from broker.ledger import records
from broker.ledger.checkpoint import Checkpoint, verify_checkpoint
from broker.ledger.merkle import EMPTY_ROOT
from broker.ledger.notes import Verifier
from broker.ledger.tiles import WIDTH, Edge
from broker.model.vocabulary import EndReason, Result

ORPHANED = EndReason.BROKER_KILLED.value


@dataclass(slots=True)
class Recovered:
    """The state to go on from: the published tree, what was open at its size, and the records of its partial bundle.

    `tail` are records in the journal behind that tree; `healing` are those to add; `segments` hold the journal so far.
    """

    edge: Edge
    note: str
    things: OpenThings
    bundle: list[bytes]
    tail: list[bytes]
    healing: list[bytes]
    segments: list[Path]


@dataclass(slots=True)
class _Journal:
    records: list[bytes] = field(default_factory=list)
    dropped_octets: int = 0


def recover(files: PublishedFiles, journal: Path, log: Verifier, now: float) -> Recovered:
    """Read what is there, changing nothing.

    Raises IntegrityError if the files contradict the last checkpoint or each other, LedgerUnavailableError
    `clock_behind` if the clock is earlier than the last record.
    """
    head, note = _latest(files, log)
    edge = Edge.load(head.size, files.tile)
    if edge.root() != head.root:
        raise IntegrityError("root_mismatch", "the ledger does not match its last checkpoint", f"size {head.size}")
    segments = stored_segments(journal)
    found = _replay([StoredSegment(path) for path in segments], head.size)
    _require_clock(files, head.size, found.records, now)
    things = _open_things(files, head.size)
    later = things.copy()
    for record in found.records:
        later.follow(record)
    bundle = list(files.entries(head.size // WIDTH * WIDTH, head.size, head.size))
    healing = _healing(later, found.dropped_octets, now)
    return Recovered(edge, note, things, bundle, found.records, healing, segments)


def _latest(files: PublishedFiles, log: Verifier) -> tuple[Checkpoint, str]:
    best, best_note = Checkpoint(log.name, 0, EMPTY_ROOT), ""
    for note in files.latest_notes():
        checkpoint, _ = verify_checkpoint(note, log)
        if checkpoint.size >= best.size:
            best, best_note = checkpoint, note
    return best, best_note


def _replay(segments: list[StoredSegment], size: int) -> _Journal:
    """Records behind the tree of that size.

    A frame that is not whole is an unfinished write if nothing of it can have been fsynced: everything below `size`
    was.
    """
    found, expected = _Journal(), None
    for segment in segments:
        if segment.first is not None:
            expected = _join(segment, expected, size)
        for frame in segment.frames():
            expected = frame.first + len(frame.records)
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
    for record in files.entries(things.size, size, size):
        things.follow(record)
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
    unknown = [records.outcome(now, intent=i, result=Result.UNKNOWN, code=ORPHANED) for i in things.intents]
    closed = [
        records.session_closed(now, session=session, reason=ORPHANED, operations=0, refusals=0)
        for session in things.sessions
    ]
    return [records.tail_healed(now, dropped_octets=dropped_octets, orphans=len(things.intents)), *unknown, *closed]
