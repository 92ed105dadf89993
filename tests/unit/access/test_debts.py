"""What is owed: which writes leave a debt, how debts of one place become one, and what takes them away."""

from dataclasses import replace
from decimal import Decimal

import pytest

from broker.access import debts as under_test
from broker.access.debts import Debts, debts_of, lost_because, relies, where_of
from broker.model.decision import Decision, Obligation
from broker.model.leave import Debt
from broker.model.operation import BacnetProperty, ModbusRange, Operation, Relayed, Request, Touch
from broker.model.place import (
    BacnetAddress,
    Budget,
    Confidential,
    Device,
    Grant,
    ModbusAddress,
    OnLeave,
    Point,
    Protocol,
    Table,
    ValueType,
)
from broker.model.schedule import Scope
from broker.model.subject import Subject, SubjectKind
from broker.model.vocabulary import Action, EndReason, Result
from broker.model.way import ModbusTcpWay

ANA = Subject("ana@acme.example", SubjectKind.PERSON, "acme", ("fitter",))
BO = replace(ANA, id="bo@plant.example")
REGISTER = ModbusAddress(Table.HOLDING_REGISTER, 10, 1, ValueType.INT16)
SETPOINT = Point("setpoint", REGISTER, Action.ADJUST, on_leave=OnLeave.RESTORE)
ZONE = Point("zone", BacnetAddress("analog-value", 1, "present-value", None, 8, 16), on_leave=OnLeave.RELEASE)
AHU = Device("plant", "ahu-1", "hvac", Protocol.MODBUS, ModbusTcpWay("10.20.0.11", 502), (SETPOINT, ZONE))
GRANTS = (
    Grant("adjust", Scope(), (Action.ADJUST,), points=("setpoint",)),
    Grant("look", Scope(), (Action.VIEW,)),
    Grant("fans", Scope(), (Action.ADJUST,), points=("fan",)),
)


def written(*touches: Touch, obliged: tuple[Obligation, ...] = (Obligation.RESTORE,), priority: int | None = None):
    if priority is None:
        where = ModbusRange(Table.HOLDING_REGISTER, 10, 1)
        operation = Operation("modbus", Action.ADJUST, "write-single-register", where, touches)
    else:
        place = BacnetProperty("analog-value", 1, "present-value")
        operation = Operation("bacnet", Action.ADJUST, "write-property", place, touches, priority=priority)
    return Request((operation,), b"", "digest"), (Decision("dec-1", 1, True, obligations=obliged),)


def owed(request, decisions, before=(("setpoint", "18"),)):
    """The debts of a request of one operation."""
    found = debts_of(ANA, AHU, "ses-1", GRANTS, request, decisions, before, 5.0)
    return None if found is None else found[0]


def debt(value: str = "20", before: str = "18", subject: Subject = ANA, **changes: object) -> Debt:
    grants = frozenset({"adjust"})
    place = (subject, "plant/ahu-1", "setpoint", OnLeave.RESTORE, None)
    where = where_of(AHU, ZONE if changes.get("point") == "zone" else SETPOINT)
    return replace(Debt(*place, before, (), (value,), grants, "ses-1", 0, 5.0, where=where), **changes)


def test_an_obliged_write_is_owed_with_the_value_before_and_the_grants_behind_it():
    (found,) = owed(*written(Touch(SETPOINT, True, "20")))
    assert found == debt()
    assert found.own == {"20"}


def test_a_write_at_a_priority_is_owed_without_a_value_before():
    request = written(Touch(ZONE, True, "20.5"), obliged=(Obligation.RELEASE,), priority=9)
    (found,) = owed(*request, before=())
    assert (found.undo, found.priority, found.before, found.place[3]) == (OnLeave.RELEASE, 9, "", 9)


@pytest.mark.parametrize("obliged", [(Obligation.RESTORE,), (Obligation.RELEASE, Obligation.RESTORE)])
def test_what_is_to_be_put_back_and_was_written_at_a_priority_is_given_back_once(obliged):
    request = written(Touch(replace(ZONE, on_leave=OnLeave.KEEP), True, "20.5"), obliged=obliged, priority=9)
    (found,) = owed(*request, before=(("zone", "18"),))
    assert (found.undo, found.priority, found.before) == (OnLeave.RELEASE, 9, "")


