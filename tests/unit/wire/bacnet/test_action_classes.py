"""Which action a BACnet service is, by the table that ships and by rules of policy authors."""

import pytest

from broker.model.action_rule import CHANGING_SERVICES, LOOKING, LOOKING_SERVICES, SERVICES, ActionRule
from broker.model.operation import BacnetProperty, Operation, Touch
from broker.model.place import BacnetAddress, Point
from broker.model.vocabulary import Action
from broker.wire.bacnet.action_classes import RULES, ActionTable, action_of, classed, never_written

VALUE = BacnetProperty("analog-value", 1, "present-value")
DEVICE = BacnetProperty("device", 1001, None)
ZONE = Point("zone", BacnetAddress("analog-value", 1, priority_lowest=8, priority_highest=16), Action.ADJUST)
WRITES = ("write-property", "write-property-multiple")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_of_the_standard_is_in_the_table(service: str) -> None:
    assert any(service in rule.services for rule in RULES)


@pytest.mark.parametrize("service", sorted(LOOKING_SERVICES))
def test_what_only_looks_is_a_view_or_a_discovery_everywhere(service: str) -> None:
    assert all(action_of(service, place) in LOOKING for place in (VALUE, DEVICE, BacnetProperty("file", 1, None)))


@pytest.mark.parametrize("service", sorted(CHANGING_SERVICES))
@pytest.mark.parametrize("priority", [None, *range(1, 17)])
def test_what_changes_something_is_never_read_only(service: str, priority: int | None) -> None:
    for point in (None, *(action for action in Action if action not in LOOKING)):
        assert action_of(service, VALUE, priority, point) not in LOOKING


@pytest.mark.parametrize("service", WRITES)
@pytest.mark.parametrize("point", [Action.ADJUST, Action.CONTROL])
def test_a_value_is_written_as_its_point_says_and_overridden_at_the_first_eight_priorities(
    service: str, point: Action
) -> None:
    assert [action_of(service, VALUE, at, point) for at in (None, 9, 16)] == [point] * 3
    assert {action_of(service, VALUE, at, point) for at in range(1, 9)} == {Action.OVERRIDE}
    for word in ("out-of-service", "reliability", "priority-array", "reliability-evaluation-inhibit"):
        assert action_of(service, BacnetProperty("analog-value", 1, word), None, point) is Action.OVERRIDE


@pytest.mark.parametrize("priority", [None, *range(1, 17)])
def test_what_the_inventory_does_not_describe_or_calls_configuration_stays_that(priority: int | None) -> None:
    for service in WRITES:
        assert action_of(service, VALUE, priority, None) is Action.CONFIG
        assert action_of(service, VALUE, priority, Action.CONFIG) is Action.CONFIG
        assert action_of(service, VALUE, priority, Action.INSTALL) is Action.INSTALL


@pytest.mark.parametrize(
    ("service", "place", "facts", "action"),
    [
        ("who-is", DEVICE, (), "discover"),
        ("read-range", BacnetProperty("trend-log", 1, "log-buffer"), (), "view"),
        ("life-safety-operation", DEVICE, (), "override"),
        ("acknowledge-alarm", VALUE, (), "control"),
        ("device-communication-control", DEVICE, (("enable-disable", "disable"),), "config"),
        ("reinitialize-device", DEVICE, (("reinitialized-state", "coldstart"),), "config"),
        ("reinitialize-device", DEVICE, (("reinitialized-state", "start-restore"),), "install"),
        ("time-synchronization", DEVICE, (), "config"),
        ("create-object", BacnetProperty("analog-value", None, None), (), "config"),
        ("create-object", BacnetProperty("file", None, None), (), "install"),
        ("delete-object", BacnetProperty("access-user", 3, None), (), "auth"),
        ("atomic-write-file", BacnetProperty("file", 1, None), (), "install"),
        ("write-property", BacnetProperty("program", 1, "program-change"), (), "install"),
        ("confirmed-private-transfer", DEVICE, (("vendor-identifier", "999"),), "config"),
        ("authenticate", DEVICE, (), "auth"),
        ("a-service-of-a-later-revision", DEVICE, (), "config"),
    ],
)
def test_services_have_the_class_of_what_they_can_do(
    service: str, place: BacnetProperty, facts: tuple[tuple[str, str], ...], action: str
) -> None:
    assert action_of(service, place, facts=facts) == action


