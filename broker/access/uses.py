"""What a request takes up of a grant that can be used up: each planned write once, or without a plan one write."""

from collections.abc import Iterable

from broker.model.operation import Operation, Touch
from broker.model.place import Grant, PlannedWrite

ONE_WRITE = "write"


def use_of(write: PlannedWrite) -> str:
    """The name of a planned write as a use."""
    at = "" if write.priority is None else f"@{write.priority}"
    return f"{write.device} {write.point} = {write.value}{at}"


def uses_of(grant: Grant, device: str, operations: Iterable[Operation]) -> tuple[str, ...] | None:
    """What operations of one request take up; None if they write anything that the grant does not plan."""
    writes = [operation for operation in operations if operation.writes]
    if not grant.plan:
        return (ONE_WRITE,) if len(writes) == 1 else None
    uses = []
    for operation in writes:
        found = [_planned(grant, device, operation, touch) for touch in operation.touches]
        if not found or None in found:
            return None
        uses += [use for use in found if use is not None]
    return tuple(dict.fromkeys(uses))


def _planned(grant: Grant, device: str, operation: Operation, touch: Touch) -> str | None:
    """Values have one form, so the same value is the same text."""
    if touch.value is None:
        return None
    write = PlannedWrite(device, touch.point.id, touch.value, operation.acts_at(touch.point))
    return use_of(write) if write in grant.plan else None
