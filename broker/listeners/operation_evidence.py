"""What the ledger gets of each operation of a request: its own values, its own result, and which of them it is."""

from broker.engine.sessions import Session
from broker.ledger import operation_records
from broker.ledger.record_forms import Pairs
from broker.listeners.concealment import Concealment
from broker.model.decision import Decision
from broker.model.operation import Operation, Relayed, Request
from broker.model.vocabulary import Result


def intent_of(
    concealment: Concealment,
    time: float,
    session: Session,
    request: Request,
    place: int,
    decision: Decision,
    before: Pairs = (),
) -> bytes:
    """The intent of one operation; what is read has no values yet. Raises LedgerUnavailableError."""
    operation, several = request.operations[place], len(request.operations) > 1
    if not request.writes and not several and not request.part_of:
        return operation_records.view_intent(time, session.id, decision.index, operation.service, request.digest)
    make = concealment.intent if request.conceals else operation_records.intent
    return make(
        time,
        session=session.id,
        decision=decision.index,
        service=operation.service,
        digest=request.digest,
        place=place if several else None,
        part_of=request.part_of,
        values=_written(operation) if operation.writes else (),
        before=_of_points(operation, before) if several and before else before,
    )


def outcome_of(
    concealment: Concealment, time: float, request: Request, place: int, intent: int, relayed: Relayed, after: Pairs
) -> bytes:
    """The outcome of one operation."""
    if not after and not relayed.each:
        return operation_records.outcome(time, intent=intent, result=relayed.result, code=relayed.code)
    result, code = relayed.of(place)
    if after and len(request.operations) > 1:
        after = _of_points(request.operations[place], after) if result == Result.DONE else ()
    make = concealment.outcome if request.conceals else operation_records.outcome
    return make(time, intent=intent, result=result, code=code, after=after)


def _written(operation: Operation) -> tuple[str, ...]:
    """What is written, as the device's own values, or as those of points where it has no others."""
    return operation.raw_values or tuple(touch.value for touch in operation.touches if touch.value is not None)


def _of_points(operation: Operation, values: Pairs) -> Pairs:
    own = {touch.point.id for touch in operation.touches} | {str(operation.address)}
    return tuple((name, value) for name, value in values if name in own)
