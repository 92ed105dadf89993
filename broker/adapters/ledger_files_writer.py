"""The event loop's half of the ledger: indices, room, one write for many, and who is to be told when it is on disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Any

from broker.adapters.ledger_files_commit import Bell, Committer
from broker.adapters.ledger_files_journal import FRAME_OCTETS, Segment
from broker.adapters.ledger_files_sealing import SealerProcess
from broker.errors import LedgerUnavailableError
from broker.ledger.tiles import LARGEST_ENTRY

RESERVE_OCTETS = 64 * 1024
RESERVE_FOR_INTENT_OCTETS = 1024
# What may still be written of other kinds while intents are refused; the rest is for outcomes and ends.
SLACK_OCTETS = 48 * 1024
RESUME_OCTETS = 8 * 1024
MOST_UNSEALED = 1 << 18
# More settles than this within that time go into one write together; fewer are written one by one, at once.
SETTLES_A_BURST = 4
BURST_SECONDS = 0.00045
UNSETTLED_SECONDS = 0.02
CLOSED_IN_ORDER = "closed in order"

_COMMON_SIZES = 512
_LENGTHS = tuple(size.to_bytes(2, "big") for size in range(_COMMON_SIZES))
_OUTCOME = b'"kind":"outcome"'
_ENDS = (b'"kind":"session_closed"', b'"kind":"broker_stopped"', b'"kind":"clock_stepped"')

Batch = tuple[int, list[bytes]]
Settled = Callable[[LedgerUnavailableError | None], None]


class State(StrEnum):
    """What the ledger takes: everything, all but intents, nothing."""

    OPEN = "open"
    PAUSED = "paused"
    CLOSED = "closed"


class LedgerWriter:
    """Implements `append` and `settle` of the `Ledger` port over a journal; opened and closed by `FileLedger`."""

    _loop: asyncio.AbstractEventLoop
    _segment: Segment

    def __init__(
        self,
        journal: Path,
        *,
        strict: bool,
        segment_octets: int,
        on_state: Callable[[State, str], None] | None,
        on_record: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self._strict = strict
        self._on_state = on_state
        self._on_record = on_record
        self._sealer = SealerProcess(self._on_sealer, self._on_sealer_ended)
        self._committer = Committer(
            journal,
            RESERVE_OCTETS,
            segment_octets,
            committed=self._committed,
            grown=self._grown,
            failed=self._failed,
        )
        self._state = State.CLOSED
        self._detail = "not opened"
        self._told = self._state, self._detail
        self._next = 0
        self._written = 0
        self._writes = 0
        self._parts: list[bytes] = []
        self._room = 0
        self._reserve = RESERVE_OCTETS
        self._disk_full = False
        self._waiting: list[Settled] = []
        self._durable: deque[tuple[int, Settled]] = deque()
        self._batching = False
        self._batched = 0
        self._flush_due = False
        self._direct = 0
        self._burst_began = 0.0
        self._timer = False
        self._tail: deque[Batch] = deque()
        self._sealed = 0
        self._sealed_octets = 0
        self._checkpoints = 0
        self._bell: Bell | None = None

    @property
    def state(self) -> State:
        """What the ledger takes now."""
        return self._state

    @property
    def detail(self) -> str:
        """Why it is not open, in words for the operator."""
        return self._detail

    @property
    def size(self) -> int:
        """How many records there are, those included that are not written yet."""
        return self._next

    def _on_note(self, note: str) -> None:
        """A checkpoint was published."""

    # The port

    def append(self, record: bytes, *, intent: bool = False) -> int:
        """See the port. While paused, others than outcomes and ends may be refused too (`ledger_paused`)."""
        size = len(record)
        if not 0 < size <= LARGEST_ENTRY:
            raise ValueError(f"a record is 1 to {LARGEST_ENTRY} octets, not {size}")
        room, reserve = self._room - size - 2, self._reserve
        if intent:
            if self._state is not State.OPEN or room < reserve:
                self._require_open(room)
            self._reserve = reserve + RESERVE_FOR_INTENT_OCTETS
        elif _OUTCOME in record:
            if self._state is State.CLOSED:
                raise closed_error(self._detail)
            if reserve > RESERVE_OCTETS:
                self._reserve = max(RESERVE_OCTETS, reserve - RESERVE_FOR_INTENT_OCTETS)
        else:
            if self._state is not State.OPEN or room < reserve:
                self._require_slack(record, room)
            if self._on_record is not None:
                # Later, so that nothing that follows it can fail or delay what is recorded.
                self._loop.call_soon(self._on_record, self._next, record)
        self._room = room
        self._parts += (_LENGTHS[size] if size < _COMMON_SIZES else size.to_bytes(2, "big"), record)
        index = self._next
        self._next = index + 1
        if not self._timer:
            self._timer = True
            self._loop.call_later(UNSETTLED_SECONDS, self._write_unsettled)
        return index

    def settle(self, durable: bool, settled: Settled) -> bool:
        """See the port."""
        if self._state is State.CLOSED:
            self._loop.call_soon(settled, closed_error(self._detail))
            return False
        if durable or self._strict:
            return self._settle_durable(settled)
        if not self._parts:
            return True
        if self._batching:
            self._waiting.append(settled)
            self._flush_soon()
            return False
        self._count_direct()
        if self._write():
            return True
        self._loop.call_soon(settled, closed_error(self._detail))
        return False

    def _settle_durable(self, settled: Settled) -> bool:
        if self._committer.synced >= self._next:
            return True
        self._durable.append((self._next, settled))
        if self._batching:
            self._flush_soon()
            return False
        self._count_direct()
        if self._write():
            self._committer.wanted = self._written
            self._committer.wake()
        return False

    # Writing

    def _count_direct(self) -> None:
        """Few settles at a time are written one by one; many are better gathered into one write.

        Told by the clock: a callback at the end of the loop's turn would cost a turn of its own.
        """
        now = monotonic()
        if now - self._burst_began > BURST_SECONDS:
            self._burst_began, self._direct = now, 0
        self._direct += 1
        self._batching = self._direct > SETTLES_A_BURST

    def _flush_soon(self) -> None:
        self._batched += 1
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        waiting, self._waiting = self._waiting, []
        self._batching = self._batched > 1
        self._batched = 0
        error = None if self._write() else closed_error(self._detail)
        if self._durable and error is None:
            self._committer.wanted = self._written
            self._committer.wake()
        for settled in waiting:
            try:
                settled(error)
            except Exception as fault:
                self._waiter_failed(fault)

    def _write_unsettled(self) -> None:
        """Whatever was appended in the last moments is written and fsynced, asked for or not."""
        self._timer = False
        if self._write():
            self._committer.wanted = self._written
            self._committer.wake()

    def _write(self) -> bool:
        """Bring everything appended to the file with one write(2); False if the ledger is or becomes closed."""
        parts = self._parts
        if self._state is State.CLOSED or not parts:
            return self._state is not State.CLOSED
        first, self._parts = self._written, []
        if self._committer.following is not None:
            self._rotate(self._committer.following, parts)
        segment = self._segment
        header = b"" if segment.offset else segment.begin(first)
        try:
            segment.write(header + segment.frame(first, parts))
        except OSError as error:
            self._close_for(error)
            return False
        self._room -= FRAME_OCTETS + len(header)
        self._writes += 1
        batch = (first, parts)
        self._tail.append(batch)
        self._committer.reserve_octets = self._reserve
        self._written = self._committer.written = self._next
        return True

    def _rotate(self, following: Segment, parts: list[bytes]) -> None:
        self._committer.retired.append(self._segment)
        self._segment = self._committer.current = following
        self._committer.following = None
        self._room = following.allocated - sum(map(len, parts))

    # What the threads report; they call these, and hand over to the event loop

    def _committed(self, size: int) -> None:
        self._sealer.synced(size)
        if self._durable and self._bell is not None:
            self._bell.ring()

    def _on_committed(self) -> None:
        if self._bell is not None:
            self._bell.clear()
            self._answer_durable()

    def _answer_durable(self) -> None:
        synced, durable = self._committer.synced, self._durable
        while durable and durable[0][0] <= synced:
            try:
                durable.popleft()[1](None)
            except Exception as fault:
                self._waiter_failed(fault)

    def _grown(self, segment: Segment, octets: int) -> None:
        self._loop.call_soon_threadsafe(self._on_grown, segment, octets)

    def _on_grown(self, segment: Segment, octets: int) -> None:
        if segment is self._segment:
            self._room += octets
        self._evaluate()

    def _on_sealer(self, said: dict[str, Any]) -> None:
        """What the sealer says, on the event loop."""
        if "failed" in said:
            self._close_for(OSError(said["failed"]))
        self._disk_full = said.get("blocked", self._disk_full)
        if "note" in said:
            self._sealed = said["size"]
            self._sealed_octets += said["octets"]
            self._checkpoints += said["checkpoints"]
            while self._tail and self._tail[0][0] + len(self._tail[0][1]) // 2 <= self._sealed:
                self._tail.popleft()
            self._on_note(said["note"])
        self._evaluate()

    def _on_sealer_ended(self) -> None:
        self._close_for(OSError("the sealer ended"))

    def _failed(self, error: OSError) -> None:
        self._state, self._detail = State.CLOSED, str(error)
        self._loop.call_soon_threadsafe(self._close_for, error)

    # State

    def _require_not_closed(self) -> None:
        if self._state is State.CLOSED:
            raise closed_error(self._detail)

    def _require_open(self, room: int) -> None:
        self._require_not_closed()
        self._evaluate()
        if room < self._reserve:
            self._set_state(State.PAUSED, "the disk is nearly full")
        if self._state is State.PAUSED:
            raise _paused(self._detail)

    def _require_slack(self, record: bytes, room: int) -> None:
        self._require_not_closed()
        if room < self._reserve - SLACK_OCTETS and not any(end in record for end in _ENDS):
            raise _paused("the disk is nearly full")

    def _evaluate(self) -> None:
        """Pause or resume, as room, disk and sealer stand now."""
        if self._state is State.CLOSED:
            return
        resuming = RESUME_OCTETS if self._state is State.PAUSED else 0
        if self._disk_full or self._room < self._reserve + resuming:
            self._set_state(State.PAUSED, "the disk is nearly full")
        elif self._next - self._sealed > MOST_UNSEALED:
            self._set_state(State.PAUSED, "records come faster than they can be sealed")
        else:
            self._set_state(State.OPEN, "")

    def _set_state(self, state: State, detail: str) -> None:
        self._state, self._detail = state, detail
        if self._told != (state, detail):
            self._told = state, detail
            if self._on_state is not None:
                self._on_state(state, detail)

    def _close_for(self, error: OSError) -> None:
        """Latch: nobody is told of a success any more, and nothing is tried again. The first cause stays."""
        if self._told[0] is State.CLOSED and self._told[1] != CLOSED_IN_ORDER:
            return
        self._set_state(State.CLOSED, f"the ledger cannot be written: {error}")
        waiting = [settled for _, settled in self._durable] + self._waiting
        self._durable.clear()
        self._waiting = []
        self._parts = []
        for settled in waiting:
            self._loop.call_soon(settled, closed_error(self._detail))

    def _waiter_failed(self, fault: Exception) -> None:
        """One waiter's fault must not keep the news from the others."""
        self._loop.call_exception_handler({"message": "a waiter on the ledger failed", "exception": fault})


def parts_of(entries: Iterable[bytes]) -> list[bytes]:
    """Records as they are written: each behind its length."""
    parts: list[bytes] = []
    for entry in entries:
        parts += (len(entry).to_bytes(2, "big"), entry)
    return parts


def closed_error(detail: str) -> LedgerUnavailableError:
    """What everybody is told once the ledger is closed."""
    return LedgerUnavailableError("ledger_closed", "the ledger is closed; nothing is relayed", detail)


def _paused(detail: str) -> LedgerUnavailableError:
    return LedgerUnavailableError("ledger_paused", "the ledger is paused; nothing is relayed", detail)