def test_what_is_written_where_no_point_is_cannot_be_owed():
    assert owed(*written(), before=()) is None
    assert owed(*written(obliged=()), before=()) == ()


def test_of_several_points_those_that_the_inventory_marks_are_owed_else_all():
    kept = replace(SETPOINT, id="fan", on_leave=OnLeave.KEEP)
    both = (("setpoint", "18"), ("fan", "1"))
    marked = owed(*written(Touch(SETPOINT, True, "20"), Touch(kept, True, "2")), before=both)
    assert [each.point for each in marked] == ["setpoint"]
    by_policy = owed(*written(Touch(kept, True, "2")), before=both)
    assert [each.point for each in by_policy] == ["fan"]


@pytest.mark.parametrize(
    ("touch", "obliged", "before"),
    [
        (Touch(SETPOINT, False), Obligation.RESTORE, (("setpoint", "18"),)),
        (Touch(SETPOINT, True, "20"), Obligation.RESTORE, ()),
        (
            Touch(replace(SETPOINT, confidential=Confidential.SECRET), True, "20"),
            Obligation.RESTORE,
            (("setpoint", "18"),),
        ),
        (Touch(SETPOINT, True, "20"), Obligation.RELEASE, (("setpoint", "18"),)),
    ],
    ids=["part of a point", "no value before", "confidential", "no priority"],
)
def test_what_could_not_be_undone_cannot_be_owed(touch, obliged, before):
    assert owed(*written(touch, obliged=(obliged,)), before=before) is None


def held(debts: Debts) -> Debt:
    (found,) = debts.all()
    return found


def write(debts: Debts, value: str, result: Result = Result.DONE, before: str = "18", subject: Subject = ANA) -> None:
    fresh = (debt(value, before, subject),)
    assert debts.note(fresh)
    debts.settle(fresh, result, 7)


def test_the_first_value_before_and_the_last_value_written_count():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", before="20")
    assert (held(debts).before, held(debts).own, held(debts).intent) == ("18", {"21"}, 7)


def test_what_somebody_else_wrote_in_between_is_what_is_put_back():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", before="25")
    assert (held(debts).before, held(debts).own) == ("25", {"21"})


@pytest.mark.parametrize("result", [Result.NOT_SENT, Result.DEVICE_REFUSED])
def test_a_write_that_did_nothing_leaves_what_was_owed_before(result):
    debts = Debts()
    write(debts, "20", result)
    assert not len(debts)
    write(debts, "20")
    write(debts, "21", result, before="20")
    assert held(debts).own == {"20"}


def test_a_write_whose_outcome_is_unknown_is_owed_beside_the_one_before():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", Result.UNKNOWN, before="20")
    assert held(debts).own == {"20", "21"}


def test_a_write_under_way_when_the_broker_dies_counts_as_the_debtors_own():
    debts = Debts()
    assert debts.note((debt(),))
    again = held(Debts(debts.all()))
    assert (again.own, again.under_way) == ({"20"}, ())


def test_who_puts_the_value_back_himself_owes_nothing():
    debts = Debts()
    write(debts, "20")
    write(debts, "18", before="20")
    assert not len(debts)


def test_who_releases_the_priority_himself_owes_nothing():
    debts = Debts()
    for value in ("20", "null"):
        fresh = (debt(value, "", undo=OnLeave.RELEASE, priority=9),)
        assert debts.note(fresh)
        debts.settle(fresh, Result.DONE, 7)
    assert not len(debts)


def test_who_wrote_over_anothers_value_owes_the_value_from_before_both():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", before="20", subject=BO)
    debts.close(next(each for each in debts.all() if each.subject == ANA))
    assert (held(debts).subject, held(debts).before, held(debts).own) == (BO, "18", {"21"})


