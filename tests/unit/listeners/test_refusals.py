"""What a Modbus master is told of a request that was not sent."""

import pytest

from broker.api.readings import why_failed, why_refused
from broker.engine.events import Answered, Refused
from broker.listeners.refusals import modbus_reply
from broker.model.decision import Decision
from broker.model.operation import Relayed
from broker.model.vocabulary import Reason, Result
from broker.model.words import what_to_do

ALLOWED, DENIED = Decision("dec-1", 1, True), Decision("dec-2", 2, False, (Reason.NO_GRANT,))
ILLEGAL_FUNCTION, FAULT, BUSY = (bytes((0x86, code)) for code in (1, 4, 6))


def held_back(code):
    return Answered(Relayed(Result.NOT_SENT, code=code), (ALLOWED,))


@pytest.mark.parametrize(
    "finding",
    [
        Refused((Reason.ACCESS_CHANGED,), (ALLOWED,)),
        Refused((Reason.STATE_STALE,), (ALLOWED,)),
        Refused((Reason.POLICY_LATE,), (ALLOWED,)),
        held_back(Reason.ACCESS_CHANGED),
    ],
)
def test_what_was_allowed_and_not_sent_may_be_asked_again(finding):
    assert modbus_reply(6, finding) == BUSY


@pytest.mark.parametrize("finding", [Refused((Reason.ACCESS_CHANGED,), (ALLOWED,)), held_back(Reason.ACCESS_CHANGED)])
def test_a_caller_of_the_api_is_told_the_same(finding):
    why = why_failed(finding) if isinstance(finding, Answered) else why_refused(finding)
    assert (why.code, why.reasons) == ("not_sent", (Reason.ACCESS_CHANGED,))
    assert what_to_do(why.reasons) == "Try again; it will be decided anew."


@pytest.mark.parametrize("reason", [Reason.ACCESS_CHANGED, Reason.STATE_STALE, Reason.POLICY_LATE])
def test_a_denial_is_no_invitation_to_ask_again_whatever_word_it_uses(reason):
    denied = Decision("dec-3", 3, False, (reason,))
    assert modbus_reply(6, Refused((reason,), (denied,))) == ILLEGAL_FUNCTION
    assert modbus_reply(6, Refused((reason,), (ALLOWED, denied))) == ILLEGAL_FUNCTION
    assert modbus_reply(6, Refused((reason,))) == ILLEGAL_FUNCTION


@pytest.mark.parametrize("reason", [Reason.SESSION_ENDED, Reason.CALLER_GONE])
def test_nobody_is_invited_to_ask_again_in_a_session_that_has_ended(reason):
    assert modbus_reply(6, Refused((reason,), (ALLOWED,))) == ILLEGAL_FUNCTION
    assert modbus_reply(6, held_back(reason)) == FAULT


def test_what_does_not_pass_by_itself_is_no_reason_to_ask_again():
    assert modbus_reply(6, Refused((Reason.NO_GRANT,), (ALLOWED, DENIED))) == ILLEGAL_FUNCTION
    for reason in (Reason.GRANT_USED, Reason.OBLIGATION_UNMET, Reason.APPROVAL_NEEDED):
        assert modbus_reply(6, Refused((reason,), (ALLOWED,))) == ILLEGAL_FUNCTION
