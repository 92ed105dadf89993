"""What a BACnet client is told of what the engine found: denials in the words of `wire/bacnet/refusal.py`, faults here.

What was allowed and could not be carried out is an Abort: a client must not take it for the device's own answer, nor
for a denial. Explorers do not repeat what was aborted by themselves.
"""

from broker.engine.events import Answered, Refused
from broker.errors import FrameError
from broker.model.vocabulary import Reason, Result
from broker.wire.bacnet import refusal
from broker.wire.bacnet.apdu import AbortReason, Kind

_FAULTS: dict[str, AbortReason] = {
    Reason.LEDGER_CLOSED: AbortReason.OTHER,
    Reason.LEDGER_PAUSED: AbortReason.OUT_OF_RESOURCES,
    Reason.BUDGET_EXHAUSTED: AbortReason.OUT_OF_RESOURCES,
    Reason.SESSION_PAUSED: AbortReason.OUT_OF_RESOURCES,
    Reason.ACCESS_CHANGED: AbortReason.OUT_OF_RESOURCES,
    Reason.DEVICE_DOWN: AbortReason.TSM_TIMEOUT,
    "request_too_long": AbortReason.APDU_TOO_LONG,
    "reply_too_long": AbortReason.BUFFER_OVERFLOW,
}
PASSES_BY_ITSELF = frozenset({Reason.STATE_STALE, Reason.POLICY_LATE, Reason.POLICY_UNAVAILABLE})
"""Who asks again later may get another answer; whether what was denied would be allowed then is not said."""
_RELAYED = {
    Result.NO_REPLY: AbortReason.TSM_TIMEOUT,
    Result.UNKNOWN: AbortReason.APPLICATION_EXCEEDED_REPLY_TIME,
}
_PASSED_ON = frozenset({Result.DONE, Result.DEVICE_REFUSED})


def refused_reply(bare: bytes, refused: Refused) -> bytes:
    """The bare reply to a request of which nothing was sent."""
    allowed = bool(refused.decisions) and all(decision.allow for decision in refused.decisions)
    if allowed and not PASSES_BY_ITSELF.isdisjoint(refused.reasons):
        return _aborted(AbortReason.OUT_OF_RESOURCES)
    if Reason.SUBSCRIPTIONS_EXHAUSTED in refused.reasons:
        return refusal.error_reply(bare, refusal.NO_ROOM, None)
    fault = next((_FAULTS[reason] for reason in refused.reasons if reason in _FAULTS), None)
    return refusal.refused_reply(bare, next(iter(refused.denied_places), 0)) if fault is None else _aborted(fault)


def busy_reply() -> bytes:
    """The bare reply to a request that had to wait for too long, and was never begun."""
    return _aborted(AbortReason.OUT_OF_RESOURCES)


def frame_reply(bare: bytes, error: FrameError) -> bytes:
    """The bare reply to a request that is not acceptable."""
    return refusal.frame_reply(bare, error.code, getattr(error, "reject", "invalid-tag"))


def failed_reply(answered: Answered) -> bytes | None:
    """The bare reply where what the device said cannot be passed on; None if it can."""
    failure = _failure(answered)
    return None if failure is None else _aborted(failure)


def _aborted(reason: AbortReason) -> bytes:
    return bytes((Kind.ABORT, reason))


def _failure(answered: Answered) -> AbortReason | None:
    """Why what the device said cannot be passed on; None if it can. An Error says what is known of several writes."""
    relayed = answered.relayed
    if not answered.recorded:
        return AbortReason.APPLICATION_EXCEEDED_REPLY_TIME
    if relayed.result in _PASSED_ON or (
        relayed.result == Result.UNKNOWN and relayed.payload[:1] == bytes((Kind.ERROR,))
    ):
        return None
    if relayed.result in (Result.NOT_SENT, Result.BAD_REPLY):
        return _FAULTS.get(relayed.code, AbortReason.OTHER)
    return _RELAYED[Result(relayed.result)]
