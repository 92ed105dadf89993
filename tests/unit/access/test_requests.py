"""The table of transitions, who owes a report, and how many groups approve."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.requests import (
    LIVING,
    OVER,
    TRANSITIONS,
    Party,
    RefusedActError,
    after,
    by_the_clock,
    debts,
    groups_suffice,
    still_missing,
)
from broker.model.access_request import AccessRequest, RequestAct, RequestState, Standing, Terms
from broker.model.vocabulary import Action

S, A = RequestState, RequestAct
TERMS = Terms("req-1", "ana", "acme", ("plant/ahu-1",), (), (Action.VIEW,), "a reason", 100, 200, 50, chain="req-1")


@pytest.mark.parametrize(("state", "act"), list(product(RequestState, RequestAct)))
def test_what_is_not_in_the_table_is_refused_to_everybody(state: RequestState, act: RequestAct) -> None:
    for party in Party:
        found = TRANSITIONS.get((state, act))
        if found is not None and found[1] is party:
            assert after(state, act, party) is found[0]
        else:
            with pytest.raises(RefusedActError):
                after(state, act, party)


def test_what_is_over_gives_nothing_ever_again_and_changes_only_by_its_report() -> None:
    for (state, act), (following, _) in TRANSITIONS.items():
        if state in OVER:
            assert (act, following) == (A.CLOSE, S.CLOSED)


def test_every_state_can_be_come_to_and_every_act_is_somebodys() -> None:
    assert {following for following, _ in TRANSITIONS.values()} | {S.DRAFT} == set(RequestState)
    assert {act for _, act in TRANSITIONS} == set(RequestAct)


def test_nobody_but_the_broker_gives_access_and_nobody_gives_it_but_after_approval() -> None:
    gives = {(state, party) for (state, _), (following, party) in TRANSITIONS.items() if following is S.ACTIVE}
    assert gives == {(S.APPROVED, Party.BROKER), (S.SCHEDULED, Party.BROKER)}
    assert {state for (state, _), (to, _) in TRANSITIONS.items() if to is S.APPROVED} == {S.PENDING}


@pytest.mark.parametrize(
    ("state", "now", "in_force", "act"),
    [
        (S.DRAFT, 199, False, None),
        (S.DRAFT, 200, False, A.EXPIRE),
        (S.PENDING, 150, False, None),
        (S.PENDING, 200, False, A.EXPIRE),
        (S.APPROVED, 99, False, A.SCHEDULE),
        (S.APPROVED, 100, True, A.ACTIVATE),
        (S.APPROVED, 100, False, None),
        (S.SCHEDULED, 99, False, None),
        (S.SCHEDULED, 100, True, A.ACTIVATE),
        (S.SCHEDULED, 100, False, None),
        (S.ACTIVE, 199, True, None),
        (S.ACTIVE, 199, False, None),
        (S.ACTIVE, 200, True, A.EXPIRE),
        *((state, 500, False, None) for state in sorted(OVER)),
    ],
)
def test_the_clock_starts_at_the_window_and_not_at_the_approval(
    state: RequestState, now: float, in_force: bool, act: RequestAct | None
) -> None:
    assert by_the_clock(Standing(state), TERMS, now, in_force) is act
    if act is not None:
        assert (state, act) in TRANSITIONS


def had(state: RequestState, identifier: str = "req-1", extends: str = "", **changes: object) -> AccessRequest:
    standing = Standing(state, activated_at=100.0)
    return AccessRequest(replace(TERMS, id=identifier, extends=extends), replace(standing, **changes))


def test_a_report_is_due_of_access_that_was_had_and_is_over() -> None:
    for state in RequestState:
        assert bool(debts((had(state),))) is (state in (S.EXPIRED, S.REVOKED))
        assert debts((had(state, activated_at=None),)) == ()
        assert debts((had(state, report="done"),)) == ()


def test_what_was_prolonged_is_reported_with_what_prolonged_it() -> None:
    first, second = had(S.EXPIRED), had(S.ACTIVE, "req-2", "req-1")
    assert debts((first, second)) == ()
    assert debts((first, had(S.EXPIRED, "req-2", "req-1"))) == ("req-2",)
    assert debts((first, had(S.DENIED, "req-2", "req-1", activated_at=None))) == ("req-1",)


@pytest.mark.parametrize(
    ("groups", "needed", "suffice"),
    [
        ((), 1, False),
        ((("a",),), 1, True),
        ((("a",),), 2, False),
        ((("a",), ("a",)), 2, False),
        ((("a",), ("b",)), 2, True),
        ((("a", "b"), ("a",)), 2, True),
        ((("a",), ("a", "b")), 2, True),
        ((("a", "b"), ("a", "b"), ("a", "b")), 3, False),
        (((), ("a",)), 2, False),
        ((("a",),), 0, False),
    ],
)
def test_each_approval_stands_for_a_group_of_its_own(
    groups: tuple[tuple[str, ...], ...], needed: int, suffice: bool
) -> None:
    assert groups_suffice(groups, needed) is suffice


_groups = st.lists(st.lists(st.sampled_from("abcd"), unique=True, max_size=4).map(tuple), max_size=6).map(tuple)


@given(_groups, st.integers(1, 5))
def test_matching_finds_what_trying_everything_finds(groups: tuple[tuple[str, ...], ...], needed: int) -> None:
    most = max(
        (len({group for group in choice if group}) for choice in product(*((*g, "") for g in groups))), default=0
    )
    assert groups_suffice(groups, needed) is (most >= needed)
    more, missing = still_missing(groups, needed, tuple("abcd"))
    assert more == max(0, needed - most)
    if more:
        assert set(missing) == {one for one in "abcd" if groups_suffice((*groups, (one,)), most + 1)}
    else:
        assert missing == ()


def test_living_and_over_are_all() -> None:
    assert set(RequestState) == LIVING | OVER
    assert not LIVING & OVER
