"""What a request takes up of a grant that can be used up: each planned write once, or without a plan one write."""

from decimal import Decimal, InvalidOperation

from broker.model.operation import Operation, Request, Touch
from broker.model.place import Grant, PlannedWrite

ONE_WRITE = "write"


def use_of(write: PlannedWrite) -> str:
    """The name of a planned write as a use."""
    at = "" if write.priority is None else f"@{write.priority}"
    return f"{write.device} {write.point} = {write.value}{at}"


def uses_of(grant: Grant, device: str, request: Request) -> tuple[str, ...] | None:
    """What the request takes up; None if it writes anything that the grant does not plan."""
    if not grant.plan:
        return (ONE_WRITE,)
    uses = []
    for operation in request.operations:
        if operation.writes:
            found = [_planned(grant, device, operation, touch) for touch in operation.touches]
            if not found or None in found:
                return None
            uses += [use for use in found if use is not None]
    return tuple(dict.fromkeys(uses))


def _planned(grant: Grant, device: str, operation: Operation, touch: Touch) -> str | None:
    place = (device, touch.point.id, operation.acts_at(touch.point))
    for write in grant.plan:
        same_place = (write.device, write.point, write.priority) == place
        if same_place and touch.value is not None and _same(write.value, touch.value):
            return use_of(write)
    return None


def _same(one: str, other: str) -> bool:
    try:
        return one == other or Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False
