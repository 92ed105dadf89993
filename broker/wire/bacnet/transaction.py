"""One confirmed request to a device, from its first octet to the whole reply (ASHRAE 135-2020, 5.4.4), sans I/O.

What may change something is sent once. A view that nothing is heard of is sent again under the same invoke id, by which
a device tells a repetition (5.4.5.3). Of what goes in segments, those that were never acknowledged are sent again, a
bounded number of times: the device carries nothing out before it has all of them.
"""

from broker.model.way import BacnetWay
from broker.wire.bacnet.apdu import (
    LARGEST_MAX_APDU,
    Abort,
    AbortReason,
    Apdu,
    ComplexAck,
    ConfirmedRequest,
    Reject,
    SegmentAck,
    bare,
    dressed,
    encode_apdu,
)
from broker.wire.bacnet.segmentation import SegmentLimits, SegmentReceiver, SegmentSender, fits

MOST_SEGMENTS = 64
VIEW_REPEATS = 2
_WINDOW = 16
_RETRIES = 2
_PATIENCE = 4.0
"""A message in segments may take so many times as long as one reply."""


class Transaction:
    """A request on its way to a device, and the reply on its way back.

    `timeout` is the time for one reply, or for the next segment of one; within it a request in one piece is sent again
    `repeats` times. Whoever holds it sends what it answers with, and calls `wake` at `wake_at` (seconds of the caller's
    clock). It is over when `reply` is the whole bare reply, or `failed` the word for why there will be none. `all_sent`
    is whether the device can have the whole request.
    """

    __slots__ = (
        *("_ends_at", "_invoke", "_octets", "_receiver", "_repeats", "_sender", "_step", "_timeout"),
        *("all_sent", "failed", "reply", "wake_at"),
    )

    def __init__(self, timeout: float, repeats: int = 0) -> None:
        self.reply: bytes | None = None
        self.failed = ""
        self.all_sent = False
        self.wake_at = 0.0
        self._invoke = 0
        self._timeout = timeout
        self._repeats = repeats
        self._step = timeout / (repeats + 1)
        self._ends_at = 0.0
        self._octets = b""
        self._sender: SegmentSender | None = None
        self._receiver: SegmentReceiver | None = None

    @property
    def answering(self) -> bool:
        """Whether the device has begun to answer."""
        return self._receiver is not None

    def start(self, payload: bytes, invoke: int, way: BacnetWay, now: float) -> list[bytes]:
        """The first octets of a bare request. `failed` is `request_too_long` if the device does not take it."""
        self._invoke = invoke
        self.wake_at = now + self._timeout
        request = dressed(payload, invoke, max_segments=MOST_SEGMENTS, accepts_segments=True)
        assert isinstance(request, ConfirmedRequest)
        if fits(request, way.longest_apdu):
            self.all_sent = True
            self._ends_at, self.wake_at = self.wake_at, now + self._step
            self._octets = encode_apdu(request)
            return [self._octets]
        if not way.takes_segments:
            self.failed = "request_too_long"
            return []
        limits = SegmentLimits(_WINDOW, self._timeout, _RETRIES, _PATIENCE * self._timeout)
        self._sender = SegmentSender(request, way.longest_apdu, limits=limits)
        return self._sent(self._sender, self._sender.start(now), now)

    def heard(self, apdu: Apdu, now: float) -> list[bytes]:
        """Take what the device says, and answer with what it has to be told."""
        if isinstance(apdu, SegmentAck):
            return self._acknowledged(apdu, now)
        if isinstance(apdu, ComplexAck) and (apdu.segmented or self._receiver is not None):
            return self._collected(apdu, now)
        if isinstance(apdu, Abort) and not apdu.from_server:
            return []  # about a request of its own
        if not self.all_sent and not isinstance(apdu, Abort | Reject):
            return self.give_up("reply_invalid")  # 5.4.4.2: nobody answers what is not all there
        self.reply = bare(apdu)
        return []

    def wake(self, now: float) -> list[bytes]:
        """Time has passed."""
        if self._receiver is None and self._sender is not None and self._sender.wake_at is not None:
            return self._sent(self._sender, self._sender.wake(now), now)
        if now < self.wake_at:
            return []
        if self._receiver is None and self._sender is None and self._repeats and now < self._ends_at:
            self._repeats -= 1
            self.wake_at = min(now + self._step, self._ends_at)
            return [self._octets]
        return self.give_up("timeout")

    def give_up(self, code: str) -> list[bytes]:
        """End it; a device that is in the middle of something is told so."""
        self.failed = code
        if self._sender is None and self._receiver is None:
            return []
        return [encode_apdu(Abort(self._invoke, AbortReason.OTHER))]

    def _acknowledged(self, ack: SegmentAck, now: float) -> list[bytes]:
        if self._sender is None or not ack.from_server:
            return []
        return self._sent(self._sender, self._sender.acknowledged(ack, now), now)

    def _sent(self, sender: SegmentSender, segments: tuple[Apdu, ...], now: float) -> list[bytes]:
        self.all_sent = sender.all_sent
        if sender.failed is not None:
            self.failed = "timeout" if sender.failed is AbortReason.TSM_TIMEOUT else "reply_invalid"
        elif sender.wake_at is not None:
            self.wake_at = sender.wake_at
        else:
            self.wake_at = now + self._timeout
        return [encode_apdu(segment) for segment in segments]

    def _collected(self, segment: ComplexAck, now: float) -> list[bytes]:
        if not self.all_sent:
            return self.give_up("reply_invalid")
        if self._receiver is None:
            limits = SegmentLimits(
                _WINDOW,
                self._timeout / 4,  # a receiver waits four times as long
                whole_seconds=_PATIENCE * self._timeout,
                octets=MOST_SEGMENTS * LARGEST_MAX_APDU,
                segments=MOST_SEGMENTS,
            )
            self._receiver = SegmentReceiver(limits)
        told = self._receiver.received(segment, now)
        if self._receiver.failed is not None:
            overflow = self._receiver.failed is AbortReason.BUFFER_OVERFLOW
            self.failed = "reply_too_long" if overflow else "reply_invalid"
        elif self._receiver.whole is not None:
            self.reply = bare(self._receiver.whole)
        elif self._receiver.wake_at is not None:
            self.wake_at = self._receiver.wake_at
        return [encode_apdu(each) for each in told]
