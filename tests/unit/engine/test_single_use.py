"""A use of a grant for single use is taken up before anything is intended, and given back only by what was not sent."""

from dataclasses import replace

import pytest

from broker.engine.events import Answered, Refused
from broker.engine.exchange import exchange, exchange_whole
from broker.model.decision import Obligation
from broker.model.operation import Relayed
from broker.model.vocabulary import Action, Reason, Result
from tests.unit.engine.playbook import DONE, Playbook, allow, deny, request, session

ONCE = replace(allow(), spends="req-1")
WRITE = request(Action.ADJUST)


def play(**answers):
    book = Playbook(**({"Decide": lambda _: ONCE} | answers))
    return book, book.play(exchange(session(), WRITE))


def test_the_use_is_taken_up_before_anything_is_intended_or_sent() -> None:
    book, finding = play()
    assert book.names() == ["Decide", "ClaimUse", "RecordIntents", "LastLook", "Relay", "SettleDebts", "RecordOutcomes"]
    assert isinstance(finding, Answered)


def test_while_a_person_is_waited_for_nothing_is_taken_up() -> None:
    waiting = replace(ONCE, obligations=(Obligation.SECOND_PERSON,))
    book, finding = play(Decide=lambda _: waiting)
    assert book.names()[:2] == ["Decide", "AskApproval"]
    assert "ClaimUse" not in book.names()
    assert isinstance(finding, Refused)


@pytest.mark.parametrize("word", [Reason.GRANT_USED, Reason.STATE_STALE, Reason.OUTSIDE_PLAN])
def test_without_the_use_nothing_is_intended(word: str) -> None:
    book, finding = play(ClaimUse=lambda _: word)
    assert book.names() == ["Decide", "ClaimUse", "RecordDenial"]
    assert book.trace[-1].reasons == (word,)
    assert finding == Refused((word,), (ONCE,))


@pytest.mark.parametrize(
    ("answers", "given_back"),
    [
        ({"RecordIntents": lambda _: Reason.LEDGER_CLOSED}, True),
        ({"LastLook": lambda _: Reason.ACCESS_CHANGED}, True),
        ({"Relay": lambda _: Relayed(Result.NOT_SENT, code="device_down")}, True),
        ({"Relay": lambda _: Relayed(Result.UNKNOWN)}, False),
        ({"Relay": lambda _: Relayed(Result.BAD_REPLY)}, False),
        ({"Relay": lambda _: Relayed(Result.DEVICE_REFUSED)}, False),
        ({"Relay": lambda _: DONE}, False),
    ],
)
def test_only_what_was_not_sent_gives_the_use_back(answers, given_back: bool) -> None:
    book, _ = play(**answers)
    assert ("GiveBackUse" in book.names()) is given_back


def test_of_a_call_that_is_denied_in_part_nothing_is_taken_up() -> None:
    decisions = iter((ONCE, deny()))
    book = Playbook(Decide=lambda _: next(decisions))
    book.play(exchange_whole(session(), (WRITE, WRITE)))
    assert "ClaimUse" not in book.names()


def test_what_needs_no_use_takes_none_up() -> None:
    book = Playbook()
    book.play(exchange(session(), WRITE))
    assert "ClaimUse" not in book.names()
