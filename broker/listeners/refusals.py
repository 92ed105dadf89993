"""ONE table: what a caller is told, in its own protocol's words, when something was not done.

Modbus exception codes (Application Protocol v1.1b3, 7; Modbus/TCP Security R-31). Masters repeat a request on 06 and
0B, therefore a write that may have been sent is never answered with one of them. A pause is answered with 06: nothing
was sent, and a master that polls should ask again later instead of giving the point up. So is what was allowed and then
not sent because something else came into force just then: asked again, it is decided anew.
"""

from broker.engine.events import Answered, Finding, Refused
from broker.model.operation import Relayed
from broker.model.vocabulary import Reason, Result
from broker.wire.modbus.meaning import exception_reply

DENIED = 0x01
FAULT = 0x04
BUSY = 0x06
WAY_DOWN = 0x0A
SILENT = 0x0B

_REFUSED: dict[str, int] = {
    Reason.LEDGER_CLOSED: FAULT,
    Reason.LEDGER_PAUSED: FAULT,
    Reason.BUDGET_EXHAUSTED: BUSY,
    Reason.DEVICE_DOWN: WAY_DOWN,
    Reason.SESSION_PAUSED: BUSY,
}
_ALLOWED_AND_NOT_SENT = frozenset(
    {Reason.ACCESS_CHANGED, Reason.STATE_STALE, Reason.POLICY_LATE, Reason.POLICY_UNAVAILABLE}
)
"""What passes by itself (the policy may have been silent about who armed it); of what was denied that is not said."""
_NOT_SENT: dict[str, int] = {
    Reason.BUDGET_EXHAUSTED: BUSY,
    Reason.DEVICE_DOWN: WAY_DOWN,
    Reason.SESSION_PAUSED: BUSY,
    Reason.ACCESS_CHANGED: BUSY,
}
_RELAYED = {Result.NO_REPLY: SILENT, Result.BAD_REPLY: FAULT, Result.UNKNOWN: FAULT}
_PASSED_ON = frozenset({Result.DONE, Result.DEVICE_REFUSED})


def modbus_reply(function: int, finding: Finding) -> bytes:
    """The reply PDU for what came of a request of that function."""
    if isinstance(finding, Answered):
        if finding.recorded and finding.relayed.result in _PASSED_ON:
            return finding.relayed.payload
        return exception_reply(function, _failure(finding.relayed) if finding.recorded else FAULT)
    return exception_reply(function, _refusal(finding))


def _refusal(refused: Refused) -> int:
    allowed = bool(refused.decisions) and all(decision.allow for decision in refused.decisions)
    if allowed and not _ALLOWED_AND_NOT_SENT.isdisjoint(refused.reasons):
        return BUSY
    return next((_REFUSED[reason] for reason in refused.reasons if reason in _REFUSED), DENIED)


def _failure(relayed: Relayed) -> int:
    if relayed.result == Result.NOT_SENT:
        return _NOT_SENT.get(relayed.code, FAULT)
    return _RELAYED.get(Result(relayed.result), FAULT)