def over(
    debts: Debts,
    subject: Subject,
    touch: Touch,
    result: Result = Result.DONE,
    priority: int | None = None,
    met: tuple[Debt, ...] = (),
) -> bool:
    """Somebody's write in that place, with intent 41, came out so; writes of the debts that it met came out before."""
    request, _ = written(touch, priority=priority)
    return debts.written(subject.id, AHU, request, Relayed(result), 41, {each.place for each in met})


@pytest.mark.parametrize("result", [Result.DONE, Result.UNKNOWN, Result.BAD_REPLY])
def test_the_same_value_written_by_another_who_owes_nothing_is_his_and_stays(result):
    debts = Debts()
    write(debts, "20")
    assert over(debts, BO, Touch(SETPOINT, True, "20"), result)
    assert held(debts).kept_because == "written since by bo@plant.example (record 41)"
    assert not debts.owed_still(held(debts))
    again = held(Debts(debts.all()))
    assert again.since == BO.id


def test_the_same_value_written_by_another_who_would_have_to_undo_it_is_his_and_stays():
    debts = Debts()
    write(debts, "20")
    write(debts, "20", before="20", subject=BO)
    over(debts, BO, Touch(SETPOINT, True, "20"))
    assert (held(debts).subject, held(debts).since) == (ANA, BO.id)


@pytest.mark.parametrize(
    ("subject", "touch", "result"),
    [
        (ANA, Touch(SETPOINT, True, "20"), Result.DONE),
        (BO, Touch(replace(SETPOINT, id="other"), True, "20"), Result.DONE),
        (BO, Touch(SETPOINT, True, "20"), Result.NOT_SENT),
        (BO, Touch(SETPOINT, True, "20"), Result.DEVICE_REFUSED),
    ],
    ids=["oneself", "another point", "not sent", "refused"],
)
def test_what_is_not_anothers_write_there_leaves_a_debt_as_it_is(subject, touch, result):
    debts = Debts()
    write(debts, "20")
    assert not over(debts, subject, touch, result)
    assert debts.owed_still(held(debts)) and not held(debts).since


def test_who_reads_there_and_writes_elsewhere_in_one_request_takes_nothing_over():
    """Modbus function 23."""
    debts = Debts()
    write(debts, "20")
    fan = Touch(replace(SETPOINT, id="fan"), True, "1")
    (writing,) = written(fan)[0].operations
    reading = replace(writing, action=Action.VIEW, touches=(Touch(SETPOINT, True),))
    request = Request((writing, reading), b"", "digest")
    assert not debts.written(BO.id, AHU, request, Relayed(Result.DONE), 41)
    assert debts.owed_still(held(debts))
    assert not under_test.writes_there(held(debts), AHU, request.operations)


def test_a_write_into_part_of_a_point_is_a_write_to_it():
    debts = Debts()
    write(debts, "20")
    assert over(debts, BO, Touch(SETPOINT, False))


@pytest.mark.parametrize(("priority", "his"), [(9, True), (10, False)])
def test_of_a_priority_only_a_write_at_that_one_takes_over(priority, his):
    debts = Debts()
    fresh = (debt("20.5", "", point="zone", undo=OnLeave.RELEASE, priority=9),)
    assert debts.note(fresh)
    debts.settle(fresh, Result.DONE, 7)
    assert over(debts, BO, Touch(ZONE, True, "20.5"), priority=priority) is his


def test_who_takes_over_another_value_and_has_to_undo_it_owes_the_value_from_before_both():
    debts = Debts()
    write(debts, "20")
    write(debts, "21", before="20", subject=BO)
    over(debts, BO, Touch(SETPOINT, True, "21"))
    his, anas = sorted(debts.all(), key=lambda each: each.since)
    assert (his.subject, his.before, anas.since) == (BO, "18", BO.id)
    debts.close(anas)
    assert held(debts).before == "18"


def test_what_the_debtor_writes_after_another_is_owed_with_that_ones_value():
    debts = Debts()
    write(debts, "20")
    over(debts, BO, Touch(SETPOINT, True, "20"))
    write(debts, "22", before="20")
    assert (held(debts).before, held(debts).own, held(debts).since) == ("20", {"22"}, "")


