"""Nobody may fill ledger and state by asking for access without end."""

from broker.access import request_pace
from broker.access.request_pace import BURST, RequestPace
from broker.wiring.requests import MOST_LIVING_OF_SUBJECT


def test_a_burst_is_taken_up_and_then_only_the_pace():
    pace = RequestPace(burst=3, seconds_each=60.0)
    assert [pace.wait_seconds("ana", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 60.0]
    assert pace.wait_seconds("ana", 145.0) == 15.0
    assert pace.wait_seconds("ana", 160.0) == 0.0
    assert pace.wait_seconds("ana", 160.0) == 60.0


def test_waiting_is_not_prolonged_by_asking_meanwhile():
    pace = RequestPace(burst=1, seconds_each=60.0)
    assert pace.wait_seconds("ana", 0.0) == 0.0
    assert [pace.wait_seconds("ana", at) for at in (15.0, 30.0, 45.0)] == [45.0, 30.0, 15.0]
    assert pace.wait_seconds("ana", 60.0) == 0.0


def test_one_subject_does_not_use_up_anothers_pace():
    pace = RequestPace(burst=1)
    assert pace.wait_seconds("ana", 1.0) == 0.0 < pace.wait_seconds("ana", 1.0)
    assert pace.wait_seconds("cy", 1.0) == 0.0


def test_of_too_many_subjects_the_one_that_asked_longest_ago_is_forgotten(monkeypatch):
    monkeypatch.setattr(request_pace, "MAX_SUBJECTS", 2)
    pace = RequestPace(burst=1)
    for subject in ("ana", "cy", "ana", "eve"):
        pace.wait_seconds(subject, 1.0)
    assert pace.wait_seconds("ana", 1.0) > 0
    assert pace.wait_seconds("cy", 1.0) == 0.0


def test_whoever_may_have_that_many_under_way_can_ask_for_them_at_once():
    assert BURST > MOST_LIVING_OF_SUBJECT
