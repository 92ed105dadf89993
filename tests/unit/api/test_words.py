"""Every constant word has a sentence and something to do."""

import pytest

from broker.api.problems import KINDS, Problem, refusal
from broker.api.readings import why_refused
from broker.engine.events import Refused
from broker.model.decision import Decision
from broker.model.vocabulary import EndReason, Reason, Result
from broker.model.words import END_REASONS, REASONS, RESULTS, device_code_text, reason_text, what_to_do


@pytest.mark.parametrize(("vocabulary", "table"), [(Reason, REASONS), (EndReason, END_REASONS), (Result, RESULTS)])
def test_the_table_covers_the_vocabulary(vocabulary, table):
    assert set(table) == set(vocabulary)
    for words in table.values():
        assert words.text.endswith(".")
        assert words.what_to_do.endswith(".")


def test_words_are_looked_up_as_text_too():
    assert reason_text("window_closed") == REASONS[Reason.WINDOW_CLOSED].text
    assert reason_text("a_word_of_the_site") == "a_word_of_the_site"
    assert what_to_do(("a_word_of_the_site", "no_grant")) == REASONS[Reason.NO_GRANT].what_to_do


@pytest.mark.parametrize(
    ("words", "chief"),
    [
        (("action_not_granted", "priority_not_allowed"), Reason.PRIORITY_NOT_ALLOWED),
        (("no_grant", "point_read_only", "window_closed"), Reason.POINT_READ_ONLY),
        (("action_not_granted", "point_not_described"), Reason.POINT_NOT_DESCRIBED),
        (("window_closed", "action_not_granted"), Reason.ACTION_NOT_GRANTED),
        (("policy_late",), Reason.POLICY_LATE),
    ],
)
def test_advice_is_about_the_most_specific_of_several_reasons(words, chief):
    assert what_to_do(words) == REASONS[chief].what_to_do


def test_a_devices_own_code_is_told_as_the_standard_names_it():
    assert device_code_text("exception-2") == "exception 02 illegal data address"
    assert device_code_text("exception-11") == "exception 11 gateway target device failed to respond"
    assert device_code_text("exception-99") == "exception 99"
    assert device_code_text("property/unknown-property") == "property/unknown-property"


def test_every_kind_of_problem_says_what_to_do():
    for code, kind in KINDS.items():
        assert 400 <= kind.status < 600, code
        assert kind.title.endswith(".")
        assert kind.what_to_do.endswith(".")


def test_a_denial_is_403_and_a_closed_ledger_503():
    denied = Decision("dec-1", 1, False, (Reason.NO_GRANT,))
    assert refusal(denied.reasons, (denied,)).status == 403
    assert refusal((Reason.LEDGER_CLOSED,), ()).status == 503
    assert refusal((Reason.LEDGER_PAUSED,), (denied,)).status == 503
    assert refusal((Reason.ACCESS_CHANGED,), (Decision("dec-2", 2, True),)).code == "not_sent"
    assert refusal((Reason.SESSION_ENDED,), ()).code == "not_sent"


def test_a_problem_document_is_rfc_9457():
    denied = Decision(
        "dec-1", 1, False, (Reason.WINDOW_CLOSED,), next_window=("saturday", 1_795_852_800.0, 1_795_881_600.5)
    )
    document = refusal(denied.reasons, (denied,)).document()
    assert document["type"] == "urn:otbroker:problem:denied"
    assert document["status"] == 403
    assert document["reasons"] == [{"code": "window_closed", "text": REASONS[Reason.WINDOW_CLOSED].text}]
    assert document["what_to_do"] == REASONS[Reason.WINDOW_CLOSED].what_to_do
    assert document["decision_id"] == "dec-1"
    assert document["next_window"] == {
        "id": "saturday",
        "opens": "2026-11-28T08:00:00Z",
        "closes": "2026-11-28T16:00:00.500Z",
    }


def test_what_was_allowed_and_not_sent_names_the_decision_that_explains_it():
    allowed, denied = Decision("dec-1", 1, True), Decision("dec-2", 2, False, (Reason.NO_GRANT,))
    assert refusal((Reason.OBLIGATION_UNMET,), (allowed,)).document()["decision_id"] == "dec-1"
    assert refusal(denied.reasons, (allowed, denied)).document()["decision_id"] == "dec-2"
    assert why_refused(Refused((Reason.OBLIGATION_UNMET,), (allowed,))).document()["decision_id"] == "dec-1"


def test_how_long_to_wait_is_told_in_words_too():
    headers = {"Retry-After": "12"}
    assert Problem("too_many_attempts", headers=headers).document()["what_to_do"] == "Wait 12 s, then try again."
    assert Problem("factor_blocked", headers=headers).document()["what_to_do"] == "Wait 12 s."
    assert "Retry-After" in KINDS["factor_blocked"].what_to_do
