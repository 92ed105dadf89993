"""Decisions of a request with several operations: a few are asked for ahead, each once, and told in their order."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.engine.commands import Decide
from broker.listeners.decision_desk import PENDING
from broker.listeners.decisions_ahead import AHEAD, AHEAD_OF_ALL, DecisionsAhead
from broker.model.decision import Decision
from broker.model.vocabulary import Action
from tests.unit.engine.playbook import request, session


class Desk:
    """Answers when it is let; `at_once` are the places of which it knows the decision, as of a lease."""

    def __init__(self, at_once: frozenset[int] = frozenset(), *, in_the_call: bool = False) -> None:
        self.asked: list[int] = []
        self.open: list[tuple[int, Callable[[Decision], None]]] = []
        self._at_once = at_once
        self._in_the_call = in_the_call

    def operation(self, _session: Any, _request: Any, place: int, decided: Callable[[Decision], None]) -> Any:
        self.asked.append(place)
        if place in self._at_once:
            return decision_of(place)
        if self._in_the_call:
            decided(decision_of(place))
        else:
            self.open.append((place, decided))
        return PENDING

    def answer(self, nth: int = 0) -> None:
        place, decided = self.open.pop(nth)
        decided(decision_of(place))


def decision_of(place: int) -> Decision:
    return Decision(f"dec-{place}", place, True)


class Asker:
    """Asks for the decisions of a request one after the other, as the engine does."""

    def __init__(self, together: DecisionsAhead, operations: int) -> None:
        self.ahead = None
        self.told: list[Decision] = []
        self._together = together
        self._request = request(*[Action.VIEW] * operations)

    def start(self) -> "Asker":
        self._go_on()
        return self

    def advance(self, answer: Decision) -> None:
        self.told.append(answer)
        self._go_on()

    def _go_on(self) -> None:
        while len(self.told) < len(self._request.operations):
            found = self._together.decide(Decide(session(), self._request, len(self.told)), self)
            if found is PENDING:
                return
            self.told.append(found)


def together(desk: Desk) -> DecisionsAhead:
    of_these: Any = desk
    return DecisionsAhead(of_these)


@given(st.data(), st.integers(1, 30), st.frozensets(st.integers(0, 29)))
def test_whatever_is_answered_when_each_is_asked_once_and_all_are_told_in_their_order(
    data: st.DataObject, operations: int, at_once: frozenset[int]
) -> None:
    desk = Desk(at_once)
    all_of_them = together(desk)
    asker = Asker(all_of_them, operations).start()
    while desk.open:
        assert len(desk.open) <= AHEAD + 1
        desk.answer(data.draw(st.integers(0, len(desk.open) - 1)))
    assert asker.told == [decision_of(place) for place in range(operations)]
    assert desk.asked == list(range(operations))
    assert all_of_them.asked == 0


def test_many_requests_together_ask_for_no_more_than_one_each_beyond_what_may_be_asked_ahead() -> None:
    desk = Desk()
    all_of_them = together(desk)
    askers = [Asker(all_of_them, 20).start() for _ in range(100)]
    assert len(desk.open) <= AHEAD_OF_ALL + len(askers)
    while desk.open:
        desk.answer()
    assert all(len(asker.told) == 20 for asker in askers)


def test_a_request_that_is_decided_again_is_asked_about_again() -> None:
    desk = Desk(frozenset(range(3)))
    asker = Asker(together(desk), 3).start()
    asker.told.clear()
    asker.start()
    assert desk.asked == [0, 1, 2, 0, 1, 2]


def test_thousands_that_are_decided_in_the_call_go_no_deeper_for_each() -> None:
    """So it is under a lock, which no engine is asked about."""
    asker = Asker(together(Desk(in_the_call=True)), 3000).start()
    assert len(asker.told) == 3000


def test_one_operation_alone_is_decided_without_any_of_this() -> None:
    waiting: Any = SimpleNamespace(ahead=None, advance=lambda answer: None)
    together(Desk()).decide(Decide(session(), request(Action.VIEW), 0), waiting)
    assert waiting.ahead is None
