"""The way of a request that subscribes to several properties at once: all of them or none (13.16).

    request -> Decide (each property) -> [any denied, or obliged: RecordDenial, nothing is asked of the device]
            -> each as a subscription of the broker's own, decided whole, relayed one by one until one fails

What was asked is decided, and what is sent for it as well: they are different services, and a policy may tell them
apart.
"""

from collections.abc import Generator

from broker.engine.commands import Command
from broker.engine.events import Answered, Finding, Refused
from broker.engine.exchange import exchange_whole
from broker.engine.inquiry import inquire
from broker.engine.sessions import Session
from broker.model.operation import Relayed, Request
from broker.model.vocabulary import Result
from broker.wire.bacnet.device_errors import decode_refusal
from broker.wire.bacnet.refusal import ERROR, error_reply

_SIMPLE_ACK = 0x20  # 20.1.4
Found = Finding | tuple[Finding, ...]
"""What came of the whole if nothing was tried, else of each part: of those behind the first that failed nothing was
sent.
"""


def subscribe_each(session: Session, asked: Request, parts: tuple[Request, ...]) -> Generator[Command, object, Found]:
    """Subscribe to each of what is asked, by a request of the broker's own."""
    allowed = yield from inquire(session, asked)
    if isinstance(allowed, Refused):
        return allowed
    return (yield from exchange_whole(session, parts))


def all_in_one(asked: Request, findings: Found) -> Finding:
    """What is answered to the whole: why the first failed that did."""
    if not isinstance(findings, tuple):
        return findings
    for place, finding in enumerate(findings):
        if isinstance(finding, Answered) and not finding.done:
            return _failed(asked, place, finding)
    refused = [finding for finding in findings if isinstance(finding, Refused)]
    decisions = tuple(decision for finding in findings for decision in finding.decisions)
    if refused:
        reasons = dict.fromkeys(reason for finding in refused for reason in finding.reasons)
        return Refused(tuple(reasons), decisions)
    acknowledged = bytes((_SIMPLE_ACK, asked.payload[1]))
    return Answered(Relayed(Result.DONE, acknowledged), decisions)


def _failed(asked: Request, place: int, finding: Answered) -> Answered:
    """An error of the device about one, in the words of an error about several; anything else as it is."""
    relayed = finding.relayed
    if relayed.result != Result.DEVICE_REFUSED or relayed.payload[:1] != bytes((ERROR,)):
        return finding
    error = decode_refusal(relayed.payload[1], relayed.payload[2:]).error
    payload = error_reply(asked.payload, error, place)
    return Answered(Relayed(relayed.result, payload, code=relayed.code), finding.decisions, finding.recorded)
