"""What is proposed: ids, classes of writes, limits; and a file that the loader takes, whatever devices say."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.cli.config_files import load_inventory
from broker.cli.field.arguments import describe
from broker.cli.field.assembly import Assembly, Proposed
from broker.cli.field.looking import BacnetLook, Looked
from broker.cli.field.names import label, labels
from broker.cli.inventory_files import read_inventory
from broker.model.field import Bounds, FieldAddress, FoundDevice, FoundObject
from broker.model.place import Inventory, Point
from broker.model.vocabulary import Action
from broker.model.way import BacnetIpWay, BacnetScWay, Segmentation

LOOK = BacnetLook("192.0.2.1/24", 47808, 0, 4194302, (), (), "", Bounds())
HERE = FieldAddress("192.0.2.9", 47808)


def device(
    *objects: FoundObject, instance: int = 1001, name: str = "AHU 1", trouble: tuple[str, ...] = ()
) -> FoundDevice:
    return FoundDevice(instance, HERE, 999, 1476, "both", name=name, objects=objects, trouble=trouble)


def proposed(*devices: FoundDevice, inventory: Inventory | None = None, look: BacnetLook = LOOK) -> Proposed:
    return Assembly("plant", "field", inventory).of(look, Looked(devices=devices), ())


def loaded(folder: Path, text: str) -> Inventory:
    folder.mkdir(exist_ok=True)
    (folder / "devices.yaml").write_text(text, encoding="utf-8")
    return load_inventory(folder)


def points(folder: Path, *objects: FoundObject) -> dict[str, Point]:
    (found,) = loaded(folder, proposed(device(*objects)).yaml()).devices
    return {point.id: point for point in found.points}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Zone Setpoint", "zone-setpoint"),
        ("AHU_1/SUPPLY.T", "ahu-1-supply-t"),
        ("Zulufttemperatur Größe", "zulufttemperatur-grosse"),
        ("--x--", "x"),
        ("温度", ""),
        ("a" * 80, "a" * 63),
    ],
)
def test_an_id_is_the_name_as_a_dns_label(name: str, expected: str) -> None:
    assert label(name) == expected


def test_names_that_many_have_get_what_tells_them_apart_in_whatever_order_they_come() -> None:
    named = [
        (1, "temp", "analog-input-1"),
        (2, "Temp", "analog-input-2"),
        (3, "flow", "analog-input-3"),
        (4, "", "x-4"),
    ]
    expected = {1: "temp-analog-input-1", 2: "temp-analog-input-2", 3: "flow", 4: "x-4"}
    assert labels(named, {}) == expected
    assert labels(named[::-1], {}) == expected


@given(st.lists(st.text(max_size=80), max_size=20))
def test_ids_are_dns_labels_and_no_two_are_alike(names: list[str]) -> None:
    given_ids = labels([(place, name, f"analog-input-{place}") for place, name in enumerate(names)], {99: "taken"})
    assert len({*given_ids.values(), "taken"}) == len(names) + 1
    assert all(label(identifier) == identifier and identifier for identifier in given_ids.values())


CASES = {
    "analog-value": (Action.ADJUST, True),
    "integer-value": (Action.ADJUST, True),
    "analog-output": (Action.CONTROL, True),
    "binary-output": (Action.CONTROL, True),
    "binary-value": (Action.CONTROL, True),
    "multi-state-value": (Action.CONTROL, True),
    "analog-input": (None, True),
    "binary-input": (None, True),
    "multi-state-input": (None, True),
}


@pytest.mark.parametrize(("word", "expected"), CASES.items())
def test_what_takes_commands_is_suggested_to_be_written_and_inputs_never(
    tmp_path: Path, word: str, expected: tuple[Action | None, bool]
) -> None:
    (point,) = points(tmp_path, FoundObject(word, 1, "p", commandable=True)).values()
    assert point.action == expected[0]
    assert point.address.priority_lowest == (9 if expected[0] else None)  # type: ignore[union-attr]


def test_a_suggestion_is_marked_as_one() -> None:
    lines = proposed(device(FoundObject("analog-value", 1, "p", commandable=True))).yaml().splitlines()
    marked = [line.strip() for line in lines if "suggestion: decide" in line]
    assert [line.split(":")[0] for line in marked] == ["action", "priority"]


@pytest.mark.parametrize("commandable", [False, None])
def test_a_value_without_priorities_is_proposed_to_be_read_only(tmp_path: Path, commandable: bool | None) -> None:
    (point,) = points(tmp_path, FoundObject("analog-value", 1, "p", commandable=commandable)).values()
    assert point.action is None


def test_limits_and_states_of_the_device_bound_what_may_be_written(tmp_path: Path) -> None:
    found = points(
        tmp_path,
        FoundObject("analog-value", 1, "sp", "", "degrees-celsius", Decimal("10.5"), Decimal(30), commandable=True),
        FoundObject("multi-state-value", 1, "mode", states=3, state_texts=("Off", "On", "Auto"), commandable=True),
        FoundObject("analog-value", 2, "odd", minimum=Decimal(5), maximum=Decimal(5), commandable=True),
    )
    assert (found["sp"].minimum, found["sp"].maximum) == (Decimal("10.5"), Decimal(30))
    assert found["sp"].engineering_unit == "degrees-celsius"
    assert (found["mode"].minimum, found["mode"].maximum) == (Decimal(1), Decimal(3))
    assert (found["odd"].minimum, found["odd"].maximum) == (None, None)


def test_objects_without_a_value_are_counted_and_not_proposed(tmp_path: Path) -> None:
    text = proposed(device(FoundObject("trend-log", 1, "t"), FoundObject("trend-log", 2, "u"))).yaml()
    assert "not proposed: 2 trend-log" in text
    assert loaded(tmp_path, text).devices[0].points == ()


TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "a\nsites: []", "x: y # z", "- id: evil", "'\"", "{a: b}", "&a *a !!python/object:os.system", "null", "~",
            "\x1b[31mred", "\u202egnitirw", "\x85\u2028\u2029", "a\r\n    action: override", "%YAML 1.1", "---", "...",
            "\ud800", "\x00", "yes", "1e3", "0x10", "9" * 80, "\ufeff",
        ]
    ),
)  # fmt: skip
WORDS = st.sampled_from([*CASES, "trend-log", "schedule", "512", "accumulator", "characterstring-value"])
LIMITS = st.one_of(st.none(), st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**15)))
OBJECTS = st.builds(
    FoundObject, WORDS, st.integers(0, 4194302), TEXTS, TEXTS, TEXTS, LIMITS, LIMITS,
    st.one_of(st.none(), st.integers(0)), st.lists(TEXTS, max_size=3).map(tuple), st.sampled_from([True, False, None]),
    st.lists(TEXTS, max_size=1).map(tuple),
)  # fmt: skip
DEVICES = st.builds(
    FoundDevice, st.integers(0, 4194302), st.just(HERE), st.integers(0, 9999), st.integers(50, 1476), st.just("none"),
    TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS,
    objects=st.lists(OBJECTS, max_size=3, unique_by=lambda o: (o.object_type, o.instance)).map(tuple),
    trouble=st.lists(TEXTS, max_size=1).map(tuple),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DEVICES, max_size=2, unique_by=lambda d: d.instance))
def test_whatever_devices_say_the_loader_takes_the_file_and_finds_them_and_nothing_else(
    tmp_path: Path, devices: list[FoundDevice]
) -> None:
    text = proposed(*devices).yaml()
    (tmp_path / "devices.yaml").write_text(text, encoding="utf-8")
    reading = read_inventory(tmp_path)
    assert [problem for problem in reading.problems if not problem.warning] == []
    assert reading.inventory is not None
    assert sorted(each.way.instance for each in reading.inventory.devices) == sorted(d.instance for d in devices)  # type: ignore[union-attr]
    actions = {point.action for each in reading.inventory.devices for point in each.points}
    assert actions <= {None, Action.ADJUST, Action.CONTROL}
    assert all(line.isprintable() for line in text.split("\n"))


def _present(tmp_path: Path) -> Iterator[Inventory]:
    yield loaded(
        tmp_path,
        """
