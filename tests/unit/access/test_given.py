"""Given grants come from several sources, hold like standing ones, and are swapped whole."""

from dataclasses import replace
from functools import partial

from broker.access.given import GivenGrants
from broker.model.place import Grant, GrantKind
from broker.model.vocabulary import Reason
from tests.unit.access.test_standing import AHU, ANA, grant
from tests.unit.engine.playbook import allow

ASKED: Grant = replace(grant(id="req-1", not_before=50.0, not_after=100.0), kind=GrantKind.REQUEST)
BROKEN_GLASS: Grant = replace(grant(id="emg-1"), kind=GrantKind.EMERGENCY)


def test_grants_of_all_sources_hold_from_their_beginning_to_their_end() -> None:
    given = GivenGrants().replaced("requests", (ASKED,)).replaced("emergency", (BROKEN_GLASS,))
    assert [g.id for g in given.for_(ANA, AHU, 60.0)] == ["emg-1", "req-1"]
    assert [g.id for g in given.for_(ANA, AHU, 100.0)] == ["emg-1"]
    assert (given.changes_at(ANA, AHU, 10.0), given.changes_at(ANA, AHU, 60.0)) == (50.0, 100.0)
    assert given.grant("req-1") is ASKED


def test_a_source_replaces_its_own_grants_only() -> None:
    before = GivenGrants().replaced("requests", (ASKED,)).replaced("emergency", (BROKEN_GLASS,))
    after = before.replaced("requests", ())
    assert [g.id for g in after.for_(ANA, AHU, 60.0)] == ["emg-1"]
    assert [g.id for g in before.for_(ANA, AHU, 60.0)] == ["emg-1", "req-1"]
    assert (bool(after), bool(after.replaced("emergency", ()))) == (True, False)


def test_where_a_grant_can_be_used_up_an_allow_that_names_none_is_not_believed() -> None:
    once, lasting = replace(ASKED, single_use=True), grant(id="standing")
    told = partial(GivenGrants.told_of_use, grants=(once, lasting))
    used = told(replace(allow(), rule="grant/req-1", valid_until=90.0))
    assert (used.allow, used.spends, used.valid_until) == (True, "req-1", None)
    other = told(replace(allow(), rule="grant/standing", valid_until=90.0))
    assert (other.allow, other.spends, other.valid_until) == (True, "", 90.0)
    for rule in ("site/maintenance", "grant/of-somebody-else", ""):
        odd = told(replace(allow(), rule=rule, valid_until=90.0))
        assert (odd.allow, odd.reasons, odd.valid_until) == (False, (Reason.POLICY_ODD,), None)
    without = GivenGrants.told_of_use(replace(allow(), rule="site/maintenance", valid_until=90.0), (lasting,))
    assert (without.allow, without.valid_until) == (True, 90.0)
