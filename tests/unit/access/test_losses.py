"""While gains wait, what is in force is never more than what was approved, and never more than the files say."""

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from broker.access.changes import access_changes
from broker.access.losses import losses_only
from broker.access.rights import Rights
from broker.model.place import (
    BacnetAddress,
    Budget,
    Device,
    EndpointBudget,
    Inventory,
    OnLeave,
    Organisation,
    Point,
    Protocol,
)
from broker.model.schedule import Freeze, Occurrence, Scope, Window
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay, ModbusTcpWay
from tests.unit.access.inventories import device, grant, inventories, inventory, point, window

PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
FIELDS = ("sites", "segments", "devices", "organisations", "windows", "freezes", "grants")


def rights(of: Inventory) -> dict[str, Rights]:
    return {d.key: Rights(of, d) for d in of.devices}


@settings(deadline=None, phases=PHASES, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(old=inventories, new=inventories)
def test_no_right_in_force_exceeds_the_approved_or_the_new_inventory(old: Inventory, new: Inventory) -> None:
    before, after, now = rights(old), rights(new), rights(losses_only(old, new))
    for key, held in now.items():
        for right in held.rows:
            assert before[key].contain(right)
            assert after[key].contain(right)


@settings(deadline=None, phases=PHASES, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(old=inventories, new=inventories)
def test_coming_into_force_is_a_pure_loss_and_approval_a_pure_gain(old: Inventory, new: Inventory) -> None:
    held = losses_only(old, new)
    assert not [c for c in access_changes(old, held) if c.gained]
    assert not [c for c in access_changes(held, new) if not c.gained]


@settings(deadline=None, phases=PHASES, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(old=inventories, new=inventories)
def test_the_same_files_twice_change_nothing_more(old: Inventory, new: Inventory) -> None:
    held = losses_only(old, new)
    assert losses_only(held, new) == held


@settings(deadline=None, phases=PHASES, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(old=inventories, removed=st.sampled_from(["grants", "windows", "devices"]))
def test_a_removal_alone_leaves_exactly_what_the_files_say(old: Inventory, removed: str) -> None:
    new = inventory(**({f: getattr(old, f) for f in FIELDS} | {removed: getattr(old, removed)[1:]}))
    held = rights(losses_only(old, new))
    for key, wanted in rights(new).items():
        assert all(held[key].contain(right) for right in wanted.rows)


def test_nothing_changed_is_the_same_inventory() -> None:
    old = inventory()
    assert losses_only(old, inventory()).revision == old.revision


def test_a_new_grant_waits_and_a_removed_one_is_gone() -> None:
    old, new = inventory(grants=(grant("a"),)), inventory(grants=(grant("b", subjects=("bo",)),))
    assert losses_only(old, new).grants == ()


def test_a_renamed_grant_stays() -> None:
    held = losses_only(inventory(grants=(grant("a"),)), inventory(grants=(grant("b"),)))
    assert held.grants == (grant("b"),)


def test_a_grant_split_in_two_stays_whole() -> None:
    old = inventory(grants=(grant("both", subjects=("ana", "bo")),))
    new = inventory(grants=(grant("a", subjects=("ana",)), grant("b", subjects=("bo",))))
    assert losses_only(old, new).grants == new.grants


def test_a_grant_that_loses_one_thing_and_gains_another_only_loses() -> None:
    old = inventory(grants=(grant(actions=(Action.VIEW, Action.ADJUST), not_after=100.0),))
    new = inventory(grants=(grant(actions=(Action.VIEW, Action.CONTROL), not_after=200.0),))
    (held,) = losses_only(old, new).grants
    assert (held.actions, held.not_after) == ((Action.VIEW,), 100.0)


def test_a_new_freeze_is_in_force_at_once_and_a_removed_one_stays() -> None:
    freeze = Freeze("f", Scope(), Occurrence("2026-12-24T00:00:00", "UTC", 86400))
    assert [f.id for f in losses_only(inventory(), inventory(freezes=(freeze,))).freezes] == ["f"]
    assert [f.id for f in losses_only(inventory(freezes=(freeze,)), inventory()).freezes] == ["f"]


def test_a_freeze_that_moved_is_in_force_at_both_times() -> None:
    one = Freeze("f", Scope(), Occurrence("2026-12-24T00:00:00", "UTC", 86400))
    other = dataclasses.replace(one, occurrence=Occurrence("2026-12-31T00:00:00", "UTC", 86400))
    assert len(losses_only(inventory(freezes=(one,)), inventory(freezes=(other,))).freezes) == 2


@pytest.mark.parametrize(
    ("old", "new", "held"),
    [
        ({"hours": 4}, {"hours": 2}, {"hours": 2}),
        ({"hours": 2}, {"hours": 4}, {"hours": 2}),
        (
            {"recurrence": "FREQ=DAILY"},
            {"recurrence": "FREQ=DAILY;UNTIL=20261201"},
            {"recurrence": "FREQ=DAILY;UNTIL=20261201"},
        ),
        ({"starts": "2026-11-22T18:00:00"}, {"starts": "2026-11-29T18:00:00"}, None),
    ],
)
def test_a_window_is_open_only_when_both_say_so(old: dict, new: dict, held: dict | None) -> None:
    found = losses_only(inventory(windows=(window(**old),)), inventory(windows=(window(**new),))).windows
    assert found == ((window(**held),) if held else ())


@pytest.mark.parametrize(
    ("starts", "old", "new", "held"),
    [
        ("18:00:00", "22:00:00", "23:00:00", "22:00:00"),
        ("18:00:00", "22:00:00", "02:00:00", "22:00:00"),
        ("22:00:00", "23:00:00", "02:00:00", "23:00:00"),
        ("22:00:00", "06:00:00", "02:00:00", "02:00:00"),
    ],
)
def test_an_end_by_the_clock_past_midnight_is_later_than_one_before(starts: str, old: str, new: str, held: str) -> None:
    def until(clock: str) -> Window:
        return Window("w", Scope(), Occurrence(f"2026-11-22T{starts}", "UTC", None, clock))

    found = losses_only(inventory(windows=(until(old),)), inventory(windows=(until(new),))).windows
    assert found == (until(held),)


def test_narrower_limits_hold_at_once_and_wider_ones_wait() -> None:
    old = inventory(devices=(device(points=(point(minimum=Decimal(10), maximum=Decimal(20)),)),))
    new = inventory(devices=(device(points=(point(minimum=Decimal(12), maximum=Decimal(30)),)),))
    (held,) = losses_only(old, new).devices[0].points
    assert (held.minimum, held.maximum) == (Decimal(12), Decimal(20))


def test_that_a_value_is_undone_holds_at_once_and_that_it_is_kept_waits() -> None:
    kept, restored = (
        inventory(devices=(device(points=(point(on_leave=on),)),)) for on in (OnLeave.KEEP, OnLeave.RESTORE)
    )
    for old, new in ((kept, restored), (restored, kept)):
        assert losses_only(old, new).devices[0].points[0].on_leave is OnLeave.RESTORE
    assert not any(change.gained and "setpoint" in change.points for change in access_changes(kept, restored))
    (gain,) = (change for change in access_changes(restored, kept) if change.gained and change.points)
    assert gain.terms == ("setpoint: on leave restore → keep",)


def test_a_point_that_became_of_another_class_is_read_only_until_approved() -> None:
    old, new = (inventory(devices=(device(points=(point(action=a),)),)) for a in (Action.ADJUST, Action.CONTROL))
    assert losses_only(old, new).devices[0].points[0].action is None


def test_a_point_taken_out_does_not_open_its_register_to_raw_writes() -> None:
    old = inventory(devices=(device(points=(point("a", 10), point("b", 11))),))
    new = inventory(devices=(device(points=(point("a", 10),)),))
    held = {p.id: p.action for p in losses_only(old, new).devices[0].points}
    assert held == {"a": Action.ADJUST, "b.old": None}


def test_a_point_put_in_is_not_what_an_old_grant_by_that_name_meant() -> None:
    """A grant for several devices may name points that only some of them have."""
    named = (grant(points=("setpoint", "b")),)
    old = inventory(devices=(device(points=(point(),)),), grants=named)
    new = inventory(devices=(device(points=(point(), point("b", 11))),), grants=named)
    held = losses_only(old, new)
    assert {p.id: p.action for p in held.devices[0].points} == {"setpoint": Action.ADJUST, "b.new": None}
    assert not access_changes(old, held)


def test_a_point_that_moved_is_read_only_at_both_addresses() -> None:
    old, new = (inventory(devices=(device(points=(point("a", start),)),)) for start in (10, 20))
    held = {p.id: (p.address.start, p.action) for p in losses_only(old, new).devices[0].points}
    assert held == {"a.old": (10, None), "a.new": (20, None)}


def test_a_point_that_moves_again_and_again_is_described_at_every_address() -> None:
    versions = [inventory(devices=(device(points=(point("a", start),)),)) for start in (10, 20, 30, 10)]
    held = versions[0]
    for version in versions[1:]:
        held = losses_only(held, version)
    assert {p.address.start for p in held.devices[0].points} == {10, 20, 30}
    assert len({p.id for p in held.devices[0].points}) == len(held.devices[0].points)


def test_a_device_behind_another_address_is_absent_until_approved() -> None:
    assert losses_only(inventory(), inventory(devices=(device(port=503),))).devices == ()


def test_a_device_in_the_same_place_takes_its_new_name_and_budget() -> None:
    held = losses_only(inventory(), inventory(devices=(device(sni="other.plant"),))).devices
    assert held[0].sni == "other.plant"


def test_a_place_is_held_to_its_new_budget_at_once() -> None:
    stated = (EndpointBudget("127.0.0.1:502", Budget(connections=2)),)
    assert losses_only(inventory(), inventory(endpoints=stated)).endpoints == stated
    assert not access_changes(inventory(), inventory(endpoints=stated))


def test_the_higher_criticality_holds() -> None:
    low, high = (inventory(devices=(device(criticality=c),)) for c in ("low", "high"))
    assert {losses_only(*pair).devices[0].criticality for pair in ((low, high), (high, low))} == {"high"}


def test_a_label_taken_off_narrows_a_grant_and_one_put_on_does_not_widen_it() -> None:
    by_label = grant(scope=Scope(labels=(("system", "hvac"),)))
    with_label, without = (
        inventory(devices=(device(labels=labels),), grants=(by_label,)) for labels in ((("system", "hvac"),), ())
    )
    assert losses_only(with_label, without).grants == ()
    assert losses_only(without, with_label).grants == ()


def test_a_device_has_only_the_labels_of_both() -> None:
    """Policies may look at labels, so one that was put on waits like a grant."""
    old = inventory(devices=(device(labels=(("a", "1"), ("b", "1"))),))
    new = inventory(devices=(device(labels=(("a", "2"), ("b", "1"), ("c", "1"))),))
    assert losses_only(old, new).devices[0].labels == (("b", "1"),)


def test_a_freeze_by_label_stays_on_a_device_whose_label_was_taken_off() -> None:
    freeze = Freeze("f", Scope(labels=(("system", "hvac"),)), Occurrence("2026-12-24T00:00:00", "UTC", 86400))
    old = inventory(devices=(device(labels=(("system", "hvac"),)),), freezes=(freeze,))
    held = losses_only(old, inventory(freezes=(freeze,)))
    assert [f.scope for f in held.freezes] == [Scope(devices=("plant/ahu-1",))]


def test_priorities_are_those_of_both() -> None:
    def vav(lowest: int, highest: int) -> Device:
        address = BacnetAddress("analog-value", 1, priority_lowest=lowest, priority_highest=highest)
        way = BacnetIpWay("127.0.0.1", 47808, 1)
        return Device("plant", "vav", "hvac", Protocol.BACNET, way, (Point("z", address, Action.ADJUST),))

    held = losses_only(inventory(devices=(vav(8, 12),)), inventory(devices=(vav(10, 16),))).devices[0].points[0]
    assert (held.address.priority_lowest, held.address.priority_highest) == (10, 12)
    apart = losses_only(inventory(devices=(vav(8, 9),)), inventory(devices=(vav(10, 16),))).devices[0].points[0]
    assert apart.action is None


def test_an_organisation_keeps_only_the_trust_of_both() -> None:
    old = Organisation(
        "acme", ("A", "B"), ("*@a", "*@b"), max_path_length=2, contract_until=100.0, roles=(("x", ("r",)),)
    )
    new = Organisation(
        "acme", ("B", "C"), ("*@b", "*@c"), crl_required=True, contract_until=200.0, roles=(("x", ("r", "s")),)
    )
    (held,) = losses_only(inventory(organisations=(old,)), inventory(organisations=(new,))).organisations
    assert (held.anchors, held.namespaces, held.crl_required, held.max_path_length) == (("B",), ("*@b",), True, 1)
    assert (held.contract_until, held.roles) == (100.0, (("x", ("r",)),))


def test_a_new_revocation_list_is_in_force_at_once() -> None:
    old, new = (inventory(organisations=(Organisation("acme", (), (), crls=crls),)) for crls in ((b"1",), (b"2",)))
    assert losses_only(old, new).organisations[0].crls == (b"2",)


def test_another_way_of_the_same_kind_is_told_apart_by_host_and_port() -> None:
    moved = dataclasses.replace(device(), way=ModbusTcpWay("127.0.0.2", 502))
    assert losses_only(inventory(), inventory(devices=(moved,))).devices == ()
