"""What the broker answers by itself is decided like anything else, and nothing of it is intended or relayed."""

from dataclasses import replace

import pytest

from broker.engine.commands import RecordDenial
from broker.engine.inquiry import inquire, inquire_at_large, recheck
from broker.model.decision import Obligation
from broker.model.vocabulary import Action, Reason
from tests.unit.engine.playbook import Playbook, allow, deny, request, session

QUESTION = request(Action.DISCOVER)
WAYS = {inquire: ["RecordDenial"], inquire_at_large: ["CountDenial"], recheck: []}


def play(way, asked=QUESTION, **answers):
    book = Playbook(**answers)
    return book, book.play(way(session(), asked))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_allowed_may_be_answered_and_is_recorded_by_its_decision_alone(way):
    book, found = play(way)
    assert found == (allow(),)
    assert book.names() == ["Decide", "LastLook"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_denied_is_recorded_or_counted_and_not_answered(way):
    book, refused = play(way, Decide=lambda c: deny(Reason.NO_GRANT))
    assert refused.reasons == (Reason.NO_GRANT,)
    assert book.names() == ["Decide", *WAYS[way]]


@pytest.mark.parametrize("way", WAYS)
def test_what_changed_since_is_not_answered(way):
    book, refused = play(way, LastLook=lambda c: Reason.SESSION_ENDED)
    assert refused.reasons == (Reason.SESSION_ENDED,)
    assert book.names() == ["Decide", "LastLook", *WAYS[way]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "asks", [allow(Obligation.STEP_UP), allow(Obligation.BEFORE_VALUE), replace(allow(), spends="r")]
)
def test_what_obliges_to_more_than_an_answer_is_not_answered(way, asks):
    book, refused = play(way, Decide=lambda c: asks)
    assert refused.reasons == (Reason.OBLIGATION_UNMET,)
    assert "LastLook" not in book.names()


@pytest.mark.parametrize("place", range(3))
def test_of_several_operations_one_that_is_denied_denies_all(place):
    book, refused = play(recheck, request(*[Action.VIEW] * 3), Decide=lambda c: deny() if c.place == place else allow())
    assert (refused.denied_places, refused.reasons) == ((place,), (Reason.NO_GRANT,))
    assert book.names() == ["Decide"] * 3


def test_reasons_of_the_brokers_own_are_told_beside_those_of_the_policy():
    book, _ = play(inquire, LastLook=lambda c: Reason.ACCESS_CHANGED)
    (denial,) = (command for command in book.trace if isinstance(command, RecordDenial))
    assert denial.reasons == (Reason.ACCESS_CHANGED,)