def write(action: Action = Action.ADJUST, priority: int | None = 12, whole: bool = True) -> Operation:
    return Operation("bacnet", action, "write-property", VALUE, (Touch(ZONE, whole, "21"),), priority=priority)


def test_the_first_rule_of_policy_authors_that_fits_decides_and_otherwise_the_class_stays() -> None:
    table = ActionTable(
        (
            ActionRule(Action.CONTROL, WRITES, ("analog-value",), priorities=(9, 12), points=("adjust",)),
            ActionRule(Action.CONFIG, WRITES, ("analog-value",), priorities=(9, 16)),
        )
    )
    assert classed(table, write()).action is Action.CONTROL
    assert classed(table, write(priority=14)).action is Action.CONFIG
    assert classed(table, write(whole=False)).action is Action.CONFIG
    assert classed(table, write(Action.OVERRIDE, priority=8)).action is Action.OVERRIDE


@pytest.mark.parametrize("service", WRITES)
def test_a_rule_about_priorities_is_not_passed_by_leaving_the_priority_out(service: str) -> None:
    table = ActionTable((ActionRule(Action.CONTROL, WRITES, priorities=(9, 16)),))

    def action(place: BacnetProperty, *points: Point) -> Action:
        touches = tuple(Touch(point, True, "1") for point in points)
        return classed(table, Operation("bacnet", Action.ADJUST, service, place, touches)).action

    unnumbered = Point("zone", BacnetAddress("analog-value", 1), Action.ADJUST)
    assert action(VALUE, ZONE) is action(VALUE, unnumbered) is action(VALUE) is Action.CONTROL
    assert action(BacnetProperty("600", 1, "present-value")) is Action.CONTROL
    own = Point("own", BacnetAddress("600", 1, "4000", priority_lowest=9, priority_highest=16), Action.ADJUST)
    assert action(BacnetProperty("600", 1, "4000"), own) is Action.CONTROL
    for place in (BacnetProperty("analog-value", 1, "units"), BacnetProperty("analog-input", 1, "present-value")):
        assert action(place) is Action.ADJUST


def test_no_rule_makes_a_look_of_a_change_or_a_change_of_a_look() -> None:
    table = ActionTable((ActionRule(Action.VIEW, WRITES), ActionRule(Action.CONFIG, ("read-property",))))
    read = Operation("bacnet", Action.VIEW, "read-property", VALUE)
    assert classed(table, write()).action is Action.ADJUST
    assert classed(table, read).action is Action.VIEW


def test_the_class_of_a_point_is_given_by_its_own_rule() -> None:
    assert classed(ActionTable((ActionRule(None, WRITES),)), write(Action.OVERRIDE, 8)).action is Action.ADJUST


def test_no_schedule_or_loop_is_made_to_write_at_priority_6() -> None:
    def give(priority: str) -> Operation:
        return Operation("bacnet", Action.CONFIG, "write-property", place, raw_values=(priority,))

    place = BacnetProperty("schedule", 1, "priority-for-writing")
    assert never_written(give("6"))
    assert not any(never_written(give(str(at))) for at in (*range(1, 6), *range(7, 17)))


def test_priority_6_is_never_written_and_may_be_read() -> None:
    slot = BacnetProperty("analog-value", 1, "priority-array", 6)
    assert never_written(write(priority=6))
    assert never_written(Operation("bacnet", Action.OVERRIDE, "write-property", slot))
    assert not never_written(Operation("bacnet", Action.VIEW, "read-property", slot))
    assert not any(never_written(write(priority=at)) for at in (None, *range(1, 6), *range(7, 17)))