def test_a_value_that_was_taken_over_is_not_put_back_by_a_third():
    debts = Debts()
    cy = replace(ANA, id="cy@acme.example")
    write(debts, "20")
    over(debts, BO, Touch(SETPOINT, True, "20"))
    write(debts, "25", before="20", subject=cy)
    over(debts, cy, Touch(SETPOINT, True, "25"))
    debts.close(next(each for each in debts.all() if each.subject == ANA))
    assert (held(debts).subject, held(debts).before) == (cy, "20")


MOVED = {
    "register": replace(SETPOINT, address=replace(REGISTER, start=12)),
    "scale": replace(SETPOINT, address=replace(REGISTER, scale=Decimal("0.1"))),
    "type": replace(SETPOINT, address=replace(REGISTER, value_type=ValueType.UINT16)),
    "table": replace(SETPOINT, address=replace(REGISTER, table=Table.COIL)),
}


@pytest.mark.parametrize(
    "today",
    [
        *(replace(AHU, points=(point,)) for point in MOVED.values()),
        replace(AHU, way=ModbusTcpWay("10.20.0.12", 502)),
        replace(AHU, upstream_unit_id=2),
    ],
    ids=[*MOVED, "endpoint", "unit"],
)
def test_what_was_written_elsewhere_or_in_another_measure_is_not_found_there_today(today):
    assert lost_because(debt(), today) == "inventory_changed"


def test_what_is_said_of_a_point_and_its_device_besides_does_not_move_it():
    """Nor does another way to write down the same scale."""
    point = replace(SETPOINT, address=replace(REGISTER, scale=Decimal("1.0")), description="x", on_leave=OnLeave.KEEP)
    told = replace(AHU, points=(point,), budget=Budget(2), unit_id=9, labels=(("zone", "3"),))
    assert lost_because(debt(), told) == ""
    zone = replace(ZONE, address=replace(ZONE.address, priority_lowest=10))
    assert lost_because(debt(point="zone", undo=OnLeave.RELEASE, priority=9), replace(AHU, points=(zone,))) == ""


@pytest.mark.parametrize(("today", "why"), [(None, "device_unknown"), (replace(AHU, points=()), "point_unknown")])
def test_what_is_gone_is_not_found(today, why):
    assert lost_because(debt(), today) == why


def test_what_is_written_where_a_point_lies_today_leaves_what_is_owed_where_it_lay_before():
    debts = Debts()
    write(debts, "20")
    moved = replace(AHU, points=(MOVED["register"],))
    request, _ = written(Touch(MOVED["register"], True, "30"))
    assert not debts.written(BO.id, moved, request, Relayed(Result.DONE), 41)
    fresh = (debt("30", "5", where=where_of(moved, MOVED["register"])),)
    assert debts.note(fresh)
    debts.settle(fresh, Result.DONE, 42)
    assert {(each.before, *each.own) for each in debts.all()} == {("18", "20"), ("5", "30")}


CROSSED = "crossed with a write of bo@plant.example (record 41)"


def crossing(debts: Debts, result: Result = Result.DONE, his: Result = Result.DONE, *, first: bool) -> None:
    """Ana's second write and one of bo were on their way together; his came out `first`, or hers did."""
    write(debts, "20")
    fresh = (debt("21", "20"),)
    assert debts.note(fresh)
    if first:
        over(debts, BO, Touch(SETPOINT, True, "25"), his)
        debts.settle(fresh, result, 42)
    else:
        debts.settle(fresh, result, 42)
        did = result not in under_test.DID_NOTHING
        over(debts, BO, Touch(SETPOINT, True, "25"), his, met=fresh if did else ())


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("result", [Result.DONE, Result.UNKNOWN])
@pytest.mark.parametrize("his", [Result.DONE, Result.UNKNOWN])
def test_of_two_writes_that_crossed_nobody_can_say_which_came_last(first, result, his):
    debts = Debts()
    crossing(debts, result, his, first=first)
    assert (held(debts).doubtful_because, held(debts).since) == (CROSSED, "")
    assert held(Debts(debts.all())).crossed == BO.id


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("nothing", [Result.NOT_SENT, Result.DEVICE_REFUSED])
def test_a_write_that_did_nothing_crossed_none(first, nothing):
    debts = Debts()
    crossing(debts, his=nothing, first=first)
    assert (held(debts).crossed, held(debts).since, held(debts).own, held(debts).before) == ("", "", {"21"}, "18")
    debts = Debts()
    crossing(debts, nothing, first=first)
    assert (held(debts).crossed, held(debts).since, held(debts).own) == ("", BO.id, {"20"})


