"""Who gains and who loses, in names that the reviewer knows."""

import dataclasses
from decimal import Decimal

from broker.access.change_words import sentence
from broker.access.changes import Change, access_changes
from broker.access.losses import losses_only
from broker.model.place import BacnetAddress, Confidential, Inventory, Organisation
from broker.model.schedule import Freeze, Occurrence, Scope
from broker.model.vocabulary import Action
from tests.unit.access.inventories import device, grant, inventory, point, window


def told(old: Inventory, new: Inventory) -> set[tuple[str, str, str, str, tuple[str, ...]]]:
    return {("+" if c.gained else "-", c.who, c.action, c.device, c.points) for c in access_changes(old, new)}


def test_the_same_inventory_changes_nothing() -> None:
    assert access_changes(inventory(), inventory()) == ()


def test_a_new_grant_is_a_gain_of_each_subject_for_each_action() -> None:
    new = inventory(grants=(grant(), grant("h", subjects=("bo", "cy"))))
    assert told(inventory(), new) == {
        ("+", who, action, "plant/ahu-1", points)
        for who in ("bo", "cy")
        for action, points in (("view", ()), ("adjust", ("setpoint",)))
    }


def test_a_removed_grant_is_a_loss_unless_another_gives_the_same() -> None:
    one, wider = grant("a"), grant("b", subjects=("ana", "bo"))
    assert told(inventory(grants=(one, wider)), inventory(grants=(wider,))) == set()
    assert {c[1] for c in told(inventory(grants=(one, wider)), inventory(grants=(one,)))} == {"bo"}


def test_a_change_names_the_windows_it_holds_in() -> None:
    changes = access_changes(inventory(grants=()), inventory())
    assert Change("ana", "plant/ahu-1", Action.ADJUST, ("setpoint",), True, ("evening",)) in changes


def test_supervision_that_appears_is_a_loss_and_a_gain_when_it_vanishes() -> None:
    alone, watched = inventory(), inventory(grants=(grant(supervised=True),))
    assert {c.gained for c in access_changes(alone, watched) if not c.supervised} == {False}
    assert {c.gained for c in access_changes(watched, alone) if not c.supervised} == {True}
    assert any(sentence(c).endswith("under supervision") for c in access_changes(inventory(grants=()), watched))
    assert losses_only(alone, watched).grants == watched.grants
    assert losses_only(watched, alone).grants == watched.grants


def test_a_longer_window_is_a_gain_and_a_shorter_one_a_loss() -> None:
    short, long = inventory(windows=(window(hours=2),)), inventory(windows=(window(hours=4),))
    assert {c.gained for c in access_changes(short, long)} == {True}
    assert {c.gained for c in access_changes(long, short)} == {False}


def test_a_renamed_window_changes_nothing() -> None:
    assert told(inventory(windows=(window("a"),)), inventory(windows=(window("b"),))) == set()


def test_a_new_freeze_is_a_loss_and_views_stay() -> None:
    freeze = Freeze("f", Scope(), Occurrence("2026-12-24T00:00:00", "UTC", 86400))
    assert {c[:3] for c in told(inventory(), inventory(freezes=(freeze,)))} == {("-", "ana", "adjust")}
    hard = dataclasses.replace(freeze, views=False)
    assert {c[2] for c in told(inventory(), inventory(freezes=(hard,)))} == {"adjust", "view"}


def test_wider_limits_are_a_gain() -> None:
    narrow, wide = (inventory(devices=(device(points=(point(maximum=m),)),)) for m in (Decimal(5), Decimal(9)))
    assert {c[0] for c in told(narrow, wide)} == {"+"}
    assert {c[0] for c in told(wide, narrow)} == {"-"}


def test_another_controller_behind_the_name_is_a_loss_and_a_gain() -> None:
    assert {c[0] for c in told(inventory(), inventory(devices=(device(port=503),)))} == {"+", "-"}


def test_a_subject_that_is_given_a_role_gains_what_the_role_may() -> None:
    grants = (grant(subjects=(), roles=("technician",)),)
    plain = Organisation("acme", (), ())
    given = dataclasses.replace(plain, roles=(("ana", ("technician",)),))
    changes = access_changes(
        inventory(organisations=(plain,), grants=grants), inventory(organisations=(given,), grants=grants)
    )
    assert {(c.who, c.note) for c in changes} == {
        ("organisation acme", "role technician of ana added"),
        ("ana of organisation acme", ""),
    }


def test_a_named_subject_under_a_grant_for_its_organisation_gains_nothing() -> None:
    whole = grant("all", subjects=(), organisations=("acme",))
    one = grant("one", organisations=("acme",))
    assert told(inventory(grants=(whole,)), inventory(grants=(whole, one))) == set()


