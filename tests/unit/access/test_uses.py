"""What a request takes up of a plan: exactly what is planned, by name, whatever its numbers look like."""

from dataclasses import replace

import pytest

from broker.access.uses import ONE_WRITE, use_of, uses_of
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Request, Touch
from broker.model.place import BacnetAddress, Grant, PlannedWrite, Table, ValueType
from broker.model.schedule import Scope
from broker.model.vocabulary import Action
from broker.wire.modbus.composing import compose_write
from broker.wire.modbus.operations import interpret
from tests.unit.access.inventories import point
from tests.unit.wire.modbus.plant import device as modbus_device
from tests.unit.wire.modbus.plant import point as modbus_point

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
        ([("a", "21.50")], None),
        ([("a", "21.500000000000001")], None),
        ([("a", "21.5"), ("b", "true")], ("plant/ahu-1 a = 21.5", "plant/ahu-1 b = true")),
        ([("a", "21")], None),
        ([("a", "21.5"), ("b", "false")], None),
        ([("a", None)], None),
        ([("c", "21.5")], None),
        ([], None),
    ],
)
def test_each_planned_write_is_a_use_and_nothing_else_is(values, uses) -> None:
    assert uses_of(GRANT, "plant/ahu-1", write(*values).operations) == uses
    assert uses_of(GRANT, "plant/ahu-2", write(*values).operations) is None


REGISTERS = (
    modbus_point("flow", Table.HOLDING_REGISTER, 0, ValueType.FLOAT32, Action.ADJUST),
    modbus_point("exact", Table.HOLDING_REGISTER, 10, ValueType.FLOAT64, Action.ADJUST),
    modbus_point("energy", Table.HOLDING_REGISTER, 20, ValueType.UINT64, Action.ADJUST, scale="0.001"),
    modbus_point("recipe", Table.HOLDING_REGISTER, 30, ValueType.STRING, Action.ADJUST, count=12),
)


@pytest.mark.parametrize(
    ("name", "planned"),
    [("flow", 21.9), ("exact", 0.1), ("energy", "18446744073709551.615"), ("recipe", "recipe-of-batch-00000001")],
)
def test_the_very_registers_of_the_plan_are_its_use_and_their_neighbours_are_not(name: str, planned: object) -> None:
    ahu = modbus_device(*REGISTERS)
    (asked,) = (p for p in REGISTERS if p.id == name)
    composed = compose_write(ahu, asked, planned)
    (touch,) = composed.operations[0].touches
    assert touch.value is not None
    grant = Grant("req-1", Scope(), (Action.ADJUST,), plan=(PlannedWrite(ahu.key, name, touch.value),))
    assert uses_of(grant, ahu.key, interpret(ahu, composed.payload).operations) == (use_of(grant.plan[0]),)
    neighbour = composed.payload[:-1] + bytes((composed.payload[-1] ^ 1,))
    assert uses_of(grant, ahu.key, interpret(ahu, neighbour).operations) is None


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
    assert uses_of(at_twelve, "plant/vav-1", zone_write(12).operations) == ("plant/vav-1 zone = 21.5@12",)
    assert uses_of(at_sixteen, "plant/vav-1", zone_write(None).operations) == ("plant/vav-1 zone = 21.5@16",)
    for grant, priority in ((at_twelve, 10), (at_twelve, None), (at_sixteen, 12)):
        assert uses_of(grant, "plant/vav-1", zone_write(priority).operations) is None


def test_without_a_plan_a_write_is_the_one_use() -> None:
    assert uses_of(Grant("req-1", Scope(), (Action.ADJUST,)), "plant/ahu-1", write(("a", "1")).operations) == (
        ONE_WRITE,
    )


def test_without_a_plan_several_writes_in_one_request_are_more_than_the_one_use() -> None:
    several = write(("a", "1")).operations * 2
    assert uses_of(Grant("req-1", Scope(), (Action.ADJUST,)), "plant/ahu-1", several) is None
