"""What a request takes up of a plan: exactly what is planned, by name, whatever its numbers look like."""

from dataclasses import replace

import pytest

from broker.access.uses import ONE_WRITE, uses_of
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Request, Touch
from broker.model.place import BacnetAddress, Grant, PlannedWrite, Table
from broker.model.schedule import Scope
from broker.model.vocabulary import Action
from tests.unit.access.inventories import point

PLAN = (PlannedWrite("plant/ahu-1", "a", "21.5"), PlannedWrite("plant/ahu-1", "b", "true"))
GRANT = Grant("req-1", Scope(), (Action.ADJUST,), plan=PLAN, single_use=True)


def write(*values: tuple[str, str | None]) -> Request:
    touches = tuple(Touch(point(name), value is not None, value) for name, value in values)
    place = ModbusRange(Table.HOLDING_REGISTER, 10, 1)
    return Request((Operation("modbus", Action.ADJUST, "write-multiple-registers", place, touches),), b"", "d")


@pytest.mark.parametrize(
    ("values", "uses"),
    [
        ([("a", "21.5")], ("plant/ahu-1 a = 21.5",)),
        ([("a", "21.50")], ("plant/ahu-1 a = 21.5",)),
        ([("a", "21.5"), ("b", "true")], ("plant/ahu-1 a = 21.5", "plant/ahu-1 b = true")),
        ([("a", "21")], None),
        ([("a", "21.5"), ("b", "false")], None),
        ([("a", None)], None),
        ([("c", "21.5")], None),
        ([], None),
    ],
)
def test_each_planned_write_is_a_use_and_nothing_else_is(values, uses) -> None:
    assert uses_of(GRANT, "plant/ahu-1", write(*values)) == uses
    assert uses_of(GRANT, "plant/ahu-2", write(*values)) is None


ZONE = replace(point("zone"), address=BacnetAddress("analog-value", 1, "present-value", None, 10, 16))


def zone_write(priority: int | None) -> Request:
    place = BacnetProperty("analog-value", 1, "present-value")
    touches = (Touch(ZONE, True, "21.5"),)
    return Request((Operation("bacnet", Action.ADJUST, "write-property", place, touches, priority=priority),), b"", "d")


def test_a_write_at_another_priority_is_no_use_of_the_plan() -> None:
    at_twelve, at_sixteen = (
        Grant("req-1", Scope(), (Action.ADJUST,), plan=(PlannedWrite("plant/vav-1", "zone", "21.5", at),))
        for at in (12, 16)
    )
    assert uses_of(at_twelve, "plant/vav-1", zone_write(12)) == ("plant/vav-1 zone = 21.5@12",)
    assert uses_of(at_sixteen, "plant/vav-1", zone_write(None)) == ("plant/vav-1 zone = 21.5@16",)
    for grant, priority in ((at_twelve, 10), (at_twelve, None), (at_sixteen, 12)):
        assert uses_of(grant, "plant/vav-1", zone_write(priority)) is None


def test_without_a_plan_a_write_is_the_one_use() -> None:
    assert uses_of(Grant("req-1", Scope(), (Action.ADJUST,)), "plant/ahu-1", write(("a", "1"))) == (ONE_WRITE,)
