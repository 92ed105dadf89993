"""How many leases a session keeps, and which."""

from broker.listeners.decision_desk import MAX_LEASES, _keep
from broker.model.decision import Decision

NOW = 1_000.0


def lease(valid_until: float) -> Decision:
    return Decision("dec-a", 1, True, (), valid_until=valid_until)


def test_a_caller_who_polls_more_than_there_is_room_for_still_finds_most_of_it() -> None:
    leases: dict[str, Decision] = {}
    for _ in range(2):
        for place in range(MAX_LEASES + 50):
            if str(place) not in leases:
                _keep(leases, str(place), lease(NOW + 60), NOW)
    assert list(leases) == [str(place) for place in range(MAX_LEASES)]


def test_leases_that_ran_out_make_room() -> None:
    leases = {str(place): lease(NOW if place % 2 else NOW + 60) for place in range(MAX_LEASES)}
    _keep(leases, "new", lease(NOW + 60), NOW)
    assert len(leases) == MAX_LEASES // 2 + 1
    assert "new" in leases
