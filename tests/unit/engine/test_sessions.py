"""When a session ends, and the true reason."""

from dataclasses import replace

import pytest

from broker.engine.sessions import Situation, end_of, foreseen_end, look_again_at
from broker.model.place import Grant, GrantKind
from broker.model.schedule import CalendarState, Interval, Scope
from broker.model.subject import Proof, ProofKind
from broker.model.vocabulary import Action, EndReason, Reason
from tests.unit.engine.playbook import SUBJECT, session

OPEN = CalendarState((Interval("evening", 0, 100),), (), None, 100.0)
CLOSED = CalendarState((), (), Interval("evening", 500, 600), 500.0)
FROZEN = CalendarState((Interval("evening", 0, 100),), (Interval("holiday", 50, 80),), None, 80.0)
VIEW = Grant("view", Scope(), (Action.VIEW,))
ADJUST = Grant("adjust", Scope(), (Action.VIEW, Action.ADJUST))
BOUND = Grant("bound", Scope(), (Action.VIEW,), windows=("evening",))
CERTIFICATE = Proof(ProofKind.CERTIFICATE, "ca", "ana", "f", 0.0, 1000.0, crl_next_update=900.0)
TOKEN = Proof(ProofKind.TOKEN, "idp", "ana", "t", 0.0, 300.0)


def at(now, calendar, *grants, contract=None):
    return Situation(now, grants, calendar, contract)


def proven(*proofs):
    live = session()
    live.subject = replace(SUBJECT, proofs=proofs)
    return live


@pytest.mark.parametrize("grant", [ADJUST, BOUND])
def test_a_session_that_relies_on_a_window_ends_when_it_closes(grant):
    live = session()
    assert end_of(live, at(1, OPEN, VIEW, grant)) is None
    assert end_of(live, at(100, CLOSED, VIEW, grant)) is EndReason.WINDOW_CLOSED


def test_a_session_that_only_views_outlives_a_window():
    live = session()
    assert end_of(live, at(1, OPEN, VIEW)) is None
    assert end_of(live, at(100, CLOSED, VIEW)) is None


def test_a_session_opened_while_all_is_closed_is_not_ended_by_that():
    assert end_of(session(), at(100, CLOSED, ADJUST)) is None


def test_a_second_window_that_is_still_open_keeps_the_session():
    both = replace(OPEN, open=(Interval("evening", 0, 100), Interval("late", 0, 200)))
    only_late = replace(OPEN, open=(Interval("late", 0, 200),), changes_at=200.0)
    live = session()
    assert end_of(live, at(1, both, ADJUST)) is None
    assert end_of(live, at(100, only_late, ADJUST)) is None


def test_a_freeze_ends_sessions_that_rely_on_a_window_and_only_those():
    relying, viewing = session(), session()
    assert end_of(relying, at(1, OPEN, ADJUST)) is None and end_of(viewing, at(1, OPEN, VIEW)) is None
    assert end_of(relying, at(50, FROZEN, ADJUST)) is EndReason.FREEZE_STARTED
    assert end_of(viewing, at(50, FROZEN, VIEW)) is None
    assert end_of(viewing, at(50, replace(FROZEN, views_frozen=True), VIEW)) is EndReason.FREEZE_STARTED


def test_a_grant_that_is_gone_ends_what_relied_on_it():
    live = session()
    assert end_of(live, at(1, OPEN, ADJUST, VIEW)) is None
    assert end_of(live, at(2, OPEN, VIEW)) is EndReason.GRANT_ENDED


TIMED = replace(ADJUST, not_after=150.0)
GIVEN = replace(ADJUST, kind=GrantKind.REQUEST)


@pytest.mark.parametrize("calendar", [CLOSED, replace(FROZEN, open=())])
@pytest.mark.parametrize("grant", [TIMED, GIVEN])
def test_what_views_by_a_grant_that_ends_ends_with_it_though_no_window_is_open(grant, calendar):
    live = session()
    assert end_of(live, at(1, calendar, VIEW, grant)) is None
    assert end_of(live, at(2, calendar, VIEW, grant)) is None
    assert end_of(live, at(150, calendar, VIEW)) is EndReason.GRANT_ENDED


def test_what_views_by_a_grant_outlives_its_window_and_is_told_when_the_grant_ends():
    live = session()
    assert end_of(live, at(1, CLOSED, TIMED)) is None
    assert foreseen_end(live, at(1, CLOSED, TIMED)) == (150.0, EndReason.GRANT_ENDED)
    prolonging = replace(TIMED, id="longer", not_after=300.0, extends="adjust")
    assert end_of(live, at(150, CLOSED, prolonging)) is None
    assert end_of(live, at(300, CLOSED)) is EndReason.GRANT_ENDED


