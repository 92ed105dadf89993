"""What is asked, in protocol-neutral form, and what came back."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from broker.model.place import BacnetAddress, Point, Table
from broker.model.vocabulary import Action, Result

_WRITES = attrgetter("writes")
_VIEW, _DISCOVER = Action.VIEW, Action.DISCOVER  # looked up by name once, not for every operation
LEAST_URGENT = 16  # ASHRAE 135, 19.2: a write without priority acts at 16


@dataclass(frozen=True, slots=True)
class Touch:
    """One point that an operation touches; `whole` is False if only some of its registers or bits are.

    `value` is the engineering value written, as a decimal string, `true`/`false`, or text; None for reads and for
    parts. A relinquished BACnet priority is the string `null`.
    """

    point: Point
    whole: bool
    value: str | None = None


@dataclass(frozen=True, slots=True)
class ModbusRange:
    """A range of one table (addresses are zero-based), or no range for services that name none (`table` None)."""

    table: Table | None
    start: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class BacnetProperty:
    """One property of one object, or (`property` None) the object itself; words as in `BacnetAddress`.

    `instance` None: the device is to choose it, for an object to be created (15.3).
    """

    object_type: str
    instance: int | None
    property: str | None
    index: int | None = None

    def __str__(self) -> str:
        """As in `analog-value,1 priority-array[8]`."""
        place = self.object_type if self.instance is None else f"{self.object_type},{self.instance}"
        index = "" if self.index is None else f"[{self.index}]"
        return place if self.property is None else f"{place} {self.property}{index}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing asked of one point or range.

    `service` is the standard's name in kebab case (`read-holding-registers`, `write-property`). `raw_values` are the
    register or coil values written, in order, as decimal strings. A write that touches an address no point describes
    has `described` False. `address` ranges over what is touched. `facts` are what else the request says, by name
    (`enable-disable`, `time-duration`; of a password only that it is there).
    """

    protocol: str
    action: Action
    service: str
    address: ModbusRange | BacnetProperty
    touches: tuple[Touch, ...] = ()
    raw_values: tuple[str, ...] = ()
    described: bool = True
    unit_id: int | None = None
    priority: int | None = None
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def writes(self) -> bool:
        """Whether it changes anything; only `view` and `discover` do not."""
        return self.action is not _VIEW and self.action is not _DISCOVER

    def acts_at(self, point: Point) -> int | None:
        """The BACnet priority at which it writes the point; None if it names none and the point has none."""
        return self.priority or (LEAST_URGENT if commandable(point) else None)


def commandable(point: Point) -> bool:
    """Whether the point is written at a priority."""
    return isinstance(point.address, BacnetAddress) and point.address.priority_lowest is not None


@dataclass(frozen=True, slots=True)
class Request:
    """One protocol request: the operations it carries and the octets that will be sent, re-encoded from them.

    `payload` is the Modbus PDU (function code first, no unit id) or BACnet's bare APDU (PDU type, service choice,
    parameters; neither an invoke id nor what is said of segments). `digest` is the base64url SHA-256 of what is sent.
    `before` reads what this one writes. `writes` is whether any of its operations changes something.
    `part_of` is the digest of the request as it was asked, if this is what was left of it after a part was denied.
    `conceals`: it writes, and touches a confidential point or reads one back; the ledger must not get its values.
    """

    operations: tuple[Operation, ...]
    payload: bytes = field(repr=False)  # it may hold a password
    digest: str
    unit_id: int = 0
    before: "Request | None" = None
    part_of: str = ""
    writes: bool = field(init=False)
    conceals: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Look once at what is asked on every way."""
        writes = any(map(_WRITES, self.operations))
        back = () if self.before is None else self.before.operations
        object.__setattr__(self, "writes", writes)
        object.__setattr__(self, "conceals", writes and _confidential((*self.operations, *back)))


def _confidential(operations: Iterable[Operation]) -> bool:
    for operation in operations:
        for touch in operation.touches:
            if touch.point.confidential is not None:
                return True
    return False


UNCONFIRMED = "unconfirmed"
"""Why nobody knows what became of a request: the protocol has no reply to it."""


@dataclass(slots=True)
class Relayed:
    """What became of a request that was handed to an upstream. Not frozen: one is made for every reply.

    `result` is one of DONE, DEVICE_REFUSED, NOT_SENT, NO_REPLY (views only), BAD_REPLY, UNKNOWN (a write that may
    have been sent). `payload` is the reply re-encoded from its decoded form (Modbus PDU or BACnet's bare APDU,
    exceptions, errors, rejects and aborts included). `code` is the protocol's own error (`exception-2`,
    `property/unknown-property`) or ours (`device_down`, `budget_exhausted`, `timeout`, and UNCONFIRMED for what was
    sent and has no reply).

    `each` is result and code of each operation of the request, where they differ: a write of several that failed midway
    (DEVICE_REFUSED as a whole, of it DONE, DEVICE_REFUSED, UNATTEMPTED), a read of several of which the device refused
    some (DONE as a whole: it was answered).
    """

    result: str
    payload: bytes = b""
    code: str = ""
    each: tuple[tuple[str, str], ...] = ()

    def of(self, place: int) -> tuple[str, str]:
        """Result and code of one operation of the request."""
        return self.each[place] if self.each else (self.result, self.code)

    @property
    def done(self) -> bool:
        """Whether all of it was done."""
        return self.result == Result.DONE and all(result == Result.DONE for result, _ in self.each)