def test_a_doubt_stays_while_the_debtor_finds_his_own_value_and_ends_when_he_finds_anothers():
    debts = Debts()
    crossing(debts, first=True)
    write(debts, "22", before="21")
    assert (held(debts).crossed, held(debts).own) == (BO.id, {"22"})
    write(debts, "23", Result.NOT_SENT, before="22")
    assert (held(debts).crossed, held(debts).own) == (BO.id, {"22"})
    write(debts, "24", before="25")
    assert (held(debts).crossed, held(debts).before, held(debts).own) == ("", "25", {"24"})


def test_a_later_write_of_another_that_crossed_none_ends_a_doubt():
    debts = Debts()
    crossing(debts, first=True)
    over(debts, BO, Touch(SETPOINT, True, "26"))
    assert (held(debts).crossed, held(debts).since) == ("", BO.id)


def test_at_a_priority_a_later_write_of_the_debtors_own_ends_a_doubt():
    place = {"point": "zone", "undo": OnLeave.RELEASE, "priority": 9}
    debts, first, later = Debts(), (debt("20", "", **place),), (debt("21", "", **place),)
    assert debts.note(first)
    over(debts, BO, Touch(ZONE, True, "22"), priority=9)
    debts.settle(first, Result.DONE, 42)
    assert held(debts).crossed == BO.id
    assert debts.note(later)
    debts.settle(later, Result.NOT_SENT, 0)
    assert held(debts).crossed == BO.id
    assert debts.note(later)
    debts.settle(later, Result.DONE, 43)
    assert (held(debts).crossed, held(debts).since, held(debts).own) == ("", "", {"21"})


def test_who_writes_over_what_is_in_doubt_owes_a_value_that_is_in_doubt():
    cy = replace(ANA, id="cy@acme.example")
    debts = Debts()
    crossing(debts, first=True)
    write(debts, "30", before="21", subject=cy)
    over(debts, cy, Touch(SETPOINT, True, "30"))
    his = next(each for each in debts.all() if each.subject == cy)
    assert (his.before, his.crossed) == ("18", BO.id)


def test_of_two_who_would_both_have_to_undo_it_nobody_knows_what_was_before():
    debts = Debts()
    write(debts, "20")
    hers, his = (debt("21", "20"),), (debt("25", "20", BO),)
    assert debts.note(hers) and debts.note(his)
    debts.settle(his, Result.DONE, 41)
    over(debts, BO, Touch(SETPOINT, True, "25"))
    debts.settle(hers, Result.DONE, 42)
    over(debts, ANA, Touch(SETPOINT, True, "21"), met=his)
    assert {(each.subject.id, each.crossed) for each in debts.all()} == {(ANA.id, BO.id), (BO.id, ANA.id)}


def test_the_same_subjects_writes_may_be_on_their_way_together():
    debts, fresh = Debts(), [(debt(value),) for value in ("20", "21")]
    assert debts.note(fresh[0]) and debts.note(fresh[1])
    over(debts, BO, Touch(SETPOINT, True, "25"))
    for each in fresh:
        debts.settle(each, Result.DONE, 42)
    assert (held(debts).crossed, held(debts).own) == (BO.id, {"21"})