sites: [{id: plant}]
segments: [{id: field, site: plant}]
devices:
  - id: air-handler
    site: plant
    segment: field
    protocol: bacnet
    upstream: {bacnet_ip: {host: 192.0.2.9, port: 47808, instance: 1001}}
    points:
      - {id: sp, object: analog-value, instance: 1, unit: "°C", minimum: 12, maximum: 25, action: adjust,
         priority: [10, 16]}
      - {id: sp-oos, object: analog-value, instance: 1, property: out-of-service}
      - {id: old, object: analog-input, instance: 9}
""",
    )


SAME = FoundObject(
    "analog-value", 1, "Zone setpoint", "", "degrees-celsius", Decimal(10), Decimal(30), commandable=True
)
OLD = FoundObject("analog-input", 9, "Old")


def told(tmp_path: Path, *devices: FoundDevice, look: BacnetLook = LOOK) -> list[tuple[str, str, str, str]]:
    (inventory,) = _present(tmp_path)
    found = proposed(*devices, inventory=inventory, look=look).differences
    return [(each.kind, each.device, each.point, each.what) for each in found]


def test_a_new_site_is_told_to_lack_the_network_by_which_bacnet_tools_find_it(tmp_path: Path) -> None:
    lacks = "decide: bacnet: {network: N}"
    assert lacks in proposed(device(SAME)).yaml()
    assert lacks not in proposed().yaml()
    (inventory,) = _present(tmp_path)
    assert lacks not in proposed(device(SAME), inventory=inventory).yaml()


def test_an_inventory_that_is_stricter_than_the_device_does_not_differ(tmp_path: Path) -> None:
    assert told(tmp_path, device(SAME, OLD)) == []


def test_what_is_new_gone_and_changed_is_told(tmp_path: Path) -> None:
    changed = FoundObject("analog-value", 1, "sp", "", "percent", Decimal(15), Decimal(20), commandable=False)
    assert told(tmp_path, device(changed, FoundObject("analog-input", 1, "New")), device(instance=5, name="Other")) == [
        ("new", "plant/other", "", ""),
        ("new", "plant/air-handler", "new", ""),
        ("changed", "plant/air-handler", "sp", "unit"),
        ("changed", "plant/air-handler", "sp", "priority"),
        ("gone", "plant/air-handler", "old", ""),
    ]


def test_limits_of_the_device_that_the_inventory_lets_writes_pass_are_told(tmp_path: Path) -> None:
    narrow = FoundObject("analog-value", 1, "sp", "", "", Decimal(15), Decimal(20), commandable=True)
    assert told(tmp_path, device(narrow, OLD)) == [
        ("changed", "plant/air-handler", "sp", "minimum"),
        ("changed", "plant/air-handler", "sp", "maximum"),
    ]


def test_a_device_that_did_not_answer_is_gone_only_if_it_was_looked_for(tmp_path: Path) -> None:
    assert told(tmp_path) == [("gone", "plant/air-handler", "", "")]
    outside = BacnetLook("192.0.2.1/24", 47808, 2000, 3000, (), (), "", Bounds())
    assert told(tmp_path, look=outside) == []


def test_a_device_that_takes_less_than_the_inventory_says_is_told_and_one_that_takes_more_is_not(
    tmp_path: Path,
) -> None:
    small = FoundDevice(1001, HERE, 999, 480, "none", name="x", objects=(SAME, OLD))
    assert told(tmp_path, small) == [
        ("changed", "plant/air-handler", "", "max_apdu"),
        ("changed", "plant/air-handler", "", "segmentation"),
    ]


def test_what_the_inventory_does_not_state_is_told_as_its_default(tmp_path: Path) -> None:
    small = FoundDevice(1001, HERE, 999, 480, "none", name="x", objects=(SAME, OLD))
    (inventory,) = _present(tmp_path)
    first = proposed(small, inventory=inventory).differences[0]
    assert first.sentence() == "changed plant/air-handler: max_apdu 1476 (default) -> 480"


def test_a_device_behind_a_router_is_proposed_with_its_network_and_address(tmp_path: Path) -> None:
    behind = FoundDevice(7, FieldAddress("192.0.2.1", 47808, 2001, b"\x0c"), 999, 501, "transmit", name="VAV 7")
    (found,) = loaded(tmp_path, proposed(behind).yaml()).devices
    assert found.way == BacnetIpWay("192.0.2.1", 47808, 7, 2001, b"\x0c", 480, Segmentation.TRANSMIT)


def test_of_a_device_that_was_not_read_whole_nothing_is_gone(tmp_path: Path) -> None:
    assert told(tmp_path, device(SAME, trouble=("it stopped answering",))) == []


def test_known_devices_and_points_keep_their_ids_and_are_not_proposed_anew(tmp_path: Path) -> None:
    (inventory,) = _present(tmp_path)
    found = proposed(device(SAME, OLD, FoundObject("analog-input", 1, "sp")), device(instance=5), inventory=inventory)
    assert [each.id for each in found.devices] == ["ahu-1", "air-handler"]
    ids = [point.id for each in found.devices for point in each.points]
    assert ids == ["sp", "old", "sp-analog-input-1"]
    (tmp_path / "found.yaml").write_text(found.yaml(), encoding="utf-8")
    whole = load_inventory(tmp_path)  # beside what is there
    assert [each.id for each in whole.devices] == ["air-handler", "ahu-1"] or len(whole.devices) == 2
    assert "sp-analog-input-1" in found.yaml()


def test_devices_that_are_reached_over_bacnet_sc_are_named_and_neither_gone_nor_changed(tmp_path: Path) -> None:
    before = loaded(tmp_path / "before", proposed(device()).yaml())
    way = BacnetScWay("wss://hub.plant.example/", 2002)
    behind = replace(before.devices[0], id="vav-9", way=way)
    found = proposed(device(), inventory=replace(before, devices=(*before.devices, behind)))
    sentence = "plant/vav-9 is reached over BACnet/SC, where discover cannot look: it was not compared"
    assert (found.beyond, found.differences) == ((sentence,), ())
    assert f"# {sentence}" in found.yaml()
    assert sentence in found.json()


def test_a_hub_is_no_interface_to_look_from() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    describe(parser)
    with pytest.raises(argparse.ArgumentError, match="BACnet/SC hub cannot be discovered"):
        parser.parse_args(["--site", "plant", "--interface", "wss://hub.plant.example/"])
