"""Messages in segments (ASHRAE 135-2020, 5.2 to 5.4): one that is sent, one that comes, each bounded in every way.

Time is any clock's seconds and arrives as `now`. Both answer with what is to be sent at once and say in `wake_at` when
to call `wake` (None: they are over). They know nothing of addresses: whoever holds them finds them by peer, invoke id
and direction (a SegmentAck `from_server` belongs to a sender of a request). A sender is used by the client for a long
request, by the server for a long acknowledgement; a receiver by the other side.
"""

from typing import NamedTuple

from broker.wire.bacnet.apdu import MORE_THAN_64, Abort, AbortReason, ComplexAck, ConfirmedRequest, SegmentAck

_SEQUENCES = 256  # 20.1.2.7: sequence numbers are modulo 256
_LARGEST_WINDOW = 127  # 20.1.2.8
_RECEIVER_PATIENCE = 4  # 5.4: Twait_for_seg is four times Tseg
_STALE = 128  # no window reaches so far, so what is nearer behind than this has been here already
_REQUEST_HEADER_OCTETS = 4
_ACK_HEADER_OCTETS = 3
_SEGMENT_OCTETS = 2  # sequence number and window, which only segments have

Message = ConfirmedRequest | ComplexAck
"""What can be long enough to be segmented."""


class SegmentLimits(NamedTuple):
    """How one long message may travel; `octets` and `segments` bound what is received.

    `proposed_window` is for what we send: of the stacks in use some acknowledge nothing before a proposed window is
    full, not even the first segment (against 5.4.4.2), so that any but 1 costs a timeout. `window` is the most that we
    grant to a peer that sends.
    """

    window: int = 16
    segment_seconds: float = 5.0
    retries: int = 3
    whole_seconds: float = 60.0
    octets: int = 262_144
    segments: int = 1024
    proposed_window: int = 1


USUAL_LIMITS = SegmentLimits()


def header_octets(message: Message) -> int:
    """Octets in front of the parameters of a message in one piece."""
    return _REQUEST_HEADER_OCTETS if isinstance(message, ConfirmedRequest) else _ACK_HEADER_OCTETS


def fits(message: Message, max_apdu: int) -> bool:
    """Whether this message can be sent in one piece to a peer that accepts APDUs of so many octets (5.2.1)."""
    return header_octets(message) + len(message.parameters) <= max_apdu