def test_changes_of_trust_are_told() -> None:
    old = Organisation("acme", ("A",), ("*@a",), crl_required=True, contract_until=100.0)
    new = Organisation("acme", ("A", "B"), ("*@b",), max_path_length=2, contract_until=200.0)
    notes = {
        (c.gained, c.note) for c in access_changes(inventory(organisations=(old,)), inventory(organisations=(new,)))
    }
    assert notes == {
        (True, "trust anchor added"),
        (True, "namespace *@b added"),
        (False, "namespace *@a removed"),
        (True, "revocation lists required: no longer"),
        (True, "path length 1 to 2 added"),
        (True, "contract extended"),
    }


def test_a_grant_without_any_window_to_work_in_gives_only_views() -> None:
    changes = access_changes(inventory(grants=(), windows=()), inventory(windows=()))
    assert {c.action for c in changes} == {Action.VIEW}


def test_a_change_of_a_point_says_from_what_to_what() -> None:
    old, new = (
        inventory(devices=(device(points=(point(**terms),)),))
        for terms in ({"maximum": Decimal(5)}, {"maximum": Decimal(9), "minimum": Decimal("0.5"), "allowed": ("1",)})
    )
    assert {c.terms for c in access_changes(old, new) if c.action is Action.ADJUST} == {
        ("setpoint: minimum none → 0.5", "setpoint: maximum 5 → 9", "setpoint: allowed any → 1")
    }


def test_a_change_of_priorities_says_from_what_to_what() -> None:
    narrow, wide = (
        dataclasses.replace(point(), address=BacnetAddress("analog-value", 1, "present-value", None, lowest, 16))
        for lowest in (10, 8)
    )
    old, new = (inventory(devices=(device(points=(p,)),)) for p in (narrow, wide))
    assert {c.terms for c in access_changes(old, new) if c.action is Action.ADJUST} == {
        ("setpoint: priorities 10 to 16 → 8 to 16",)
    }
    assert all(c.terms == () for c in access_changes(inventory(grants=()), inventory()))


def test_a_number_that_is_only_written_otherwise_is_no_change() -> None:
    old, new = (
        inventory(devices=(device(upstream_unit_id=unit, points=(point(minimum=low, maximum=high),)),))
        for unit, low, high in ((1, Decimal("16"), Decimal("100")), (2, Decimal("16.0"), Decimal("1E+2")))
    )
    changes = access_changes(old, new)
    assert changes
    assert all(change.terms == () for change in changes)


def test_a_mark_that_is_taken_away_is_told_as_what_the_ledger_gains() -> None:
    clear, marked = (
        inventory(devices=(device(points=(dataclasses.replace(point(), confidential=mark),)),))
        for mark in (None, Confidential.SECRET)
    )
    assert [sentence(change) for change in access_changes(marked, clear)] == [
        "+ the ledger gains access: values of setpoint on plant/ahu-1 are recorded in clear"
    ]
    assert [sentence(change) for change in access_changes(clear, marked)] == [
        "- the ledger loses access: values of setpoint on plant/ahu-1 are concealed (secret)"
    ]
    assert losses_only(marked, clear).devices[0].points[0].confidential is Confidential.SECRET


def test_where_an_organisation_may_ask_for_access_is_told() -> None:
    def acme(allowed: Scope | None, sponsor: str = "") -> Inventory:
        return inventory(organisations=(Organisation("acme", (), (), sponsor=sponsor, allowed=allowed),))

    none, one = acme(None), acme(Scope(devices=("plant/ahu-1",)))
    both = acme(Scope(devices=("plant/ahu-1", "plant/ahu-2")))
    for narrow, wide in ((none, one), (one, both), (none, both)):
        assert [(c.gained, c.note) for c in access_changes(narrow, wide)] == [
            (True, "devices that may be asked for added")
        ]
        assert [c.gained for c in access_changes(wide, narrow)] == [False]
        assert losses_only(narrow, wide).organisations == narrow.organisations
        assert losses_only(wide, narrow).organisations == narrow.organisations
    apart = losses_only(acme(Scope(sites=("plant",))), acme(Scope(labels=(("wing", "east"),))))
    assert apart.organisations[0].allowed == Scope(sites=("plant",), labels=(("wing", "east"),))
    assert losses_only(one, acme(Scope(devices=("plant/ahu-2",)))).organisations[0].allowed is None
    assert losses_only(acme(None, "bo"), acme(None, "di")).organisations[0].sponsor == ""