@pytest.mark.parametrize(
    ("proofs", "contract", "now", "reason"),
    [
        ((CERTIFICATE,), None, 900, EndReason.CRL_STALE),
        ((replace(CERTIFICATE, crl_next_update=None),), None, 1000, EndReason.CERTIFICATE_EXPIRED),
        ((CERTIFICATE, TOKEN), None, 300, EndReason.TOKEN_EXPIRED),
        ((CERTIFICATE, TOKEN), 200.0, 200, EndReason.CONTRACT_ENDED),
    ],
)
def test_the_earliest_end_of_what_was_proven_ends_the_session_with_its_own_reason(proofs, contract, now, reason):
    calm = CalendarState((), (), None, 1e9)
    assert end_of(proven(*proofs), at(now - 1, calm, VIEW, contract=contract)) is None
    assert end_of(proven(*proofs), at(now, calm, VIEW, contract=contract)) is reason


def test_the_next_look_is_at_the_earliest_moment_that_can_change_anything():
    live = proven(CERTIFICATE, TOKEN)
    assert look_again_at(live, at(1, OPEN, ADJUST)) == 100.0
    assert look_again_at(live, at(101, CLOSED, replace(ADJUST, not_after=150.0))) == 150.0
    assert look_again_at(live, at(151, CLOSED, ADJUST)) == 300.0


def test_the_foreseen_end_is_the_first_of_window_grant_and_proofs():
    live = proven(CERTIFICATE, TOKEN)
    now = at(1, OPEN, VIEW, ADJUST)
    assert end_of(live, now) is None
    assert foreseen_end(live, now) == (100, EndReason.WINDOW_CLOSED)
    ending = replace(ADJUST, not_after=50.0)
    assert foreseen_end(live, at(1, OPEN, VIEW, ending)) == (50.0, EndReason.GRANT_ENDED)
    assert foreseen_end(live, at(1, OPEN, VIEW, ending, contract=20.0)) == (20.0, EndReason.CONTRACT_ENDED)


def test_what_only_views_is_not_foreseen_to_end_with_a_window_and_without_proofs_not_at_all():
    live = proven(TOKEN)
    assert end_of(live, at(1, OPEN, VIEW)) is None
    assert foreseen_end(live, at(1, OPEN, VIEW)) == (300.0, EndReason.TOKEN_EXPIRED)
    assert foreseen_end(session(), at(1, OPEN, VIEW)) is None


def test_of_two_windows_the_last_to_close_is_the_foreseen_end_unless_the_grant_names_the_other():
    both = replace(OPEN, open=(Interval("evening", 0, 100), Interval("late", 0, 200)))
    live = session()
    assert end_of(live, at(1, both, ADJUST)) is None
    assert foreseen_end(live, at(1, both, ADJUST)) == (200, EndReason.WINDOW_CLOSED)
    assert end_of(live, at(1, both, ADJUST, BOUND)) is None
    assert foreseen_end(live, at(1, both, ADJUST, BOUND)) == (100, EndReason.WINDOW_CLOSED)


def test_a_session_is_barred_while_it_is_paused_and_for_good_once_it_has_ended():
    live = session()
    live.leases["x"] = object()
    live.pause()
    assert (live.barred, live.leases) == (Reason.SESSION_PAUSED, {})
    live.resume()
    assert live.barred == ""
    live.pause()
    live.end(EndReason.WINDOW_CLOSED)
    assert (live.barred, live.ended) == (Reason.SESSION_ENDED, EndReason.WINDOW_CLOSED)
    left = session()
    left.end(EndReason.PEER_CLOSED)
    assert left.barred == Reason.CALLER_GONE


GIVEN = replace(VIEW, id="req-1", kind=GrantKind.REQUEST, not_after=100.0)


@pytest.mark.parametrize("grant", [GIVEN, replace(VIEW, not_after=100.0)], ids=["given", "with an end"])
def test_a_grant_that_ends_takes_along_whoever_only_views(grant):
    live = session()
    assert end_of(live, at(1, CLOSED, grant)) is None
    assert foreseen_end(live, at(1, CLOSED, grant)) == (100.0, EndReason.GRANT_ENDED)
    assert end_of(live, at(100, CLOSED)) is EndReason.GRANT_ENDED


def test_a_freeze_leaves_whoever_views_by_a_given_grant():
    live = session()
    assert end_of(live, at(1, OPEN, GIVEN)) is None
    assert end_of(live, at(50, FROZEN, GIVEN)) is None


def test_a_grant_that_is_prolonged_by_another_takes_nobody_along():
    live, longer = session(), replace(GIVEN, id="req-2", extends="req-1", not_after=200.0)
    assert end_of(live, at(1, OPEN, GIVEN)) is None
    assert end_of(live, at(50, OPEN, GIVEN, longer)) is None
    assert foreseen_end(live, at(50, OPEN, GIVEN, longer)) == (200.0, EndReason.GRANT_ENDED)
    assert end_of(live, at(100, OPEN, longer)) is None
    assert end_of(live, at(200, OPEN)) is EndReason.GRANT_ENDED


def test_a_prolonging_grant_that_gives_nothing_yet_saves_nobody():
    live, later = session(), replace(GIVEN, id="req-2", extends="req-1", windows=("night",))
    assert end_of(live, at(1, OPEN, GIVEN)) is None
    assert end_of(live, at(100, OPEN, later)) is EndReason.GRANT_ENDED


def test_the_next_look_is_no_later_than_the_next_change_of_grants():
    assert look_again_at(session(), replace(at(1, OPEN, VIEW), grants_change_at=7.0)) == 7.0
