"""Approvers are shown no planned text that is not what it looks like."""

from dataclasses import replace

import pytest

from broker.api.problems import Problem
from broker.api.request_models import PlannedValue
from broker.api.request_terms import _planned
from broker.model.place import BacnetAddress, ModbusAddress, Point, Table, ValueType
from broker.model.vocabulary import Action
from tests.unit.api.gate_double import AHU, VAV

TEXT = Point("mode", BacnetAddress("characterstring-value", 7), Action.CONTROL)
REGISTERS = Point("label", ModbusAddress(Table.HOLDING_REGISTER, 50, 8, ValueType.STRING), Action.CONTROL)
MIXED = "\u0410U\u0422\u041e"
"""AUTO, but for the U of Cyrillic letters."""
HEAT = "\u041d\u0415\u0410\u0422"
"""All of them Cyrillic."""
FULL_WIDTH = "\uff21\uff35\uff34\uff2f"


def planned(device, point, value):
    write, _ = _planned((replace(device, points=(point,)),), 0, PlannedValue(point=point.id, value=value))
    return write.value


@pytest.mark.parametrize(
    "value",
    [MIXED, HEAT, FULL_WIDTH, "heat\u0301", " auto", "auto "],
    ids=["mixed", "all_cyrillic", "full_width", "mark", "blank_before", "blank_after"],
)
def test_a_text_that_is_not_what_it_looks_like_cannot_be_planned(value):
    with pytest.raises(Problem) as refused:
        planned(VAV, TEXT, value)
    assert refused.value.code == "request_terms"
    assert refused.value.members["errors"][0]["at"] == "plan.0.value"


@pytest.mark.parametrize("value", ["AUTO", "Zuluft 21,5 °C", "кабинет 3", "自動"])
def test_a_plain_text_of_any_script_can(value):
    assert planned(VAV, TEXT, value) == value


def test_what_the_inventory_names_for_the_point_can_be_planned_as_it_is():
    assert planned(VAV, replace(TEXT, allowed=(HEAT,)), HEAT) == HEAT


def test_a_text_in_registers_is_looked_at_as_well():
    assert planned(AHU, REGISTERS, "AUTO") == "AUTO"
    with pytest.raises(Problem):
        planned(AHU, REGISTERS, MIXED)
