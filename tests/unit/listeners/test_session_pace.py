"""Nobody may fill the disk by opening sessions without end."""

from broker.listeners.session_pace import SessionPace


def test_a_burst_is_admitted_and_then_only_the_pace():
    pace = SessionPace(burst=3, per_second=2.0)
    assert [pace.admits("ana", 100.0) for _ in range(4)] == [True, True, True, False]
    assert not pace.admits("ana", 100.4)
    assert pace.admits("ana", 101.0)


def test_one_subject_does_not_use_up_anothers_pace():
    pace = SessionPace(burst=1, per_second=1.0)
    assert pace.admits("ana", 1.0) and not pace.admits("ana", 1.0)
    assert pace.admits("cy", 1.0)


def test_a_clock_that_steps_back_gives_no_room():
    pace = SessionPace(burst=1, per_second=1.0)
    assert pace.admits("ana", 100.0)
    assert not pace.admits("ana", 50.0)
