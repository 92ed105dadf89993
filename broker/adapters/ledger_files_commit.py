"""The commit thread: group fsync of the journal, and room kept ahead of it. The event loop never waits for either."""

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from broker.adapters.ledger_files_disk import free_octets
from broker.adapters.ledger_files_journal import Segment

PAUSED_SECONDS = 0.25
IDLE_SECONDS = 5.0
FREE_SECONDS = 1.0
PAGE = 4096
SMALLEST_GROWTH = 16 * 1024
LARGEST_GROWTH = 8 * 1024 * 1024
# A quarter of what is free: the tiles made from the journal take as much again, and others need the disk too.
SHARE_OF_FREE = 4


class Committer:
    """Owns fsync and reservation. The event loop owns `current` and writes; it tells by `wake` and reads `synced`."""

    def __init__(
        self,
        folder: Path,
        reserve_octets: int,
        segment_octets: int,
        *,
        committed: Callable[[int], None],
        grown: Callable[[Segment, int], None],
        failed: Callable[[OSError], None],
    ) -> None:
        """`committed(size)`, `grown(segment, octets)` and `failed(error)` are called on this thread."""
        self._folder = folder
        self.reserve_octets = reserve_octets
        self._segment_octets = segment_octets
        self._committed = committed
        self._grown = grown
        self._failed = failed
        self._bell: Bell | None = None
        self._poll = select.poll()
        self._idle = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger-commit", daemon=True)
        self._free = (0.0, 0)
        self.retired: deque[Segment] = deque()
        self.current: Segment | None = None
        self.following: Segment | None = None
        self.written = 0
        self.wanted = 0
        self.synced = 0
        self.starved = False
        self.fsyncs = 0
        self.fsync_seconds = 0.0

    def open_segment(self, sequence: int) -> Segment:
        """A new segment with some room; with none if the disk is full. Raises OSError."""
        segment = Segment(self._folder, sequence)
        self._grow(segment)
        return segment

    def start(self) -> None:
        """Start the thread."""
        self._bell = Bell()
        self._poll.register(self._bell.waiting, select.POLLIN)
        self._thread.start()

    def wake(self) -> None:
        """From the event loop, after setting `wanted`. A busy thread looks at it by itself before it waits."""
        if self._idle and self._bell is not None:
            self._idle = False
            self._bell.ring()

    def stop(self) -> None:
        """Fsync what is written and end the thread."""
        self._stopping = True
        if self._bell is not None:
            self._bell.ring()
        if self._thread.ident is not None:
            self._thread.join()

    def close(self) -> None:
        """Give the descriptors back; the thread has ended."""
        for segment in (*self.retired, self.current, self.following):
            if segment is not None:
                segment.close()
        if self.following is not None:
            self.following.path.unlink(missing_ok=True)
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wait()
                self._commit_if_due()
                self._keep_room()
            self._commit_if_due()
        except OSError as error:
            self._failed(error)

    def _wait(self) -> None:
        due = PAUSED_SECONDS if self.starved else IDLE_SECONDS
        self._idle = True
        if self.wanted <= self.synced and self._poll.poll(due * 1000) and self._bell is not None:
            self._bell.clear()
        self._idle = False

    def _commit_if_due(self) -> None:
        """Fsync once for everybody who waits. Views ask by a timer of the event loop, so that many share one fsync."""
        written = self.written
        if self.wanted > self.synced or (self._stopping and written > self.synced):
            self._commit(written)

    def _commit(self, written: int) -> None:
        started = monotonic()
        while self.retired:
            segment = self.retired.popleft()
            os.fdatasync(segment.descriptor)
            segment.close()
        if self.current is not None:
            os.fdatasync(self.current.descriptor)
        self.fsyncs += 1
        self.fsync_seconds += monotonic() - started
        self.synced = written
        self._committed(written)

    def _keep_room(self) -> None:
        """Grow the current segment ahead of its writer, and have the next one ready in time."""
        segment = self.current
        if segment is None:
            return
        needed = self.reserve_octets + self._share() // 2
        if segment.allocated - segment.offset < needed and (octets := self._grow(segment)):
            self._grown(segment, octets)
        self.starved = segment.allocated - segment.offset < needed
        if self.following is None and segment.offset > self._rotation_octets():
            self._prepare(segment.sequence + 1)

    def _prepare(self, sequence: int) -> None:
        """Offer the next segment to the event loop, unless there is no room for it."""
        following = self.open_segment(sequence)
        if following.allocated:
            self.following = following
        else:
            following.close()
            following.path.unlink()

    def _grow(self, segment: Segment) -> int:
        """Room that was added, for a new segment at least the reserve; 0 if the disk is too full."""
        least = SMALLEST_GROWTH + (0 if segment.allocated else self.reserve_octets)
        octets = max(least, self._share()) // PAGE * PAGE
        self._free = (0.0, 0)
        if octets > self._free_octets() // 2 or not segment.grow(octets):
            return 0
        return octets

    def _free_octets(self) -> int:
        """Free room of the disk, asked for at most once a second while there is enough."""
        asked, free = self._free
        if self.starved or monotonic() - asked >= FREE_SECONDS:
            free = free_octets(self._folder)
            self._free = (monotonic(), free)
        return free

    def _share(self) -> int:
        return min(LARGEST_GROWTH, self._free_octets() // SHARE_OF_FREE)

    def _rotation_octets(self) -> int:
        """Segments are smaller on small disks, so that what is sealed gives its room back."""
        return min(self._segment_octets, max(2 * self.reserve_octets, self._free_octets() // SHARE_OF_FREE))


class Bell:
    """Wakes who waits on the descriptor `waiting`: an eventfd on Linux, elsewhere a pipe."""

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.waiting = self._ringing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.waiting, self._ringing = os.pipe()

    def ring(self) -> None:
        """Wake."""
        os.write(self._ringing, _ONE)

    def clear(self) -> None:
        """Wait for the next ring."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.waiting, 8)

    def close(self) -> None:
        """Give the descriptors back."""
        for descriptor in {self.waiting, self._ringing}:
            os.close(descriptor)


_ONE = (1).to_bytes(8, "little")
