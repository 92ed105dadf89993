"""A pending request's page says who is still to approve it, or that this is not known."""

import pytest

from broker.api.request_models import RequestAnswer
from broker.cli.people.request_words import waits_for
from broker.model.decision import ReviewAnswer
from broker.model.vocabulary import Reason
from tests.integration.api.stage import serving
from tests.integration.api.test_calls import told

NOT_KNOWN = "Who is still to approve it is not known at the moment: no answer of the policy can be had."
BOTH = ("operator", "security")


def silent(reason):
    return ReviewAnswer(False, (reason,))


@pytest.mark.parametrize(
    ("answer", "members", "words"),
    [
        (ReviewAnswer(True, (), BOTH[1:], 1, "x", BOTH), (1, 1, list(BOTH)), "approval by operator or security."),
        (ReviewAnswer(True, (), BOTH[1:], 2, "x", BOTH), (2, 2, list(BOTH)), "approval by operator and security."),
        (ReviewAnswer(False, (Reason.ROLE_MISSING,), (), 1, "x"), (1, 1, None), "1 more approval."),
        (ReviewAnswer(False, (Reason.ROLE_MISSING,), (), 2, "x"), (2, 2, None), "2 more approvals."),
        *(
            (silent(reason), (None, None, None), NOT_KNOWN)
            for reason in (Reason.POLICY_LATE, Reason.POLICY_UNAVAILABLE, Reason.POLICY_UNDEFINED, Reason.POLICY_ODD)
        ),
    ],
)
def test_a_page_says_who_is_missing_or_that_it_is_not_known(answer, members, words, pki, run):
    async def story():
        async with serving(pki) as stage, stage.client() as client:
            stage.gate.requests.answer = answer
            document = await told(await client.get("/v1/requests/req-1"))
            RequestAnswer.model_validate(document)
            outlook = document["review"]
            assert (outlook["needed"], outlook["still_needed"], outlook["missing"]) == members
            assert [reason["code"] for reason in outlook["reasons"]] == list(answer.reasons)
            assert waits_for(outlook).endswith(words)

    run(story())


def test_nothing_is_said_of_a_page_that_says_nothing():
    assert waits_for(None) == ""
    assert waits_for({}) == ""
    assert waits_for({"needed": 1, "still_needed": 0, "missing": []}) == ""