class SegmentSender:
    """Sends one long message window by window; nothing but unacknowledged segments is ever sent again (5.4.4, 5.4.5).

    `max_apdu` and `max_segments` are what the peer accepts. `done` once the peer has it all, `failed` with a reason
    once it never will. An answer before `all_sent` cannot be one to this request (5.4.4.2). The message itself is never
    begun anew: that is for whoever knows whether it may be repeated.
    """

    def __init__(
        self, message: Message, max_apdu: int, max_segments: int | None = None, limits: SegmentLimits = USUAL_LIMITS
    ) -> None:
        size = max_apdu - header_octets(message) - _SEGMENT_OCTETS
        self.done = False
        self.failed: AbortReason | None = None
        self.wake_at: float | None = None
        self.all_sent = False
        self._message = message
        self._limits = limits
        self._most_segments = max_segments
        self._pieces = [message.parameters[at : at + size] for at in range(0, len(message.parameters), size)] or [b""]
        self._first = 0  # of those that are not acknowledged
        self._next = 0  # of those that are not under way
        self._sent = 0  # how many were ever sent
        self._window = 1  # 5.3: until the peer has told its own, one segment
        self._tries = 0
        self._ends_at = 0.0

    def start(self, now: float) -> tuple[Message | Abort, ...]:
        """The first segment."""
        self._ends_at = now + self._limits.whole_seconds
        most = self._most_segments
        if most is not None and most < MORE_THAN_64 and len(self._pieces) > most:  # 20.1.2.4
            if isinstance(self._message, ComplexAck):
                return self._fail(AbortReason.BUFFER_OVERFLOW, tell=True)  # 5.4.5.3: the client's buffer
            return self._fail(AbortReason.APDU_TOO_LONG, tell=False)  # 18.10: never left
        return self._fill_window(now)

    def acknowledged(self, ack: SegmentAck, now: float) -> tuple[Message | Abort, ...]:
        """The next segments, once the peer has said how far it is; after a negative one those under way again."""
        if self.wake_at is None or ack.from_server != isinstance(self._message, ConfirmedRequest):
            return ()
        if not 1 <= ack.window <= _LARGEST_WINDOW:
            return self._fail(AbortReason.WINDOW_SIZE_OUT_OF_RANGE, tell=True)
        beyond_first = (ack.sequence - self._first) % _SEQUENCES
        if beyond_first >= self._sent - self._first:
            return ()  # 5.4.2.1 InWindow; the timer goes on, so that no flood of old ones keeps this alive
        self._first += beyond_first + 1
        self._window = min(ack.window, self._limits.proposed_window)
        self._tries = 0
        if self._first == len(self._pieces):
            self.done, self.wake_at = True, None
            return ()
        self._next = self._first if ack.negative else max(self._next, self._first)
        return self._fill_window(now)

    def wake(self, now: float) -> tuple[Message | Abort, ...]:
        """The same segments again if the peer was silent for too long, a bounded number of times."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self._tries += 1
        if self._tries > self._limits.retries or now >= self._ends_at:
            return self._fail(AbortReason.TSM_TIMEOUT, tell=False)  # 5.4.4.2: only the application hears of it
        self._next = self._first
        return self._fill_window(now)

    def _fill_window(self, now: float) -> tuple[Message, ...]:
        """5.4.2.3, but for a peer that acknowledges within a window nothing that is under way is sent twice."""
        start, end = self._next, min(self._first + self._window, len(self._pieces))
        self._next = max(start, end)
        self._sent = max(self._sent, self._next)
        self.all_sent = self._sent == len(self._pieces)
        self.wake_at = min(now + self._limits.segment_seconds, self._ends_at)
        return tuple(self._segment(number) for number in range(start, end))

    def _segment(self, number: int) -> Message:
        return self._message._replace(
            parameters=self._pieces[number],
            segmented=True,
            more=number + 1 < len(self._pieces),
            sequence=number % _SEQUENCES,
            window=self._limits.proposed_window,
        )

    def _fail(self, reason: AbortReason, *, tell: bool) -> tuple[Abort, ...]:
        self.failed, self.wake_at = reason, None
        return (Abort(self._message.invoke, reason, isinstance(self._message, ComplexAck)),) if tell else ()


class SegmentReceiver:
    """Collects one long message in order and acknowledges window by window (5.4.4.4, 5.4.5.2).

    `whole` is the message in one piece once it is complete, `failed` the reason once it never will be. Kept after that,
    it goes on acknowledging to a peer that did not hear the last acknowledgement.
    """

    def __init__(self, limits: SegmentLimits = USUAL_LIMITS) -> None:
        self.whole: Message | None = None
        self.failed: AbortReason | None = None
        self.wake_at: float | None = None
        self._limits = limits
        self._start: Message | None = None
        self._pieces: list[bytes] = []
        self._octets = 0
        self._acknowledged = 0  # how many pieces the last acknowledgement was about
        self._window = 1
        self._missed = False  # what was missing has been said, and has not come yet
        self._heard_at = 0.0  # when the newest piece came, or the peer was last told again
        self._ends_at = 0.0

    def received(self, segment: Message, now: float) -> tuple[SegmentAck | Abort, ...]:
        """What a segment is answered with: mostly nothing until a window is full."""
        if self.failed is not None:
            return ()
        start = self._start
        if start is None:
            return self._begin(segment, now)
        if not segment.segmented or type(segment) is not type(start) or segment.service != start.service:
            return self._fail(segment, AbortReason.INVALID_APDU_IN_THIS_STATE)
        ahead = (segment.sequence - len(self._pieces)) % _SEQUENCES
        if self.whole is not None:
            return self._acknowledge_again(segment)
        if ahead:
            return self._out_of_order(start, ahead, now)
        return self._take(segment, now)

    def _begin(self, segment: Message, now: float) -> tuple[SegmentAck | Abort, ...]:
        if segment.sequence or not segment.segmented:
            abort = self._fail(segment, AbortReason.INVALID_APDU_IN_THIS_STATE)
            # 5.4.4.3 of a reply; of a request it is a straggler, whose transaction goes on and must not be aborted.
            return abort if isinstance(segment, ComplexAck) else ()
        self._start = segment
        self._window = min(segment.window, self._limits.window)  # 5.3: the actual window
        self._ends_at = now + self._limits.whole_seconds
        answer = self._take(segment, now)
        return answer or self._acknowledge(segment)

    def _take(self, segment: Message, now: float) -> tuple[SegmentAck | Abort, ...]:
        """Keep the segment whose turn it is."""
        if not 1 <= segment.window <= _LARGEST_WINDOW:
            return self._fail(segment, AbortReason.WINDOW_SIZE_OUT_OF_RANGE)  # 18.10.8: in any segment
        self._octets += len(segment.parameters)
        if self._octets > self._limits.octets or len(self._pieces) == self._limits.segments:
            return self._fail(segment, AbortReason.BUFFER_OVERFLOW)
        self._pieces.append(segment.parameters)
        self._heard_at = now
        # Only progress restarts the timer: a peer that repeats itself cannot keep this alive.
        self.wake_at = min(now + _RECEIVER_PATIENCE * self._limits.segment_seconds, self._ends_at)
        if not segment.more:
            self._complete()
            return self._acknowledge(segment)
        if self._missed or len(self._pieces) == self._acknowledged + self._window:
            return self._acknowledge(segment)
        return ()

    def _complete(self) -> None:
        assert self._start is not None
        parameters = b"".join(self._pieces)
        self.whole = self._start._replace(parameters=parameters, segmented=False, more=False, sequence=0, window=0)
        self.wake_at = None

    def _out_of_order(self, start: Message, ahead: int, now: float) -> tuple[SegmentAck, ...]:
        behind = _SEQUENCES - ahead  # 1: the newest there is
        if behind > _STALE:
            return self._acknowledge(start, negative=True)  # one is missing: 5.4.4.4 SegmentReceivedOutOfOrder
        if behind == 1 and self._acknowledged == len(self._pieces):
            return self._acknowledge(start)  # the peer repeats a window to its end: our acknowledgement was lost
        if now >= self._heard_at + self._limits.segment_seconds / 2:
            self._heard_at = now
            return self._acknowledge(start)  # not doubled on its way: the peer waits, and does not know how far this is
        return ()  # 5.4.2.2: a duplicate

    def _acknowledge(self, segment: Message, *, negative: bool = False) -> tuple[SegmentAck]:
        self._acknowledged = len(self._pieces)
        self._missed = negative  # that may get lost: the peer then hears of what came late, not a window later
        sequence = (len(self._pieces) - 1) % _SEQUENCES
        from_server = isinstance(segment, ConfirmedRequest)
        return (SegmentAck(segment.invoke, sequence, self._window, negative, from_server),)

    def _acknowledge_again(self, segment: Message) -> tuple[SegmentAck, ...]:
        """5.4.5.3 has the last one acknowledged, whichever is repeated. To a client that begins anew because the answer
        takes its time that would be of no use (PyPI's bacpypes breaks on it): it is followed window by window.
        """
        last = segment.sequence == (len(self._pieces) - 1) % _SEQUENCES
        if not last and segment.sequence % self._window:
            return ()
        from_server = isinstance(segment, ConfirmedRequest)
        return (SegmentAck(segment.invoke, segment.sequence, self._window, False, from_server),)

    def wake(self, now: float) -> None:
        """Give up if the peer was silent for too long: nothing is sent, the peer's own timer tells it (5.4.5.2)."""
        if self.wake_at is not None and now >= self.wake_at:
            self.failed, self.wake_at = AbortReason.TSM_TIMEOUT, None

    def _fail(self, segment: Message, reason: AbortReason) -> tuple[Abort]:
        self.failed, self.wake_at = reason, None
        return (Abort(segment.invoke, reason, isinstance(segment, ConfirmedRequest)),)
