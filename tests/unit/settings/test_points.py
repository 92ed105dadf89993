"""Points whose keys contradict each other are refused, with what would be right."""

from typing import Any

import pytest

from broker.settings.findings import Finding
from broker.settings.inventory_points import BacnetPointEntry, ModbusPointEntry
from broker.settings.point_checks import bacnet_point_findings, modbus_point_findings, overlap_findings


def modbus(**changes: Any) -> ModbusPointEntry:
    given = {"id": "p", "table": "holding-register", "address": "10"} | changes
    return ModbusPointEntry.model_validate(given)


def bacnet(**changes: Any) -> BacnetPointEntry:
    return BacnetPointEntry.model_validate({"id": "p", "object": "analog-value", "instance": "1"} | changes)


def errors(found: Any) -> list[Finding]:
    return [finding for finding in found if not finding.warning]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"type": "float32", "minimum": "-1000000", "action": "adjust"},
        {"type": "bit", "bit": "15", "action": "control"},
        {"type": "string", "count": "4"},
        {"table": "coil", "action": "control", "allowed": ["true"]},
        {"table": "coil", "type": "bool"},
        {"type": "bool"},
        {"type": "uint64", "address": "65532"},
        {"type": "int16", "scale": "0.1", "minimum": "-3276.8", "maximum": "3276.7", "action": "adjust"},
        {
            "type": "uint16",
            "scale": "-0.5",
            "offset": "100",
            "minimum": "-32667.5",
            "maximum": "100",
            "action": "adjust",
        },
        {"allowed": ["1", "2"], "action": "control", "minimum": "1", "maximum": "2"},
        {"address": "0x000A"},
        {"action": "adjust", "on_leave": "restore"},
        {"on_leave": "keep"},
    ],
)
def test_sound_modbus_points_pass(changes: dict[str, Any]) -> None:
    assert errors(modbus_point_findings(modbus(**changes))) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"table": "coil", "type": "uint16"}, ("type",)),
        ({"table": "input-register", "action": "adjust"}, ("action",)),
        ({"table": "discrete-input", "action": "control"}, ("action",)),
        ({"type": "bit"}, ("bit",)),
        ({"action": "adjust", "on_leave": "release"}, ("on_leave",)),
        ({"on_leave": "restore"}, ("on_leave",)),
        ({"action": "adjust", "on_leave": "restore", "confidential": "secret"}, ("on_leave",)),
        ({"bit": "1"}, ("bit",)),
        ({"type": "string"}, ()),
        ({"type": "uint32", "count": "4"}, ("count",)),
        ({"type": "uint32", "address": "65535"}, ("address",)),
        ({"scale": "0"}, ("scale",)),
        ({"type": "bit", "bit": "1", "scale": "2"}, ("scale",)),
        ({"minimum": "-1", "action": "adjust"}, ("minimum",)),
        ({"type": "int16", "scale": "0.1", "maximum": "3276.8", "action": "adjust"}, ("maximum",)),
        ({"minimum": "5", "maximum": "4", "action": "adjust"}, ("maximum",)),
        ({"allowed": ["9"], "maximum": "4", "action": "adjust"}, ("allowed", 0)),
        ({"allowed": ["auto"], "action": "adjust"}, ("allowed", 0)),
        ({"table": "coil", "allowed": ["1"], "action": "adjust"}, ("allowed", 0)),
    ],
)
def test_contradictions_of_modbus_points_are_found_at_their_key(changes: dict[str, Any], path: tuple[Any, ...]) -> None:
    assert [finding.path for finding in errors(modbus_point_findings(modbus(**changes)))] == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"priority": ["10", "16"], "action": "adjust"},
        {"priority": "8", "action": "override"},
        {"priority": ["10", "16"], "action": "adjust", "on_leave": "release"},
        {"property": "units", "action": "config", "on_leave": "restore"},
        {"object": "128", "property": "512"},
        {"object": "schedule", "property": "weekly-schedule", "index": "1"},
    ],
)
def test_sound_bacnet_points_pass(changes: dict[str, Any]) -> None:
    assert errors(bacnet_point_findings(bacnet(**changes))) == []


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"object": "analogValue"}, ("object",), "did you mean 'analog-value'?"),
        ({"object": "127"}, ("object",), "128"),
        ({"property": "presentvalue"}, ("property",), "did you mean 'present-value'?"),
        ({"priority": ["16", "10"], "action": "adjust"}, ("priority",), "[10, 16]"),
        ({"priority": "6", "action": "override"}, ("priority",), ""),
        ({"priority": ["6", "8"], "action": "override"}, ("priority",), ""),
        ({"priority": ["8", "16"]}, ("priority",), "action"),
        ({"action": "adjust", "on_leave": "release"}, ("on_leave",), "restore"),
        ({"priority": "9", "action": "adjust", "on_leave": "restore"}, ("on_leave",), "release"),
        ({"object": "analog-input", "priority": ["8", "16"], "action": "adjust"}, ("priority",), "outputs and values"),
        ({"property": "units", "priority": ["8", "16"], "action": "config"}, ("priority",), "outputs and values"),
    ],
)
def test_contradictions_of_bacnet_points_are_found(changes: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    (finding,) = errors(bacnet_point_findings(bacnet(**changes)))
    assert finding.path == path
    assert words in finding.hint


def test_priority_6_inside_a_range_is_a_warning() -> None:
    (finding,) = bacnet_point_findings(bacnet(priority=["1", "16"], action="override"))
    assert finding.warning
    assert "priority 6" in finding.message


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ({}, {}, False),
        ({"action": "adjust"}, {}, True),
        ({"action": "adjust"}, {"action": "adjust"}, False),
        ({"action": "adjust"}, {"action": "control"}, True),
        ({"action": "adjust", "maximum": "5"}, {"action": "adjust"}, True),
        ({"type": "uint32", "action": "adjust"}, {"address": "11", "action": "adjust"}, True),
        ({"type": "uint32"}, {"address": "11"}, False),
        ({"type": "uint32", "action": "adjust"}, {"address": "12", "action": "adjust"}, False),
        ({"table": "input-register"}, {"action": "adjust"}, False),
        ({"type": "bit", "bit": "1", "action": "control"}, {"type": "bit", "bit": "2", "action": "adjust"}, False),
        ({"type": "bit", "bit": "1", "action": "control"}, {"type": "bit", "bit": "1", "action": "adjust"}, True),
        ({"action": "control"}, {"type": "bit", "bit": "1", "action": "control"}, False),
        ({}, {"type": "bit", "bit": "1", "action": "control"}, True),
        ({"type": "uint32", "action": "control"}, {"type": "bit", "bit": "1", "action": "control"}, True),
        ({"confidential": "secret"}, {}, True),
        ({"action": "control"}, {"type": "bit", "bit": "1", "action": "control", "confidential": "personal"}, True),
        ({"confidential": "secret", "action": "adjust"}, {"confidential": "secret", "action": "adjust"}, False),
    ],
)
def test_points_conflict_if_a_write_to_one_means_another_thing_for_the_other(
    one: dict[str, Any], other: dict[str, Any], conflict: bool
) -> None:
    points = (modbus(**one), modbus(id="q", **other))
    assert bool(list(overlap_findings(points))) is conflict
    assert bool(list(overlap_findings(points[::-1]))) is conflict


def test_bacnet_points_conflict_on_one_property_and_not_on_different_elements() -> None:
    whole, first, second = (
        bacnet(action="adjust"),
        bacnet(id="q", index="1"),
        bacnet(id="r", index="2", action="adjust"),
    )
    assert list(overlap_findings((whole, first)))
    assert not list(overlap_findings((first, second)))


def test_many_points_are_compared_in_little_time() -> None:
    points = tuple(modbus(id=f"p{n}", address=str(n), action="adjust") for n in range(5000))
    assert not list(overlap_findings(points))


def test_scale_and_limits_are_the_decimals_that_were_written() -> None:
    point = modbus(scale="0.1", offset="-0.3", maximum="0.30000000000000001", action="adjust").to_model()
    assert str(point.address.scale) == "0.1"
    assert str(point.maximum) == "0.30000000000000001"


def test_allowed_values_have_the_one_form_that_values_are_compared_in() -> None:
    assert modbus(allowed=["20.0", "1E+1", "3"], action="adjust").to_model().allowed == ("10", "20", "3")
