"""One network behind a router of the field, such as MS/TP: what it bears, however many devices on it are asked."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.adapters.lane import Lane, Pace
from broker.engine.ports import Clock
from broker.model.place import Budget

if TYPE_CHECKING:
    from broker.adapters.endpoint import Endpoint


class FieldNetwork:
    """Bounds the requests outstanding on a network to what the inventory states for it.

    Without that, to as many as the most capable device on it bears.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.in_flight = 0
        self.lanes: list[Lane] = []
        self._limit = Budget()
        self._pace = Pace(0.0, 0.0)
        self._stated: Budget | None = None
        self._turn: deque[Endpoint] = deque()

    def add(self, lane: Lane) -> None:
        """One more device on it."""
        self.lanes.append(lane)
        if lane.endpoint not in self._turn:
            self._turn.append(lane.endpoint)
        self._settle()

    def remove(self, lane: Lane) -> None:
        """One less."""
        self.lanes.remove(lane)
        if all(other.endpoint is not lane.endpoint for other in self.lanes):
            self._turn.remove(lane.endpoint)
        self._settle()

    def bear(self, budget: Budget | None) -> None:
        """Hold it to this budget from now on; None: to what its devices' budgets say."""
        if budget != self._stated:
            self._stated = budget
            self._settle()
            self.go_on()

    def _settle(self) -> None:
        self._limit = self._stated or shared_budget([lane.budget for lane in self.lanes] or [Budget()])
        now = self._clock.monotonic()
        self._pace = self._pace.changed(self._limit.operations_per_second, self._limit.gap_seconds, now)

    def ready_at(self) -> float:
        """When one more request may go out; infinity: after a reply."""
        return float("inf") if self.in_flight >= self._limit.connections else self._pace.ready_at

    def begun(self, now: float) -> None:
        """A request goes out."""
        self.in_flight += 1
        self._pace.sent(now)

    def over(self, now: float) -> None:
        """One has ended: whose turn it is may send the next."""
        self.in_flight -= 1
        self._pace.answered(now)
        self.go_on()

    def go_on(self) -> None:
        """Let the ways to this network send what waits, one after the other, each its turn."""
        for _ in range(len(self._turn)):
            endpoint = self._turn[0]
            self._turn.rotate(-1)
            if endpoint.queued:
                endpoint.pump()


def shared_budget(budgets: Sequence[Budget]) -> Budget:
    """As much as the most capable of several devices bears."""
    rates = [budget.operations_per_second for budget in budgets]
    return Budget(
        connections=max(budget.connections for budget in budgets),
        operations_per_second=0.0 if 0.0 in rates else max(rates),
        gap_seconds=min(budget.gap_seconds for budget in budgets),
        idle_seconds=min(budget.idle_seconds for budget in budgets),
        connect_timeout_seconds=max(budget.connect_timeout_seconds for budget in budgets),
    )
