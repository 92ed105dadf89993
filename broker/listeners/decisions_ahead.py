"""Decisions of a request with several operations, asked for a little ahead of the one that is waited for.

A policy engine answers in a process of its own: asked for one decision after the other, it stands still most of the
time, and an explorer that reads all there is waits for each question's way there and back.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from broker.engine.commands import Decide
from broker.engine.sessions import Session
from broker.listeners.decision_desk import PENDING, DecisionDesk
from broker.model.decision import Decision
from broker.model.operation import Request

AHEAD = 8
AHEAD_OF_ALL = 64
"""Engines let a question wait two seconds: what is asked ahead must not make others late."""


class Waiting(Protocol):
    """Who waits for a decision: `advance` is called with it; `ahead` is kept for whoever decides."""

    ahead: "Ahead | None"

    def advance(self, answer: Any) -> None:
        """Go on with the decision."""


class DecisionsAhead:
    """What is under way for all requests."""

    __slots__ = ("asked", "desk")

    def __init__(self, desk: DecisionDesk) -> None:
        self.desk = desk
        self.asked = 0

    def decide(self, command: Decide, waiting: Waiting) -> Any:
        """The decision about one operation of a request; PENDING if it is not there yet."""
        session, request, place = command.session, command.request, command.place
        if len(request.operations) == 1:
            return self.desk.operation(session, request, place, waiting.advance)
        if waiting.ahead is None or not place:
            waiting.ahead = Ahead(self, session, request, waiting.advance)
        return waiting.ahead.of(place)


class Ahead:
    """The decisions of one request. Its operations are asked for in their order, each once."""

    __slots__ = ("_advance", "_all", "_begun", "_known", "_request", "_session", "_waited")

    def __init__(
        self, together: DecisionsAhead, session: Session, request: Request, advance: Callable[[Decision], None]
    ) -> None:
        self._all = together
        self._session = session
        self._request = request
        self._advance = advance
        self._begun = 0
        self._known: dict[int, Decision] = {}
        self._waited = -1

    def of(self, place: int) -> Any:
        """The decision about that operation, or PENDING if it is not there yet."""
        last = min(len(self._request.operations), place + 1 + AHEAD)
        while self._begun < last and (self._begun <= place or self._all.asked < AHEAD_OF_ALL):
            self._ask()
        decision = self._known.pop(place, None)
        if decision is not None:
            return decision
        self._waited = place
        return PENDING

    def _ask(self) -> None:
        place, self._begun = self._begun, self._begun + 1
        self._all.asked += 1
        decision = self._all.desk.operation(self._session, self._request, place, partial(self._decided, place))
        if decision is not PENDING:
            assert isinstance(decision, Decision)
            self._decided(place, decision)

    def _decided(self, place: int, decision: Decision) -> None:
        self._all.asked -= 1
        if place == self._waited:
            self._waited = -1
            self._advance(decision)
        else:
            self._known[place] = decision
