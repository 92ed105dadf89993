"""Nothing is allowed by the grant of a request that had not come into force."""

import pytest

from broker.errors import IntegrityError
from broker.ledger.giving import Giving

QUESTION = {"now": 100, "grants": [{"id": "req-1", "kind": "request"}, {"id": "look", "kind": "standing"}]}
GIVEN = {"grant": "req-1"}


def test_what_is_in_force_may_allow_and_standing_grants_need_not_be_given() -> None:
    giving = Giving()
    giving.require(QUESTION, "grant/look")
    giving.given(GIVEN)
    giving.require(QUESTION, "grant/req-1")


def test_what_was_never_given_or_not_since_the_start_may_not() -> None:
    giving = Giving()
    with pytest.raises(IntegrityError, match="grant_not_given"):
        giving.require(QUESTION, "grant/req-1")
    giving.given(GIVEN)
    giving.began()
    with pytest.raises(IntegrityError, match="grant_not_given"):
        giving.require(QUESTION, "grant/req-1")


def test_what_was_asked_before_the_withdrawal_may_be_answered_after_it() -> None:
    giving = Giving()
    giving.given(GIVEN)
    giving.withdrawn(GIVEN, 100.4)
    giving.require(QUESTION, "grant/req-1")
    with pytest.raises(IntegrityError, match="grant_not_given"):
        giving.require({**QUESTION, "now": 101}, "grant/req-1")
