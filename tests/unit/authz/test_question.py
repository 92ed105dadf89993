"""Questions are complete, hold no floats, are valid by their schema, and rounding never lengthens anything."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from broker.authz import question
from broker.authz.validation import invalid_because
from broker.model.decision import EntryPoint
from broker.model.operation import BacnetProperty, ModbusRange, Operation
from broker.model.place import PlannedWrite
from broker.model.schedule import CalendarState, Interval
from broker.model.vocabulary import Action
from tests.unit.authz import given


def _refuse_float(text: str) -> None:
    raise AssertionError(f"a float: {text}")


@pytest.mark.parametrize("operation", [given.ADJUST, given.VIEW, given.ZONE_WRITE])
def test_an_operation_question_is_valid_and_has_no_floats(operation: Operation) -> None:
    asked = given.operation_question(operation)
    assert invalid_because(EntryPoint.OPERATION, asked) == ""
    assert json.loads(question.encode(asked), parse_float=_refuse_float) == asked


def test_session_and_admin_questions_are_valid() -> None:
    assert invalid_because(EntryPoint.SESSION, given.session_question()) == ""
    resource: dict[str, object] = {"kind": "decision", "subject": given.SUBJECT.id}
    assert invalid_because(EntryPoint.ADMIN, given.admin_question("decision.explain", resource)) == ""


def test_a_session_question_names_no_operation() -> None:
    assert "operation" not in given.session_question()


def test_the_encoding_is_sorted_and_without_spaces() -> None:
    encoded = question.encode(given.operation_question())
    canonical = json.dumps(json.loads(encoded), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert encoded == canonical.encode()


def test_ends_are_rounded_down_and_beginnings_up() -> None:
    asked = given.operation_question()
    assert asked["now"] == given.SECOND
    assert asked["windows"]["open"] == [
        {"id": "night", "opens": given.SECOND - 9, "closes": given.SECOND + 101},
    ]
    assert asked["windows"]["next"]["opens"] == given.SECOND + 5001
    assert asked["grants"][1]["not_after"] == given.SECOND + 50
    assert asked["subject"]["organisation"]["contract_from"] == given.SECOND - 999
    assert asked["subject"]["organisation"]["contract_until"] == given.SECOND + 1000
    assert asked["subject"]["proofs"][0]["not_after"] == given.SECOND + 901


def test_limits_are_plain_decimal_strings() -> None:
    point = replace(given.SETPOINT, minimum=Decimal("1E+2"), maximum=Decimal("1.50E-3"))
    touched = replace(given.ADJUST, touches=(replace(given.ADJUST.touches[0], point=point),))
    limits = given.operation_question(touched)["operation"]["points"][0]["limits"]
    assert limits == {"minimum": "100", "maximum": "0.00150", "allowed": []}


def test_a_bacnet_point_has_its_priorities_and_a_modbus_point_none() -> None:
    assert given.operation_question(given.ZONE_WRITE)["operation"]["points"][0]["priority"] == {
        "lowest": 10,
        "highest": 16,
    }
    assert given.operation_question()["operation"]["points"][0]["priority"] is None


def test_the_values_written_are_there_by_name() -> None:
    assert given.operation_question()["operation"]["values"] == {"supply-temp-setpoint": "21.5"}
    assert given.operation_question(given.VIEW)["operation"]["values"] == {}


def test_a_service_without_table_has_no_table() -> None:
    operation = Operation("modbus", Action.DISCOVER, "report-server-id", ModbusRange(None), unit_id=1)
    asked = given.operation_question(operation)
    assert asked["operation"]["address"]["table"] is None
    assert invalid_because(EntryPoint.OPERATION, asked) == ""


@pytest.mark.parametrize(
    ("place", "document"),
    [
        (BacnetProperty("device", 1001, None), {"object_type": "device", "instance": 1001, "property": None}),
        (BacnetProperty("file", None, None), {"object_type": "file", "instance": None, "property": None}),
    ],
)
def test_a_bacnet_object_without_property_and_one_without_number_are_asked_about(
    place: BacnetProperty, document: dict[str, object]
) -> None:
    facts = (("enable-disable", "disable"), ("password", "present"))
    asked = given.operation_question(Operation("bacnet", Action.CONFIG, "create-object", place, facts=facts))
    assert asked["operation"]["address"] == {**document, "index": None}
    assert asked["operation"]["facts"] == {"enable-disable": "disable", "password": "present"}
    assert invalid_because(EntryPoint.OPERATION, asked) == ""


def test_too_many_facts_or_one_without_a_word_for_it_are_refused() -> None:
    for facts in (tuple((f"fact-{n}", "x") for n in range(65)), (("Fact!", "x"),), (("fact", "x" * 1025),)):
        asked = given.operation_question(replace(given.ZONE_WRITE, facts=facts))
        assert invalid_because(EntryPoint.OPERATION, asked) != ""


def test_an_organisation_that_is_no_longer_known_has_no_contract() -> None:
    asked = given.operation_question(organisation=None)
    assert asked["subject"]["organisation"] == {
        "id": "vendor",
        "owner": False,
        "contract_from": None,
        "contract_until": 0,
    }


@pytest.mark.parametrize("views_frozen", [True, False])
def test_freezes_say_whether_viewing_goes_on(views_frozen: bool) -> None:
    frozen = (Interval("holidays", given.NOW - 1, given.NOW + 1),)
    calendar = CalendarState((), frozen, None, given.NOW + 1, views_frozen)
    assert given.operation_question(calendar=calendar)["freezes"][0]["views"] is not views_frozen


def test_parts_may_be_kept_and_composed_again() -> None:
    caller = question.caller_part(given.SUBJECT, given.ORGANISATION, given.SESSION)
    device = question.device_part(given.DEVICE)
    operation = {"operation": question.operation_part(given.ADJUST), "armed": []}
    surroundings = question.surroundings_part(given.CALENDAR, given.GRANTS, given.DEVICE.key)
    assert question.compose(given.NOW, caller, device, operation, surroundings) == given.operation_question()
    later = question.compose(given.NOW + 60, caller, device, operation, surroundings)
    assert later == {**given.operation_question(), "now": given.SECOND + 60}


def test_of_a_plan_there_is_what_it_plans_for_this_device() -> None:
    here, elsewhere = (PlannedWrite(device, given.SETPOINT.id, "21.5") for device in (given.DEVICE.key, "plant/ahu-2"))
    unplanned = given.GRANTS[1]
    grants = (unplanned, replace(unplanned, plan=(here, elsewhere)), replace(unplanned, plan=(elsewhere,)))
    asked = given.operation_question(grants=grants)
    plans = [grant["plan"] for grant in asked["grants"]]
    assert plans == [None, [{"point": given.SETPOINT.id, "value": "21.5", "priority": None}], []]
    assert invalid_because(EntryPoint.OPERATION, asked) == ""