def test_what_was_written_while_it_was_undone_stays_owed():
    debts = Debts()
    write(debts, "20")
    undone = held(debts)
    debts.mark(undone, True)
    write(debts, "21", before="18")
    debts.close(undone)
    assert held(debts).own == {"21"}


def test_there_is_room_for_so_many_debts_and_no_more(monkeypatch):
    monkeypatch.setattr(under_test, "MOST_DEBTS", 2)
    debts = Debts()
    assert debts.note((debt(), debt(point="other")))
    assert debts.note((debt("21"),))
    assert not debts.note((debt(point="third"),))
    assert len(debts) == 2


def test_unknown_outcomes_without_end_are_refused():
    debts = Debts()
    for value in range(under_test.MOST_OWN_VALUES):
        write(debts, str(100 + value), Result.UNKNOWN, before="100" if value else "18")
    assert not debts.note((debt("300", "100"),))


def test_an_access_goes_on_while_one_of_the_grants_behind_it_is_relied_on():
    assert relies(debt(), frozenset({"adjust", "other"}))
    assert not relies(debt(), frozenset({"look"}))
    assert relies(debt(grants=frozenset()), frozenset())


@pytest.mark.parametrize("why", list(EndReason))
def test_a_lost_connection_may_come_back_and_an_ended_access_may_not(why):
    lost = why.value.startswith(
        ("peer", "connection", "idle", "frame", "limit", "inventory", "state", "clock", "ledger")
    )
    assert (under_test.due_after(why, 60.0) > 0) is (
        lost or why.value in ("broker_stopped", "broker_fault", "broker_killed")
    )


SEVERAL = Request(
    tuple(written(Touch(replace(SETPOINT, id=name), True, "20"))[0].operations[0] for name in ("a", "b", "c")), b"", "d"
)
MIDWAY = Relayed(
    Result.DEVICE_REFUSED,
    each=((Result.DONE, ""), (Result.DEVICE_REFUSED, "property/value-out-of-range"), (Result.UNATTEMPTED, "")),
)


def test_of_a_request_of_several_each_operation_owes_its_own_and_is_settled_by_its_own_result():
    oblige = Decision("dec-1", 1, True, obligations=(Obligation.RESTORE,))
    before = (("a", "18"), ("b", "18"), ("c", "18"))
    owes = debts_of(ANA, AHU, "ses-1", GRANTS, SEVERAL, (oblige,) * 3, before, 5.0)
    assert [[each.point for each in of_one] for of_one in owes] == [["a"], ["b"], ["c"]]
    debts = Debts()
    assert debts.note([each for of_one in owes for each in of_one])
    for place, of_one in enumerate(owes):
        debts.settle(of_one, MIDWAY.of(place)[0], 40 + place)
    assert (held(debts).point, held(debts).intent) == ("a", 40)


def test_where_only_some_of_several_were_written_only_there_is_taken_over():
    debts = Debts()
    for name in ("a", "b", "c"):
        write_at = (debt(point=name),)
        assert debts.note(write_at)
        debts.settle(write_at, Result.DONE, 7)
    assert debts.written(BO.id, AHU, SEVERAL, MIDWAY, 40)
    assert {each.point: (each.since, each.since_intent) for each in debts.all()} == {
        "a": (BO.id, 40),
        "b": ("", 0),
        "c": ("", 0),
    }


@pytest.mark.parametrize(
    ("results", "own"),
    [
        ((Result.DONE, Result.DONE), {"21"}),
        ((Result.DONE, Result.DEVICE_REFUSED), {"20"}),
        ((Result.DEVICE_REFUSED, Result.UNATTEMPTED), None),
        ((Result.UNKNOWN, Result.UNKNOWN), {"20", "21"}),
    ],
)
def test_a_request_may_write_one_place_twice(results, own):
    debts, twice = Debts(), (debt("20"), debt("21"))
    assert debts.note(twice)
    assert held(debts).own == {"20", "21"}
    for each, result in zip(twice, results, strict=True):
        debts.settle((each,), result, 42)
    assert [each.own for each in debts.all()] == ([] if own is None else [own])
    assert all(each.before == "18" for each in debts.all())
