"""Which writes are on their way to devices, and which came out lately.

What was there before a write, and which of two came last, is only known of writes that did not meet.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from broker.access.debts import DID_NOTHING, writes_there
from broker.engine.commands import Relay
from broker.engine.sessions import Session
from broker.model.leave import Debt, Place
from broker.model.operation import Operation, Relayed
from broker.model.place import OnLeave

MOST_LATELY = 1024
"""So many writes that came out last are remembered; what was read before them all counts as read too early."""


@dataclass(slots=True, eq=False)
class _Write:
    session: Session
    operations: tuple[Operation, ...]
    met: set[Place] = field(default_factory=set)


class WritesUnderWay:
    """One per broker. A write is known by its exchange, from its relay until its outcome is recorded."""

    def __init__(self) -> None:
        self._writes: dict[object, _Write] = {}
        self._lately: deque[tuple[int, _Write]] = deque(maxlen=MOST_LATELY)

    def begins(self, exchange: object, relay: Relay) -> None:
        """It is handed to the way to its device."""
        self._writes[exchange] = _Write(relay.session, relay.request.operations)

    def came_out(self, exchange: object, relayed: Relayed, outcome: int) -> None:
        """It is on its way no longer, by the record `outcome`; where it did something, that matters to whoever had read
        the value before.
        """
        write = self._writes.pop(exchange, None)
        if write is None:
            return
        if relayed.each:
            each = zip(write.operations, relayed.each, strict=True)
            write.operations = tuple(operation for operation, (result, _) in each if result not in DID_NOTHING)
        elif relayed.result in DID_NOTHING:
            return
        if write.operations:
            self._lately.append((outcome, write))

    def forget(self, exchange: object) -> None:
        """Nobody knows what came of it, and nothing more will be sent: the ledger has closed, or a bug of ours."""
        self._writes.pop(exchange, None)

    def met(self, exchange: object) -> Iterable[Place]:
        """The debts of which a write came out while this one was on its way."""
        write = self._writes.get(exchange)
        return () if write is None else write.met

    def settled(self, debts: tuple[Debt, ...], result: str) -> None:
        """Debts' own write came out: whoever has one to the same place on its way has met it."""
        for debt in () if result in DID_NOTHING else debts:
            for write in self._writes.values():
                if _is_anothers(write, debt):
                    write.met.add(debt.place)

    def disputed(self, debt: Debt) -> bool:
        """Whether anybody has a write to its place on its way."""
        there = (write for write in self._writes.values() if write.session.device_key == debt.device)
        return any(writes_there(debt, write.session.device, write.operations) for write in there)

    def before_is_known(self, debts: tuple[Debt, ...], read: int) -> bool:
        """Whether nobody else has a write to one of their places on its way, or had one since the values before were
        read, by the intent at that index.
        """
        others = list(self._writes.values())
        if any(debt.undo is OnLeave.RESTORE for debt in debts):
            since = list(takewhile(lambda lately: lately[0] > read, reversed(self._lately)))
            if len(since) == MOST_LATELY:
                return False
            others += (write for _, write in since)
        return not any(_is_anothers(write, debt) for debt in debts for write in others)


def _is_anothers(write: _Write, debt: Debt) -> bool:
    """Whether it writes to the place of a debt, for another subject."""
    session = write.session
    there = session.device_key == debt.device and session.subject.id != debt.subject.id
    return there and writes_there(debt, session.device, write.operations)
